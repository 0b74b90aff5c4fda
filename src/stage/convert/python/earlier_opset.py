"""Writes a model of opset 18 as one of 17, for readers that know no later one. Knows no framework.

ONNX's own converter knows no way back over this step, on which the axes of reductions became an input.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

FROM, TO = 18, 17
ONNX = ("", "ai.onnx")
# What operators had not before, in an attribute or, by its number, an input: without it they are what they were.
NEW: Dict[str, List[Any]] = {
    "Pad": [3],
    "Resize": ["antialias", "axes", "keep_aspect_ratio_policy"],
    "Split": ["num_outputs"],
    "ScatterElements": [],
    "ScatterND": [],
}
NEW_REDUCTIONS = (b"max", b"min")


def lower(onnx: Any, model: Any, graphs: List[Any]) -> bool:
    """Changes the model, of which all graphs are given, where nothing in it is new in opset 18 but how axes are written."""
    own = next((each for each in model.opset_import if each.domain in ONNX), None)
    if own is None or own.version != FROM or model.functions:
        return False
    constants = {each.name: each for each in model.graph.initializer}
    nodes = [node for graph in graphs for node in graph.node]
    constants.update({node.output[0]: node.attribute[0].t for node in nodes if node.op_type == "Constant" and node.attribute[0].name == "value"})
    changed = [node for node in nodes if node.domain in ONNX and has_changed(onnx, node.op_type)]
    axes = [reduced(onnx, node, constants) for node in changed if is_reduction(node)]
    if None in axes or not all(is_reduction(node) or is_old(node) for node in changed):
        return False
    for node, these in zip([node for node in changed if is_reduction(node)], axes):
        del node.input[1:]
        kept = [each for each in node.attribute if each.name != "noop_with_empty_axes"]
        del node.attribute[:]
        node.attribute.extend(kept)
        if these:
            node.attribute.append(onnx.helper.make_attribute("axes", these))
    drop_unused(model.graph, nodes, graphs)
    own.version = TO
    return True


def has_changed(onnx: Any, operator: str) -> bool:
    try:
        return onnx.defs.get_schema(operator, FROM, "").since_version != onnx.defs.get_schema(operator, TO, "").since_version
    except Exception:  # one of both does not know it
        return True


def is_reduction(node: Any) -> bool:
    return node.op_type.startswith("Reduce")


def is_old(node: Any) -> bool:
    """Whether it uses nothing that it had not in opset 17."""
    if node.op_type not in NEW:
        return False
    attributes = {each.name: each for each in node.attribute}
    if "reduction" in attributes and attributes["reduction"].s in NEW_REDUCTIONS:
        return False
    inputs = [at for at, name in enumerate(node.input) if name]
    return not any(new in attributes or new in inputs for new in NEW[node.op_type])


def reduced(onnx: Any, node: Any, constants: Dict[str, Any]) -> Optional[List[int]]:
    """The axes of a reduction, none for all; `None` where they are not known here, or mean nothing."""
    if len(node.input) < 2 or not node.input[1]:
        axes: List[int] = []
    elif node.input[1] in constants and not constants[node.input[1]].external_data:
        axes = [int(axis) for axis in onnx.numpy_helper.to_array(constants[node.input[1]]).ravel()]
    else:
        return None
    is_noop = any(each.name == "noop_with_empty_axes" and each.i for each in node.attribute)
    return None if is_noop and not axes else axes


def drop_unused(graph: Any, nodes: List[Any], graphs: List[Any]) -> None:
    """The constants that only told axes."""
    used = {name for node in nodes for name in node.input} | {each.name for one in graphs for each in one.output}
    left = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)
