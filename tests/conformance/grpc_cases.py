"""The requests over gRPC, good and bad, that every server is asked: `cases()` gives them in order.

The messages are those of tritonclient, whose service is KServe's (`inference.GRPCInferenceService`).
"""

import struct
from dataclasses import dataclass

from google.protobuf import text_format
from tritonclient.grpc import service_pb2 as pb

from http_request import ENDS, REGION, REGION_SIZE, ROW, floats

SERVICE = "/inference.GRPCInferenceService/"


@dataclass
class Call:
    name: str
    method: str  # with its service when it begins with /
    requests: list  # serialized; more than one, or `stream`: a stream of them
    stream: bool = False
    settles: str = ""


def call(method, message=None, note="", text=""):
    """`text`: the message in protobuf's text form."""
    if message is None:
        message = text_format.Parse(text, getattr(pb, f"{method}Request")())
    what = note or text or "empty"
    return Call(f"{method}/{what}", method, [message.SerializeToString()])


def x(raw=True, **fields):
    tensor = pb.ModelInferRequest.InferInputTensor(**({"name": "x", "datatype": "FP32", "shape": [1, 16]} | fields))
    if not raw and not tensor.HasField("contents"):
        tensor.contents.fp32_contents.extend(ROW)
    return tensor


def request(*inputs, raw=None, model="tiny", parameters=None, **fields):
    raw = [floats()] if raw is None else raw
    message = pb.ModelInferRequest(
        **{"model_name": model, "inputs": list(inputs) or [x()], "raw_input_contents": raw} | fields
    )
    put(message.parameters, parameters)
    return message


def put(parameters, values):
    for key, value in (values or {}).items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(value)]
        setattr(parameters[key], kind, value)


def infer(note, *inputs, stream=False, **more):
    message = request(*inputs, **more).SerializeToString()
    method = "ModelStreamInfer" if stream else "ModelInfer"
    return Call(f"{method}/{note}", method, [message], stream)


def contents(field, values, datatype=None, shape=(1, 2), name=None):
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    getattr(tensor.contents, field).extend(values)
    return tensor


FIELD = {
    "FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents", "INT32": "int_contents",
    "INT16": "int_contents", "INT8": "int_contents", "UINT64": "uint64_contents", "UINT32": "uint_contents",
    "UINT16": "uint_contents", "UINT8": "uint_contents", "BOOL": "bool_contents",
}  # fmt: skip


def numbers(ends=False, **changes):
    """The inputs of `numbers` with typed contents; a change is the tensor instead."""
    for name, (kind, values) in ENDS.items():
        values = values if ends or kind == "BOOL" else [1, 2]
        yield changes.get(name) or contents(FIELD[kind], values, kind, name=name)


def output(name="y", **parameters):
    tensor = pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
    put(tensor.parameters, parameters)
    return tensor


def tensor_with(parameters, **fields):
    tensor = x(**fields)
    put(tensor.parameters, parameters)
    return tensor


def discovery():
    yield call("ServerLive")
    yield call("ServerReady")
    yield call("ServerMetadata")
    for method in ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"]:
        for text in [
            'name: "tiny"', 'name: "tiny" version: "1"', 'name: "tiny" version: "2"', 'name: "none"',
            'name: "tiny" version: "one"', 'name: "tiny" version: "-1"', 'name: "tiny" version: "0"', "",
            'name: "tiny" version: "99999999999999999999"', 'name: "plain"', 'name: "numbers"', 'name: "halves"',
        ]:  # fmt: skip
            if method == "ModelStatistics" and text in ("", 'name: "numbers"', 'name: "halves"', 'name: "plain"'):
                continue
            yield call(method, text=text)
    yield call("ModelStatistics")
    for name in ["TraceSetting", "LogSettings"]:
        yield call(name)
    yield Call("unknown method", "Nothing", [b""])
    yield Call("unknown service", "/inference.Nothing/ServerLive", [b""])
    yield Call("health of the server", "/grpc.health.v1.Health/Check", [b""])
    yield Call("health of the service", "/grpc.health.v1.Health/Check", [b"\x0a\x1einference.GRPCInferenceService"])
    yield Call("health of a model", "/grpc.health.v1.Health/Check", [b"\x0a\x04tiny"])
    yield Call("health of nothing", "/grpc.health.v1.Health/Check", [b"\x0a\x07nothing"])


def good():
    yield infer("one row")
    yield infer("three rows", x(shape=[3, 16]), raw=[floats(3)])
    yield infer("the largest batch", x(shape=[8, 16]), raw=[floats(8)])
    yield infer("typed contents", x(raw=False), raw=[])
    yield infer("version", model_version="1")
    yield infer("without batching", model="plain")
    yield infer("without batching, three rows", x(shape=[3, 16]), raw=[floats(3)], model="plain")
    yield infer("id", id="seven")
    yield infer("id not ASCII", id="é漢😀")
    yield infer("output y", outputs=[output()])
    yield infer("output y with parameters", outputs=[output(binary_data=True)])
    yield infer("outputs twice", outputs=[output(), output()])
    yield infer("priority and timeout", parameters={"priority": 1, "timeout": 1000000})
    yield infer("own parameters", parameters={"a": 1, "b": "text", "c": True})
    yield infer("own double parameter", parameters={"d": 1.5})
    yield infer("sequence parameters", parameters={"sequence_start": False, "sequence_end": False})
    yield infer("every type", *numbers(), raw=[], model="numbers")
    yield infer("every type at its ends", *numbers(ends=True), raw=[], model="numbers")
    yield infer("two outputs of many", *numbers(), raw=[], model="numbers", outputs=[output("bool_out"), output("int8_out")])  # fmt: skip
    halves = [x(name="fp16", datatype="FP16", shape=[1, 2]), x(name="bf16", datatype="BF16", shape=[1, 2])]
    half, brain = struct.pack("<2e", 1.5, -2.0), struct.pack("<2H", 0x3FC0, 0xC000)
    yield infer("halves", *halves, raw=[half, brain], model="halves")
    yield infer("NaN and infinities", raw=[struct.pack("<16f", *([float("nan"), float("inf")] * 8))])
    yield infer("streamed", stream=True)
    yield infer("streamed with id", stream=True, id="seven")
    yield Call("ModelStreamInfer/nothing sent", "ModelStreamInfer", [], True)
    three = [request(id=str(index)).SerializeToString() for index in range(3)]
    yield Call("ModelStreamInfer/three one after the other", "ModelStreamInfer", three, True)


def bad():
    yield infer("unknown model", model="none")
    yield infer("no model name", model="")
    yield infer("unknown version", model_version="2")
    yield infer("version not a number", model_version="one")
    yield infer("version -1", model_version="-1")
    yield infer("version too large", model_version="99999999999999999999")
    yield infer("unknown input", x(name="z"))
    yield infer("input without name", x(name=""))
    yield infer("one input too many", x(), x(name="z"), raw=[floats(), floats()])
    yield infer("input twice", x(), x(), raw=[floats(), floats()])
    yield infer("one input missing", *list(numbers())[1:], raw=[], model="numbers")
    yield Call("ModelInfer/no inputs", "ModelInfer", [pb.ModelInferRequest(model_name="tiny").SerializeToString()])
    yield Call("ModelInfer/empty", "ModelInfer", [b""])
    yield infer("unknown output", outputs=[output("z")])
    yield infer("output without name", outputs=[output("")])
    yield infer("wrong datatype", x(datatype="INT32"))
    yield infer("unknown datatype", x(datatype="FLOAT"))
    yield infer("empty datatype", x(datatype=""))
    yield infer("datatype BYTES", x(datatype="BYTES"))
    yield infer("rank 1", x(shape=[16]))
    yield infer("rank 3", x(shape=[1, 1, 16]))
    yield infer("rank 0", x(shape=[]), raw=[floats()[:4]])
    yield infer("rank 1 without batching", x(shape=[16]), model="plain")
    yield infer("wrong dimension", x(shape=[1, 15]), raw=[floats()[:60]])
    yield infer("too few bytes", raw=[floats()[:63]])
    yield infer("too many bytes", raw=[floats() + b"\0"])
    yield infer("no bytes", raw=[b""])
    yield infer("batch 0", x(shape=[0, 16]), raw=[b""])
    yield infer("batch 0 without batching", x(shape=[0, 16]), raw=[b""], model="plain")
    yield infer("batch too large", x(shape=[9, 16]), raw=[floats(9)])
    yield infer("negative dimension", x(shape=[-1, 16]))
    yield infer("two negative dimensions", x(shape=[-1, -16]))
    yield infer("dimensions that overflow", x(shape=[2**62, 16]))
    yield infer("dimensions whose product is 16 modulo 2^64", x(shape=[2**60 + 1, 16]))
    yield infer("dimension 2^63 - 1", x(shape=[2**63 - 1, 16]))
    yield infer("raw and typed contents", x(raw=False))
    yield infer("neither raw nor typed contents", x(), raw=[])
    yield infer("raw contents of one more", raw=[floats(), floats()])
    yield infer("raw contents of one fewer", *[x(name=n, shape=[1, 2]) for n in ENDS], model="numbers")
    yield infer("too few typed contents", contents("fp32_contents", ROW[:15], "FP32", [1, 16], "x"), raw=[])
    yield infer("too many typed contents", contents("fp32_contents", [*ROW, 1.0], "FP32", [1, 16], "x"), raw=[])
    yield infer("typed contents of another type", contents("fp64_contents", ROW, "FP32", [1, 16], "x"), raw=[])
    two = contents("fp32_contents", ROW, "FP32", [1, 16], "x")
    two.contents.int_contents.extend(range(16))
    yield infer("typed contents of two types", two, raw=[])
    yield infer("int8 128", *numbers(int8=contents("int_contents", [128, 0], "INT8", name="int8")), raw=[], model="numbers")  # fmt: skip
    yield infer("uint16 65536", *numbers(uint16=contents("uint_contents", [65536, 0], "UINT16", name="uint16")), raw=[], model="numbers")  # fmt: skip
    half = [
        contents("fp32_contents", [1, 2], "FP16", name="fp16"),
        contents("fp32_contents", [1, 2], "BF16", name="bf16"),
    ]
    yield infer("typed contents for the halves", *half, raw=[], model="halves")
    yield infer("reserved parameter", parameters={"triton_something": 1})
    yield infer("priority text", parameters={"priority": "high"})
    yield infer("priority negative", parameters={"priority": -1})
    yield infer("timeout text", parameters={"timeout": "1s"})
    yield infer("timeout negative", parameters={"timeout": -1})
    yield infer("sequence_id text", parameters={"sequence_id": "s"})
    yield infer("sequence_start a number", parameters={"sequence_start": 1})
    yield infer("classification", outputs=[output(classification=2)])
    yield infer("classification text", outputs=[output(classification="2")])
    yield infer("shared memory region unknown", tensor_with({"shared_memory_region": "r", "shared_memory_byte_size": 64}), raw=[])  # fmt: skip
    yield infer("shared memory output unknown", outputs=[output(shared_memory_region="r", shared_memory_byte_size=16)])
    yield infer("streamed, unknown model", stream=True, model="none")
    yield infer("streamed, wrong shape", stream=True, id="seven", raw=[floats()[:60]])
    mixed = [request(id="a"), request(x(name="z"), id="b"), request(id="c")]
    yield Call("ModelStreamInfer/the second of three is wrong", "ModelStreamInfer", [m.SerializeToString() for m in mixed], True)  # fmt: skip
    yield Call("ModelInfer/not a message", "ModelInfer", [b"\xff\xff\xff\xff"])
    yield Call("ModelInfer/cut", "ModelInfer", [request().SerializeToString()[:-3]])
    yield Call("ModelInfer/not UTF-8 in the model name", "ModelInfer", [b"\x0a\x02\xff\xfe"])
    yield Call("ServerLive/unknown fields", "ServerLive", [b"\x98\x06\x01"])
    yield Call("ModelInfer/two requests", "ModelInfer", [request().SerializeToString()] * 2, True)


def shared_memory():
    yield call("SystemSharedMemoryStatus")
    yield call("SystemSharedMemoryStatus", text='name: "none"')
    yield call("CudaSharedMemoryStatus")
    yield call("SystemSharedMemoryUnregister", text='name: "none"')
    yield call("CudaSharedMemoryUnregister")
    yield call("SystemSharedMemoryRegister")
    yield call("SystemSharedMemoryRegister", text='name: "r" key: "/no_such_region" byte_size: 64')
    yield call("SystemSharedMemoryRegister", text=f'name: "r" key: "/{REGION}" byte_size: {REGION_SIZE + 1}')
    yield call("SystemSharedMemoryRegister", text=f'name: "r" key: "/{REGION}" byte_size: {REGION_SIZE}')
    yield call("SystemSharedMemoryRegister", text=f'name: "r" key: "/{REGION}" byte_size: 64', note="again")
    yield call("SystemSharedMemoryStatus", note="registered")
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 64}
    yield infer("shared memory in", tensor_with(place), raw=[])
    yield infer("shared memory out", outputs=[output(**place | {"shared_memory_offset": 1024, "shared_memory_byte_size": 16})])  # fmt: skip
    yield infer("shared memory out, too small", outputs=[output(**place | {"shared_memory_byte_size": 15})])
    yield infer("shared memory in, over its end", tensor_with(place | {"shared_memory_offset": REGION_SIZE - 32}), raw=[])  # fmt: skip
    yield infer("shared memory in, offset negative", tensor_with(place | {"shared_memory_offset": -1}), raw=[])
    yield infer("shared memory in, size negative", tensor_with(place | {"shared_memory_byte_size": -1}), raw=[])
    yield infer("shared memory and raw contents", tensor_with(place))
    yield call("SystemSharedMemoryUnregister", note="all")
    yield call("SystemSharedMemoryRegister", text=f'key: "/{REGION}" byte_size: 64')
    yield call("SystemSharedMemoryUnregister", note="all again")


def repository():
    yield call("RepositoryIndex")
    yield call("RepositoryIndex", text="ready: true")
    yield call("RepositoryIndex", text='repository_name: "local"')
    yield call("RepositoryModelLoad")
    yield call("RepositoryModelLoad", text='model_name: "none"')
    yield call("RepositoryModelUnload", text='model_name: "none"')
    yield call("RepositoryModelLoad", text='model_name: "tiny"')
    yield call("RepositoryModelLoad", text='repository_name: "local" model_name: "tiny"')
    yield call("RepositoryModelLoad", text='model_name: "tiny" parameters { key: "other" value { string_param: "a" } }')
    yield call("RepositoryModelUnload", text='model_name: "plain"')
    yield call("ModelReady", text='name: "plain"', note="unloaded")
    yield call("ModelMetadata", text='name: "plain"', note="unloaded")
    yield call("ModelStatistics", text='name: "plain"', note="unloaded")
    yield call("ServerReady", note="one unloaded")
    yield infer("unloaded", model="plain")
    index = call("RepositoryIndex", note="one unloaded")
    index.settles = "UNLOADING"
    yield index
    yield call("RepositoryModelLoad", text='model_name: "plain"')
    yield infer("loaded again", model="plain")


def cases():
    yield from discovery()
    yield from good()
    yield from bad()
    yield from shared_memory()
    yield from repository()
    yield infer("at the end")
