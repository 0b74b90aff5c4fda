"""PyTorch to ONNX: TorchScript files, `torch.export` programs, state dicts with their module.

Runs what the user gave it: a TorchScript or exported program is code, and so is a module file.
State dicts are read with `weights_only=True`, so a pickle cannot run anything.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import warnings
from dataclasses import dataclass
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases  # noqa: E402
import common  # noqa: E402
import onnx_file  # noqa: E402
import torch_symbolics  # noqa: E402
from common import ExportError, Request, Tensor  # noqa: E402

del sys.path[0]

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

# The dynamo exporter writes this opset and later ones; for earlier ones it would convert back.
FIRST_OPSET_OF_DYNAMO = 18
# Warnings about the exporter's own ways.
NOISE = ("_decide_input_format", "legacy TorchScript-based ONNX export", "shares the same shape constraints")
# Keys under which training scripts keep the state dict of a checkpoint.
STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "module")
UNKNOWN_OPERATOR = re.compile(r"(?:Unknown builtin op: |operator |_OpNamespace ')([A-Za-z_]\w*::\w+)")
UNSUPPORTED = re.compile(
    r"operator '([\w.:]+)' to ONNX|ONNX function found for <OpOverload\(op='([\w.:]+)'|ONNX function found for ([^\n]+)"
)


@dataclass(frozen=True)
class Source:
    """A model that can be run and exported, and what is known of it."""

    module: Any
    inputs: List[Tensor]
    # Names of `forward`'s arguments, in order; empty where they are not known.
    parameters: List[str]
    # The exported program, where the model came as one.
    program: Any = None
    smallest: Optional[Dict[str, int]] = None
    choices: Optional[Dict[str, Any]] = None

    def arguments(self, values: Dict[str, Any]) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """Positional and keyword arguments: by name where the names are those of `forward`."""
        names = [each.name for each in self.inputs]
        if not set(names) <= set(self.parameters):
            return tuple(values[name] for name in names), {}
        leading = next((i for i, name in enumerate(self.parameters) if name not in names), len(self.parameters))
        first = self.parameters[:leading]
        return tuple(values[name] for name in first), {name: values[name] for name in names if name not in first}

    def ordered(self) -> List[Tensor]:
        """The inputs in the order in which the exporters see them."""
        by_name = {each.name: each for each in self.inputs}
        args, kwargs = self.arguments({name: name for name in by_name})
        return [by_name[name] for name in (*args, *kwargs)]


def export(request: Request) -> common.Result:
    common.progress("loading PyTorch")
    torch = common.require("torch", "torch", "exporting a PyTorch model")
    onnx = common.require("onnx", "onnx", "exporting a PyTorch model")
    torch.manual_seed(request.seed)
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operators have no ONNX form
    common.progress("loading the model")
    source = load(torch, request)
    exporter = chosen_exporter(request, source)
    drawn = cases.cases_of(request, source.inputs, source.smallest)
    names, computed = reference_outputs(torch, request, source, drawn)
    common.progress(f"exporting with {exporter}")
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        if exporter == "dynamo":
            export_dynamo(torch, request, source, drawn[-1], names)
        else:
            export_torchscript(torch, request, source, drawn[-1], names)
    common.progress("saving")
    opset = onnx_file.tidy(request, onnx, source.inputs, drawn, computed)
    wanted = request.opset
    notes = cases.says_little(computed) + [each for each in common.noted(records) if not any(noise in each for noise in NOISE)]
    if wanted and wanted != opset:
        notes.insert(0, f"opset {wanted} was asked for, the exporter could only write {opset}")
    call = f"torch.onnx.export(dynamo={exporter == 'dynamo'})"
    return common.Result(call, source.inputs, names, opset, notes, source.choices or {})


# -- loading ---------------------------------------------------------------------------------


def load(torch: Any, request: Request) -> Source:
    if request.kind in ("torch_script", "exported_program"):
        if request.module:
            common.load_module(request.module, "factory")  # it registers the operators of the file
        return load_script(torch, request) if request.kind == "torch_script" else load_program(torch, request)
    if request.kind in ("torch_state_dict", "safetensors"):
        return load_weights(torch, request)
    raise ExportError("not_a_model", f"PyTorch exports no `{request.kind}`", "name a PyTorch model")


def load_script(torch: Any, request: Request) -> Source:
    try:
        module = torch.jit.load(request.model, map_location="cpu").eval()
    except Exception as error:
        raise not_loaded(request, error, "a TorchScript file") from error
    parameters = [each.name for each in module.forward.schema.arguments][1:]
    return Source(module, declared(request, parameters), parameters)


def load_program(torch: Any, request: Request) -> Source:
    with common.logged("torch.export") as messages:
        try:
            program = torch.export.load(request.model)
            module = program.module()
        except Exception as error:
            told = "\n".join(text for _, text in messages)  # the error itself names nothing
            raise not_loaded(request, error, "a program of `torch.export`", told) from error
    inputs, smallest = inputs_of_program(torch, program)
    if request.inputs and not {each.name for each in request.inputs} <= {each.name for each in inputs}:
        if len(request.inputs) != len(inputs):
            cases.merged(inputs, request.inputs, "the program")
        inputs = [Tensor(given.name, own.dtype, own.shape) for given, own in zip(request.inputs, inputs)]
    merged = cases.merged(inputs, request.inputs, "the program")
    bounds = {
        given: smallest.get(own, 0)
        for each, known in zip(merged, inputs)
        for given, own in zip(each.shape, known.shape)
        if isinstance(given, str) and isinstance(own, str)
    }
    return Source(module, merged, [], program, bounds)


def inputs_of_program(torch: Any, program: Any) -> Tuple[List[Tensor], Dict[str, int]]:
    """The inputs as the program declares them, and the smallest value of each symbol; the first
    symbol that leads a shape is called `batch`, programs number theirs."""
    signature = program.graph_signature
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs, batch = [], None
    for name in signature.user_inputs:
        value = values.get(name) if isinstance(name, str) else None
        if not isinstance(value, torch.Tensor):
            message = f"the program's input `{name}` is no tensor"
            raise ExportError("inputs", message, "export the program with tensors as its only arguments")
        shape = tuple(each if isinstance(each, int) else str(each) for each in value.shape)
        batch = batch or (shape[0] if shape and isinstance(shape[0], str) else None)
        shape = tuple("batch" if each == batch else each for each in shape)
        inputs.append(Tensor(name, str(value.dtype).replace("torch.", ""), shape))
    names = ((symbol, str(symbol)) for symbol in program.range_constraints)
    lower = {"batch" if name == batch else name: program.range_constraints[symbol].lower for symbol, name in names}
    return inputs, {symbol: int(low) for symbol, low in lower.items() if low.is_number and low.is_finite}


def load_weights(torch: Any, request: Request) -> Source:
    path = request.module
    if not (path and request.factory):
        raise ExportError(
            "factory",
            "the file holds weights only: nothing in it says what is computed with them",
            "name the Python file and the function that builds the model: `module: net.py`, `factory: build`",
        )
    state, choices = read_weights(torch, request)
    module = built(torch, request, path)
    try:
        module.load_state_dict(state, strict=True)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = f"the weights do not fit what `{request.factory}` builds: {' '.join(lines[1:] or lines)}"
        raise ExportError("factory", message, "see whether `factory:` and `arguments:` are those of the training") from error
    del state
    parameters = [
        each.name
        for each in inspect.signature(module.forward).parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    return Source(module.eval(), declared(request, parameters), parameters, choices=choices)


def read_weights(torch: Any, request: Request) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The tensors by name, and under which key of a checkpoint they were."""
    if request.kind == "safetensors":
        safetensors = common.require("safetensors.torch", "safetensors", "reading safetensors")
        try:
            return safetensors.load_file(request.model), {}
        except Exception as error:
            raise not_loaded(request, error, "a safetensors file") from error
    try:
        loaded = torch.load(request.model, map_location="cpu", weights_only=True)
    except Exception as error:
        raise not_weights(request, error) from error
    return state_dict(torch, loaded)


def state_dict(torch: Any, loaded: Any) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    def is_state_dict(value: Any) -> bool:
        return isinstance(value, dict) and bool(value) and all(isinstance(key, str) for key in value)

    def has_tensors(value: Any) -> bool:
        return is_state_dict(value) and any(isinstance(each, torch.Tensor) for each in value.values())

    keys = [key for key in STATE_DICT_KEYS if is_state_dict(loaded) and has_tensors(loaded.get(key))]
    if keys and not all(isinstance(each, torch.Tensor) for each in loaded.values()):
        return loaded[keys[0]], {"state_dict": keys[0]}
    if has_tensors(loaded):
        return loaded, {}
    what = common.listed(map(str, loaded)) if isinstance(loaded, dict) else f"a {type(loaded).__name__}"
    raise ExportError(
        "not_a_model",
        f"the file holds no state dict but {what}",
        "save one with `torch.save(model.state_dict(), PATH)`",
    )


def built(torch: Any, request: Request, path: str) -> Any:
    """What the user's factory builds; its errors are told with their place in the user's file."""
    user = common.load_module(path, "factory")
    factory = common.user_function(user, path, request.factory, "factory")
    call = f"{request.factory}({', '.join(f'{key}={value!r}' for key, value in request.arguments.items())})"
    try:
        module = factory(**request.arguments)
    except ModuleNotFoundError as error:
        raise common.not_importable(path, error) from error
    except MemoryError:
        raise
    except Exception as error:
        message = f"`{call}` failed: {common.raised_in(error, path)}"
        raise ExportError("factory", message, f"call it with `{sys.executable}`; `arguments:` are its keyword arguments") from error
    if not isinstance(module, torch.nn.Module):
        message = f"`{call}` returned a {type(module).__name__}, no torch.nn.Module"
        raise ExportError("factory", message, "the factory returns the model, to which the weights are given")
    return module


def declared(request: Request, parameters: Sequence[str]) -> List[Tensor]:
    """Inputs that only the user can know: the file does not tell shapes."""
    if request.inputs:
        return list(request.inputs)
    takes = common.listed(parameters) or "unnamed arguments"
    raise ExportError(
        "inputs",
        f"the file does not tell the shapes of the model's inputs; `forward` takes {takes}",
        f"declare them: `inputs: {{ {parameters[0] if parameters else 'x'}: {{ shape: [batch, 3, 224, 224], dtype: float32 }} }}`",
    )


def not_loaded(request: Request, error: Exception, what: str, told: str = "") -> ExportError:
    """Why a file could not be loaded, as far as the message tells."""
    name = os.path.basename(request.model)
    if isinstance(error, MemoryError):
        return common.out_of_memory()
    text = f"{error}\n{told}"
    found = UNKNOWN_OPERATOR.search(text) or re.search(r"failed to resolve torch\.ops\.(\w+\.\w+)", text)
    if found:
        operator = found.group(1).replace(".", "::", 1)
        return ExportError(
            "missing_custom_operator",
            f"`{name}` uses the operator `{operator}`, which PyTorch does not have",
            "name a Python file that registers it (imports the package it comes with) as `module:`",
        )
    message = f"`{name}` cannot be loaded as {what}: {common.described(error)}"
    help = "the file is damaged, or was written by a later PyTorch than the one that exports"
    return ExportError("not_a_model", message, help)


def not_weights(request: Request, error: Exception) -> ExportError:
    name = os.path.basename(request.model)
    unsafe = re.search(r"Unsupported (?:global|class|operand)[^\n]*?([\w.]+)", str(error)) or re.search(r"GLOBAL ([\w.]+)", str(error))
    if "weights_only" in str(error) or "Weights only" in str(error) or unsafe:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        holds = f" (`{named.group(1)}`)" if named else ""
        return ExportError(
            "not_a_model",
            f"`{name}` is a pickle of more than weights{holds}: loading it would run what is in it, so it is not loaded",
            "save the weights alone, `torch.save(model.state_dict(), PATH)`, and name `module:` and `factory:`; "
            "or save TorchScript or a `torch.export` program",
        )
    return not_loaded(request, error, "a state dict")


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
        return {name: value.detach().numpy() for name, (_, value) in zip(names, pairs)}

    computed = cases.write_cases(request, drawn, run)
    return names, computed


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


def chosen_exporter(request: Request, source: Source) -> str:
    """`auto`: dynamo, but not for TorchScript, which it cannot take, nor for opsets before its own."""
    is_script = request.kind == "torch_script"
    early = request.opset is not None and request.opset < FIRST_OPSET_OF_DYNAMO
    if request.exporter == "dynamo" and is_script:
        help = "leave `exporter:` out or write `exporter: torchscript`"
        raise ExportError("export", "the dynamo exporter takes no TorchScript files", help)
    chosen = request.exporter
    if chosen == "auto":
        chosen = "torchscript" if is_script or early else "dynamo"
    if chosen == "dynamo":
        common.require("onnxscript", "onnxscript", "the dynamo exporter of PyTorch")
    return chosen


def export_dynamo(torch: Any, request: Request, source: Source, example: cases.Arrays, names: List[str]) -> None:
    ordered = source.ordered()
    options = dict(
        dynamo=True,
        opset_version=request.opset,
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
        not_exported(error)


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


def export_torchscript(torch: Any, request: Request, source: Source, example: cases.Arrays, names: List[str]) -> None:
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
            opset_version=request.opset,
            input_names=[each.name for each in ordered],
            output_names=names,
            dynamic_axes={name: those for name, those in axes.items() if those} or None,
        )
    except Exception as error:
        not_exported(error)


def parameter_bytes(module: Any) -> int:
    kept = [*module.parameters(), *module.buffers()]
    return sum(each.numel() * each.element_size() for each in kept)


def not_exported(error: Exception) -> NoReturn:
    """Names what the exporter cannot express, as far as its messages tell."""
    chain = list(causes(error))
    text = "\n".join(str(each) for each in chain)
    kinds = {type(each).__name__ for each in chain}
    if isinstance(error, MemoryError):
        raise error
    if kinds & {"UnsupportedOperatorError", "DispatchError"} or UNSUPPORTED.search(text):
        found = UNSUPPORTED.search(text)
        operator = next((each for each in found.groups() if each), "") if found else ""
        message = f"the exporter has no ONNX form of the operator `{operator.strip()}`"
        help = "try a later `opset:` or the other `exporter:`, or write the export yourself with `script:`"
        raise ExportError("unsupported_operator", message, help) from error
    if kinds & {"GuardOnDataDependentSymNode", "UserError", "ConstraintViolationError", "DataDependentOutputException"}:
        raise control_flow(chain, text) from error
    raise ExportError("export", common.described(chain[-1]), "the output above has the whole traceback; the other `exporter:` may do") from error


def causes(error: Optional[BaseException]) -> Any:
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


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
