"""The models that every server is asked about, as Triton takes them; pipeline.yaml says them to ours.

tiny      16 -> 16 -> 4, FP32, batches of at most 8 formed by the server
plain     the same without batching
numbers   gives back one tensor [batch, 2] of every type that has a JSON form
halves    the same for FP16 and BF16
"""

from servers import tiny_for_triton, triton_model

from http_request import ENDS

HALVES = {"fp16": "FP16", "bf16": "BF16"}


def echo(types):
    inputs = [(name, f"TYPE_{kind}", [2]) for name, kind in types.items()]
    outputs = [(f"{name}_out", f"TYPE_{kind}", [2]) for name, kind in types.items()]
    return triton_model(inputs, outputs, max_batch=4, dynamic="dynamic_batching { }\n")


def for_triton():
    return {
        "tiny": tiny_for_triton(8, "dynamic_batching { max_queue_delay_microseconds: 500 }\n"),
        "plain": tiny_for_triton(0),
        "numbers": echo({name: kind for name, (kind, _) in ENDS.items()}),
        "halves": echo(HALVES),
    }
