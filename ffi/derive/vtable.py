"""Slots of virtual functions by the Itanium C++ ABI, for classes with at most one base that has virtual functions.

Knows declarations only, not where they were read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from facts import COMPLETE_DESTRUCTOR, DELETING_DESTRUCTOR, DeriveError


@dataclass(frozen=True)
class Function:
    """A member function as declared, or as an entry of a table of virtual functions."""

    name: str
    """`~complete` and `~deleting` in a table."""
    signature: str
    """Parameter types and qualifiers in their canonical form: what makes one function override another."""
    returns: str
    """Return type in its canonical form."""
    virtual: bool
    """Written `virtual`, or overriding a virtual function."""
    pure: bool
    destructor: bool = False
    declaration: Any = None
    """What the reader wants to find again: the declaration that is called in the end."""
    introduced: Any = None
    """The declaration that made the slot."""


@dataclass(frozen=True)
class Base:
    """A direct base class."""

    name: str
    virtual: bool = False


@dataclass(frozen=True)
class Declaration:
    """A class as declared: direct bases and member functions, both in order."""

    bases: tuple[Base, ...]
    functions: tuple[Function, ...]


class Vtables:
    """Tables of the classes of one header set, computed when asked for."""

    def __init__(self, classes: dict[str, Declaration]) -> None:
        self._classes = classes
        self._tables: dict[str, tuple[Function, ...]] = {}

    def of(self, name: str) -> tuple[Function, ...]:
        """The table of a class; empty if it has no virtual functions."""
        if name not in self._tables:
            self._tables[name] = self._compute(name)
        return self._tables[name]

    def _compute(self, name: str) -> tuple[Function, ...]:
        declaration = self._classes.get(name)
        if declaration is None:
            return ()
        if any(base.virtual for base in declaration.bases):
            raise DeriveError(f"{name} has a virtual base; its calls do not go through one table")
        tables = [table for base in declaration.bases if (table := self.of(base.name))]
        if len(tables) > 1:
            raise DeriveError(f"{name} has several bases with virtual functions; its calls do not go through one table")
        slots = list(tables[0]) if tables else []
        for function in declaration.functions:
            _place(name, slots, function)
        return tuple(slots)


def _place(owner: str, table: list[Function], function: Function) -> None:
    """Puts a declared function over the entry that it overrides, or at the end if it is new and virtual."""
    if function.destructor:
        if function.virtual and not any(entry.destructor for entry in table):
            table += [replace(function, name=name) for name in (COMPLETE_DESTRUCTOR, DELETING_DESTRUCTOR)]
        return
    for slot, entry in enumerate(table):
        if (entry.name, entry.signature) == (function.name, function.signature):
            if entry.returns != function.returns:
                what = f"{owner}::{function.name} overrides with another return type"
                raise DeriveError(f"{what}; it may take a second slot")
            table[slot] = replace(function, introduced=entry.introduced)
            return
    if function.virtual:
        table.append(replace(function, introduced=function.declaration))
