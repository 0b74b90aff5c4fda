"""The written model: names, extents, and nothing that tells of this machine. Knows no framework."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import earlier_opset
from common import Extent, Request, Tensor, listed

# A protobuf ends at 2 GiB; weights of models near that go into files beside the model.
LARGEST_SINGLE_FILE = 3 << 29

Arrays = Dict[str, Any]


def tidy(request: Request, onnx: Any, inputs: Sequence[Tensor], drawn: Sequence[Arrays], computed: Sequence[Arrays]) -> int:
    """Gives symbolic extents the names that the inputs have, and takes out what tells of this machine
    (places in source files). Weights in other files stay where they are. The opset, which is an earlier one
    where that is asked for and only the exporter could not."""
    model = onnx.load(request.onnx_path, load_external_data=False)
    if request.opset == earlier_opset.TO:
        earlier_opset.lower(onnx, model, graphs_of(model.graph))
    strip(model)
    name_extents(model.graph, inputs, drawn, computed)
    with open(request.onnx_path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)


def graphs_of(graph: Any) -> List[Any]:
    """A graph and those of its nodes, in order."""
    inner = [each for node in graph.node for attribute in node.attribute for each in (attribute.g, *attribute.graphs) if each.node]
    return [graph, *(each for one in inner for each in graphs_of(one))]


def kept_inputs(request: Request, onnx: Any, inputs: Sequence[Tensor]) -> Tuple[List[Tensor], List[str]]:
    """The inputs that the written model has, and a warning of those that the exporter left out."""
    names = {each.name for each in onnx.load(request.onnx_path, load_external_data=False).graph.input}
    left_out = listed(each.name for each in inputs if each.name not in names)
    told = [f"the model does not use its input {left_out}: the exported model does not take it"] if left_out else []
    return [each for each in inputs if each.name in names], told


def strip(message: Any) -> None:
    """Clears documentation and metadata of a model, its graphs, nodes and functions."""
    waiting = [message]
    while waiting:
        each = waiting.pop()
        for name in ("doc_string", "metadata_props"):
            if name in each.DESCRIPTOR.fields_by_name:
                each.ClearField(name)
        for descriptor, value in each.ListFields():
            if descriptor.name in ("graph", "g"):
                waiting.append(value)
            elif descriptor.name in ("node", "functions", "graphs", "attribute", "input", "output", "value_info", "initializer"):
                waiting.extend(item for item in value if not isinstance(item, str))


def name_extents(graph: Any, inputs: Sequence[Tensor], drawn: Sequence[Arrays], computed: Sequence[Arrays]) -> None:
    """Inputs get their declared extents. Exporters make names up for extents that they cannot follow:
    one that in every case is as one symbol, and no other, gets the symbol's name."""
    by_name = {each.name: each for each in inputs}
    sizes = {
        extent: [arrays[each.name].shape[axis] for arrays in drawn]
        for each in inputs
        for axis, extent in enumerate(each.shape)
        if isinstance(extent, str)
    }
    renamed: Dict[str, str] = {}
    for value in graph.input:
        if value.name in by_name:
            shape = by_name[value.name].shape
            old = [each.dim_param for each in value.type.tensor_type.shape.dim]
            renamed.update({own: new for own, new in zip(old, shape) if own and isinstance(new, str)})
            set_extents(value, shape)
    for value in graph.output:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            seen = [arrays[value.name].shape[axis] for arrays in computed if value.name in arrays]
            like = [symbol for symbol, those in sizes.items() if those == seen]
            if not dim.HasField("dim_value") and len(like) == 1:
                if dim.dim_param:
                    renamed.setdefault(dim.dim_param, like[0])
                dim.dim_param = like[0]
    for value in [*graph.output, *graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in renamed:
                dim.dim_param = renamed[dim.dim_param]


def set_extents(value: Any, shape: Sequence[Extent]) -> None:
    """Writes the user's extents into the declaration of a tensor."""
    dims = value.type.tensor_type.shape
    dims.ClearField("dim")
    for extent in shape:
        dim = dims.dim.add()
        if isinstance(extent, str):
            dim.dim_param = extent
        else:
            dim.dim_value = extent
