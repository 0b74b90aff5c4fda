"""Sample inputs, and what the source framework computes on them. Knows no framework."""

from __future__ import annotations

import collections.abc
import math
import os
import zipfile
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from common import ExportError, Request, Tensor, described, listed, progress, require

Arrays = Dict[str, Any]
Reference = Callable[[Arrays], Arrays]

FEW_ROWS, MORE_ROWS = 1, 3
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64")


def merged(inferred: Sequence[Tensor], given: Sequence[Tensor], what: str) -> List[Tensor]:
    """The model's inputs with what the user said about them, by name."""
    by_name = {each.name: each for each in given}
    for name in by_name:
        if name not in {each.name for each in inferred}:
            raise ExportError(
                "inputs",
                f"{what} has no input `{name}`",
                f"it takes {'; '.join(map(str, inferred)) or 'no inputs'}",
            )
    for each in inferred:
        if each.name in by_name:
            agree(each, by_name[each.name], what)
    return [replace(by_name.get(each.name, each)) for each in inferred]


def agree(model: Tensor, given: Tensor, what: str) -> None:
    fits = len(model.shape) == len(given.shape) and all(
        isinstance(own, str) or own == extent for own, extent in zip(model.shape, given.shape)
    )
    if not fits or model.dtype != given.dtype:
        raise ExportError("inputs", f"{what} takes `{model}`, `inputs:` says `{given}`", "declare it as the model has it")


def numpy() -> Any:
    return require("numpy", "numpy", "writing what the model computes")


def cases_of(request: Request, inputs: Sequence[Tensor], smallest: Optional[Dict[str, int]] = None) -> List[Arrays]:
    """Inputs to compare on: the first rows of the samples, or values drawn by the seed.

    With a symbolic extent there are two cases: every symbol 1, then 3, 4, .. in their order, so
    that an export which fixed or confused them is found. `smallest` holds known lower bounds.
    """
    symbols = list(dict.fromkeys(extent for each in inputs for extent in each.shape if isinstance(extent, str)))
    at_least = smallest or {}
    sizes = [{symbol: max(FEW_ROWS, at_least.get(symbol, 0)) for symbol in symbols}]
    if symbols:
        sizes.append({symbol: max(MORE_ROWS + i, at_least.get(symbol, 0)) for i, symbol in enumerate(symbols)})
    if request.samples:
        return sampled(request.samples, inputs)
    return [generated(inputs, size, request.seed, case) for case, size in enumerate(sizes)]


def generated(inputs: Sequence[Tensor], sizes: Dict[str, int], seed: int, case: int) -> Arrays:
    source = numpy().random.default_rng([seed, case])
    return {each.name: drawn(source, each, sizes) for each in inputs}


def drawn(source: Any, tensor: Tensor, sizes: Dict[str, int]) -> Any:
    """Values within the tensor's range, 0 to 1 where it has none."""
    shape = [sizes[extent] if isinstance(extent, str) else extent for extent in tensor.shape]
    low, high = tensor.range or (0, 1)
    if tensor.dtype in FLOATS:
        return numpy().asarray(source.uniform(low, high, shape), tensor.dtype)
    if tensor.dtype in INTEGERS:
        return numpy().asarray(source.integers(math.ceil(low), math.floor(high), shape, endpoint=True), tensor.dtype)
    if tensor.dtype == "bool":
        return numpy().asarray(source.integers(0, 1, shape, endpoint=True), bool)
    raise ExportError(
        "inputs",
        f"no sample values can be made for `{tensor}`",
        f"inputs may be {listed([*FLOATS, *INTEGERS, 'bool'], 20)}",
    )


def sampled(path: str, inputs: Sequence[Tensor]) -> List[Arrays]:
    """The first rows of the arrays named as the inputs."""
    try:
        with numpy().load(path, allow_pickle=False) as archive:
            rows = {each.name: fitting(archive, each) for each in inputs}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError("inputs", f"the samples cannot be read: {described(error)}", "`samples:` must be a .npz file") from error
    batched = all(each.shape and isinstance(each.shape[0], str) for each in inputs)
    counts = [FEW_ROWS, MORE_ROWS] if batched else [None]
    return [
        {each.name: rows[each.name][: count or each.shape[0]] if each.shape else rows[each.name] for each in inputs}
        for count in counts
    ]


def fitting(archive: Any, tensor: Tensor) -> Any:
    """The array of one input, if its type and shape are the input's."""
    if tensor.name not in archive.files:
        raise ExportError(
            "inputs",
            f"the samples have no array `{tensor.name}`",
            f"they hold {listed(archive.files) or 'nothing'}; arrays must be named as the inputs",
        )
    array = archive[tensor.name]
    agrees = len(array.shape) == len(tensor.shape) and all(
        isinstance(extent, str) or extent == size or (axis == 0 and size >= extent)
        for axis, (extent, size) in enumerate(zip(tensor.shape, array.shape))
    )
    if not agrees or str(array.dtype) != tensor.dtype or 0 in array.shape:
        raise ExportError(
            "inputs",
            f"the samples hold `{tensor.name}` as {array.dtype} {list(array.shape)}, the model takes `{tensor}`",
            "write the samples in the input's type and shape, rows first",
        )
    return array


def write_cases(request: Request, cases: Sequence[Arrays], reference: Reference) -> List[Arrays]:
    """Runs the source framework on every case and writes both sides; the outputs."""
    outputs = []
    for index, inputs in enumerate(cases):
        progress(f"running the model as it is, case {index + 1} of {len(cases)}")
        computed = reference(inputs)
        folder = os.path.join(request.cases, str(index))
        os.makedirs(folder, exist_ok=True)
        write_npz(os.path.join(folder, "inputs.npz"), inputs)
        write_npz(os.path.join(folder, "outputs.npz"), computed)
        outputs.append(computed)
    return outputs


def write_npz(path: str, arrays: Arrays) -> None:
    """As numpy.savez does, but for any name, and the same bytes each time."""
    np = numpy()
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise ExportError("export", f"`{name}` holds {array.dtype}, which ONNX engines cannot compare", "leave it out of `outputs:`")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array, order="C"), allow_pickle=False)


def name_outputs(request: Request, found: Sequence[str], kind: str = "inputs") -> List[str]:
    """The outputs' names: those that the user gave, or those found."""
    if request.outputs and len(request.outputs) != len(found):
        raise ExportError(
            kind,
            f"`outputs:` names {len(request.outputs)}, the model has {len(found)}: {listed(found)}",
            "name every output, in the model's order, or none",
        )
    return list(request.outputs or found)


def flattened(value: Any, is_tensor: Callable[[Any], bool], name: str = "") -> List[Tuple[str, Any]]:
    """The tensors of nested outputs in their order, each with a name made of keys and positions."""
    if is_tensor(value):
        return [(name, value)]
    if value is None:
        return []
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif hasattr(value, "__dataclass_fields__") and not isinstance(value, collections.abc.Mapping):
        value = {key: getattr(value, key) for key in value.__dataclass_fields__}
    if isinstance(value, collections.abc.Mapping):
        parts: List[Tuple[str, Any]] = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(str(index), each) for index, each in enumerate(value)]
    else:
        raise ExportError(
            "export",
            f"the model returns a {type(value).__name__}, which is no tensor",
            "its outputs must be tensors, or lists, tuples and dicts of them",
        )
    named = ((f"{name}_{key}" if name else key, each) for key, each in parts)
    return [pair for key, each in named for pair in flattened(each, is_tensor, key)]


def output_names(pairs: Sequence[Tuple[str, Any]]) -> List[str]:
    """`output` for one tensor, `output_0`, .. for a tuple's, the keys for a dict's."""
    return [f"output_{name}" if name[:1].isdigit() else name or "output" for name, _ in pairs]
