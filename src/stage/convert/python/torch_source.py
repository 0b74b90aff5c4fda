"""What a file of PyTorch holds, as a model that can be run: TorchScript, `torch.export` programs, state
dicts with their module.

TorchScript is code, and so is a module file: loading them runs what the user gave. Pickles of state dicts
and of a program's sample inputs are read with `weights_only=True`, so they cannot run anything.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import warnings
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cases
import common
from common import ExportError, Request, Tensor

# Keys under which training scripts keep the state dict of a checkpoint.
STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "module")
# What TorchScript takes a tensor for.
TENSORS = ("Tensor", "Optional[Tensor]", "int", "float", "bool", "number", "Scalar")
UNKNOWN_OPERATOR = re.compile(r"(?:Unknown builtin op: |operator |_OpNamespace ')([A-Za-z_]\w*::\w+)")


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


def load(torch: Any, request: Request) -> Source:
    common.check_archive(request.model)
    if request.kind in ("torch_script", "exported_program"):
        return load_script(torch, request) if request.kind == "torch_script" else load_program(torch, request)
    if request.kind in ("torch_state_dict", "safetensors"):
        return load_weights(torch, request)
    raise ExportError("not_a_model", f"PyTorch exports no `{request.kind}`", "name a PyTorch model")


def load_script(torch: Any, request: Request) -> Source:
    try:
        module = torch.jit.load(request.model, map_location="cpu").eval()
    except Exception as error:
        raise not_loaded(request, error, "a TorchScript file") from error
    types = {each.name: str(each.type) for each in module.forward.schema.arguments[1:]}
    for name, kind in types.items():
        if kind not in TENSORS:
            message = f"`forward` takes `{name}` as {kind}, and an ONNX model takes tensors only"
            raise ExportError("inputs", message, "save a model whose `forward` takes tensors, or write the export yourself with `script:`")
    # All of them: the exporter fills in no defaults.
    return Source(module, declared(request, list(types), list(types)), list(types))


def load_program(torch: Any, request: Request) -> Source:
    # Sample inputs are pickles in the program, which PyTorch would otherwise run if they are no tensors.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    with common.logged("torch.export") as messages, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the file's bytes are read-only
        try:
            program = torch.export.load(request.model)
            module = program.module()
        except Exception as error:
            told = next((text for _, text in reversed(messages)), "")  # the error itself may name nothing
            raise program_not_loaded(request, error, told) from error
    del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
    inputs, smallest = inputs_of_program(torch, program)
    given, own = ({each.name for each in some} for some in (request.inputs, inputs))
    if not given <= own:
        if len(request.inputs) != len(inputs) or given & own:
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
        help = "see whether `factory:` and `arguments:` are those of the training"
        if all(key.startswith("module.") for key in state):
            help = "every name begins with `module.`, as DataParallel saves them: save `model.module.state_dict()`"
        raise ExportError("factory", message, help) from error
    del state
    arguments = inspect.signature(module.forward).parameters.values()
    variadic = [each for each in arguments if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    parameters = [each.name for each in arguments if each not in variadic]
    required = [each.name for each in arguments if each.default is each.empty and each not in variadic]
    inputs = declared(request, parameters, required, bool(variadic))
    return Source(module.eval(), inputs, parameters, choices=choices)


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
    user = common.load_module(path, "module")
    factory = common.user_function(user, path, request.factory, "factory")
    call = f"{request.factory}({', '.join(f'{key}={value!r}' for key, value in request.arguments.items())})"
    try:
        module = factory(**request.arguments)
    except ModuleNotFoundError as error:
        raise common.not_importable(path, error, "module") from error
    except MemoryError:
        raise
    except SystemExit as error:
        raise common.ended(f"`{call}`", error, path, "factory") from error
    except Exception as error:
        message = f"`{call}` failed: {common.raised_in(error, path)}"
        raise ExportError("factory", message, f"call it with `{sys.executable}`; `arguments:` are its keyword arguments") from error
    if not isinstance(module, torch.nn.Module):
        message = f"`{call}` returned a {type(module).__name__}, no torch.nn.Module"
        raise ExportError("factory", message, "the factory returns the model, to which the weights are given")
    return module


def declared(request: Request, parameters: Sequence[str], required: Sequence[str], open_ended: bool = False) -> List[Tensor]:
    """Inputs that only the user can know, the file does not tell shapes. By name where `forward` knows all
    names, else in its order; an open-ended one takes more than it names."""
    takes = common.listed(parameters) or ("unnamed arguments" if open_ended else "no arguments")
    names = [each.name for each in request.inputs]
    if not names and (parameters or open_ended):
        raise ExportError(
            "inputs",
            f"the file does not tell the shapes of the model's inputs; `forward` takes {takes}",
            f"declare them: `inputs: {{ {parameters[0] if parameters else 'x'}: {{ shape: [batch, 3, 224, 224], dtype: float32 }} }}`",
        )
    by_name = set(names) <= set(parameters)
    known = [name for name in names if name in parameters]
    if known and not by_name and not open_ended:
        unknown = common.listed(name for name in names if name not in parameters)
        message = f"`forward` takes {takes}, and `inputs:` declares {common.listed(known)} and also {unknown}"
        raise ExportError("inputs", message, "name them as `forward` does, or give all of them other names, in its order")
    missing = [name for name in required if name not in names] if by_name else required[len(names) :]
    if missing or (len(names) > len(parameters) and not open_ended):
        optional = [name for name in parameters if name not in required]
        may_lack = f" ({common.listed(optional)} may be left out)" if optional else ""
        message = f"`forward` takes {takes}{may_lack}, `inputs:` declares {common.listed(names) or 'none'}"
        help = f"declare {common.listed(missing)} as well" if missing else "remove what `forward` does not take"
        raise ExportError("inputs", message, help)
    return list(request.inputs)


def not_loaded(request: Request, error: Exception, what: str, told: str = "") -> ExportError:
    """Why a file could not be loaded, as far as the message tells."""
    name = os.path.basename(request.model)
    if isinstance(error, MemoryError):
        return common.out_of_memory()
    text = f"{error}\n{told}"
    found = UNKNOWN_OPERATOR.search(text) or re.search(r"resolve torch\.ops\.(\w+\.\w+)", text)
    if found:
        operator = found.group(1).replace(".", "::", 1)
        return ExportError(
            "missing_custom_operator",
            f"`{name}` uses the operator `{operator}`, which PyTorch does not have",
            "write the export yourself with `script:`, which can import what registers it and say what it is in ONNX",
        )
    message = f"`{name}` cannot be loaded as {what}: {told or common.described(error)}"
    help = "the file is damaged, or was written by a later PyTorch than the one that exports"
    return ExportError("not_a_model", message, help)


def program_not_loaded(request: Request, error: Exception, told: str) -> ExportError:
    if "Weights only load failed" not in str(error):
        return not_loaded(request, error, "a program of `torch.export`", told)
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    message = f"`{os.path.basename(request.model)}` holds pickled Python objects{f' (`{found.group(1)}`)' if found else ''}"
    help = "export the program with tensors as its only arguments"
    return ExportError("not_a_model", f"{message}: loading it would run what is in them, so it is not loaded", help)


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
