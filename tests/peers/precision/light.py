"""The onnx package's light models through `optimize`: the same function in fewer nodes.

    run.sh light [--binary trt-pipeline] [--folder target/precision] [NAME..]

Each model runs twice in onnxruntime, as it came and optimized, over one random input: once as the
package ships it (every weight 0.02, so values reach 1e19), once with real weights (He-initialised,
batch norm with the statistics of that input), in which an error could not hide. The latter are left
in FOLDER/light/NAME.onnx. Ends with 1 if an output differs by more than 1e-4 of its largest value.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from models import run_alone
from onnx import numpy_helper
from ours import Ours
from score import opened, ran

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
ALLOWED = 1e-4


def real_inputs(model):
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def sample(model, seed):
    """One input: smooth stripes and noise, as large as a normalised image."""
    value, = real_inputs(model)
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    noise = np.random.default_rng(seed).normal(0, 0.5, shape)
    return {value.name: (noise + np.sin(np.arange(shape[-1]) / 7)).astype(np.float32)}


def with_real_weights(model, seed):
    """The model with weights in place of constants, and batch norms that normalise."""
    rng = np.random.default_rng(seed)
    graph, opset = model.graph, model.opset_import[0].version
    values = sample(model, seed) | {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = {name: (node, index) for node in graph.node for index, name in enumerate(node.input)}
    made, kept = {}, []

    def put(name, array):
        values[name] = made[name] = array.astype(np.float32)

    for node in graph.node:
        name = node.output[0]
        if node.op_type == "ConstantOfShape":
            shape = values[node.input[0]].tolist()
            reader, index = readers[name]
            if reader.op_type in ("Conv", "Gemm") and index == 1:
                put(name, rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape))
            elif index == 1:
                put(name, rng.uniform(0.7, 1.3, shape))
            else:
                put(name, rng.normal(0, 0.1, shape))
            continue
        if node.op_type == "BatchNormalization":
            seen = values[node.input[0]].astype(np.float64)
            put(node.input[3], seen.mean((0, 2, 3)))
            put(node.input[4], seen.var((0, 2, 3)) + 1e-3)
        values[name] = run_alone(node, values, opset)
        kept.append(node)
    read = {name for node in kept for name in node.input}
    constants = [t for t in graph.initializer if t.name in read and t.name not in made]
    constants += [numpy_helper.from_array(array, name) for name, array in made.items() if name in read]
    graph = onnx.helper.make_graph(kept, graph.name, real_inputs(model), graph.output, constants)
    model = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def compare(path, binary, folder):
    """(nodes before, nodes after, relative error of the worst output)"""
    pipeline = Ours(binary, folder, path, {})
    pipeline.run("slim")
    before, after = onnx.load(path), onnx.load(pipeline.made("slim"))
    batch, worst = sample(before, 1), 0.0
    for wanted, got in zip(ran(opened(path), batch), ran(opened(pipeline.made("slim")), batch), strict=True):
        error = float(np.abs(got - wanted).max() / np.abs(wanted).max())
        worst = worst if error <= worst else error  # a NaN wins
    return len(before.graph.node), len(after.graph.node), worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="light_resnet50, ..; all if none is given")
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "trt-pipeline")
    parser.add_argument("--folder", type=Path, default=ROOT / "target" / "precision")
    arguments = parser.parse_args()
    real = arguments.folder / "light"
    real.mkdir(parents=True, exist_ok=True)
    failed = []
    print("| model | nodes | optimized | relative error | with real weights: nodes | optimized | relative error |\n|---|---|---|---|---|---|---|")
    for shipped in sorted(SHIPPED.glob("*.onnx")):
        name = shipped.stem
        if arguments.names and name not in arguments.names:
            continue
        if not (real / shipped.name).exists():
            onnx.save(with_real_weights(onnx.load(shipped), seed=0), real / shipped.name)
        found = [compare(path, arguments.binary, real / "runs" / name / kind)
                 for kind, path in (("shipped", shipped), ("real", real / shipped.name))]
        print(f"| {name} |" + "|".join(f" {before} | {after} | {error:.1e} " for before, after, error in found) + "|", flush=True)
        failed += [name for _, _, error in found if not error <= ALLOWED]
    if failed:
        sys.exit(f"outputs differ: {', '.join(sorted(set(failed)))}")


if __name__ == "__main__":
    main()
