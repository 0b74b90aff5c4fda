"""Table against headers: every difference, and how much was compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from facts import Class, Method, Release
from table import ClassEntry, Generation

_BY_REFERENCE_ONLY = {"public", "public_abi", "deprecated"}
"""What the table writes for the newest release and does not follow through the older ones."""


@dataclass(frozen=True)
class Difference:
    """One fact on which table and headers do not agree; None stands for a fact that is not there."""

    where: str
    what: str
    table: Any
    headers: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.what}: table says {_show(self.table)}, headers say {_show(self.headers)}"


@dataclass
class Counts:
    """How much was compared."""

    classes: int = 0
    slots: int = 0
    pods: int = 0
    enums: int = 0
    enumerators: int = 0
    callbacks: int = 0

    def __str__(self) -> str:
        return (
            f"{self.slots} slots of {self.classes} classes ({self.callbacks} of them callbacks),"
            f" {self.pods} structures, {self.enumerators} enumerators of {self.enums} enumerations"
        )


def compare(generation: Generation, label: str, release: Release) -> tuple[list[Difference], Counts]:
    """Holds the headers of a release against what the table says of it."""
    comparison = _Comparison(generation, label, release)
    return list(comparison.differences()), comparison.counts


@dataclass
class _Comparison:
    generation: Generation
    label: str
    release: Release

    def __post_init__(self) -> None:
        self.counts = Counts()
        self.is_reference = self.label == self.generation.reference

    def differences(self) -> Iterator[Difference]:
        yield from self._one(
            self.label, "parser headers", self.label in self.generation.parser_headers, self.release.has_parser
        )
        if self.is_reference:
            yield from self._one(
                self.label, "exported functions", self.generation.exported, list(self.release.exported)
            )
        for name in _union(self.generation.classes, self.release.classes):
            yield from self._class(name)
        for name in _union(self.generation.pods, self.release.pods):
            self.counts.pods += 1
            yield from self._one(name, "structure", self.generation.pods.get(name), self.release.pods.get(name))
        for name in _union(self.generation.aliases, self.release.aliases):
            yield from self._one(name, "stands for", self.generation.aliases.get(name), self.release.aliases.get(name))
        for name in _union(self.generation.enums, self.release.enums):
            yield from self._enum(name)

    def _one(self, where: str, what: str, table: object, headers: object) -> Iterator[Difference]:
        if table != headers:
            yield Difference(where, what, table, headers)

    def _class(self, name: str) -> Iterator[Difference]:
        expected = self.generation.slots_at(name, self.label)
        found = self.release.classes.get(name)
        if not expected and found is None:
            return
        if not expected or found is None:
            yield Difference(name, "class", "present" if expected else None, "present" if found else None)
            return
        self.counts.classes += 1
        self.counts.callbacks += found.kind == "callback"
        self.counts.slots += len(found.methods)
        yield from self._slots(name, expected, found)
        entry = self.generation.classes[name]
        for attribute in ("kind", "impl", "impl_offset", "bases", "interface_info"):
            table, headers = getattr(entry.newest, attribute), getattr(found, attribute)
            yield from self._one(name, attribute, table, headers)

    def _slots(self, name: str, expected: dict[str, int], found: Class) -> Iterator[Difference]:
        entry, actual = self.generation.classes[name], found.keyed()
        yield from self._one(name, "number of slots", self.generation.length_at(name, self.label), len(found.methods))
        for key in _union(expected, actual):
            where = f"{name}.{key}"
            yield from self._one(where, "slot", expected.get(key), actual.get(key))
            if key in expected and key in actual:
                yield from self._method(where, _method_of(entry, key), found.methods[actual[key]])

    def _method(self, where: str, table: Method, headers: Method) -> Iterator[Difference]:
        for attribute in fields(Method):
            if self.is_reference or attribute.name not in _BY_REFERENCE_ONLY:
                yield from self._one(
                    where, attribute.name, getattr(table, attribute.name), getattr(headers, attribute.name)
                )

    def _enum(self, name: str) -> Iterator[Difference]:
        expected = self.generation.enum_at(name, self.label)
        found = self.release.enums.get(name)
        if not expected and found is None:
            return
        self.counts.enums += 1
        actual = found.values if found else {}
        if found and name in self.generation.enums:
            yield from self._one(name, "type", self.generation.enums[name].newest.type, found.type)
        for key in _union(expected, actual):
            self.counts.enumerators += 1
            yield from self._one(f"{name}::{key}", "value", expected.get(key), actual.get(key))


def _method_of(entry: ClassEntry, key: str) -> Method:
    return entry.newest.methods[entry.newest.keyed()[key]]


def _union(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


def _show(value: object) -> str:
    return "nothing" if value is None else repr(value)
