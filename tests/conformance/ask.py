"""Asks a server one case and gives its answer as plain data that can be kept as JSON.

An answer is `{status, ...}`; `status` is a number over HTTP, a name over gRPC, or `closed` and
`silent` when the server ended the connection or said nothing in time.
"""

import http.client
import json
import socket

import grpc
import numpy as np
from google.protobuf import json_format
from tritonclient.grpc import service_pb2 as pb

from grpc_cases import SERVICE

SECONDS = 5
KEPT = ["Content-Type", "Content-Encoding", "Inference-Header-Content-Length", "Retry-After", "Allow"]
NUMPY = {
    "FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "INT64": "<i8", "INT32": "<i4", "INT16": "<i2", "INT8": "<i1",
    "UINT64": "<u8", "UINT32": "<u4", "UINT16": "<u2", "UINT8": "<u1",
}  # fmt: skip


def over_http(port, case):
    request = case.raw if case.raw is not None else _request(case)
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            try:
                connection.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered before it closed
            return _response(connection, case.method or request.split(b" ", 1)[0].decode(errors="replace"))
    except TimeoutError:
        return {"status": "silent"}
    except (http.client.HTTPException, OSError):
        return {"status": "closed"}


def _request(case):
    headers = {"Host": "127.0.0.1", "Content-Length": str(len(case.body))} | case.headers
    if not case.body and case.method not in ("POST", "PUT", "PATCH"):
        del headers["Content-Length"]
    lines = [f"{case.method} {case.path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + case.body


def _response(connection, method):
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    answer = {"status": response.status}
    answer["headers"] = {name.lower(): response.headers[name] for name in KEPT if name in response.headers}
    length = answer["headers"].get("inference-header-content-length")
    if length is not None:
        head, tail = body[: int(length)], body[int(length) :]
        answer["json"] = json.loads(head, parse_constant=str)
        answer["tail"] = _tail(answer["json"], tail)
        # How long the JSON is depends on how it is printed; that it is there, it told.
        answer["headers"]["inference-header-content-length"] = "length"
    elif "content-encoding" in answer["headers"]:
        answer["compressed"] = True
    elif body:
        try:
            answer["json"] = json.loads(body, parse_constant=str)
        except ValueError:
            answer["text"] = body.decode(errors="backslashreplace")
    return answer


def _tail(head, tail):
    """The tensors behind the JSON, as numbers where they are floats."""
    values = []
    for output in head.get("outputs", []):
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            values.append(numbers(output["datatype"], tail[:size]))
            tail = tail[size:]
    return values + ([tail.hex()] if tail else [])


def numbers(datatype, data):
    if datatype in NUMPY and len(data) % np.dtype(NUMPY[datatype]).itemsize == 0:
        # NaN has no JSON.
        return [value if value == value else "NaN" for value in np.frombuffer(data, NUMPY[datatype]).tolist()]
    return data.hex()


def over_grpc(channel, case):
    """`channel`: a grpc.Channel; the answer has the messages as protobuf's JSON says them."""
    path = case.method if case.method.startswith("/") else SERVICE + case.method
    as_they_are = {"request_serializer": None, "response_deserializer": None}
    streams = case.stream or case.method == "ModelStreamInfer"
    replies, status, details = [], "OK", ""
    try:
        if streams:
            for reply in channel.stream_stream(path, **as_they_are)(iter(case.requests), timeout=SECONDS):
                replies.append(reply)
        else:
            replies.append(channel.unary_unary(path, **as_they_are)(case.requests[0], timeout=SECONDS))
    except grpc.RpcError as error:
        status, details = error.code().name, error.details()
    if status == "DEADLINE_EXCEEDED":
        return {"status": "silent"}
    answer = {"status": status}
    if details:
        answer["message"] = details
    if replies:
        # In protobuf's maps the order of keys says nothing.
        answer["replies"] = [_sorted(_message(case.method, reply)) for reply in replies]
    return answer


def _sorted(value):
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value


def _message(method, reply):
    kind = getattr(pb, f"{method}Response", None)
    if kind is None:
        return reply.hex()
    message = kind.FromString(reply)
    said = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=False
    )
    response = said.get("infer_response", said)
    raw = message.infer_response if method == "ModelStreamInfer" else message
    if "raw_output_contents" in response:
        response["raw_output_contents"] = [
            numbers(output.datatype, data) for output, data in zip(raw.outputs, raw.raw_output_contents)
        ]
    return said
