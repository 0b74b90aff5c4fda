"""A second opinion on what was read: the same numbers out of a program that g++ compiles from the same headers.

A pointer to a virtual function holds its slot (Itanium ABI, x86-64: 1 + 8 * slot), so g++ is asked for the slot of
every function by name and exact type, for the length of every table, and for sizes, offsets and values. Destructors
have no address; they are where the table has two slots that no function takes.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clang.cindex import Cursor, CursorKind, TypeKind

import picked
from facts import DeriveError, keys
from read import Reader, children, implementation, qualified
from vtable import Function

_PROGRAM = """
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <type_traits>

template <class Pointer> long slot(Pointer pointer)
{
    std::ptrdiff_t word;
    std::memcpy(&word, &pointer, sizeof word);
    return word %% 8 == 1 ? word / 8 : -1;
}

%(declarations)s

int main()
{
    long const answers[] = {
        %(expressions)s
    };
    for (long answer : answers) std::printf("%%ld\\n", answer);
}
"""


@dataclass(frozen=True)
class Claim:
    """A number that libclang read, and the expression by which g++ says it."""

    what: str
    value: int
    expression: str


def confirm(reader: Reader) -> tuple[list[str], int]:
    """What g++ says differently, in words, and how many numbers it was asked for."""
    declarations: list[str] = []
    claims = list(_claims(reader, declarations))
    program = reader.headers.source + _PROGRAM % {
        "declarations": "\n".join(dict.fromkeys(declarations)),
        "expressions": ",\n        ".join(claim.expression for claim in claims),
    }
    answers = _run(program, reader.headers.include_paths)
    wrong = [
        f"{claim.what}: libclang says {claim.value}, g++ says {answer}"
        for claim, answer in zip(claims, answers, strict=True)
        if claim.value != answer
    ]
    return wrong, len(claims)


def _run(program: str, include_paths: list[Path]) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "confirm.cpp"), Path(folder, "confirm")
        source.write_text(program, encoding="utf-8")
        flags = ["-std=c++17", "-w", "-fno-access-control", *(f"-I{path}" for path in include_paths)]
        compiled = subprocess.run(["g++", *flags, str(source), "-o", str(binary)], capture_output=True, text=True)
        if compiled.returncode != 0:
            raise DeriveError(f"g++ does not accept what libclang read:\n{compiled.stderr[:2000]}")
        printed = subprocess.run([str(binary)], capture_output=True, text=True, check=True).stdout
    return [int(line) for line in printed.split()]


def _claims(reader: Reader, declarations: list[str]) -> Iterator[Claim]:
    for name, kind in picked.CLASSES.items():
        if record := reader.find(name, reader.records):
            owner = qualified(record)
            if kind == "pimpl":
                field = implementation(record)
                yield Claim(
                    f"{name}: offset of the implementation", field.get_field_offsetof() // 8, _offset(owner, field)
                )
                owner = qualified(field.type.get_pointee().get_canonical().get_declaration())
            yield from _table(name, owner, reader.vtables.of(owner), declarations)
    for name in picked.PODS:
        if record := reader.find(name, reader.records):
            yield from _structure(name, record)
    for name in picked.ENUMS:
        if enum := reader.find(name, reader.enums):
            for constant in children(enum, CursorKind.ENUM_CONSTANT_DECL):
                expression = f"static_cast<long>({qualified(enum)}::{constant.spelling})"
                yield Claim(f"{name}::{constant.spelling}", constant.enum_value, expression)


def _table(name: str, owner: str, table: tuple[Function, ...], declarations: list[str]) -> Iterator[Claim]:
    for slot, (key, function) in enumerate(zip(keys(f.name for f in table), table, strict=True)):
        if not function.destructor:
            pointer = f"static_cast<{_pointer_type(owner, function)}>(&{qualified(function.declaration)})"
            yield Claim(f"{name}.{key}: slot", slot, f"slot({pointer})")
            declarations += _passed_by_value(function.declaration)
    last = f"Last_{name}"
    declarations.append(f"struct {last} : {owner} {{ virtual void behindTheLast(); }};")
    yield Claim(f"{name}: number of slots", len(table), f"slot(&{last}::behindTheLast)")


def _pointer_type(owner: str, function: Function) -> str:
    canonical = function.declaration.type.get_canonical()
    arguments = ", ".join(argument.spelling for argument in canonical.argument_types())
    const = " const" if function.declaration.is_const_method() else ""
    return f"{canonical.get_result().spelling} ({owner}::*)({arguments}){const}"


def _passed_by_value(method: Cursor) -> Iterator[str]:
    """A structure travels as its bytes only if copying it is copying its bytes: g++ is asked to be sure."""
    canonical = method.type.get_canonical()
    for value in [canonical.get_result(), *canonical.argument_types()]:
        if value.kind == TypeKind.RECORD:
            yield f'static_assert(std::is_trivially_copyable<{value.spelling}>::value, "travels by address");'


def _structure(name: str, record: Cursor) -> Iterator[Claim]:
    full = qualified(record)
    yield Claim(f"{name}: size", record.type.get_size(), f"sizeof({full})")
    yield Claim(f"{name}: alignment", record.type.get_align(), f"alignof({full})")
    for field in children(record, CursorKind.FIELD_DECL):
        yield Claim(f"{name}.{field.spelling}: offset", field.get_field_offsetof() // 8, _offset(full, field))


def _offset(owner: str, field: Cursor) -> str:
    return f"offsetof({owner}, {field.spelling})"
