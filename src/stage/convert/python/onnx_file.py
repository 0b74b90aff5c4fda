"""The written model: names, extents, and nothing that tells of this machine. Knows no framework."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

from common import Extent, Request, Tensor

# A protobuf ends at 2 GiB; weights of models near that go into files beside the model.
LARGEST_SINGLE_FILE = 3 << 29

Outputs = Dict[str, Sequence[Extent]]


def tidy(request: Request, onnx: Any, inputs: Sequence[Tensor], outputs: Optional[Outputs] = None) -> int:
    """Gives inputs and `outputs` their extents, and takes out what tells of this machine (places in
    source files). Weights in other files stay where they are. The opset."""
    model = onnx.load(request.onnx_path, load_external_data=False)
    strip(model)
    by_name = {each.name: each for each in inputs}
    for value in model.graph.input:
        if value.name in by_name:
            set_extents(value, by_name[value.name].shape)
    for value in model.graph.output:
        if value.name in (outputs or {}):
            set_extents(value, (outputs or {})[value.name])
    with open(request.onnx_path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)


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
