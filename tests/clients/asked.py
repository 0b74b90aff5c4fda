"""What the clients ask and what must come back. Where the server is, the environment says."""

import os
from pathlib import Path

import numpy as np

HTTP = f"127.0.0.1:{os.environ['SERVER_HTTP']}"
GRPC = f"127.0.0.1:{os.environ['SERVER_GRPC']}"
ADMIN = os.environ.get("SERVER_ADMIN") and f"127.0.0.1:{os.environ['SERVER_ADMIN']}"

_rows = np.load(Path(__file__).resolve().parents[1] / "fixtures" / "serving" / "tiny.npz")
X, Y = _rows["in.x"], _rows["out.y"]

NUMBERS = {
    "fp64": np.array([[-1.5, 1e300]]),
    "fp32": np.array([[0.1, -3e38]], np.float32),
    "int64": np.array([[-(2**63), 2**63 - 1]]),
    "int32": np.array([[-(2**31), 7]], np.int32),
    "int16": np.array([[-(2**15), 7]], np.int16),
    "int8": np.array([[-128, 7]], np.int8),
    "uint64": np.array([[0, 2**64 - 1]], np.uint64),
    "uint32": np.array([[0, 2**32 - 1]], np.uint32),
    "uint16": np.array([[0, 2**16 - 1]], np.uint16),
    "uint8": np.array([[0, 255]], np.uint8),
    "bool": np.array([[True, False]]),
}


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
