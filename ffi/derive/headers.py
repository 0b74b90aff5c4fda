"""A folder of TensorRT's headers: of which release it is, and how libclang is made to read it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from clang.cindex import Diagnostic, Index, TranslationUnit

from facts import DeriveError, Version

STAND_IN = Path(__file__).parent / "stand-in"


class Headers:
    """A folder of TensorRT's headers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        if not (self.folder / "NvInfer.h").is_file():
            raise DeriveError(f"{folder} holds no NvInfer.h")
        self.has_parser = (self.folder / "NvOnnxParser.h").is_file()
        text = (self.folder / "NvInferVersion.h").read_text(encoding="utf-8")
        defined = dict(re.findall(r"^#define\s+(\w+)\s+(\w+)", text, re.MULTILINE))
        self.version = Version(
            (self._number(defined, "MAJOR"), self._number(defined, "MINOR"), self._number(defined, "PATCH"))
        )
        self.flavor = "rtx" if "TRT_MAJOR_RTX" in defined else "tensorrt"

    def _number(self, defined: dict[str, str], part: str) -> int:
        name: str | None = f"NV_TENSORRT_{part}"
        for _ in range(3):
            name = defined.get(name or "")
            if name and name.isdigit():
                return int(name)
        raise DeriveError(f"{self.folder / 'NvInferVersion.h'} does not say NV_TENSORRT_{part}")

    @property
    def source(self) -> str:
        """A program that includes them all."""
        lines = ["#include <exception>", "#include <NvInfer.h>"]
        return "\n".join(lines + ["#include <NvOnnxParser.h>"] * self.has_parser) + "\n"

    @property
    def include_paths(self) -> list[Path]:
        """Folders to search before the compiler's own."""
        return [self.folder, STAND_IN]


def parse(headers: Headers) -> TranslationUnit:
    """Reads the headers with libclang and the C++ library of the installed g++; any error in them ends the run."""
    arguments = ["-x", "c++", "-std=c++17", "-nostdinc", "-nostdinc++", "-w"]
    arguments += [f"-I{path}" for path in headers.include_paths]
    arguments += [f"-isystem{path}" for path in _system_include_paths()]
    main = "headers.cpp"
    unit = Index.create().parse(main, args=arguments, unsaved_files=[(main, headers.source)])
    errors = [str(found) for found in unit.diagnostics if found.severity >= Diagnostic.Error]
    if errors:
        raise DeriveError("the headers do not compile:\n  " + "\n  ".join(errors[:10]))
    return unit


def _system_include_paths() -> list[str]:
    """Where g++ looks for its headers; libclang brings none."""
    command = ["g++", "-E", "-v", "-x", "c++", os.devnull]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"LC_ALL": "C"})
    except FileNotFoundError as missing:
        raise DeriveError(
            "g++ is not installed; its C++ library is read and its word is taken on every slot"
        ) from missing
    found = re.search(r"#include <\.\.\.> search starts here:\n(.*?)End of search list", asked.stderr, re.DOTALL)
    if found is None:
        raise DeriveError("g++ does not say where its headers are")
    return [line.strip() for line in found.group(1).splitlines()]
