"""The table (`ffi/tensorrt-abi.toml`) as data: generations, and what each of them says of one release.

Knows the notation of the file, not where its facts come from.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import picked
from facts import Class, DeriveError, Enum, Field, Method, Pod, Version

TABLE = Path(__file__).parent.parent / "tensorrt-abi.toml"
Toml = dict[str, Any]


@dataclass
class ClassEntry:
    """A class of a generation: its table of functions in the newest release, and since when each entry is there."""

    newest: Class
    since: list[str | None]
    """Per slot, the first release with the function; None is the first of the generation."""
    absent_in: list[str | None]
    """Per slot, the last release known to be without it, where releases between the two were not seen."""
    class_since: str | None
    slots_by_version: dict[str, int]
    """Length of the table from a release on; empty if it never changed."""


@dataclass
class Deviation:
    """A release whose slots of a class differ from those of its generation."""

    slots: dict[str, int]
    """What to call."""
    source: str | None = None
    """Set where the library was seen to differ even from its own headers."""
    absent: list[str] = field(default_factory=list)
    header_said: dict[str, int] = field(default_factory=dict)

    def by_headers(self) -> dict[str, int]:
        """The slots that the headers of the release show."""
        return self.slots | self.header_said


@dataclass
class EnumEntry:
    """An enumeration of a generation; `since` names the enumerators that its first release does not have."""

    newest: Enum
    since: dict[str, str]


@dataclass
class Generation:
    """Releases whose objects are called through the same slots."""

    name: str
    headers: list[str]
    """Releases whose headers were read, oldest first; the last is the reference."""
    parser_headers: list[str]
    exported: list[str]
    classes: dict[str, ClassEntry]
    exceptions: dict[tuple[str, str], Deviation]
    """By release and class."""
    pods: dict[str, Pod]
    aliases: dict[str, str]
    enums: dict[str, EnumEntry]

    @property
    def reference(self) -> str:
        """The newest release that was read: the entries are written as its headers are."""
        return self.headers[-1]

    def label(self, version: Version) -> str | None:
        """The table's name of a release; a patch that was not read is the last one before it of the same minor."""
        same_minor = [label for label in self.headers if Version.parse(label).minor == version.minor]
        return max((label for label in same_minor if Version.parse(label) <= version), key=Version.parse, default=None)

    def releases_of(self, name: str) -> list[str]:
        """The releases whose headers can show a name: the parser has its own, and not all were to be had."""
        return self.parser_headers if name in picked.OF_PARSER else self.headers

    def slots_at(self, class_name: str, label: str) -> dict[str, int]:
        """Slot by name that the headers of a release show, empty where they have no such class."""
        entry = self.classes.get(class_name)
        if entry is None or label not in self.releases_of(class_name) or not reached(label, entry.class_since):
            return {}
        moved = self.exceptions.get((label, class_name), Deviation({})).by_headers()
        known = zip(entry.newest.keyed().items(), entry.since, strict=True)
        return {key: moved.get(key, slot) for (key, slot), since in known if reached(label, since)}

    def length_at(self, class_name: str, label: str) -> int:
        """Number of slots that the table writes for a class in a release."""
        entry = self.classes[class_name]
        lengths = [count for since, count in entry.slots_by_version.items() if reached(label, since)]
        return lengths[-1] if lengths else len(entry.newest.methods)

    def enum_at(self, name: str, label: str) -> dict[str, int]:
        """Value by enumerator in a release; empty where it has no such enumeration."""
        entry = self.enums.get(name)
        if entry is None or label not in self.releases_of(name):
            return {}
        return {key: value for key, value in entry.newest.values.items() if reached(label, entry.since.get(key))}


def reached(label: str, since: str | None) -> bool:
    """Whether a release is not older than another."""
    return since is None or Version.parse(label) >= Version.parse(since)


def load(path: Path = TABLE) -> Toml:
    """The file as it is."""
    with path.open("rb") as file:
        return tomllib.load(file)


def generations(toml: Toml) -> dict[str, Generation]:
    """All generations of the file."""
    return {name: _generation(name, written) for name, written in toml["gen"].items()}


def choose(every: dict[str, Generation], flavor: str, version: Version) -> Generation | None:
    """The generation that a release belongs to: the newest of its flavor that does not begin after it, of its major."""
    candidates = [
        generation
        for generation in every.values()
        if generation.name.startswith("rtx") == (flavor == "rtx")
        and Version.parse(generation.headers[0]) <= version
        and Version.parse(generation.headers[0]).parts[0] == version.parts[0]
    ]
    return max(candidates, key=lambda generation: Version.parse(generation.headers[0]), default=None)


def _generation(name: str, written: Toml) -> Generation:
    pods = {pod: fields for pod, fields in written["pod"].items() if "alias" not in fields}
    return Generation(
        name=name,
        headers=written["headers"],
        parser_headers=written["parser_headers"],
        exported=written["exported"],
        classes={key: _class(f"gen.{name}.class.{key}", entry) for key, entry in written["class"].items()},
        exceptions={
            (label, key): _deviation(entry)
            for label, by_class in written.get("exception", {}).items()
            for key, entry in by_class.items()
        },
        pods={key: _pod(entry) for key, entry in pods.items()},
        aliases={key: entry["alias"] for key, entry in written["pod"].items() if "alias" in entry},
        enums={key: _enum(entry) for key, entry in written["enum"].items()},
    )


def _class(place: str, written: Toml) -> ClassEntry:
    methods = written["m"]
    if [method["slot"] for method in methods] != list(range(written["slots"])):
        raise DeriveError(f"{place}: the slots are not 0 to {written['slots'] - 1} in order")
    bases, info = written.get("bases"), written.get("interface_info")
    newest = Class(
        kind=written["kind"],
        methods=tuple(_method(method) for method in methods),
        impl=written.get("impl"),
        impl_offset=written.get("impl_offset"),
        bases=None if bases is None else tuple(bases),
        interface_info=None if info is None else tuple(info),
    )
    if (names := list(newest.keyed())) != [method["name"] for method in methods]:
        raise DeriveError(f"{place}: overloads are not numbered in the order of their slots: {names}")
    return ClassEntry(
        newest,
        since=[method.get("since") for method in methods],
        absent_in=[method.get("absent_in") for method in methods],
        class_since=written.get("class_since"),
        slots_by_version=written.get("slots_by_version", {}),
    )


def _method(written: Toml) -> Method:
    return Method(
        name=written["name"].partition("__")[0],
        abi=written["abi"],
        cxx=written.get("cxx"),
        public=written.get("public"),
        public_abi=written.get("public_abi"),
        default=written.get("default", False),
        deprecated=written.get("deprecated", False),
    )


def _deviation(written: Toml) -> Deviation:
    return Deviation(
        slots={key: slot for key, slot in written.items() if not key.startswith("_")},
        source=written.get("_source"),
        absent=written.get("_absent", []),
        header_said=written.get("_header_said", {}),
    )


def _pod(written: Toml) -> Pod:
    return Pod(written["size"], written["align"], tuple(Field(**member) for member in written["fields"]))


def _enum(written: Toml) -> EnumEntry:
    values = {key: value for key, value in written.items() if not key.startswith("_")}
    return EnumEntry(Enum(written.get("_type", "i32"), values), written.get("_since", {}))
