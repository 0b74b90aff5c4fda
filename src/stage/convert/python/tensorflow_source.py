"""What a file of TensorFlow holds, as a frozen graph: SavedModels, frozen graphs, Keras files.

Each has the names that its users know: those of a signature, of Keras, or of the graph's nodes. Loading
a SavedModel or a Keras file runs what is in it; Keras keeps its safe mode, which refuses lambdas.
"""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import cases
import common
import onnx_file
from common import ExportError, Request, Tensor

# Signatures that TensorFlow keeps for itself.
OWN_SIGNATURES = ("__saved_model_init_op", "__saved_model_train_op")
VARIABLES = ("Variable", "VariableV2", "VarHandleOp")


@dataclass(frozen=True)
class Source:
    """A frozen graph: names as users know them, and the graph's own (`node:0`) beside them."""

    graph_def: Any
    inputs: List[Tensor]
    input_tensors: List[str]
    outputs: List[str]
    output_tensors: List[str]
    run: cases.Reference
    choices: Dict[str, Any] = field(default_factory=dict)


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
    found = set()
    for each in signatures.values():
        graph = each.graph.as_graph_def()
        for node in graph.node:
            node.attr.pop("_user_specified_name", None)  # of a variable: where it stands in the file
        found.add((graph.SerializeToString(deterministic=True), tuple(map(id, each.captured_inputs))))
    return len(found) == 1


def described(function: Any) -> str:
    takes = ", ".join(sorted(function.structured_input_signature[1]))
    gives = function.structured_outputs
    return f"({takes} -> {', '.join(sorted(gives)) if isinstance(gives, dict) else 'tensors'})"


def keras_path(request: Request) -> str:
    """The file under a name that Keras takes: it tells formats by the name."""
    if request.model.endswith((".keras", ".h5", ".hdf5")):
        return request.model
    ending = "keras" if zipfile.is_zipfile(request.model) else "h5"
    path = os.path.join(os.path.dirname(request.result), f"model.{ending}")
    os.symlink(os.path.abspath(request.model), path)
    return path


def load_keras(tf: Any, request: Request) -> Source:
    keras = common.require("keras", "keras", "loading a Keras file")
    common.check_archive(request.model)
    try:
        model = keras.models.load_model(keras_path(request), compile=False)
    except Exception as error:
        raise not_loaded(request, error, "a Keras file") from error
    if not getattr(model, "inputs", None):
        help = "build it before it is saved: call it once, or give its layers an input shape"
        raise ExportError("not_a_model", "the Keras model was saved before its inputs were known", help)
    names = [name_of(each) for each in model.inputs]
    signature = [tf.TensorSpec(each.shape, each.dtype, name=name) for each, name in zip(model.inputs, names)]
    # As Keras names outputs: by the layers that make them.
    outputs = list(getattr(model, "output_names", None) or [model.layers[-1].name])

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
    if size > onnx_file.LARGEST_SINGLE_FILE:
        message = f"the model has {size >> 20} MiB of weights, more than the graph that tf2onnx converts may hold"
        raise ExportError("export", message, "write the export yourself with `script:`")
    input_tensors = inputs_of(function, [each.name for each in inputs], names)
    graph_def = convert_variables_to_constants_v2(function, lower_control_flow=False).graph.as_graph_def()

    def run(arrays: cases.Arrays) -> cases.Arrays:
        values = {name: tf.constant(array) for name, array in arrays.items()}
        result = failing_told(arrays, lambda: function(*values.values()) if names else function(**values))
        return {name: result[name].numpy() for name in outputs}

    # `owner` holds the variables for as long as `run` lives.
    run.owner = owner  # type: ignore[attr-defined]
    return Source(graph_def, inputs, input_tensors, outputs, output_tensors, run, choices)


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
    """The names and tensors of the outputs that the user chose, or of all by name."""
    found = sorted(function.structured_outputs)
    tensors = dict(zip(found, (each.name for each in function.outputs)))
    for name in request.outputs:
        if name not in tensors:
            raise ExportError("inputs", f"{what} has no output `{name}`", f"`outputs:` may be {common.listed(found)}")
    chosen = list(request.outputs or found)
    return chosen, [tensors[name] for name in chosen]


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
    if "safe_mode" in str(error) or "unsafe deserialization" in str(error):
        message = f"`{name}` holds Python code, such as a `Lambda` layer's, which is not run: {common.described(error)}"
        help = "write the layer as a subclass of `keras.layers.Layer` and the export with `script:`, or save the model with `model.export(PATH)`"
        return ExportError("not_a_model", message, help)
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
