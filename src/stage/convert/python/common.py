"""What every export script shares: the request, the sample cases, the result, the errors.

A script is run as `python SCRIPT REQUEST.json`. It writes `model.onnx` into the request's folder
`out`, what the source framework computes on sample inputs into `cases`, and what it did into
`result`: exit 0 with a result, exit 3 with an error, anything else is a crash. Knows no framework.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import re
import sys
import traceback
import warnings
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, NoReturn, Optional, Sequence, Tuple, Union

FORMAT = 1
FAILED = 3
MOST_WARNINGS = 20
MOST_CHARACTERS = 2000

Extent = Union[int, str]


class ExportError(Exception):
    """A failure with a cause that the user can mend; `kind` is a word of the protocol."""

    def __init__(self, kind: str, message: str, help: str, package: Optional[str] = None):
        super().__init__(message)
        self.kind, self.message, self.help, self.package = kind, message, help, package

    def to_json(self) -> Dict[str, Any]:
        return {
            "kind": self.kind,
            "message": shortened(self.message),
            "help": shortened(self.help),
            "package": self.package,
        }


@dataclass(frozen=True)
class Tensor:
    """An input of the model. Extents that are the same word are the same size."""

    name: str
    dtype: str
    shape: Tuple[Extent, ...]
    range: Optional[Tuple[float, float]] = None

    @staticmethod
    def from_json(value: Dict[str, Any]) -> "Tensor":
        limits = value.get("range")
        return Tensor(
            value["name"],
            value["dtype"],
            tuple(value["shape"]),
            (limits[0], limits[1]) if limits else None,
        )

    def to_json(self) -> Dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} [{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Request:
    """What to export, from where, and how; the fields are those of the JSON file."""

    kind: str
    model: str
    out: str
    cases: str
    opset: Optional[int]
    exporter: str
    inputs: Tuple[Tensor, ...]
    outputs: Tuple[str, ...]
    signature: Optional[str]
    module: Optional[str]
    factory: Optional[str]
    arguments: Dict[str, Any]
    script: Optional[str]
    samples: Optional[str]
    seed: int
    json: Dict[str, Any] = field(repr=False)

    @staticmethod
    def from_json(value: Dict[str, Any]) -> "Request":
        return Request(
            kind=value["kind"],
            model=value["model"],
            out=value["out"],
            cases=value["cases"],
            opset=value.get("opset"),
            exporter=value.get("exporter") or "auto",
            inputs=tuple(Tensor.from_json(each) for each in value.get("inputs") or ()),
            outputs=tuple(value.get("outputs") or ()),
            signature=value.get("signature"),
            module=value.get("module"),
            factory=value.get("factory"),
            arguments=value.get("arguments") or {},
            script=value.get("script"),
            samples=value.get("samples"),
            seed=value.get("seed") or 0,
            json=value,
        )

    @property
    def result(self) -> str:
        return str(self.json["result"])

    @property
    def onnx_path(self) -> str:
        return os.path.join(self.out, "model.onnx")


@dataclass
class Result:
    """What was done, for the artifact's description."""

    exporter: str
    inputs: Sequence[Tensor]
    outputs: Sequence[str]
    opset: Optional[int] = None
    warnings: List[str] = field(default_factory=list)
    choices: Dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        return {
            "exporter": self.exporter,
            "opset": self.opset,
            "inputs": [each.to_json() for each in self.inputs],
            "outputs": list(self.outputs),
            "warnings": [shortened(each) for each in self.warnings[:MOST_WARNINGS]],
            "choices": self.choices,
        }


def main(export: Callable[[Request], Result]) -> NoReturn:
    """Runs `export` on the request that the first argument names and ends the process."""
    with open(sys.argv[1], encoding="utf-8") as file:
        value = json.load(file)
    if value.get("format") != FORMAT:
        sys.exit(f"requests of format {value.get('format')} are unknown: this script reads {FORMAT}")
    try:
        answer, status = export(Request.from_json(value)).to_json(), 0
    except ExportError as error:
        answer, status = {"error": error.to_json()}, FAILED
    except MemoryError:
        answer, status = {"error": out_of_memory().to_json()}, FAILED
    except Exception as error:  # whatever a framework or a model raises is told, not lost
        answer, status = {"error": unforeseen(error).to_json()}, FAILED
    with open(value["result"], "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **without_folder(answer, os.path.dirname(sys.argv[1]))}, file, indent=2, sort_keys=True, default=str)
        file.write("\n")
    sys.exit(status)


def without_folder(value: Any, folder: str) -> Any:
    """The value with all texts as they are without the folder of the export, which is gone afterwards."""
    if isinstance(value, str):
        return value.replace(f"{folder}/", "")
    if isinstance(value, dict):
        return {key: without_folder(each, folder) for key, each in value.items()}
    return [without_folder(each, folder) for each in value] if isinstance(value, list) else value


def out_of_memory() -> ExportError:
    return ExportError(
        "export",
        "the export needs more memory than it may use",
        "raise `memory_limit_mib:` of the stage, or export on a machine with more memory",
    )


def unforeseen(error: BaseException) -> ExportError:
    return ExportError("export", described(error), with_traceback())


def with_traceback() -> str:
    """Help for an error of which no more is known: writes where it was raised, within its `except`."""
    traceback.print_exc()
    return "the output above has the whole traceback"


def progress(phase: str) -> None:
    """Tells the user what goes on; the last line is shown while the stage runs."""
    sys.stderr.write(f"phase: {phase}\n")
    sys.stderr.flush()


def check_archive(path: str) -> None:
    """Reads the records of a zip archive, which PyTorch loads without a look at their checksums. A checksum
    of 0 stands for none: `torch.serialization.set_crc32_options(False)` writes such."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            try:
                with archive.open(record) as file:
                    while record.CRC and file.read(1 << 20):
                        pass
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                message = f"`{os.path.basename(path)}` is damaged: its record `{record.filename}` is not what was written ({error})"
                raise ExportError("not_a_model", message, "copy or download the file again, or save the model anew") from error


def shortened(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 2] + ".."


def described(error: BaseException) -> str:
    """The error in one line: its type and the first sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].split('. ')[0]}" if lines else type(error).__name__


def causes(error: Optional[BaseException]) -> Iterator[BaseException]:
    """The error, and what it was raised from, to the first of them."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def raised_in(error: BaseException, path: str) -> str:
    """The error and its place in the user's file."""
    if isinstance(error, SyntaxError) and error.filename:
        return described(error)  # it names file and line itself
    return f"{described(error)}{place_in(error, path)}"


def place_in(error: BaseException, path: str) -> str:
    """The last frame within the user's file, where the error came that far."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if os.path.realpath(frame.filename) == os.path.realpath(path)]
    return f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno}, in {own[-1].name})" if own else ""


def listed(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + rest


def check_opset(request: Request, opsets: range, exporter: str) -> None:
    """Refuses an opset that the exporter does not write."""
    if request.opset is None or not opsets or request.opset in opsets:
        return
    message = f"{exporter} writes opset {opsets[0]} to {opsets[-1]}, `opset:` asks for {request.opset}"
    raise ExportError("opset", message, "ask for one of these, or leave `opset:` out; `optimize` raises the opset of a model")


def missing_package(package: str, needed_for: str) -> ExportError:
    """One package, or several with spaces between."""
    named = listed(package.split())
    message = f"{needed_for} needs {'the Python packages' if ' ' in package else 'the Python package'} {named}, which {sys.executable} lacks"
    help = f"run `{sys.executable} -m pip install {package}`, or name a Python that has it with `python:` or `venv:`"
    return ExportError("missing_package", message, help, package)


def require(module: str, package: str, needed_for: str, others: Sequence[Tuple[str, str]] = ()) -> Any:
    """Imports what an export needs, or says what to install: with it those of `others`, which are needed
    later, that lack too."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).split(".")[0]
        if missing != module.split(".")[0]:
            raise missing_package(missing, needed_for) from error
        also = [install for name, install in others if importlib.util.find_spec(name) is None]
        raise missing_package(" ".join([package, *also]), needed_for) from error
    except Exception as error:
        raise ExportError(
            "export",
            f"`{module}` is installed but cannot be imported: {described(error)}",
            f"see whether `{sys.executable} -c 'import {module}'` works; its packages may not fit each other",
        ) from error


def load_module(path: str, kind: str) -> Any:
    """Runs the user's file as a module under a name of its own. It finds installed packages, not
    the files beside it: those are no part of what the result is named by."""
    for own in ("common", "cases", "onnx_file", "earlier_opset"):
        sys.modules.pop(own, None)  # packages of these names are the user's
    name = "trt_pipeline_user_module"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ExportError(kind, f"`{os.path.basename(path)}` is no Python file", "name a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise not_importable(path, error, kind) from error
    except SystemExit as error:
        raise ended(f"`{os.path.basename(path)}`", error, path, kind) from error
    except Exception as error:
        raise ExportError(
            kind,
            f"`{os.path.basename(path)}` does not load: {raised_in(error, path)}",
            f"`{sys.executable} {path}` must run without an error",
        ) from error
    return module


def ended(what: str, error: SystemExit, path: str, kind: str) -> ExportError:
    """The user's code called `sys.exit`, which would end the export without a word."""
    said = "" if error.code is None else repr(error.code)
    message = f"{what} ended Python: sys.exit({said}){place_in(error, path)}"
    return ExportError(kind, message, "raise an exception that says what is wrong, or return")


def not_importable(path: str, error: ModuleNotFoundError, kind: str) -> ExportError:
    missing = (error.name or "").split(".")[0]
    beside = os.path.join(os.path.dirname(path), missing)
    if not (os.path.isdir(beside) or os.path.isfile(f"{beside}.py")):
        return missing_package(missing, f"`{os.path.basename(path)}`")
    return ExportError(
        kind,
        f"`{os.path.basename(path)}` imports `{missing}`, which lies beside it",
        "only the named file is part of the result's key: put everything into it, or install "
        f"`{missing}` as a package into the Python that exports",
    )


def user_function(module: Any, path: str, name: Optional[str], kind: str) -> Callable[..., Any]:
    """A function of the user's file, by name."""
    found = getattr(module, name or "", None)
    if callable(found):
        return found
    own = sorted(
        key
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    )
    raise ExportError(
        kind,
        f"`{os.path.basename(path)}` has no function `{name}`",
        f"it defines {listed(own)}" if own else "it defines no function",
    )


def noted(records: Iterable[warnings.WarningMessage]) -> List[str]:
    """Warnings worth keeping, each once: one line and its place, without the machine's folders."""
    kept = {}
    for each in records:
        if issubclass(each.category, (DeprecationWarning, FutureWarning, PendingDeprecationWarning)):
            continue
        text = described(each.message) if isinstance(each.message, Warning) else str(each.message)
        text = re.sub(r" at 0x[0-9a-f]+", "", text)
        kept[f"{text} ({os.path.basename(each.filename)}, line {each.lineno})"] = None
    return list(kept)[:MOST_WARNINGS]


class Kept(logging.Handler):
    """Keeps what a library logs, for the result."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: List[Tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.messages.append((record.levelno, described(list(causes(record.exc_info[1]))[-1])))
        else:
            self.messages.append((record.levelno, record.getMessage()))


class logged:
    """Within it, what a library logs is kept, and not shown."""

    def __init__(self, name: str) -> None:
        self.logger, self.handler = logging.getLogger(name), Kept()
        self.own = (self.logger.handlers, self.logger.propagate)

    def __enter__(self) -> List[Tuple[int, str]]:
        self.logger.handlers, self.logger.propagate = [self.handler], False
        return self.handler.messages

    def __exit__(self, *_: Any) -> None:
        self.logger.handlers, self.logger.propagate = self.own
