"""A new release into its generation: what the table must say once it knows the release.

A generation grows: functions and enumerators are added, slots may have moved. What the table cannot say of one
generation (a function that changed or went, a value that moved) is refused: such a release begins a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import picked
from facts import Class, DeriveError, Enum, Release, Version
from table import ClassEntry, Deviation, EnumEntry, Generation


def empty(name: str) -> Generation:
    """A generation before its first release."""
    return Generation(name, [], [], [], {}, {}, {}, {}, {})


def add(before: Generation, label: str, release: Release) -> Generation:
    """The generation with one release more, which becomes its reference; the reference itself may be added again."""
    if before.headers and Version.parse(label) < Version.parse(before.reference):
        raise DeriveError(f"{label} is older than {before.reference}, the reference of {before.name}: add oldest first")
    after = Generation(
        name=before.name,
        headers=_with(before.headers, label),
        parser_headers=_with(before.parser_headers, label) if release.has_parser else before.parser_headers,
        exported=list(release.exported),
        classes={},
        exceptions=dict(before.exceptions),
        pods=release.pods,
        aliases=release.aliases,
        enums={},
    )
    _same_or_added("structure", before.pods, release.pods)
    _same_or_added("alias", before.aliases, release.aliases)
    for name in _names(picked.CLASSES, before.classes, release.classes, release.has_parser):
        after.classes[name] = _class(before, after, label, name, release.classes.get(name))
    for name in _names(picked.ENUMS, before.enums, release.enums, release.has_parser):
        after.enums[name] = _enum(before, after, label, name, release.enums.get(name))
    return after


def _with(labels: list[str], label: str) -> list[str]:
    return labels if label in labels else [*labels, label]


def _names(
    order: Mapping[str, object] | list[str], before: Mapping[str, object], found: Mapping[str, object], has_parser: bool
) -> list[str]:
    """Names of the table to be, in its order; without the parser's headers its names stay as they were."""
    for name in before:
        if name not in found and (has_parser or name not in picked.OF_PARSER):
            raise DeriveError(f"{name} is gone, and the table cannot say so inside a generation")
    return [name for name in order if name in found or name in before]


def _same_or_added(what: str, before: Mapping[str, object], found: Mapping[str, object]) -> None:
    for name, known in before.items():
        if found.get(name) != known:
            raise DeriveError(f"{what} {name} was {known} and is {found.get(name)}: not the same generation")


def _class(before: Generation, after: Generation, label: str, name: str, found: Class | None) -> ClassEntry:
    if found is None:
        return before.classes[name]
    if name in before.classes:
        _same_functions(name, before.classes[name].newest, found)
    slots = {known: before.slots_at(name, known) for known in before.releases_of(name)}
    slots = {known: table for known, table in slots.items() if table} | {label: found.keyed()}
    _note_moved_slots(after, name, slots, found.keyed())
    since, absent_in = [], []
    releases = after.releases_of(name)
    for key in found.keyed():
        first = next(known for known in releases if key in slots.get(known, {}))
        since.append(None if first == after.headers[0] else first)
        absent_in.append(_unseen_since(after, releases, first))
    lengths = [(known, len(table)) for known, table in slots.items()]
    changes = [lengths[0], *(later for earlier, later in pairwise(lengths) if earlier[1] != later[1])]
    first_release = lengths[0][0]
    return ClassEntry(
        found,
        since,
        absent_in,
        class_since=None if first_release == after.headers[0] else first_release,
        slots_by_version=dict(changes) if len(changes) > 1 else {},
    )


def _same_functions(name: str, before: Class, found: Class) -> None:
    """Refuses a class that is not the old one with functions added."""
    for attribute in ("kind", "impl", "impl_offset", "bases", "interface_info"):
        if (was := getattr(before, attribute)) != (now := getattr(found, attribute)):
            raise DeriveError(f"{name}: {attribute} was {was!r} and is {now!r}: not the same generation")
    slots = found.keyed()
    for key, slot in before.keyed().items():
        was = before.methods[slot]
        now = found.methods[slots[key]] if key in slots else None
        if now is None or (was.abi, was.cxx) != (now.abi, now.cxx):
            raise DeriveError(f"{name}.{key}: was {was.cxx} and is {now and now.cxx}: not the same generation")


def _note_moved_slots(after: Generation, name: str, slots: dict[str, dict[str, int]], newest: dict[str, int]) -> None:
    """Writes an exception for every older release with a function in another slot than the newest has it in."""
    for label, table in slots.items():
        moved = {key: slot for key, slot in sorted(table.items(), key=lambda item: item[1]) if newest[key] != slot}
        known = after.exceptions.get((label, name))
        if known is not None and known.source is not None:
            if known.header_said != moved:
                raise DeriveError(
                    f"{name}: slots moved after {label}, whose exception is written by hand: write it anew"
                )
        elif moved:
            after.exceptions[label, name] = Deviation(moved)
        else:
            after.exceptions.pop((label, name), None)


def _unseen_since(after: Generation, releases: list[str], first: str) -> str | None:
    """The last release before the first, where headers of releases between the two were not to be had."""
    at = releases.index(first)
    if at == 0:
        return None
    previous = releases[at - 1]
    return previous if after.headers.index(first) - after.headers.index(previous) > 1 else None


def _enum(before: Generation, after: Generation, label: str, name: str, found: Enum | None) -> EnumEntry:
    if found is None:
        return before.enums[name]
    known = before.enums.get(name, EnumEntry(Enum(found.type, {}), {}))
    for key, value in known.newest.values.items():
        if found.values.get(key) != value:
            raise DeriveError(f"{name}::{key} was {value} and is {found.values.get(key)}: not the same generation")
    since = {}
    for key in found.values:
        first = known.since.get(key) or (after.headers[0] if key in known.newest.values else label)
        if first != after.headers[0]:
            since[key] = first
    return EnumEntry(found, since)
