"""The requests of the comparison, each once as bytes for a load generator and once checked.

The network is the tiny one (16 -> 16 -> 4), so that the server is what is measured.
"""

import http.client
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

import grpc

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "serving"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
X = np.load(FIXTURES / "tiny.npz")["in.x"][:1]
Y = np.load(FIXTURES / "tiny.npz")["out.y"][:1]


def json_request(x):
    tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": [round(float(v), 6) for v in x.ravel()]}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode(), {"Content-Type": "application/json"}


def binary_request(x):
    tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "parameters": {"binary_data_size": x.nbytes}}
    asked = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    head = json.dumps(asked, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return head + x.tobytes(), headers


def grpc_request(model, x):
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=x.shape)
    message = service_pb2.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[x.tobytes()])
    return message.SerializeToString()


def answered(protocol, server, model, x=X):
    """What the server answers, as numbers; None where it does not speak the protocol."""
    if protocol == "grpc":
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            message = service_pb2.ModelInferRequest.FromString(grpc_request(model, x))
            answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=60)
        if answer.raw_output_contents:
            return np.frombuffer(answer.raw_output_contents[0], np.float32)
        return np.array(answer.outputs[0].contents.fp32_contents, np.float32)
    body, headers = json_request(x) if protocol == "json" else binary_request(x)
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    connection.request("POST", f"/v2/models/{model}/infer", body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != 200:
        if protocol == "binary":
            return None
        sys.exit(f"{server.name} answers {response.status} to {protocol}: {content[:300]}")
    length = response.headers.get("Inference-Header-Content-Length")
    if length:
        return np.frombuffer(content[int(length) :], np.float32)
    return np.array(json.loads(content)["outputs"][0]["data"], np.float32).ravel()


def successes(server, model):
    """How many requests the server says it answered; None where it keeps no such statistics."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/v2/models/{model}/stats", timeout=30) as answer:
            return json.load(answer)["model_stats"][0]["inference_stats"]["success"]["count"]
    except urllib.error.HTTPError:
        return None


def speaks(protocol, server, model):
    numbers = answered(protocol, server, model)
    if numbers is None:
        return False
    np.testing.assert_allclose(numbers, Y.ravel(), rtol=1e-3, atol=1e-4)
    return True
