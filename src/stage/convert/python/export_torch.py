"""PyTorch to ONNX: TorchScript files, `torch.export` programs, state dicts with their module."""

from __future__ import annotations

import os
import re
import sys
import warnings
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases  # noqa: E402
import common  # noqa: E402
import onnx_file  # noqa: E402
import torch_symbolics  # noqa: E402
from common import ExportError, Request  # noqa: E402
from torch_source import Source, load  # noqa: E402

del sys.path[0]

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

# The dynamo exporter writes this opset and converts to others.
FIRST_OPSET_OF_DYNAMO = 18
# Where none is asked for: the same with every PyTorch, and widely read.
DEFAULT_OPSET = 18
# Warnings about the exporter's own ways.
NOISE = ("_decide_input_format", "legacy TorchScript-based ONNX export", "shares the same shape constraints")
UNSUPPORTED = re.compile(
    r"operator '([\w.:]+)' to ONNX|ONNX function found for <OpOverload\(op='([\w.:]+)'|ONNX function found for ([^\n]+)"
)
# What `nn.MultiheadAttention` and the layers of `nn.Transformer*` become when they are traced for inference.
FUSED = ("_native_multi_head_attention", "_transformer_encoder_layer_fwd")


def export(request: Request) -> common.Result:
    common.progress("loading PyTorch")
    others = [("onnx", "onnx"), ("onnxscript", "onnxscript")]
    torch = common.require("torch", "torch", "exporting a PyTorch model", others)
    onnx = common.require("onnx", "onnx", "exporting a PyTorch model")
    torch.manual_seed(request.seed)
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operators have no ONNX form
    common.progress("loading the model")
    source = load(torch, request)
    exporter = chosen_exporter(torch, request)
    drawn = cases.cases_of(request, source.inputs, source.smallest)
    names, computed = reference_outputs(torch, request, source, drawn)
    example = cases.example(source.inputs, drawn)
    wanted = request.opset or default_opset(torch, exporter)
    common.progress(f"exporting with {exporter}")
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        if exporter == "dynamo":
            export_dynamo(torch, request, source, example, names, wanted)
        else:
            export_torchscript(torch, request, source, example, names, wanted)
    common.progress("saving")
    opset = onnx_file.tidy(request, onnx, source.inputs, drawn, computed)
    inputs, left_out = onnx_file.kept_inputs(request, onnx, source.inputs)
    notes = switched(request, exporter) + left_out + cases.says_little(computed) + [each for each in common.noted(records) if not any(noise in each for noise in NOISE)]
    if wanted != opset:
        notes.insert(0, f"opset {wanted} was asked for{'' if request.opset else ' by default'}, the exporter could only write {opset}")
    call = f"torch.onnx.export(dynamo={exporter == 'dynamo'})"
    return common.Result(call, inputs, names, opset, notes, source.choices or {})


# -- running ---------------------------------------------------------------------------------


def reference_outputs(
    torch: Any, request: Request, source: Source, drawn: Sequence[cases.Arrays]
) -> Tuple[List[str], List[cases.Arrays]]:
    """Runs the model on every case; the names of its outputs and what they were."""
    names: List[str] = []

    def run(arrays: cases.Arrays) -> cases.Arrays:
        pairs = tensors_of(torch, source, arrays)
        if not names:
            names.extend(cases.name_outputs(request, cases.output_names(pairs)))
        return {name: array(torch, name, value) for name, (_, value) in zip(names, pairs)}

    computed = cases.write_cases(request, drawn, run)
    return names, computed


def array(torch: Any, name: str, value: Any) -> Any:
    """An output as numpy has it; numpy has no bfloat16, float32 holds the same."""
    try:
        return (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
    except (TypeError, RuntimeError) as error:
        help = "have the model give dense tensors of a type of numpy's"
        raise ExportError("export", f"the output `{name}` cannot be compared: {common.described(error)}", help) from error


def tensors_of(torch: Any, source: Source, arrays: cases.Arrays) -> List[Tuple[str, Any]]:
    args, kwargs = source.arguments(tensors(torch, arrays))
    try:
        with torch.no_grad():
            result = source.module(*args, **kwargs)
    except MemoryError:
        raise
    except Exception as error:
        given = ", ".join(f"{name}: {value.dtype} {list(value.shape)}" for name, value in arrays.items())
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        message = f"the model fails on sample inputs ({given}): {type(error).__name__}: {lines[-1].strip()}"
        help = "declare `inputs:` as the model takes them (type, shape, `range:` for indices), or give real ones with `samples:`"
        raise ExportError("inputs", message, help) from error
    return cases.flattened(result, torch.is_tensor)


def tensors(torch: Any, arrays: cases.Arrays) -> Dict[str, Any]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


# -- exporting -------------------------------------------------------------------------------


def chosen_exporter(torch: Any, request: Request) -> str:
    """`auto`: dynamo, but not for TorchScript, which it cannot take, nor for opsets before its own."""
    is_script = request.kind == "torch_script"
    early = request.opset is not None and request.opset < FIRST_OPSET_OF_DYNAMO
    if request.exporter == "dynamo" and is_script:
        help = "leave `exporter:` out or write `exporter: torchscript`"
        raise ExportError("exporter", "the dynamo exporter takes no TorchScript files", help)
    chosen = request.exporter
    if chosen == "auto":
        chosen = "torchscript" if is_script or early else "dynamo"
    if chosen == "dynamo":
        common.require("onnxscript", "onnxscript", "the dynamo exporter of PyTorch")
    else:
        common.check_opset(request, opsets_of_torchscript(torch), f"the TorchScript exporter of PyTorch {torch.__version__}")
    return chosen


def opsets_of_torchscript(torch: Any) -> range:
    """Those that it says it writes; empty where this PyTorch does not say."""
    constants = getattr(torch.onnx, "_constants", None)
    first = getattr(constants, "ONNX_MIN_OPSET", 0)
    last = getattr(constants, "ONNX_TORCHSCRIPT_EXPORTER_MAX_OPSET", None) or getattr(constants, "ONNX_MAX_OPSET", -1)
    return range(first, last + 1)


def default_opset(torch: Any, exporter: str) -> int:
    opsets = opsets_of_torchscript(torch) if exporter == "torchscript" else None
    return min(DEFAULT_OPSET, opsets[-1]) if opsets else DEFAULT_OPSET


def switched(request: Request, exporter: str) -> List[str]:
    """Why `auto` did not take the newer exporter, where a setting is the reason."""
    if request.exporter != "auto" or request.kind == "torch_script" or exporter == "dynamo":
        return []
    return [f"exported by the older, TorchScript exporter: opset {request.opset} is before {FIRST_OPSET_OF_DYNAMO}, the newer one's first"]


def export_dynamo(torch: Any, request: Request, source: Source, example: cases.Arrays, names: List[str], opset: int) -> None:
    ordered = source.ordered()
    options = dict(
        dynamo=True,
        opset_version=opset,
        input_names=[each.name for each in ordered],
        output_names=names,
        verbose=False,
    )
    args, kwargs = source.arguments(tensors(torch, example))
    try:
        if source.program is not None:
            program = torch.onnx.export(source.program, **options)
        else:
            shapes = dynamic_shapes(torch, source)
            program = torch.onnx.export(source.module, args, kwargs=kwargs, dynamic_shapes=shapes, **options)
        external = parameter_bytes(source.module) > onnx_file.LARGEST_SINGLE_FILE
        program.save(request.onnx_path, external_data=external)
    except Exception as error:
        not_exported(request, error)


def dynamic_shapes(torch: Any, source: Source) -> Any:
    """Per input its symbolic axes; the same symbol is the same `Dim`."""
    dims: Dict[str, Any] = {}
    shapes = {
        each.name: {
            axis: dims.setdefault(extent, torch.export.Dim(extent))
            for axis, extent in enumerate(each.shape)
            if isinstance(extent, str)
        }
        for each in source.ordered()
    }
    if not dims:
        return None
    return shapes if set(shapes) <= set(source.parameters) else tuple(shapes.values())


def export_torchscript(torch: Any, request: Request, source: Source, example: cases.Arrays, names: List[str], opset: int) -> None:
    ordered = source.ordered()
    axes = {
        each.name: {axis: extent for axis, extent in enumerate(each.shape) if isinstance(extent, str)}
        for each in ordered
    }
    args, kwargs = source.arguments(tensors(torch, example))
    torch_symbolics.register(torch)
    if source.program is not None:
        source.module.train = lambda mode=True: source.module  # programs have one mode and refuse to be told
    try:
        torch.onnx.export(
            source.module,
            args,
            request.onnx_path,
            kwargs=kwargs or None,
            dynamo=False,
            opset_version=opset,
            input_names=[each.name for each in ordered],
            output_names=names,
            dynamic_axes={name: those for name, those in axes.items() if those} or None,
        )
    except Exception as error:
        not_exported(request, error)


def parameter_bytes(module: Any) -> int:
    kept = [*module.parameters(), *module.buffers()]
    return sum(each.numel() * each.element_size() for each in kept)


def not_exported(request: Request, error: Exception) -> NoReturn:
    """Names what the exporter cannot express, as far as its messages tell."""
    chain = list(common.causes(error))
    text = "\n".join(str(each) for each in chain)
    kinds = {type(each).__name__ for each in chain}
    other = "a program of `torch.export` in place of TorchScript" if request.kind == "torch_script" else "the other `exporter:`"
    if isinstance(error, MemoryError):
        raise error
    if kinds & {"UnsupportedOperatorError", "DispatchError"} or UNSUPPORTED.search(text):
        found = UNSUPPORTED.search(text)
        operator = next((each for each in found.groups() if each), "") if found else ""
        message = f"the exporter has no ONNX form of the operator `{operator.strip()}`"
        help = f"try a later `opset:` or {other}, or write the export yourself with `script:`"
        if any(name in operator for name in FUSED):
            help = "trace the model after `torch.backends.mha.set_fastpath_enabled(False)`: attention is not fused then"
        raise ExportError("unsupported_operator", message, help) from error
    if kinds & {"GuardOnDataDependentSymNode", "UserError", "ConstraintViolationError", "DataDependentOutputException"}:
        raise control_flow(chain, text) from error
    raise ExportError("export", common.described(chain[-1]), f"{common.with_traceback()}; {other} may do") from error


def control_flow(chain: Sequence[BaseException], text: str) -> ExportError:
    if "Constraints violated" in text or "specialized" in text:
        lines = [line.strip(" -") for line in text.splitlines() if "specialized" in line or "not all values" in line.lower()]
        reason = lines[0] if lines else common.described(chain[-1])
        message = f"a symbolic extent is fixed by the model: {reason}"
        return ExportError("inputs", message, "give that extent as a number, or make the model independent of it")
    place = re.findall(r'File "([^"]+)", line (\d+), in (\w+)\n\s+(.+)', text)
    user = [each for each in place if "site-packages" not in each[0] and "dist-packages" not in each[0]]
    where = f" at {os.path.basename(user[-1][0])}, line {user[-1][1]}, in {user[-1][2]}: `{user[-1][3].strip()}`" if user else ""
    message = f"the model's control flow depends on values{where}: {common.described(chain[-1])}"
    help = "write it with torch.where or torch.cond, or script the model (`torch.jit.script`), which keeps branches and loops"
    return ExportError("control_flow", message, help)


if __name__ == "__main__":
    common.main(export)
