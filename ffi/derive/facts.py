"""What one release of TensorRT looks like from outside: the words that all modules here share.

Read from headers (`read`) or from the table (`table`), so that the two can be compared. Knows neither clang nor TOML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

COMPLETE_DESTRUCTOR = "~complete"
DELETING_DESTRUCTOR = "~deleting"


class DeriveError(Exception):
    """A reason to stop, in words for the person who ran the program."""


@dataclass(frozen=True, order=True)
class Version:
    """A release such as 10.13.2; a part that is not written is 0, so 11.4 is 11.4.0."""

    parts: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str) -> Version:
        """Reads `11.4` or `10.13.2`."""
        if not re.fullmatch(r"\d+\.\d+(\.\d+)?", text):
            raise DeriveError(f"a version is written like 11.4 or 10.13.2, not {text!r}")
        numbers = [int(part) for part in text.split(".")]
        return cls((numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 0))

    @property
    def minor(self) -> tuple[int, int]:
        """Major and minor number: what the releases of one table entry have in common."""
        return self.parts[:2]

    def __str__(self) -> str:
        return ".".join(map(str, self.parts))


@dataclass(frozen=True)
class Method:
    """One entry of a table of virtual functions; its slot is its place in `Class.methods`."""

    name: str
    """C++ name, or `~complete` and `~deleting` for the two halves of a destructor."""
    abi: str
    """Calling convention in the table's notation: `bool(ptr,i32)`."""
    cxx: str | None = None
    """C++ signature without the namespaces; destructors have none."""
    public: str | None = None
    """Name of the inline method that calls this slot; empty if none does, None where that is not a question."""
    public_abi: str | None = None
    """Calling convention of that method, where it differs."""
    default: bool = False
    """A callback that the caller may leave out in C++ (and a caller without C++ must write)."""
    deprecated: bool = False


@dataclass(frozen=True)
class Class:
    """A class with virtual functions."""

    kind: str
    """`pimpl` (object holds a pointer to its implementation), `direct` or `callback`."""
    methods: tuple[Method, ...]
    impl: str | None = None
    """Class of the implementation whose functions these are (pimpl)."""
    impl_offset: int | None = None
    """Where the object holds the pointer to it (pimpl)."""
    bases: tuple[str, ...] | None = None
    """Direct bases (callback)."""
    interface_info: tuple[str | int, ...] | None = None
    """What `getInterfaceInfo` of a callback answers: kind, major, minor."""

    def keyed(self) -> dict[str, int]:
        """Slot by name; a later function of the same name is `name__2`, `name__3`."""
        return {key: slot for slot, key in enumerate(keys(method.name for method in self.methods))}


@dataclass(frozen=True)
class Field:
    """A member of a structure."""

    offset: int
    name: str
    type: str


@dataclass(frozen=True)
class Pod:
    """A structure that crosses the boundary by value or by pointer."""

    size: int
    align: int
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Enum:
    """An enumeration with its enumerators in the order of their declaration."""

    type: str
    values: dict[str, int]


@dataclass(frozen=True)
class Release:
    """Everything of one release that the table speaks of, each by its unqualified name."""

    has_parser: bool
    classes: dict[str, Class]
    pods: dict[str, Pod]
    aliases: dict[str, str]
    enums: dict[str, Enum]
    exported: tuple[str, ...]


def keys(names: Iterable[str]) -> list[str]:
    """The table's name of each function: overloads after the first get a number, in the order of their slots."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = count = seen.get(name, 0) + 1
        out.append(name if count == 1 else f"{name}__{count}")
    return out
