"""Runs an export script by hand, as the stage `convert` would, and compares with ONNX Runtime.

    python try.py --python PYTHON --kind saved_model MODEL [--set KEY=JSON ..] [--keep FOLDER]

`--python` has the framework; this Python has `onnx`, `onnxruntime` and `numpy`. `--set` gives a
field of the request, as `--set signature='"serve"'` or
`--set inputs='[{"name": "x", "dtype": "float32", "shape": ["batch", 4]}]'`. It prints what the
script says of its result, and per output the greatest difference relative to the greatest value.
Exit 1 where that is above 1e-4, 3 where the script told an error.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[3] / "src/stage/convert/python"
LIMIT = 1e-4
SCRIPT_OF = {
    "torch_script": "export_torch.py",
    "exported_program": "export_torch.py",
    "torch_state_dict": "export_torch.py",
    "safetensors": "export_torch.py",
    "saved_model": "export_tensorflow.py",
    "graph_def": "export_tensorflow.py",
    "keras": "export_tensorflow.py",
    "script": "export_script.py",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--kind", required=True, choices=sorted(SCRIPT_OF))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--keep", type=Path, help="a folder for what the script writes")
    return parser.parse_args()


def request(options, folder):
    value = {
        "format": 1, "kind": options.kind, "model": str(options.model.resolve()), "out": f"{folder}/out",
        "result": f"{folder}/result.json", "cases": f"{folder}/cases", "opset": None, "exporter": "auto",
        "inputs": [], "outputs": [], "signature": None, "module": None, "factory": None, "arguments": {},
        "script": None, "samples": None, "seed": 0,
    }
    for each in options.set:
        key, _, text = each.partition("=")
        value[key] = json.loads(text)
    for key in ("module", "script", "samples"):
        value[key] = value[key] and os.path.abspath(value[key])
    return value


def run(python, value, folder):
    """The script's exit status and what it wrote as its result."""
    for name in ("out", "cases", "scratch"):
        (folder / name).mkdir()
    (folder / "request.json").write_text(json.dumps(value, indent=2))
    environment = {
        "PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", "TMPDIR": str(folder / "scratch"),
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "1", "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0",
    }
    command = [python, "-B", "-u", str(SCRIPTS / SCRIPT_OF[value["kind"]]), str(folder / "request.json")]
    started = time.monotonic()
    status = subprocess.run(command, env=environment, cwd=folder / "scratch").returncode
    seconds = time.monotonic() - started
    result = folder / "result.json"
    return status, json.loads(result.read_text()) if result.exists() else None, seconds


def differences(folder):
    """Per case and output how far ONNX Runtime is from the framework."""
    import numpy as np
    import onnx
    import onnxruntime

    path = folder / "out/model.onnx"
    onnx.checker.check_model(str(path), full_check=path.stat().st_size < 1 << 30)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    for case in sorted((folder / "cases").iterdir()):
        inputs, wanted = np.load(case / "inputs.npz"), np.load(case / "outputs.npz")
        assert sorted(inputs.files) == sorted(each.name for each in session.get_inputs()), inputs.files
        assert sorted(wanted.files) == sorted(names), (wanted.files, names)
        for name, value in zip(names, session.run(None, {key: inputs[key] for key in inputs.files})):
            reference = wanted[name].astype(np.float64)
            assert value.shape == reference.shape, (name, value.shape, reference.shape)
            scale = abs(reference).max(initial=0) or 1
            yield case.name, name, list(value.shape), float(abs(value - reference).max(initial=0) / scale)


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        status, result, seconds = run(options.python, request(options, folder), folder)
        print(json.dumps(result, indent=1), f"\nexit {status} after {seconds:.1f} s")
        if status != 0:
            sys.exit(status)
        written = sorted((folder / "out").iterdir())
        for path in written:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.stat().st_size < 1 << 30 else "-"
            print(f"{path.name}: {path.stat().st_size} bytes, {digest}")
        worst = 0.0
        for case, name, shape, off in differences(folder):
            worst = max(worst, off)
            print(f"case {case}, {name} {shape}: off by {off:.2g}")
        sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
