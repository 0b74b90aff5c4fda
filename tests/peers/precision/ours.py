"""Runs trt-pipeline: a spec of model -> optimize -> calibrations, and what each stage took."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import onnxruntime
from launch import launched

# The very library that the other side uses.
LIBRARY = Path(onnxruntime.__file__).parent


def results(folder, pipeline):
    """Where the results of a pipeline in `folder` are linked: beside the nearest .git above it."""
    above = [folder, *folder.parents]
    return next((place for place in above if (place / ".git").exists()), folder) / "build" / pipeline


class Ours:
    """A pipeline in a folder of its own: stages `onnx`, `slim`, and calibrations of `slim`.

    `calibrations` are settings of `calibrate` by stage, `optimize` those of `slim`; `from` is in neither.
    """

    def __init__(self, binary, folder, model, calibrations, optimize=None):
        self.binary, self.folder = Path(binary).resolve(), Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        stages = {"onnx": {"convert": {"model": str(Path(model).resolve())}}, "slim": {"optimize": {"from": "onnx", **(optimize or {})}}}
        stages |= {name: {"calibrate": {"from": "slim", **settings}} for name, settings in calibrations.items()}
        self.name = f"precision-{self.folder.name}"
        self.spec = self.folder / "pipeline.yaml"
        # JSON is YAML.
        self.spec.write_text(json.dumps({"version": 1, "name": self.name, "stages": stages}, indent=1))

    def run(self, stage, force=False, cores=None, after=None):
        """The stage's (seconds, peak MiB of the process); with `force`, made again and nothing else.

        `after` is a stage that is made before it in the same process.
        """
        stages = [after, stage] if after else [stage]
        argv = [str(self.binary), "run", str(self.spec), *stages, "--jobs", "1", "--format", "json", "--cache-dir", str(self.folder / "cache")]
        argv += [f"--force={name}" for name in stages] if force else []
        environment = os.environ | {"TRT_PIPELINE_ONNXRUNTIME": str(LIBRARY)}
        pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
        with tempfile.NamedTemporaryFile() as peak:
            done = subprocess.run(launched(argv, peak.name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, env=environment, preexec_fn=pin)
            if done.returncode:
                raise SystemExit(f"`{' '.join(argv)}` ended with {done.returncode}:\n{done.stdout}")
            mib, said = int(peak.read()) / 1024, done.stdout
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        finished = [event for event in events if event["event"] == "stage_finished"]
        assert not after or finished[-1]["stage"] == stage, "the stages ran in another order"
        seconds = next(event["seconds"] for event in finished if event["stage"] == stage)
        return seconds, mib

    def made(self, stage):
        """The model that the stage made."""
        return results(self.folder, self.name) / stage / "model.onnx"
