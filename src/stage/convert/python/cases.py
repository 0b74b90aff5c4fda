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
# Of given samples: how many are compared at a time, and in all.
MORE_SAMPLES, MOST_SAMPLES = 8, 64
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
    """Inputs to compare on: the samples, or values drawn by the seed.

    Of drawn values there are two cases where an extent is symbolic: every symbol 1, then 3, 4, .. in their order, so
    that an export which fixed or confused them is found. `smallest` holds known lower bounds.
    """
    if request.samples:
        return sampled(request.samples, inputs)
    symbols = list(dict.fromkeys(extent for each in inputs for extent in each.shape if isinstance(extent, str)))
    at_least = smallest or {}
    sizes = [{symbol: max(FEW_ROWS, at_least.get(symbol, 0)) for symbol in symbols}]
    if symbols:
        sizes.append({symbol: max(MORE_ROWS + i, at_least.get(symbol, 0)) for i, symbol in enumerate(symbols)})
    return [generated(inputs, size, request.seed, case) for case, size in enumerate(sizes)]


def generated(inputs: Sequence[Tensor], sizes: Dict[str, int], seed: int, case: int) -> Arrays:
    source = numpy().random.default_rng([seed, case])
    values = {}
    for each in inputs:
        try:
            values[each.name] = drawn(source, each, sizes)
        except (ValueError, OverflowError) as error:
            within = f" in {list(each.range)}" if each.range else ""
            message = f"no sample values{within} can be made for `{each}`: {described(error)}"
            raise ExportError("inputs", message, "mend its `shape:` and `range:`, or give real ones with `samples:`") from error
    return values


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
    """The samples in file order: the first alone, the others `MORE_SAMPLES` at a time, `MOST_SAMPLES` at most.

    They are counted by axis 0 of the inputs that lead with the first symbol which is no inner extent; other
    inputs are the same in every case. Where all lead with the same number, a case has that many.
    """
    rows = {each.name: fitting(array, each) for each, array in zip(inputs, arrays_of(path, inputs))}
    leading = [each.shape[0] if each.shape else None for each in inputs]
    inner = {extent for each in inputs for extent in each.shape[1:]}
    symbol = next((extent for extent in leading if isinstance(extent, str) and extent not in inner), None)
    fixed = leading[0] if len(set(leading)) == 1 and isinstance(leading[0], int) else None
    split = [each.name for each, extent in zip(inputs, leading) if extent is not None and extent in (symbol, fixed)]
    agree_on_symbols(inputs, rows, symbol)
    same = whole([each for each in inputs if each.name not in split], rows)
    if not split:
        return [same]
    counts = {name: len(rows[name]) for name in split}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of `{name}`" for name, count in counts.items())
        raise ExportError("samples", f"`samples:` holds {told}", "write as many samples of every input: axis 0 counts them")
    return [{**same, **{name: rows[name][begin:end] for name in split}} for begin, end in parts(counts[split[0]], fixed)]


def parts(count: int, fixed: Optional[int]) -> List[Tuple[int, int]]:
    """Where the cases begin and end among so many samples."""
    count = min(count, MOST_SAMPLES if fixed is None else max(MOST_SAMPLES, fixed))
    if fixed is not None:
        return [(begin, begin + fixed) for begin in range(0, count - fixed + 1, fixed)]
    return [(0, 1)] + [(begin, min(begin + MORE_SAMPLES, count)) for begin in range(1, count, MORE_SAMPLES)]


def whole(inputs: Sequence[Tensor], rows: Arrays) -> Arrays:
    """Arrays that no case takes a part of, which have the very shape of the input."""
    for each in inputs:
        if each.shape and isinstance(each.shape[0], int) and each.shape[0] != len(rows[each.name]):
            raise unfit(rows[each.name], each)
    return {each.name: rows[each.name] for each in inputs}


def agree_on_symbols(inputs: Sequence[Tensor], rows: Arrays, counting: Optional[str]) -> None:
    """Every symbol but that which counts the samples is the same extent in all arrays."""
    seen: Dict[str, Tuple[str, int]] = {}
    for each in inputs:
        for extent, size in zip(each.shape, rows[each.name].shape):
            if not isinstance(extent, str) or extent == counting:
                continue
            other, known = seen.setdefault(extent, (each.name, size))
            if known != size:
                message = f"`samples:` has `{extent}` as {known} in `{other}` and as {size} in `{each.name}`"
                raise ExportError("samples", message, "write samples in which extents of the same name are the same")


def arrays_of(path: str, inputs: Sequence[Tensor]) -> List[Any]:
    """The arrays of the inputs: of an .npz by name, or the one of an .npy for a single input."""
    name = os.path.basename(path)
    if not inputs:
        raise ExportError("samples", f"the model takes no inputs, `samples:` names `{name}`", "remove `samples:`")
    help = "name a .npz file with an array for each input, named as it, or for a single input a .npy file"
    try:
        found = numpy().load(path, allow_pickle=False)
        if isinstance(found, numpy().ndarray):
            held = None
        else:
            with found as archive:
                held = list(archive.files)
                arrays = {each.name: archive[each.name] for each in inputs if each.name in held}
    except MemoryError:
        raise
    except Exception as error:
        raise ExportError("samples", f"`samples:` cannot be read from `{name}`: {unreadable(error)}", help) from error
    if held is None and len(inputs) != 1:
        names = listed(each.name for each in inputs)
        raise ExportError("samples", f"`{name}` holds one array, the model takes {len(inputs)}: {names}", help)
    if held is None:
        return [found]
    for each in inputs:
        if each.name not in held:
            message = f"the samples of `{name}` have no array `{each.name}`"
            raise ExportError("samples", message, f"they hold {listed(held) or 'nothing'}; arrays must be named as the inputs")
    return [arrays[each.name] for each in inputs]


def unreadable(error: Exception) -> str:
    if "allow_pickle" in str(error) or "pickled data" in str(error):
        return "it holds pickled Python objects, or is neither .npz nor .npy"
    return described(error)


def fitting(array: Any, tensor: Tensor) -> Any:
    """The array of one input, if its type and shape are the input's; axis 0 may be longer."""
    agrees = len(array.shape) == len(tensor.shape) and all(
        isinstance(extent, str) or extent == size or (axis == 0 and size >= extent)
        for axis, (extent, size) in enumerate(zip(tensor.shape, array.shape))
    )
    if not agrees or str(array.dtype) != tensor.dtype or 0 in array.shape:
        raise unfit(array, tensor)
    return array


def unfit(array: Any, tensor: Tensor) -> ExportError:
    message = f"`samples:` holds `{tensor.name}` as {array.dtype} {list(array.shape)}, the model takes `{tensor}`"
    if 0 in array.shape:
        return ExportError("samples", message, "write at least one sample")
    if str(array.dtype) != tensor.dtype and len(array.shape) == len(tensor.shape):
        return ExportError("samples", message, f"write it in the input's type: `array.astype(\"{tensor.dtype}\")`")
    help = "write it in the input's shape, with axis 0 counting the samples"
    return ExportError("samples", message, help)


def example(inputs: Sequence[Tensor], drawn: Sequence[Arrays]) -> Arrays:
    """The case with the most samples, to export by. A lone sample of an open batch is taken twice:
    exporters take an extent of 1 for a fixed one."""
    largest = max(drawn, key=lambda arrays: sum(array.size for array in arrays.values()))
    symbol = next((each.shape[0] for each in inputs if each.shape and isinstance(each.shape[0], str)), None)
    lone = [each.name for each in inputs if each.shape and each.shape[0] == symbol and len(largest[each.name]) == 1]
    return {name: array.repeat(2, axis=0) if name in lone else array for name, array in largest.items()}


def write_cases(request: Request, cases: Sequence[Arrays], reference: Reference) -> List[Arrays]:
    """Runs the source framework on every case and writes both sides; the outputs."""
    outputs = []
    for index, inputs in enumerate(cases):
        progress(f"running the model as it is, case {index + 1} of {len(cases)}")
        computed = reference(inputs)
        if not computed:
            raise ExportError("export", "the model returns no tensor", "its outputs must be tensors, or lists, tuples and dicts of them")
        folder = os.path.join(request.cases, str(index))
        os.makedirs(folder, exist_ok=True)
        write_npz(os.path.join(folder, "inputs.npz"), inputs)
        write_npz(os.path.join(folder, "outputs.npz"), computed)
        outputs.append(computed)
    return outputs


def says_little(computed: Sequence[Arrays]) -> List[str]:
    """Outputs that are one value in every case: whatever computes that value would agree."""
    np = numpy()
    same = []
    for name in computed[0]:
        values = np.unique(np.concatenate([each[name].ravel() for each in computed]))
        if len(values) == 1 and sum(each[name].size for each in computed) > len(computed):
            same.append(f"`{name}` is {values[0]} everywhere on the sample inputs: the comparison says little of it")
    return same


def write_npz(path: str, arrays: Arrays) -> None:
    """As numpy.savez does, but for any name, and the same bytes each time."""
    np = numpy()
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            if array.dtype.kind not in "biuf":
                message = f"`{name}` is computed as {array.dtype}, and only numbers and booleans can be compared"
                raise ExportError("export", message, "have the model give numbers of a type of numpy's, or leave the output out")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array, order="C"), allow_pickle=False)


def name_outputs(request: Request, found: Sequence[str]) -> List[str]:
    """The outputs' names: those found, or those that the user gave for them in the model's order. Where the
    user gave the very names that were found, in whatever order, each stays what it is."""
    given = list(request.outputs)
    if not given or sorted(given) == sorted(found):
        return list(found)
    if len(given) != len(found):
        message = f"`outputs:` names {len(given)}, the model has {len(found)}: {listed(found)}"
        raise ExportError("outputs", message, "name every output, in the model's order, or none")
    for place, name in enumerate(given):
        if name in found and found.index(name) != place:
            message = f"`outputs:` gives the name `{name}` to the output `{found[place]}`, and the model has another `{name}`"
            raise ExportError("outputs", message, f"new names are given in the model's order: {listed(found)}")
    return given


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
