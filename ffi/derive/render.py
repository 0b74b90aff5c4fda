"""Generations as the text of the table: the notation that `table` reads, letter for letter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import picked
from facts import Class, DeriveError, Method, Pod
from table import ClassEntry, Deviation, EnumEntry, Generation


def section(generation: Generation) -> str:
    """Everything from `[gen.NAME]` to the next generation."""
    return "\n".join(_section(generation)) + "\n"


def renumbered(every: dict[str, Generation]) -> str:
    """The section `[renumbered]`: enumerators whose value is not the same in all generations."""
    lines = ["[renumbered]"]
    for (enum, key), by_value in sorted(_values(every).items()):
        if len(by_value) > 1:
            values = {generation: str(value) for value, names in by_value.items() for generation in names}
            lines.append(f"{_text(f'{enum}::{key}')} = {_inline(values)}")
    return "\n".join(lines) + "\n"


def replace(text: str, generation: Generation, every: dict[str, Generation]) -> str:
    """The table's text with a generation, new or grown, in its place, and the list of renumbered enumerators redone."""
    written = section(generation)
    here = re.compile(
        rf"^\[gen\.{re.escape(generation.name)}\]\n.*?(?=^\[(?!gen\.{re.escape(generation.name)}\.))", re.M | re.S
    )
    text, count = here.subn(lambda _: written, text)
    if count == 0:
        text, count = re.subn(r"^(?=\[binary\.)", lambda _: written, text, count=1, flags=re.M)
    if count != 1:
        raise DeriveError(f"the table has no one place for [gen.{generation.name}]")
    return re.sub(r"^\[renumbered\]\n.*\Z", lambda _: renumbered(every), text, flags=re.M | re.S)


def _values(every: dict[str, Generation]) -> dict[tuple[str, str], dict[int, list[str]]]:
    values: dict[tuple[str, str], dict[int, list[str]]] = {}
    for generation in every.values():
        for name, entry in generation.enums.items():
            for key, value in entry.newest.values.items():
                values.setdefault((name, key), {}).setdefault(value, []).append(generation.name)
    return values


def _section(generation: Generation) -> Iterator[str]:
    yield f"[gen.{generation.name}]"
    yield f"headers = {_list(generation.headers)}"
    yield f"reference = {_text(generation.reference)}"
    yield f"parser_headers = {_list(generation.parser_headers)}"
    yield f"exported = {_list(generation.exported)}"
    yield ""
    for name, entry in generation.classes.items():
        yield f"[gen.{generation.name}.class.{name}]"
        yield from _class(entry)
        for (label, class_name), deviation in generation.exceptions.items():
            if class_name == name:
                yield f"[gen.{generation.name}.exception.{_text(label)}.{name}]"
                yield from _deviation(deviation)
        yield ""
    for name, pod in generation.pods.items():
        yield f"[gen.{generation.name}.pod.{name}]"
        yield from _pod(pod)
    for name, target in generation.aliases.items():
        yield from (f"[gen.{generation.name}.pod.{name}]", f"alias = {_text(target)}", "")
    for name in picked.ENUMS:
        if enum := generation.enums.get(name):
            yield f"[gen.{generation.name}.enum.{_text(name) if '::' in name else name}]"
            yield from _enum(enum)
            yield ""


def _class(entry: ClassEntry) -> Iterator[str]:
    newest = entry.newest
    yield f"kind = {_text(newest.kind)}"
    yield from _how_reached(newest)
    yield f"slots = {len(newest.methods)}"
    if entry.class_since:
        yield f"class_since = {_text(entry.class_since)}"
    if entry.slots_by_version:
        yield f"slots_by_version = {_inline({_text(label): str(n) for label, n in entry.slots_by_version.items()})}"
    yield "m = ["
    rows = zip(newest.keyed(), newest.methods, entry.since, entry.absent_in, strict=True)
    for slot, (key, method, since, absent_in) in enumerate(rows):
        yield f"  {_method(slot, key, method, since, absent_in)},"
    yield "]"


def _how_reached(newest: Class) -> Iterator[str]:
    if newest.impl is not None:
        yield f"impl = {_text(newest.impl)}"
        yield f"impl_offset = {newest.impl_offset}"
    if newest.bases is not None:
        yield f"bases = {_list(newest.bases)}"
    if newest.interface_info is not None:
        yield f"interface_info = {_list(newest.interface_info)}"


def _method(slot: int, key: str, method: Method, since: str | None, absent_in: str | None) -> str:
    written = {"slot": str(slot), "name": _text(key), "abi": _text(method.abi)}
    texts = {
        "cxx": method.cxx,
        "since": since,
        "absent_in": absent_in,
        "public": method.public,
        "public_abi": method.public_abi,
    }
    written |= {name: _text(text) for name, text in texts.items() if text is not None}
    flags = {"default": method.default, "deprecated": method.deprecated}
    return _inline(written | {name: "true" for name, flag in flags.items() if flag})


def _deviation(deviation: Deviation) -> Iterator[str]:
    if deviation.source is not None:
        yield f"_source = {_text(deviation.source)}"
        yield f"_absent = {_list(deviation.absent)}"
        yield f"_header_said = {_inline({_text(key): str(slot) for key, slot in deviation.header_said.items()})}"
    for key, slot in deviation.slots.items():
        yield f"{_text(key)} = {slot}"


def _pod(pod: Pod) -> Iterator[str]:
    fields = [{"offset": str(f.offset), "name": _text(f.name), "type": _text(f.type)} for f in pod.fields]
    yield f"size = {pod.size}"
    yield f"align = {pod.align}"
    yield f"fields = [{', '.join(map(_inline, fields))}]"


def _enum(entry: EnumEntry) -> Iterator[str]:
    newest = entry.newest
    yield f"_type = {_text(newest.type)}"
    yield from (f"{key} = {value}" for key, value in newest.values.items())
    if entry.since:
        yield f"_since = {_inline({key: _text(label) for key, label in entry.since.items()})}"


def _text(value: str | int) -> str:
    return json.dumps(value)


def _list(values: list[str] | tuple[str | int, ...]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _inline(pairs: dict[str, str]) -> str:
    return f"{{ {', '.join(f'{key} = {value}' for key, value in pairs.items())} }}"
