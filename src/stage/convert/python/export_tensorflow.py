"""TensorFlow to ONNX by tf2onnx: SavedModels, frozen graphs, Keras files.

Each becomes a frozen graph with the names its users know (those of a signature, of Keras, or of
the graph's nodes), which is converted and run as the reference. Loading a SavedModel or a Keras
file runs what is in it; Keras keeps its safe mode, which refuses lambdas.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases  # noqa: E402
import common  # noqa: E402
import onnx_file  # noqa: E402
from common import ExportError, Request, Tensor  # noqa: E402

del sys.path[0]

# Signatures that TensorFlow keeps for itself.
OWN_SIGNATURES = ("__saved_model_init_op", "__saved_model_train_op")
VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
TABLES = ("HashTable", "HashTableV2", "MutableHashTableV2")
UNSUPPORTED = re.compile(r"Tensorflow op \[(.+?): (.+?)\] is not supported")


@dataclass(frozen=True)
class Source:
    """A frozen graph: names as users know them, and the graph's own (`node:0`) beside them."""

    graph_def: Any
    inputs: List[Tensor]
    input_tensors: List[str]
    outputs: List[str]
    output_tensors: List[str]
    run: cases.Reference
    large: bool = False
    choices: Dict[str, Any] = field(default_factory=dict)


def export(request: Request) -> common.Result:
    common.progress("loading TensorFlow")
    if request.exporter != "auto":
        help = "`exporter:` chooses between PyTorch's exporters: leave it out"
        raise ExportError("export", f"TensorFlow models have no exporter `{request.exporter}`", help)
    tf = common.require("tensorflow", "tensorflow-cpu", "exporting a TensorFlow model")
    onnx = common.require("onnx", "onnx", "exporting a TensorFlow model")
    tf2onnx = common.require("tf2onnx", "tf2onnx", "exporting a TensorFlow model")
    tf.random.set_seed(request.seed)
    common.progress("loading the model")
    source = load(tf, request)
    drawn = cases.cases_of(request, source.inputs)
    computed = cases.write_cases(request, drawn, source.run)
    common.progress("exporting with tf2onnx")
    with warnings.catch_warnings(record=True) as records, logged("tf2onnx") as messages:
        warnings.simplefilter("always")
        convert(request, onnx, tf2onnx, source, messages)
    common.progress("saving")
    opset = onnx_file.tidy(request, onnx, source.inputs, output_extents(source, drawn, computed))
    check_names(request, onnx, source)
    notes = common.noted(records) + [text for level, text in messages if level >= logging.WARNING]
    return common.Result("tf2onnx", source.inputs, source.outputs, opset, notes, source.choices)


# -- loading ---------------------------------------------------------------------------------


def load(tf: Any, request: Request) -> Source:
    loaders: Dict[str, Callable[[Any, Request], Source]] = {
        "saved_model": load_saved_model,
        "keras": load_keras,
        "graph_def": load_graph_def,
    }
    if request.kind not in loaders:
        raise ExportError("not_a_model", f"TensorFlow exports no `{request.kind}`", "name a TensorFlow model")
    return loaders[request.kind](tf, request)


def load_saved_model(tf: Any, request: Request) -> Source:
    try:
        loaded = tf.saved_model.load(request.model)
    except Exception as error:
        raise not_loaded(request, error, "a SavedModel") from error
    signatures = {key: each for key, each in loaded.signatures.items() if key not in OWN_SIGNATURES}
    key = chosen_signature(request, signatures)
    return frozen(tf, request, signatures[key], f"signature `{key}`", {"signature": key}, loaded)


def chosen_signature(request: Request, signatures: Dict[str, Any]) -> str:
    told = "; ".join(f"`{key}` {described(each)}" for key, each in sorted(signatures.items()))
    if not signatures:
        help = "save it with one: `tf.saved_model.save(model, PATH, signatures=function)`, or `model.export(PATH)` of Keras"
        raise ExportError("signature", "the SavedModel has no signature", help)
    if request.signature is None and same(signatures):
        return "serving_default" if "serving_default" in signatures else min(signatures)
    if request.signature is None:
        help = f"choose one: `signature: {sorted(signatures)[0]}`"
        raise ExportError("signature", f"the SavedModel has {len(signatures)} signatures: {told}", help)
    key = request.signature or next(iter(signatures))
    if key not in signatures:
        raise ExportError("signature", f"the SavedModel has no signature `{key}`", f"it has {told}")
    return key


def same(signatures: Dict[str, Any]) -> bool:
    """Whether all are one function: Keras exports its one under two names."""
    graphs = set()
    for each in signatures.values():
        graph = each.graph.as_graph_def()
        graphs.add(graph.SerializeToString(deterministic=True))
    return len(graphs) == 1


def described(function: Any) -> str:
    takes = ", ".join(sorted(function.structured_input_signature[1]))
    gives = function.structured_outputs
    return f"({takes} -> {', '.join(sorted(gives)) if isinstance(gives, dict) else 'tensors'})"


def load_keras(tf: Any, request: Request) -> Source:
    keras = common.require("keras", "keras", "loading a Keras file")
    try:
        model = keras.models.load_model(request.model, compile=False)
    except Exception as error:
        raise not_loaded(request, error, "a Keras file") from error
    if not getattr(model, "inputs", None):
        help = "build it before it is saved: call it once, or give its layers an input shape"
        raise ExportError("not_a_model", "the Keras model was saved before its inputs were known", help)
    names = [name_of(each) for each in model.inputs]
    signature = [tf.TensorSpec(each.shape, each.dtype, name=name) for each, name in zip(model.inputs, names)]
    outputs = list(getattr(model, "output_names", None) or [])

    @tf.function(input_signature=signature, autograph=False)
    def serve(*values: Any) -> Dict[str, Any]:
        result = model(values[0] if len(values) == 1 else list(values), training=False)
        pairs = cases.flattened(result, tf.is_tensor)
        known = outputs if len(outputs) == len(pairs) and len(set(outputs)) == len(pairs) else cases.output_names(pairs)
        return dict(zip(known, (value for _, value in pairs)))

    concrete = serve.get_concrete_function()
    return frozen(tf, request, concrete, "the Keras model", {}, model, names)


def name_of(tensor: Any) -> str:
    return str(tensor.name).split(":")[0]


def frozen(
    tf: Any, request: Request, function: Any, what: str, choices: Dict[str, Any], owner: Any, names: Optional[List[str]] = None
) -> Source:
    """A concrete function with its variables as constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    named = dict(function.structured_input_signature[1])
    if names:
        named = dict(zip(names, function.inputs))
    inputs = cases.merged([tensor(name, named[name]) for name in sorted_as(function, named)], request.inputs, what)
    outputs, output_tensors = outputs_of(request, function, what)
    size = sum(each.dtype.size * (each.shape.num_elements() or 0) for each in function.variables)
    large = size > onnx_file.LARGEST_SINGLE_FILE
    input_tensors = inputs_of(function, [each.name for each in inputs], names)
    if large:
        from tf2onnx import tf_loader

        graph_def = tf_loader.from_function(function, input_tensors, output_tensors, large_model=True)
    else:
        graph_def = convert_variables_to_constants_v2(function, lower_control_flow=False).graph.as_graph_def()

    def run(arrays: cases.Arrays) -> cases.Arrays:
        values = {name: tf.constant(array) for name, array in arrays.items()}
        result = failing_told(arrays, lambda: function(*values.values()) if names else function(**values))
        return {name: result[key].numpy() for name, key in zip(outputs, sorted(result))}

    # `owner` holds the variables for as long as `run` lives.
    run.owner = owner  # type: ignore[attr-defined]
    return Source(graph_def, inputs, input_tensors, outputs, output_tensors, run, large, choices)


def sorted_as(function: Any, named: Dict[str, Any]) -> List[str]:
    """The inputs in the order of the function's arguments."""
    order = {name_of(each): index for index, each in enumerate(function.inputs)}
    return sorted(named, key=lambda name: (order.get(name, len(order)), name))


def inputs_of(function: Any, names: Sequence[str], positional: Optional[List[str]]) -> List[str]:
    """The graph's tensors of the inputs: by the argument's name, else by position."""
    own = [each.name for each in function.inputs if each.dtype != "resource"]
    if positional:
        return [own[positional.index(name)] for name in names]
    by_name = {each.split(":")[0]: each for each in own}
    named = {spec_key: name_of(spec) for spec_key, spec in function.structured_input_signature[1].items()}
    return [by_name.get(name) or by_name[named[name]] for name in names]


def outputs_of(request: Request, function: Any, what: str) -> Tuple[List[str], List[str]]:
    """The outputs' names and tensors, sorted by name as TensorFlow has them; those the user chose."""
    found = sorted(function.structured_outputs)
    tensors = dict(zip(found, (each.name for each in function.outputs)))
    return found, [tensors[name] for name in found]


def tensor(name: str, spec: Any) -> Tensor:
    """A declared input; the first unknown extent is the batch, others have names of their own."""
    if spec.shape.rank is None:
        help = "save it with an input signature that has a rank"
        raise ExportError("inputs", f"the model declares `{name}` without a shape", help)
    extents = tuple(
        ("batch" if axis == 0 else f"{name}_{axis}") if extent is None else int(extent)
        for axis, extent in enumerate(spec.shape.as_list())
    )
    return Tensor(name, spec.dtype.name, extents)


def load_graph_def(tf: Any, request: Request) -> Source:
    graph_def = tf.compat.v1.GraphDef()
    try:
        with open(request.model, "rb") as file:
            graph_def.ParseFromString(file.read())
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(graph_def, name="")
    except Exception as error:
        raise not_loaded(request, error, "a frozen graph") from error
    unfrozen = [node.name for node in graph_def.node if node.op in VARIABLES]
    if unfrozen or not graph_def.node:
        message = f"the graph is not frozen: it reads {common.listed(unfrozen)}" if unfrozen else "the graph has no nodes"
        raise ExportError("not_a_model", message, "freeze it (variables to constants), or name the SavedModel folder")
    input_tensors = [tensor_name(each.name) for each in request.inputs] or found_inputs(graph)
    output_tensors = [tensor_name(name) for name in request.outputs] or found_outputs(graph)
    found = [graph_tensor(graph, name, "inputs") for name in input_tensors]
    inputs = [tensor(user_name(each.name), each) for each in known_ranks(found, request)]
    given = [common.Tensor(user_name(each.name), each.dtype, each.shape, each.range) for each in request.inputs]
    inputs = cases.merged(inputs, given, "the graph")
    fetched = [graph_tensor(graph, name, "outputs") for name in output_tensors]
    outputs = [user_name(name) for name in output_tensors]

    def run(arrays: cases.Arrays) -> cases.Arrays:
        with tf.compat.v1.Session(graph=graph) as session:
            feed = {tensor_name(name): array for name, array in arrays.items()}
            values = failing_told(arrays, lambda: session.run(fetched, feed))
        return dict(zip(outputs, values))

    choices = {"inputs": [each.name for each in inputs], "outputs": outputs}
    return Source(graph_def, inputs, input_tensors, outputs, output_tensors, run, choices=choices)


def known_ranks(found: Sequence[Any], request: Request) -> List[Any]:
    """Placeholders of unknown rank take the shape that the user declares."""
    for each, given in zip(found, request.inputs):
        if each.shape.rank is None:
            each.set_shape([None] * len(given.shape))
    return list(found)


def tensor_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def user_name(name: str) -> str:
    return name[:-2] if name.endswith(":0") else name


def found_inputs(graph: Any) -> List[str]:
    names = [f"{each.name}:0" for each in graph.get_operations() if each.type in ("Placeholder", "PlaceholderWithDefault")]
    if not names:
        raise ExportError("inputs", "the graph has no placeholder", "name its inputs: `inputs: { NODE: { .. } }`")
    return names


def found_outputs(graph: Any) -> List[str]:
    """What nothing else reads."""
    skipped = ("Placeholder", "Const", "NoOp", "Assert")
    names = [
        tensor.name
        for each in graph.get_operations()
        if each.type not in skipped
        for tensor in each.outputs
        if not any(output.consumers() for output in each.outputs)
    ]
    if not names:
        raise ExportError("inputs", "the graph has no tensor that nothing reads", "name its outputs: `outputs: [NODE]`")
    return names


def graph_tensor(graph: Any, name: str, setting: str) -> Any:
    try:
        return graph.get_tensor_by_name(name)
    except (KeyError, ValueError, TypeError) as error:
        known = found_inputs(graph) if setting == "inputs" else found_outputs(graph)
        names = common.listed(user_name(each) for each in known)
        raise ExportError("inputs", f"the graph has no tensor `{user_name(name)}`", f"`{setting}:` may be {names}") from error


def not_loaded(request: Request, error: Exception, what: str) -> ExportError:
    if isinstance(error, MemoryError):
        return common.out_of_memory()
    name = os.path.basename(request.model.rstrip("/"))
    custom = re.search(r"Op type not registered '?(\w+)'?|Unknown layer: '?(\w+)'?|Could not locate (?:class|function) '(\w+)'", str(error))
    if custom:
        operator = next(each for each in custom.groups() if each)
        message = f"`{name}` uses `{operator}`, which this TensorFlow does not have"
        help = "write the export yourself with `script:`, which can import what registers it"
        return ExportError("missing_custom_operator", message, help)
    message = f"`{name}` cannot be loaded as {what}: {common.described(error)}"
    return ExportError("not_a_model", message, "the file is damaged, or is of another kind or version than this TensorFlow reads")


def failing_told(arrays: cases.Arrays, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except MemoryError:
        raise
    except Exception as error:
        given = ", ".join(f"{name}: {value.dtype} {list(value.shape)}" for name, value in arrays.items())
        message = f"the model fails on sample inputs ({given}): {common.described(error)}"
        help = "declare `inputs:` as the model takes them (type, shape, `range:` for indices), or give real ones with `samples:`"
        raise ExportError("inputs", message, help) from error


# -- exporting -------------------------------------------------------------------------------


class Kept(logging.Handler):
    """Keeps what a library logs, for the result."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: List[Tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append((record.levelno, record.getMessage()))


class logged:
    """Within it, what a library logs is kept."""

    def __init__(self, name: str) -> None:
        self.logger, self.handler = logging.getLogger(name), Kept()

    def __enter__(self) -> List[Tuple[int, str]]:
        self.logger.addHandler(self.handler)
        return self.handler.messages

    def __exit__(self, *_: Any) -> None:
        self.logger.removeHandler(self.handler)


def convert(request: Request, onnx: Any, tf2onnx: Any, source: Source, messages: List[Tuple[int, str]]) -> None:
    names = dict(zip(source.input_tensors + source.output_tensors, [each.name for each in source.inputs] + source.outputs))
    try:
        model, storage = tf2onnx.convert.from_graph_def(
            source.graph_def,
            name="model",
            input_names=source.input_tensors,
            output_names=source.output_tensors,
            opset=request.opset,
            tensors_to_rename=names,
            large_model=source.large,
        )
    except MemoryError:
        raise
    except Exception as error:
        unsupported(messages, error)
        help = "the output above has the whole traceback; another `opset:` may do"
        raise ExportError("export", common.described(error), help) from error
    unsupported(messages, None)
    if source.large:
        for location, content in storage.name_to_tensor_data.items():
            with open(os.path.join(request.out, location), "wb") as file:
                file.write(content)
    with open(request.onnx_path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def output_extents(source: Source, drawn: Sequence[cases.Arrays], computed: Sequence[cases.Arrays]) -> onnx_file.Outputs:
    """The outputs' extents by what the cases show: tf2onnx gives unknown ones names of its own. One
    that never changed is a number; one that is as a symbol is that symbol."""
    sizes: Dict[str, List[int]] = {}
    for each in source.inputs:
        for axis, extent in enumerate(each.shape):
            if isinstance(extent, str):
                sizes[extent] = [arrays[each.name].shape[axis] for arrays in drawn]

    def extent(name: str, axis: int) -> common.Extent:
        seen = [arrays[name].shape[axis] for arrays in computed]
        known = [symbol for symbol, values in sizes.items() if values == seen]
        if len(known) == 1:
            return known[0]
        return seen[0] if len(set(seen)) == 1 and not known else f"{name}_{axis}"

    return {name: [extent(name, axis) for axis in range(computed[0][name].ndim)] for name in source.outputs}


def check_names(request: Request, onnx: Any, source: Source) -> None:
    """The model's tensors bear the names that users know, whatever the converter did."""
    graph = onnx.load(request.onnx_path, load_external_data=False).graph
    inputs, outputs = [each.name for each in graph.input], [each.name for each in graph.output]
    missing = [each.name for each in source.inputs if each.name not in inputs]
    missing += [name for name in source.outputs if name not in outputs]
    if missing:
        message = f"tf2onnx left out {common.listed(missing)}: it has {common.listed(inputs)} and gives {common.listed(outputs)}"
        help = "leave out inputs that nothing reads and outputs that are another's copy"
        raise ExportError("export", message, help)


def unsupported(messages: Sequence[Tuple[int, str]], error: Optional[Exception]) -> None:
    """tf2onnx goes on after an operator that it does not know; the model would be of no use."""
    found = [match for _, text in messages for match in [UNSUPPORTED.search(text)] if match]
    if not found:
        return
    node, operator = found[0].groups()
    others = sorted({match.group(2) for match in found} - {operator})
    also = f" (also {common.listed(others)})" if others else ""
    message = f"tf2onnx has no ONNX form of the operator `{operator}` at `{node}`{also}"
    help = "try a later `opset:`, write the model without it, or write the export yourself with `script:`"
    raise ExportError("unsupported_operator", message, help) from error


if __name__ == "__main__":
    common.main(export)
