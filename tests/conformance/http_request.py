"""Requests over HTTP as data, and how to write one down in a line."""

import json
import struct
from dataclasses import dataclass, field

# The shared memory that the caller makes: REGION_SIZE bytes, `floats(2)` at its start.
REGION, REGION_SIZE = "trt_pipeline_conformance", 4096
ROW = [round(0.25 * i - 2.0, 2) for i in range(16)]
HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass
class Case:
    name: str
    method: str
    path: str
    body: bytes = b""
    headers: dict = field(default_factory=dict)
    raw: bytes | None = None  # the whole request as it goes over the wire, instead of the above
    settles: str = ""  # asked again while the answer still says this


def floats(rows=1, columns=16):
    return struct.pack(f"<{rows * columns}f", *(ROW * rows)[: rows * columns])


def x(**changes):
    """The tensor `x`; a value of None leaves the key out."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 16], "data": ROW} | changes
    return {key: value for key, value in tensor.items() if value is not None}


def infer(name, *inputs, model="tiny", path=None, text=None, headers=None, **fields):
    body = text if text is not None else json.dumps({"inputs": list(inputs) or [x()]} | fields)
    body = body if isinstance(body, bytes) else body.encode()
    return Case(f"infer/{name}", "POST", path or f"/v2/models/{model}/infer", body, headers or {})


def binary(name, inputs, tail, model="tiny", length=None, **fields):
    """`tail`: the bytes behind the JSON; `length`: what the header says instead of the JSON's length."""
    head = json.dumps({"inputs": inputs} | fields).encode()
    said = str(len(head)) if length is None else str(length(head) if callable(length) else length)
    return Case(f"binary/{name}", "POST", f"/v2/models/{model}/infer", head + tail, {HEADER_LENGTH: said})


def bx(size=64, **changes):
    """The tensor `x` with its data behind the JSON."""
    return x(data=None, parameters={"binary_data_size": size}) | changes


def get(path):
    """What follows a # is for the name alone."""
    return Case(f"GET {path}", "GET", path.partition("#")[0])


def post(path, body=b"", note=""):
    body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    return Case(f"POST {path}{note and ' ' + note}", "POST", path, body)


def wire(name, head, body=b""):
    return Case(f"wire/{name}", "", "", raw=head.replace("\n", "\r\n").encode() + body)


ENDS = {
    "fp64": ("FP64", [-1.7976931348623157e308, 5e-324]),
    "fp32": ("FP32", [-3.4028234663852886e38, 1.401298464324817e-45]),
    "int64": ("INT64", [-(2**63), 2**63 - 1]),
    "int32": ("INT32", [-(2**31), 2**31 - 1]),
    "int16": ("INT16", [-(2**15), 2**15 - 1]),
    "int8": ("INT8", [-128, 127]),
    "uint64": ("UINT64", [0, 2**64 - 1]),
    "uint32": ("UINT32", [0, 2**32 - 1]),
    "uint16": ("UINT16", [0, 2**16 - 1]),
    "uint8": ("UINT8", [0, 255]),
    "bool": ("BOOL", [True, False]),
}


def numbers(ends=False, **changes):
    """The inputs of `numbers`; a change is (datatype, data) of one of them."""
    plain = {name: (kind, values if ends or kind == "BOOL" else [1, 2]) for name, (kind, values) in ENDS.items()}
    for name, (kind, data) in (plain | changes).items():
        yield {"name": name, "datatype": kind, "shape": [1, 2], "data": data}
