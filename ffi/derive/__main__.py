"""Holds NVIDIA's headers against the table of TensorRT's binary interface, or writes the entries of a new release.

    python3 ffi/derive --headers FOLDER            compare; ends with 1 if anything differs
    python3 ffi/derive --headers FOLDER --emit     print the generation that knows this release too
    python3 ffi/derive --headers FOLDER --write    put it into the table

Needs g++ and the package in requirements.txt.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

import merge
import render
import table
from compare import compare
from facts import DeriveError, Version

try:
    from confirm import confirm
    from headers import Headers
    from read import Reader
except ModuleNotFoundError as missing:
    print(f"error: {missing}; pip install -r {Path(__file__).parent / 'requirements.txt'}", file=sys.stderr)
    sys.exit(2)


def main() -> int:
    """0 if all agrees or was written, 1 on a difference, 2 if the question could not be asked."""
    arguments = _arguments()
    try:
        folders = sorted(map(Headers, arguments.headers), key=lambda headers: headers.version)
        for headers in folders:
            _is_what_was_meant(headers, arguments)
        if arguments.emit or arguments.write:
            return _grow(folders, arguments)
        return max([_check(headers, arguments.table) for headers in folders])
    except (DeriveError, OSError, tomllib.TOMLDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ffi/derive", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--headers",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="with NvInfer.h in it, and NvOnnxParser.h",
    )
    parser.add_argument("--version", help="release that the headers must be of; with --emit, its name in the table")
    parser.add_argument("--flavor", choices=("tensorrt", "rtx"), help="flavor that the headers must be of")
    parser.add_argument("--table", type=Path, default=table.TABLE, metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--generation", metavar="NAME", help="with --emit and --write: the generation, which may be new"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--emit", action="store_true", help="print the entries of the generation")
    what.add_argument("--write", action="store_true", help="put them into the table")
    return parser.parse_args()


def _is_what_was_meant(headers: Headers, arguments: argparse.Namespace) -> None:
    if arguments.flavor not in (None, headers.flavor):
        raise DeriveError(f"{headers.folder} is of flavor {headers.flavor}, not {arguments.flavor}")
    if arguments.version:
        meant = Version.parse(arguments.version)
        if meant.minor != headers.version.minor or meant > headers.version:
            raise DeriveError(f"{headers.folder} is of version {headers.version}, not {arguments.version}")


def _check(headers: Headers, path: Path) -> int:
    name = f"{headers.flavor} {headers.version}"
    generation = table.choose(table.generations(table.load(path)), headers.flavor, headers.version)
    label = generation.label(headers.version) if generation else None
    if generation is None or label is None:
        print(f"{name}: not in the table; --emit prints the entries it needs, --write puts them in")
        return 1
    reader = Reader(headers)
    differences, counts = compare(generation, label, reader.release())
    unconfirmed, confirmed = confirm(reader)
    for line in [*differences, *unconfirmed]:
        print(f"{name}: {line}")
    found = f"{len(differences)} differences" if differences else "no difference"
    agreed = f"g++ confirms {confirmed - len(unconfirmed)} of {confirmed} numbers"
    print(f"{name} ({generation.name}, {label}): {found} in {counts}; {agreed}")
    return 1 if differences or unconfirmed else 0


def _grow(folders: list[Headers], arguments: argparse.Namespace) -> int:
    text = arguments.table.read_text(encoding="utf-8")
    every = table.generations(table.load(arguments.table))
    changed: dict[str, table.Generation] = {}
    for headers in folders:
        reader = Reader(headers)
        unconfirmed, _ = confirm(reader)
        if unconfirmed:
            raise DeriveError("\n  ".join(["libclang and g++ do not agree:", *unconfirmed]))
        before = _generation(every, headers, arguments.generation)
        after = merge.add(before, _label(before, headers, arguments.version), reader.release())
        for label, name in sorted(after.exceptions.keys() - before.exceptions.keys()):
            print(f"note: {name} has slots in {label} that moved later: review, or begin a generation", file=sys.stderr)
        every[after.name] = changed[after.name] = after
    if arguments.emit:
        print("".join([*map(render.section, changed.values()), render.renumbered(every)]), end="")
        return 0
    for generation in changed.values():
        text = render.replace(text, generation, every)
    arguments.table.write_text(text, encoding="utf-8")
    return 0


def _generation(every: dict[str, table.Generation], headers: Headers, named: str | None) -> table.Generation:
    if named is not None:
        return every.get(named) or merge.empty(named)
    chosen = table.choose(every, headers.flavor, headers.version)
    if chosen is None:
        raise DeriveError(
            f"no generation begins with {headers.flavor} {headers.version} or before: name one with --generation"
        )
    return chosen


def _label(generation: table.Generation, headers: Headers, written: str | None) -> str:
    """The table's name for the release: as written, else the one it has, else without a last part that is 0."""
    return written or generation.label(headers.version) or str(headers.version).removesuffix(".0")


if __name__ == "__main__":
    sys.exit(main())
