"""Starts and stops the servers that are compared: Triton, MLServer and ours, all on 127.0.0.1.

Each is a context manager with `http` and `grpc` (ports), `pid`, and `cpu_seconds()` of its whole
process tree. Where their Python environments are says `environment`; venv.sh makes them.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
FIXTURES = ROOT / "tests" / "fixtures" / "serving"
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 90
STOP_SECONDS = 20


def environment(name):
    """The virtual environment `name`, made by tests/peers/venv.sh."""
    base = Path(os.environ.get("PEERS_DIR", ROOT / "target" / "peers"))
    path = base / name
    if not (path / "bin" / "python").exists():
        sys.exit(f"{path} is missing: run tests/peers/venv.sh {name}")
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tree(pid):
    """`pid` and its descendants that live."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(entry)
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


def _stat(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


class Server:
    """One server process (with its children), ready to answer when entered."""

    name = "?"
    ready_path = "/v2/health/ready"

    def __init__(self, core=None):
        self.core = core
        self.folder = Path(tempfile.mkdtemp(prefix=f"peer-{self.name}-"))
        self.log = self.folder / "log"
        self.http, self.grpc = free_port(), free_port()
        self.process = None

    def command(self):
        """-> (arguments, environment variables to add)"""
        raise NotImplementedError

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        try:
            arguments, extra = self.command()
            pin = [] if self.core is None else ["taskset", "-c", str(self.core)]
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(
                    [*pin, *map(str, arguments)],
                    env={**os.environ, **extra},
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{self.ready_path}", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        tail = self.log.read_text(errors="replace")[-4000:]
        raise RuntimeError(f"{self.name} is not ready (exit status {self.process.poll()}); its log ends with:\n{tail}")

    def __exit__(self, *_):
        if self.process:
            members = tree(self.pid)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            for pid in members:
                if pid == self.pid and self.process.poll() is not None:
                    continue
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu_seconds(self):
        """User and system time of every process of this server so far."""
        return sum(sum(map(int, fields[11:13])) for pid in tree(self.pid) if (fields := _stat(pid))) / TICKS

    def processes(self):
        return len(tree(self.pid))


class Triton(Server):
    """Triton's core from the wheel nvidia-pytriton, its Python backend running onnxruntime.

    `models` maps a name to `triton_model(..)`.
    """

    name = "triton"

    def __init__(self, models, core=None):
        super().__init__(core)
        self.models = models

    def command(self):
        packages = next((environment("triton") / "lib").glob("python3.*/site-packages"))
        wheel = packages / "pytriton" / "tritonserver"
        version = packages.parent.name.removeprefix("python")
        backend = self.folder / "backends" / "python"
        shutil.copytree(wheel / "backends" / "python", backend)
        shutil.copy(wheel / "python_backend_stubs" / version / "triton_python_backend_stub", backend)
        repository = self.folder / "models"
        for name, (config, program, onnx) in self.models.items():
            folder = repository / name / "1"
            folder.mkdir(parents=True)
            (folder.parent / "config.pbtxt").write_text(config)
            shutil.copy(HERE / "triton" / program, folder / "model.py")
            if onnx:
                shutil.copy(onnx, folder / "model.onnx")
        arguments = [
            wheel / "bin" / "tritonserver",
            f"--model-repository={repository}",
            f"--backend-directory={backend.parent}",
            # Its default name for shared memory would be the same for two servers on one machine.
            f"--backend-config=python,shm-region-prefix-name=peer{os.getpid()}-{self.http}",
            "--model-control-mode=explicit",
            "--load-model=*",
            "--strict-readiness=true",
            "--allow-metrics=false",
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            f"--http-port={self.http}",
            f"--grpc-port={self.grpc}",
        ]
        return arguments, {
            "PYTHONPATH": str(packages),
            "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
            "PATH": f"{environment('triton') / 'bin'}:{os.environ['PATH']}",
        }


def triton_model(inputs, outputs, max_batch, onnx=None, dynamic=""):
    """`inputs` and `outputs`: [(name, TYPE_.., dims)]. Without `onnx` the model echoes its inputs."""

    def tensors(kind, entries):
        return "".join(f'{kind} [ {{ name: "{n}" data_type: {t} dims: {list(d)} }} ]\n' for n, t, d in entries)

    config = (
        f'backend: "python"\nmax_batch_size: {max_batch}\n'
        + tensors("input", inputs)
        + tensors("output", outputs)
        + "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
        + dynamic
    )
    return config, "onnx_model.py" if onnx else "echo_model.py", onnx


def tiny_for_triton(max_batch, dynamic=""):
    """The 16 -> 16 -> 4 model; `max_batch` 0: no batch axis of Triton's own."""
    free = [] if max_batch else [-1]
    return triton_model(
        [("x", "TYPE_FP32", [*free, 16])],
        [("y", "TYPE_FP32", [*free, 4])],
        max_batch,
        FIXTURES / "tiny.onnx",
        dynamic,
    )


class MLServer(Server):
    """MLServer with a runtime of three lines that runs onnxruntime; it has no runtime for ONNX.

    `batching`: its adaptive batching, as (most requests, seconds).
    """

    name = "mlserver"

    def __init__(self, core=None, model="tiny", onnx=FIXTURES / "tiny.onnx", columns=(16, 4), workers=0, batching=None):
        super().__init__(core)
        self.model, self.onnx, self.columns, self.workers, self.batching = model, onnx, columns, workers, batching
        self.ready_path = f"/v2/models/{model}/ready"  # the server is ready before its models are

    def command(self):
        binaries = environment("mlserver") / "bin"
        shutil.copy(HERE / "mlserver" / "onnx_model.py", self.folder)
        shutil.copy(self.onnx, self.folder / "model.onnx")
        settings = {
            "host": "127.0.0.1",
            "http_port": self.http,
            "grpc_port": self.grpc,
            "metrics_port": free_port(),
            "parallel_workers": self.workers,
            "use_structured_logging": False,
            "debug": False,
        }
        rows_in, rows_out = ([-1, width] for width in self.columns)
        model = {
            "name": self.model,
            "implementation": "onnx_model.OnnxModel",
            "parameters": {"uri": str(self.folder / "model.onnx"), "version": "1"},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": rows_in}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": rows_out}],
        }
        if self.batching:
            model["max_batch_size"], model["max_batch_time"] = self.batching
        (self.folder / "settings.json").write_text(json.dumps(settings))
        (self.folder / "model-settings.json").write_text(json.dumps(model))
        return [binaries / "mlserver", "start", self.folder], {"PYTHONPATH": str(self.folder)}


class Ours(Server):
    """`trt-pipeline serve` of a folder with a pipeline.yaml, built in a copy of it.

    `binary` defaults to the newest build of this repository.
    """

    name = "trt-pipeline"

    def __init__(self, folder=FIXTURES, core=None, binary=None, arguments=(), settings=None):
        super().__init__(core)
        self.source, self.arguments, self.settings = folder, arguments, settings or {}
        self.binary = binary or newest_binary()
        self.admin = free_port()

    def command(self):
        project = self.folder / "project"
        shutil.copytree(self.source, project)
        settings = [part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]
        return [
            self.binary,
            "serve",
            project / "pipeline.yaml",
            *("--http", f"127.0.0.1:{self.http}"),
            *("--grpc", f"127.0.0.1:{self.grpc}"),
            *("--admin", f"127.0.0.1:{self.admin}"),
            *settings,
            *self.arguments,
        ], {}


def newest_binary(kinds=("release", "debug")):
    """The newest build of these kinds, or the one that TRT_PIPELINE names."""
    named = os.environ.get("TRT_PIPELINE")
    if named:
        return Path(named).resolve()
    built = [path for kind in kinds if (path := ROOT / "target" / kind / "trt-pipeline").exists()]
    if not built:
        sys.exit(f"target/ has no trt-pipeline built as {' or '.join(kinds)}: run cargo build --release")
    return max(built, key=lambda path: path.stat().st_mtime)
