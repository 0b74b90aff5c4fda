"""curl: health, JSON, binary tensors, statuses, the metrics."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np

from asked import ADMIN, HTTP, X, Y, close


def curl(path, *arguments, at=HTTP):
    """-> (status, head, body)"""
    with tempfile.TemporaryDirectory() as folder:
        head, body = Path(folder, "head"), Path(folder, "body")
        command = ["curl", "--silent", "--show-error", "--max-time", "30", "--dump-header", head, "--output", body]
        said = subprocess.run(
            [*command, "--write-out", "%{http_code}", *arguments, f"http://{at}{path}"],
            capture_output=True,
            check=True,
            text=True,
        )
        return int(said.stdout), head.read_text().lower(), body.read_bytes() if body.exists() else b""


def asking(**more):
    tensor = {"name": "x", "shape": [2, 16], "datatype": "FP32"} | more
    return json.dumps({"inputs": [tensor]}).encode()


class Curl(unittest.TestCase):
    def test_health_is_a_status(self):
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready"):
            self.assertEqual(curl(path)[0], 200)

    def test_json_in_json_out(self):
        body = asking(data=X[:2].ravel().tolist()).decode()
        status, _, answer = curl("/v2/models/tiny/infer", "--data", body)
        self.assertEqual(status, 200)
        close(np.array(json.loads(answer)["outputs"][0]["data"]), Y[:2].ravel())

    def test_binary_in_binary_out(self):
        head = json.loads(asking(parameters={"binary_data_size": X[:2].nbytes}))
        head = json.dumps(head | {"parameters": {"binary_data_output": True}}).encode()
        with tempfile.NamedTemporaryFile() as body:
            body.write(head + X[:2].tobytes())
            body.flush()
            status, headers, answer = curl(
                "/v2/models/tiny/infer",
                *("--header", f"Inference-Header-Content-Length: {len(head)}"),
                *("--header", "Content-Type: application/octet-stream"),
                *("--data-binary", f"@{body.name}"),
            )
        self.assertEqual(status, 200)
        length = int(headers.split("inference-header-content-length:")[1].split()[0])
        self.assertEqual(json.loads(answer[:length])["outputs"][0]["parameters"], {"binary_data_size": 32})
        close(np.frombuffer(answer[length:], np.float32), Y[:2].ravel())

    def test_an_error_has_a_status_and_says_what(self):
        status, _, answer = curl("/v2/models/none")
        self.assertEqual(status, 404)
        self.assertIn("none", json.loads(answer)["error"])

    def test_one_connection_answers_many(self):
        many = [f"http://{HTTP}/v2/models/tiny"] * 50
        said = subprocess.run(
            ["curl", "--silent", "--max-time", "30", "--write-out", "%{num_connects} ", "--output", "/dev/null"]
            + [part for url in many for part in (url, "--output", "/dev/null")][:-2],
            capture_output=True,
            check=True,
            text=True,
        )
        self.assertEqual(sum(map(int, said.stdout.split())), 1)

    @unittest.skipUnless(ADMIN, "this server has no admin listener")
    def test_the_admin_listener_has_metrics(self):
        status, _, answer = curl("/metrics", at=ADMIN)
        self.assertEqual(status, 200)
        self.assertIn(b'model="tiny"', answer)


if __name__ == "__main__":
    unittest.main()
