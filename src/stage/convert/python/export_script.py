"""Runs the user's own export: the file that `script:` names.

The file defines `export(request)`. `request` is the request as a dict: `model` is the path of the
model, `out` the folder for `model.onnx` and its external data, `inputs` and `outputs` what the
spec declares, `arguments` the spec's, `opset` the wanted opset or None. It returns a function that
computes the same with the source framework: from a dict of numpy arrays named as the inputs to a
dict of numpy arrays named as the outputs. The conversion is compared with it.

    def export(request):
        net = load(request["model"])
        write_onnx(net, request["out"] + "/model.onnx")
        return lambda inputs: {"logits": net(inputs["image"])}
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, List, Optional, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases  # noqa: E402
import common  # noqa: E402
from common import Request, Tensor  # noqa: E402

del sys.path[0]

CONTRACT = (
    "it must define `export(request)`, write `model.onnx` into `request[\"out\"]` and return a function "
    "from a dict of input arrays to a dict of output arrays, which the conversion is compared with"
)


def export(request: Request) -> common.Result:
    common.progress("loading the script")
    path = request.script
    module = common.load_module(path, "script")
    function = common.user_function(module, path, "export", "script")
    common.progress("running the script")
    compute = called(function, path, request.json)
    if not os.path.isfile(request.onnx_path):
        raise common.ExportError("script", f"`{os.path.basename(path)}` wrote no model.onnx", CONTRACT)
    if not callable(compute):
        message = f"`export` of `{os.path.basename(path)}` returned {type(compute).__name__}, no function"
        raise common.ExportError("script", message, CONTRACT)
    inputs, outputs, opset = declared(request)
    drawn = cases.cases_of(request, inputs)
    computed = cases.write_cases(request, drawn, lambda arrays: reference(compute, path, arrays, outputs))
    return common.Result(os.path.basename(path), inputs, outputs, opset, cases.says_little(computed))


def called(function: Callable[..., Any], path: str, *arguments: Any) -> Any:
    """Runs the user's function; what it raises is told with its place in the user's file."""
    try:
        return function(*arguments)
    except common.ExportError:
        raise
    except ModuleNotFoundError as error:
        raise common.not_importable(path, error, "script") from error
    except MemoryError:
        raise
    except SystemExit as error:
        raise common.ended(f"`{function.__name__}`", error, path, "script") from error
    except Exception as error:
        raise common.ExportError("script", common.raised_in(error, path), common.with_traceback()) from error


def declared(request: Request) -> Tuple[List[Tensor], List[str], Optional[int]]:
    """The model's inputs with what the spec says of them, its outputs, its opset."""
    onnx = common.require("onnx", "onnx", "reading what the script wrote")
    try:
        model = onnx.load(request.onnx_path, load_external_data=False)
    except Exception as error:
        message = f"what the script wrote is no ONNX model: {common.described(error)}"
        raise common.ExportError("script", message, CONTRACT) from error
    constants = {each.name for each in model.graph.initializer}
    inputs = [tensor(onnx, each) for each in model.graph.input if each.name not in constants]
    outputs = [each.name for each in model.graph.output]
    for name in request.outputs:
        if name not in outputs:
            message = f"the script's model has no output `{name}`, which the spec declares"
            raise common.ExportError("script", message, f"it has {common.listed(outputs)}")
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), None)
    return cases.merged(inputs, request.inputs, "the script's model"), outputs, opset


def tensor(onnx: Any, value: Any) -> Tensor:
    kind = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    extents = [
        each.dim_value if each.HasField("dim_value") else each.dim_param or f"{value.name}_{axis}"
        for axis, each in enumerate(kind.shape.dim)
    ]
    return Tensor(value.name, dtype, tuple(extents))


def reference(compute: Callable[..., Any], path: str, arrays: cases.Arrays, outputs: List[str]) -> cases.Arrays:
    """What the user's function computes, checked for its form."""
    np = cases.numpy()
    computed = called(compute, path, dict(arrays))
    if not isinstance(computed, dict) or sorted(computed) != sorted(outputs):
        names = common.listed(computed) if isinstance(computed, dict) else type(computed).__name__
        message = f"the function that `export` returned gives {names}, the model's outputs are {common.listed(outputs)}"
        raise common.ExportError("script", message, CONTRACT)
    for name, value in computed.items():
        if not isinstance(value, (np.ndarray, np.generic)):
            message = f"the function that `export` returned gives `{name}` as {type(value).__name__}, no numpy array"
            raise common.ExportError("script", message, "return arrays, such as `tensor.detach().numpy()`")
    return {name: np.asarray(computed[name]) for name in outputs}


if __name__ == "__main__":
    common.main(export)
