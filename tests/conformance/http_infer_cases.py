"""Requests for inference over HTTP, good and bad, in JSON and with binary tensors."""

import gzip
import json
import struct
import zlib

from http_request import HEADER_LENGTH, ROW, Case, binary, bx, floats, infer, numbers, x


def good_json():
    yield infer("one row")
    yield infer("three rows", x(shape=[3, 16], data=ROW * 3))
    yield infer("rows as nested lists", x(shape=[3, 16], data=[ROW, ROW, ROW]))
    yield infer("nested other than the shape", x(shape=[2, 16], data=[[ROW[:8], ROW[8:]], [ROW[:8], ROW[8:]]]))
    yield infer("the largest batch", x(shape=[8, 16], data=ROW * 8))
    yield infer("version in the path", path="/v2/models/tiny/versions/1/infer")
    yield infer("without batching", model="plain")
    yield infer("without batching, three rows", x(shape=[3, 16], data=ROW * 3), model="plain")
    yield infer("id", id="seven")
    yield infer("id with quotes", id='a"b\\c\n')
    yield infer("id not ASCII", id="é漢😀")
    yield infer("empty id", id="")
    yield infer("empty outputs", outputs=[])
    yield infer("output y", outputs=[{"name": "y"}])
    yield infer("output y, binary_data false", outputs=[{"name": "y", "parameters": {"binary_data": False}}])
    yield infer("output y, binary_data true", outputs=[{"name": "y", "parameters": {"binary_data": True}}])
    yield infer("binary_data_output", parameters={"binary_data_output": True})
    yield infer("binary_data_output false", parameters={"binary_data_output": False})
    yield infer(
        "binary_data_output, but output y not",
        parameters={"binary_data_output": True},
        outputs=[{"name": "y", "parameters": {"binary_data": False}}],
    )
    yield infer("binary_data_output and output y", parameters={"binary_data_output": True}, outputs=[{"name": "y"}])
    yield infer("id and binary output", id="7", parameters={"binary_data_output": True})
    yield infer("priority and timeout", parameters={"priority": 1, "timeout": 1000000})
    yield infer("sequence parameters", parameters={"sequence_id": 0, "sequence_start": False, "sequence_end": False})
    yield infer("own parameters", parameters={"a": 1, "b": "text", "c": True, "d": 1.5})
    yield infer("unknown keys", extra={"a": [1]}, another=None)
    yield infer("unknown keys in a tensor", x(extra=1))
    yield infer("unknown parameters of a tensor", x(parameters={"something": 1}))
    yield infer("integers for FP32", x(data=list(range(16))))
    yield infer("numbers with exponents", text=json.dumps({"inputs": [x()]}).replace("-2.0", "-2e0"))
    yield infer("data before shape", {"data": ROW, "shape": [1, 16], "datatype": "FP32", "name": "x"})
    yield infer("content type text/plain", headers={"Content-Type": "text/plain"})
    yield infer("white space around", text=" \r\n\t" + json.dumps({"inputs": [x()]}) + "\n ")
    yield infer("byte order mark", text=b"\xef\xbb\xbf" + json.dumps({"inputs": [x()]}).encode())
    yield infer("every type", *numbers(), model="numbers")
    yield infer("every type at its ends", *numbers(ends=True), model="numbers")
    yield infer(
        "two outputs of many", *numbers(), model="numbers", outputs=[{"name": "bool_out"}, {"name": "int8_out"}]
    )
    yield infer("outputs twice", outputs=[{"name": "y"}, {"name": "y"}])
    yield infer("accepts gzip", headers={"Accept-Encoding": "gzip"})
    yield infer("accepts deflate", headers={"Accept-Encoding": "deflate"})
    yield infer("accepts br", headers={"Accept-Encoding": "br"})
    body = json.dumps({"inputs": [x()]}).encode()
    yield infer("gzip", text=gzip.compress(body, mtime=0), headers={"Content-Encoding": "gzip"})
    yield infer("deflate", text=zlib.compress(body), headers={"Content-Encoding": "deflate"})


def good_binary():
    yield binary("one row", [bx()], floats())
    yield binary("three rows", [bx(192, shape=[3, 16])], floats(3))
    yield binary("without batching", [bx()], floats(), model="plain")
    yield binary("out as well", [bx()], floats(), parameters={"binary_data_output": True})
    yield binary("output y", [bx()], floats(), outputs=[{"name": "y", "parameters": {"binary_data": True}}])
    yield binary("header length 0 and JSON only", [x()], b"", length=0)
    yield binary("header length given and JSON only", [x()], b"")
    half = struct.pack("<2e", 1.5, -2.0)
    brain = struct.pack("<2H", 0x3FC0, 0xC000)
    halves = [
        {"name": "fp16", "datatype": "FP16", "shape": [1, 2], "parameters": {"binary_data_size": 4}},
        {"name": "bf16", "datatype": "BF16", "shape": [1, 2], "parameters": {"binary_data_size": 4}},
    ]
    yield binary("halves", halves, half + brain, model="halves", parameters={"binary_data_output": True})
    yield binary("halves in, JSON out", halves, half + brain, model="halves")
    one = {"name": "bf16_out", "parameters": {"binary_data": True}}
    yield binary("one of the halves", halves, half + brain, model="halves", outputs=[one])
    mixed = [dict(tensor) for tensor in numbers()]
    mixed[1] = {"name": "fp32", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    mixed[10] = {"name": "bool", "datatype": "BOOL", "shape": [1, 2], "parameters": {"binary_data_size": 2}}
    yield binary("two of many, the rest JSON", mixed, struct.pack("<2f", 1.5, 2.5) + b"\x01\x00", model="numbers")
    yield binary(
        "one output JSON, one binary",
        mixed,
        struct.pack("<2f", 1.5, 2.5) + b"\x01\x00",
        model="numbers",
        outputs=[{"name": "int8_out"}, {"name": "bool_out", "parameters": {"binary_data": True}}],
    )
    yield binary("NaN and infinities", [bx()], struct.pack("<16f", *([float("nan"), float("inf")] * 8)))
    yield binary("booleans that are neither", mixed, struct.pack("<2f", 1, 2) + b"\x02\xff", model="numbers")
    yield infer("without binary: JSON for the halves", *({"name": h["name"], "datatype": h["datatype"], "shape": [1, 2], "data": [1.5, 2]} for h in halves), model="halves")  # fmt: skip
    raw = Case("binary/whole body, no JSON", "POST", "/v2/models/plain/infer", floats(), {HEADER_LENGTH: "0"})
    yield raw
    yield Case("binary/whole body, tiny", "POST", "/v2/models/tiny/infer", floats(), {HEADER_LENGTH: "0"})
    yield Case("binary/whole body, many inputs", "POST", "/v2/models/numbers/infer", floats(), {HEADER_LENGTH: "0"})


def bad_json():
    text = json.dumps({"inputs": [x()]})
    yield infer("unknown model", model="none")
    yield infer("unknown version", path="/v2/models/tiny/versions/2/infer")
    yield infer("version not a number", path="/v2/models/tiny/versions/one/infer")
    yield infer("unknown input", x(name="z"))
    yield infer("one input too many", x(), x(name="z"))
    yield infer("input twice", x(), x())
    yield infer("one input missing", *list(numbers())[1:], model="numbers")
    yield infer("no inputs", inputs=[])
    yield infer("unknown output", outputs=[{"name": "z"}])
    yield infer("input named as output", outputs=[{"name": "x"}])
    yield infer("wrong datatype", x(datatype="INT32", data=list(range(16))))
    yield infer("unknown datatype", x(datatype="FLOAT"))
    yield infer("lower case datatype", x(datatype="fp32"))
    yield infer("datatype BYTES", x(datatype="BYTES", data=["a"] * 16))
    yield infer("empty datatype", x(datatype=""))
    yield infer("rank 1", x(shape=[16]))
    yield infer("rank 3", x(shape=[1, 1, 16]))
    yield infer("rank 0", x(shape=[], data=[1.0]))
    yield infer("rank 1 without batching", x(shape=[16]), model="plain")
    yield infer("wrong dimension", x(shape=[1, 15], data=ROW[:15]))
    yield infer("wrong dimension without batching", x(shape=[1, 15], data=ROW[:15]), model="plain")
    yield infer("too few elements", x(data=ROW[:15]))
    yield infer("too many elements", x(data=ROW + [1.0]))
    yield infer("no elements", x(data=[]))
    yield infer("batch 0", x(shape=[0, 16], data=[]))
    yield infer("batch 0 without batching", x(shape=[0, 16], data=[]), model="plain")
    yield infer("batch too large", x(shape=[9, 16], data=ROW * 9))
    yield infer("negative dimension", x(shape=[-1, 16]))
    yield infer("two negative dimensions", x(shape=[-1, -16]))
    yield infer("dimensions that overflow", x(shape=[2**62, 16]))
    yield infer("dimensions whose product is 16 modulo 2^64", x(shape=[2**60 + 1, 16]))
    yield infer("dimension 2^63", x(shape=[2**63, 16]))
    yield infer("dimension 2^70", x(shape=[2**70, 16]))
    yield infer("dimension 1e30", text=text.replace("[1, 16]", "[1e30, 16]"))
    yield infer("dimension 1.0", text=text.replace("[1, 16]", "[1.0, 16]"))
    yield infer("dimension 1.5", text=text.replace("[1, 16]", "[1.5, 16]"))
    yield infer("dimension as text", x(shape=["1", "16"]))
    yield infer("shape null", text=text.replace("[1, 16]", "null"))
    yield infer("shape a number", x(shape=16))
    yield infer("shape nested", x(shape=[[1, 16]]))
    for key in ["name", "datatype", "shape", "data"]:
        yield infer(f"no {key}", x(**{key: None}))
        yield infer(f"{key} of another type", x(**{key: {"a": 1}}))
    yield infer("name a number", x(name=3))
    yield infer("name null", text=text.replace('"x"', "null"))
    yield infer("data text", x(data="abc"))
    yield infer("data of texts", x(data=["1.0"] * 16))
    yield infer("data of booleans", x(data=[True] * 16))
    yield infer("data with null", x(data=ROW[:15] + [None]))
    yield infer("data with NaN", text=text.replace("-2.0", "NaN"))
    yield infer("data with Infinity", text=text.replace("-2.0", "-Infinity"))
    yield infer("data with 1e999", text=text.replace("-2.0", "1e999"))
    yield infer("data with 1e39 for FP32", text=text.replace("-2.0", "1e39"))
    yield infer("data with a list inside", x(data=ROW[:15] + [[1.0]]))
    yield infer("data with an object inside", x(data=ROW[:15] + [{}]))
    yield infer("data nested 200 deep", text=text.replace(json.dumps(ROW), "[" * 200 + json.dumps(ROW) + "]" * 200))
    for name, data in {
        "int8 128": ("INT8", [128, 0]), "uint8 256": ("UINT8", [256, 0]), "uint8 -1": ("UINT8", [-1, 0]),
        "int16 40000": ("INT16", [40000, 0]), "int32 2^31": ("INT32", [2**31, 0]), "int64 2^63": ("INT64", [2**63, 0]),
        "uint64 2^64": ("UINT64", [2**64, 0]), "uint64 -1": ("UINT64", [-1, 0]), "uint32 -1": ("UINT32", [-1, 0]),
        "int32 1.5": ("INT32", [1.5, 0]), "int32 1.0": ("INT32", [1.0, 0]), "bool 1": ("BOOL", [1, 0]),
        "bool 2": ("BOOL", [2, 0]), "bool text": ("BOOL", ["true", "false"]), "int32 true": ("INT32", [True, False]),
        "fp64 text": ("FP64", ["1", "2"]), "fp64 10^400": ("FP64", [10**400, 0]),
    }.items():  # fmt: skip
        yield infer(f"value {name}", *numbers(**{name.split()[0]: data}), model="numbers")
    yield infer("outputs an object", outputs={"name": "y"})
    yield infer("outputs of texts", outputs=["y"])
    yield infer("output without name", outputs=[{}])
    yield infer("output name a number", outputs=[{"name": 1}])
    yield infer("binary_data a number", outputs=[{"name": "y", "parameters": {"binary_data": 1}}])
    yield infer("binary_data text", outputs=[{"name": "y", "parameters": {"binary_data": "true"}}])
    yield infer("binary_data_output a number", parameters={"binary_data_output": 1})
    yield infer("classification", outputs=[{"name": "y", "parameters": {"classification": 2}}])
    yield infer("classification text", outputs=[{"name": "y", "parameters": {"classification": "2"}}])
    yield infer("parameters a list", parameters=[1])
    yield infer("parameters null", parameters=None)
    yield infer("a parameter is an object", parameters={"a": {"b": 1}})
    yield infer("a parameter is a list", parameters={"a": [1]})
    yield infer("a parameter is null", parameters={"a": None})
    yield infer("reserved parameter", parameters={"triton_something": 1})
    yield infer("priority text", parameters={"priority": "high"})
    yield infer("priority negative", parameters={"priority": -1})
    yield infer("priority beyond the levels", parameters={"priority": 9})
    yield infer("timeout text", parameters={"timeout": "1s"})
    yield infer("timeout negative", parameters={"timeout": -1})
    yield infer("sequence_id 3", parameters={"sequence_id": 3})
    yield infer("sequence_id text", parameters={"sequence_id": "s"})
    yield infer("tensor parameters a list", x(parameters=[1]))
    yield infer("id a number", id=7)
    yield infer("id null", id=None)
    yield infer("id a list", id=[])
    yield infer("inputs an object", inputs=x())
    yield infer("inputs null", inputs=None)
    yield infer("inputs of numbers", inputs=[1])
    yield infer("inputs left out", text="{}")
    yield infer("no body", text="")
    yield infer("not JSON", text="hello")
    yield infer("JSON ends early", text=text[:-5])
    yield infer("JSON followed by more", text=text + "}")
    yield infer("two JSON values", text=text + text)
    yield infer("a list", text="[]")
    yield infer("null", text="null")
    yield infer("a number", text="1")
    yield infer("a comma too many", text=text[:-1] + ",}")
    yield infer("a comment", text="/* hello */" + text)
    yield infer("single quotes", text=text.replace('"', "'"))
    yield infer("a key twice", text=text[:-1] + ',"inputs":[]}')
    yield infer("a key of a tensor twice", text=text.replace('"name": "x"', '"name": "z", "name": "x"'))
    yield infer("not UTF-8 in the name", text=text.encode().replace(b'"x"', b'"\xff\xfe"'))
    yield infer("not UTF-8 in the id", text=text.encode()[:-1] + b',"id":"\xff"}')
    yield infer("lone surrogate in the id", text=text[:-1] + ',"id":"\\ud800"}')
    yield infer("a zero in the name", x(name="x\0"))
    yield infer("nested 100000 deep", text="[" * 100_000)
    yield infer("objects nested 100000 deep", text='{"a":' * 100_000)
    yield infer("a name of 100000 letters", x(name="x" * 100_000))
    yield infer("gzip that is not", text=text, headers={"Content-Encoding": "gzip"})
    yield infer("gzip cut", text=gzip.compress(text.encode(), mtime=0)[:-9], headers={"Content-Encoding": "gzip"})
    yield infer("unknown content encoding", text=text, headers={"Content-Encoding": "br"})
    yield infer("identity content encoding", text=text, headers={"Content-Encoding": "identity"})
    yield infer("shared memory region unknown", x(data=None, parameters={"shared_memory_region": "r", "shared_memory_byte_size": 64}))  # fmt: skip
    yield infer("shared memory without size", x(data=None, parameters={"shared_memory_region": "r"}))
    yield infer("shared memory output unknown", outputs=[{"name": "y", "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 16}}])  # fmt: skip


def bad_binary():
    yield binary("size too small", [bx(60)], floats()[:60])
    yield binary("size too large", [bx(68)], floats() + b"\0" * 4)
    yield binary("size 0", [bx(0)], b"")
    yield binary("size negative", [bx(-64)], floats())
    yield binary("size huge", [bx(2**63 - 1)], floats())
    yield binary("size 2^64", [bx(2**64)], floats())
    yield binary("size text", [bx("64")], floats())
    yield binary("size 64.0", [bx(64.0)], floats())
    yield binary("fewer bytes than said", [bx()], floats()[:63])
    yield binary("more bytes than said", [bx()], floats() + b"\0")
    yield binary("no bytes", [bx()], b"")
    yield binary("bytes nobody asked for", [x()], floats())
    yield binary("data and binary_data_size", [x(parameters={"binary_data_size": 64})], floats())
    yield binary("shape larger than the bytes", [bx(shape=[2, 16])], floats())
    yield binary("shape overflows", [bx(shape=[2**62, 16])], floats())
    yield binary("shape negative", [bx(shape=[-1, 16])], floats())
    yield binary("batch 0", [bx(0, shape=[0, 16])], b"")
    yield binary("batch too large", [bx(576, shape=[9, 16])], floats(9))
    yield binary("wrong datatype of equal size", [bx(datatype="INT32")], floats())
    yield binary("unknown datatype", [bx(datatype="FLOAT")], floats())
    yield binary("length too small", [bx()], floats(), length=lambda head: len(head) - 1)
    yield binary("length too large", [bx()], floats(), length=lambda head: len(head) + 1)
    yield binary("length beyond the body", [bx()], floats(), length=100_000)
    yield binary("length 2^63", [bx()], floats(), length=2**63)
    yield binary("length 2^64", [bx()], floats(), length=2**64)
    yield binary("length -1", [bx()], floats(), length=-1)
    yield binary("length text", [bx()], floats(), length="ten")
    yield binary("length empty", [bx()], floats(), length="")
    yield binary("length with a plus", [bx()], floats(), length=lambda head: f"+{len(head)}")
    yield binary("length with text behind", [bx()], floats(), length=lambda head: f"{len(head)}abc")
    body = json.dumps({"inputs": [bx()]}).encode() + floats()
    yield Case("binary/length left out", "POST", "/v2/models/tiny/infer", body)
    yield binary("same bytes twice", [bx(), bx()], floats() * 2)
    yield binary("BYTES for FP32", [bx(datatype="BYTES", shape=[1, 1])], floats())
