"""The requests over HTTP, good and bad, that every server is asked: `cases()` gives them in order.

Every model echoes or is the tiny 16 -> 16 -> 4 network, see models.py. A case leaves a server as it
found it, or undoes at the case after it what it did.
"""

import json

from http_infer_cases import bad_binary, bad_json, good_binary, good_json
from http_request import REGION, REGION_SIZE, Case, get, infer, post, wire, x


def discovery():
    paths = [
        "/v2", "/v2/", "/", "/v1", "/v2/nothing", "/v3", "//v2",
        "/v2/health/live", "/v2/health/ready", "/v2/health", "/v2/health/nothing",
        "/v2/models/tiny", "/v2/models/tiny/", "/v2/models/tiny/versions/1", "/v2/models/plain", "/v2/models/numbers",
        "/v2/models/halves", "/v2/models/none", "/v2/models/tiny/versions/2", "/v2/models/tiny/versions/one",
        "/v2/models/tiny/versions/-1", "/v2/models/tiny/versions/0", "/v2/models/tiny/versions/1.0",
        "/v2/models/tiny/versions/99999999999999999999", "/v2/models/tiny/versions/", "/v2/models/tiny/versions",
        "/v2/models/", "/v2/models", "/v2/models/%74iny", "/v2/models/tiny%00", "/v2/models/../tiny",
        "/v2/models/tiny?a=b", "/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready",
        "/v2/models/tiny/versions/2/ready", "/v2/models/none/ready", "/v2/models/tiny/nothing",
        "/v2/models/tiny/config", "/v2/models/plain/config", "/v2/models/tiny/versions/1/config",
        "/v2/models/tiny/versions/2/config", "/v2/models/none/config",
        "/v2/models/tiny/stats", "/v2/models/tiny/versions/1/stats", "/v2/models/tiny/versions/2/stats",
        "/v2/models/none/stats", "/v2/models/stats",
        "/v2/models/tiny/infer", "/v2/repository/index", "/v2/repository/models/tiny/load",
    ]  # fmt: skip
    yield from map(get, paths)
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]:
        yield Case(f"{method} /v2/health/ready", method, "/v2/health/ready")
        yield Case(f"{method} /v2/models/tiny", method, "/v2/models/tiny")
    yield Case("PUT infer", "PUT", "/v2/models/tiny/infer", json.dumps({"inputs": [x()]}).encode())
    yield Case("POST /v2", "POST", "/v2", b"{}")


def repository():
    yield post("/v2/repository/index")
    yield post("/v2/repository/index", {"ready": True}, "ready")
    yield post("/v2/repository/index", {"ready": False}, "not only ready")
    yield post("/v2/repository/index", {"ready": "yes"}, "ready text")
    yield post("/v2/repository/index", b"hello", "not JSON")
    yield post("/v2/repository/index", [], "a list")
    yield post("/v2/repository/models/none/load")
    yield post("/v2/repository/models/none/unload")
    yield post("/v2/repository/models/tiny/load")
    yield post("/v2/repository/models/tiny/load", {}, "empty object")
    yield post("/v2/repository/models/tiny/load", b"hello", "not JSON")
    yield post("/v2/repository/models/tiny/load", {"parameters": {"config": "{}"}}, "empty config")
    yield post("/v2/repository/models/tiny/load", {"parameters": {"config": 1}}, "config a number")
    yield post("/v2/repository/models/tiny/load", {"parameters": {"other": 1}}, "unknown parameter")
    yield post("/v2/repository/models/tiny/load", {"parameters": {"file:1/model.onnx": "aGVsbG8="}}, "a file")
    yield post("/v2/repository/models/plain/unload")
    yield Case("GET /v2/models/plain unloaded", "GET", "/v2/models/plain")
    yield Case("GET /v2/models/plain/ready unloaded", "GET", "/v2/models/plain/ready")
    yield Case("GET /v2/models/plain/config unloaded", "GET", "/v2/models/plain/config")
    yield Case("GET /v2/models/plain/stats unloaded", "GET", "/v2/models/plain/stats")
    yield Case("GET /v2/health/ready one unloaded", "GET", "/v2/health/ready")
    yield infer("unloaded", model="plain")
    index = post("/v2/repository/index", b"", "one unloaded")
    index.settles = "UNLOADING"
    yield index
    yield post("/v2/repository/index", {"ready": True}, "ready, one unloaded")
    yield post("/v2/repository/models/plain/unload", b"", "twice")
    yield post("/v2/repository/models/plain/unload", {"parameters": {"unload_dependents": True}}, "dependents")
    yield post("/v2/repository/models/plain/load")
    yield infer("loaded again", model="plain")
    yield post("/v2/repository/models/plain/nothing")
    yield post("/v2/repository/local/index")
    yield post("/v2/repository/local/models/tiny/load")


def shared_memory():
    for kind in ["systemsharedmemory", "cudasharedmemory"]:
        yield get(f"/v2/{kind}/status")
        yield get(f"/v2/{kind}/region/none/status")
        yield post(f"/v2/{kind}/unregister")
        yield post(f"/v2/{kind}/region/none/unregister")
    register = "/v2/systemsharedmemory/region/r/register"
    good = {"key": "/no_such_region", "offset": 0, "byte_size": 64}
    yield post(register, good, "no such key")
    yield post(register, {}, "empty object")
    yield post(register, b"", "no body")
    yield post(register, b"hello", "not JSON")
    yield post(register, {"key": "/a"}, "no size")
    yield post(register, good | {"byte_size": 0}, "size 0")
    yield post(register, good | {"byte_size": -1}, "size -1")
    yield post(register, good | {"byte_size": "64"}, "size text")
    yield post(register, good | {"offset": -1}, "offset -1")
    yield post(register, good | {"key": "../../etc/passwd"}, "key climbs")
    yield post(register, good | {"key": ""}, "key empty")
    yield post(register, good | {"key": 1}, "key a number")
    yield post("/v2/systemsharedmemory/region//register", good, "no name")
    yield get("/v2/systemsharedmemory/nothing")
    yield get(register)
    good["key"] = "/" + REGION
    size = REGION_SIZE
    yield post(register, good | {"byte_size": size + 1}, "larger than it is")
    yield post(register, good | {"offset": size}, "offset at its end")
    yield post(register, good | {"byte_size": 2**63, "offset": 2**63}, "size and offset overflow")
    yield post(register, good | {"byte_size": size}, "good")
    yield post(register, good | {"byte_size": size}, "good, twice")
    yield post(register, good | {"byte_size": 64}, "the name with another size")
    yield get("/v2/systemsharedmemory/status#registered")
    yield get("/v2/systemsharedmemory/region/r/status#registered")

    def region(offset=None, size=64, **more):
        place = {"shared_memory_region": "r", "shared_memory_byte_size": size} | more
        return place if offset is None else place | {"shared_memory_offset": offset}

    def output(*where, **more):
        return [{"name": "y", "parameters": region(*where, **more)}]

    yield infer("shared memory in", x(data=None, parameters=region()))
    yield infer("shared memory in, at an offset", x(data=None, parameters=region(64)))
    yield infer("shared memory in and out", x(data=None, parameters=region()), outputs=output(1024, 16))
    yield infer("shared memory out", outputs=output(1024, 16))
    yield infer("shared memory out, larger than needed", outputs=output(1024, 64))
    yield infer("shared memory out, too small", outputs=output(1024, 15))
    yield infer("shared memory out, binary_data as well", outputs=output(1024, 16, binary_data=True))
    yield infer("shared memory out, size 0", outputs=output(0, 0))
    yield infer("shared memory in, too small", x(data=None, parameters=region(0, 60)))
    yield infer("shared memory in, too large", x(data=None, parameters=region(0, 128)))
    yield infer("shared memory in, size 0", x(data=None, parameters=region(0, 0)))
    yield infer("shared memory in, no size", x(data=None, parameters={"shared_memory_region": "r"}))
    yield infer("shared memory in, behind its end", x(data=None, parameters=region(size)))
    yield infer("shared memory in, over its end", x(data=None, parameters=region(size - 32)))
    yield infer("shared memory out, over its end", outputs=output(size - 8, 16))
    yield infer("shared memory in, offset overflows", x(data=None, parameters=region(2**64 - 32)))
    yield infer("shared memory in, offset negative", x(data=None, parameters=region(-1)))
    yield infer("shared memory in, offset text", x(data=None, parameters=region("0")))
    yield infer("shared memory and data", x(parameters=region()))
    yield infer("shared memory region a number", x(data=None, parameters=region() | {"shared_memory_region": 1}))
    yield post("/v2/systemsharedmemory/region/r/unregister")
    yield infer("shared memory unregistered", x(data=None, parameters=region()))
    yield post(register, good | {"byte_size": 64, "offset": 64}, "good, a part")
    yield infer("shared memory in a part", x(data=None, parameters=region()))
    yield infer("shared memory in, over the end of the part", x(data=None, parameters=region(64)))
    yield post("/v2/systemsharedmemory/unregister", b"", "all")
    yield get("/v2/systemsharedmemory/status#unregistered")


def over_the_wire():
    body = json.dumps({"inputs": [x()]}).encode()
    head = "POST /v2/models/tiny/infer HTTP/1.1\nHost: 127.0.0.1\n"
    yield wire("HTTP/1.0", f"POST /v2/models/tiny/infer HTTP/1.0\nContent-Length: {len(body)}\n\n", body)
    yield wire("no host", f"POST /v2/models/tiny/infer HTTP/1.1\nContent-Length: {len(body)}\n\n", body)
    chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    yield wire("chunked", f"{head}Transfer-Encoding: chunked\n\n", chunked)
    yield wire("chunked junk", f"{head}Transfer-Encoding: chunked\n\n", b"zz\r\nhello\r\n0\r\n\r\n")
    yield wire("length not a number", f"{head}Content-Length: ten\n\n", body)
    yield wire("length negative", f"{head}Content-Length: -1\n\n", body)
    yield wire("two lengths", f"{head}Content-Length: {len(body)}\nContent-Length: 5\n\n", body)
    yield wire("no length", f"{head}\n", body)
    yield wire("expect 100-continue", f"{head}Expect: 100-continue\nContent-Length: {len(body)}\n\n", body)
    yield wire("HTTP/9.9", "GET /v2 HTTP/9.9\nHost: 127.0.0.1\n\n")
    yield wire("not HTTP", "hello\n\n")
    yield wire("a header without colon", "GET /v2/health/live HTTP/1.1\nHost: 127.0.0.1\nhello\n\n")
    yield wire("lower case method", "get /v2/health/live HTTP/1.1\nHost: 127.0.0.1\n\n")
    yield wire("absolute path", "GET http://127.0.0.1/v2/health/live HTTP/1.1\nHost: 127.0.0.1\n\n")
    yield wire("a host of another name", "GET /v2/health/live HTTP/1.1\nHost: example.com\n\n")
    yield wire("header of 100000 letters", f"GET /v2/health/live HTTP/1.1\nHost: 127.0.0.1\nA: {'a' * 100_000}\n\n")
    yield wire("path of 100000 letters", f"GET /v2/{'a' * 100_000} HTTP/1.1\nHost: 127.0.0.1\n\n")


def cases():
    yield from discovery()
    yield from good_json()
    yield from good_binary()
    yield from bad_json()
    yield from bad_binary()
    yield from over_the_wire()
    yield from shared_memory()
    yield from repository()
    yield infer("at the end")
