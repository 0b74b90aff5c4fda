"""Operators that PyTorch's TorchScript exporter writes less well than it could."""

from __future__ import annotations

from typing import Any

# The first opset for which the exporter knows `aten::unflatten`.
FIRST_OPSET_OF_UNFLATTEN = 13


def register(torch: Any) -> None:
    torch.onnx.register_custom_op_symbolic("aten::unflatten", ranked_unflatten(torch), FIRST_OPSET_OF_UNFLATTEN)


def ranked_unflatten(torch: Any) -> Any:
    """The exporter's own form, with the rank of the result: without it the exporter refuses the next
    operator that needs one, such as the `unsqueeze` of every traced `nn.MultiheadAttention`."""
    from torch.onnx import symbolic_helper, symbolic_opset13

    def unflatten(g: Any, input: Any, dim: Any, sizes: Any) -> Any:
        result = symbolic_opset13.unflatten(g, input, dim, sizes)
        rank = symbolic_helper._get_tensor_rank(input)
        if rank is not None and symbolic_helper._is_packed_list(sizes):
            split = len(symbolic_helper._unpack_list(sizes))
            result.setType(input.type().with_sizes([None] * (rank - 1 + split)))
        return result

    return unflatten
