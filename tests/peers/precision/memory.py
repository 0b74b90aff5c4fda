"""Does memory grow with samples? Peak of the calibrate stage over 100 and 10 000: run.sh memory [options]

Both in a process of their own, everything before that stage already made. The data is made on the
fly, uncompressed, and deleted. Must: the second at most 64 MiB above the first.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from compare import HERE, ROOT
from ours import Ours

ALLOWED_MIB = 64


def write_samples(path, count, shape):
    """Smooth random images, written one by one."""
    rng = np.random.default_rng(count)
    with zipfile.ZipFile(path, "w") as archive, archive.open("image.npy", "w", force_zip64=True) as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (count, *shape)})
        for _ in range(count):
            out.write(rng.normal(0, 0.3, shape).astype("<f4").cumsum(axis=1, dtype="<f4").clip(-3, 3).tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["digits", "resnet-64"], default="resnet-64")
    parser.add_argument("--counts", type=int, nargs=2, default=[100, 10_000])
    parser.add_argument("--method", default="entropy")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "trt-pipeline")
    parser.add_argument("--folder", type=Path, default=ROOT / "target" / "precision")
    arguments = parser.parse_args()
    model, shape = ROOT / "pipelines/digits/model/digits_cnn.onnx", (1, 8, 8)
    if arguments.model != "digits":
        model, shape = arguments.folder / f"{arguments.model}.onnx", (3, 64, 64)
        if not model.exists():
            subprocess.run([sys.executable, HERE / "models.py", arguments.folder, arguments.model], check=True)
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.counts:
            data = Path(folder) / f"{count}.npz"
            write_samples(data, count, shape)
            settings = {"data": str(data), "method": arguments.method, "backend": arguments.backend, "batch": arguments.batch}
            pipeline = Ours(arguments.binary, Path(folder) / "pipeline", model, {"int8": settings})
            pipeline.run("slim")
            seconds, peak = pipeline.run("int8", force=True)
            peaks.append(peak)
            print(f"{count} samples ({data.stat().st_size / 2**20:.0f} MiB): peak {peak:.1f} MiB in {seconds:.1f} s", flush=True)
            data.unlink()
    grown = peaks[1] - peaks[0]
    print(f"{grown:+.1f} MiB, {'within' if grown <= ALLOWED_MIB else 'MORE THAN'} the {ALLOWED_MIB} MiB allowed")


if __name__ == "__main__":
    main()
