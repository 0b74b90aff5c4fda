"""Declarations to facts: what one folder of NVIDIA's headers says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clang.cindex import AvailabilityKind, Cursor, CursorKind

import notation
import picked
from facts import Class, DeriveError, Enum, Field, Method, Pod, Release
from headers import Headers, parse
from vtable import Base, Declaration, Function, Vtables

NAMESPACES = ("nvinfer1", "nvonnxparser")
_RECORDS = (CursorKind.CLASS_DECL, CursorKind.STRUCT_DECL)
_ALIASES = (CursorKind.TYPE_ALIAS_DECL, CursorKind.TYPEDEF_DECL)
_FUNCTIONS = (CursorKind.CXX_METHOD, CursorKind.DESTRUCTOR)
_IMPLEMENTATION = ("mImpl", "mLayer")
"""Names of the member that points to the implementation."""


class Reader:
    """The declarations in a folder of headers, and the facts in them."""

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.records: dict[str, Cursor] = {}
        self.enums: dict[str, Cursor] = {}
        self.aliases: dict[str, Cursor] = {}
        self.exported: list[Cursor] = []
        self._collect(parse(headers).cursor, "")
        self.vtables = Vtables({name: _declaration(record) for name, record in self.records.items()})

    def _collect(self, around: Cursor, prefix: str) -> None:
        """Sorts the declarations in NVIDIA's namespaces, and the functions with C names, by kind."""
        for cursor in around.get_children():
            name = prefix + cursor.spelling
            if cursor.kind == CursorKind.NAMESPACE and (prefix or cursor.spelling in NAMESPACES):
                self._collect(cursor, name + "::")
            elif cursor.kind in (CursorKind.LINKAGE_SPEC, CursorKind.UNEXPOSED_DECL):
                self.exported += [c for c in cursor.get_children() if c.kind == CursorKind.FUNCTION_DECL]
            elif not prefix:
                continue
            elif cursor.kind in _RECORDS and cursor.is_definition():
                self.records[name] = cursor
                self._collect(cursor, name + "::")
            elif cursor.kind == CursorKind.ENUM_DECL and cursor.is_definition():
                self.enums[name] = cursor
            elif cursor.kind in _ALIASES:
                self.aliases[name] = cursor

    def release(self) -> Release:
        """The facts that the table has room for."""
        found = {name: self.find(name, self.records) for name in picked.CLASSES}
        return Release(
            has_parser=self.headers.has_parser,
            classes={name: self._class(record, picked.CLASSES[name]) for name, record in found.items() if record},
            pods={name: _pod(record) for name in picked.PODS if (record := self.find(name, self.records))},
            aliases={
                name: notation.spell(alias.underlying_typedef_type)
                for name in picked.ALIASES
                if (alias := self.aliases.get(f"nvinfer1::{name}"))
            },
            enums={name: _enum(enum) for name in picked.ENUMS if (enum := self.find(name, self.enums))},
            exported=tuple(self._exported()),
        )

    def find(self, name: str, among: dict[str, Cursor]) -> Cursor | None:
        """The declaration that a program means by a name: TensorRT's before the parser's, through one alias."""
        outer, _, inner = name.partition("::")
        for namespace in NAMESPACES:
            full = f"{namespace}::{outer}"
            if alias := self.aliases.get(full):
                full = qualified(alias.underlying_typedef_type.get_canonical().get_declaration())
            found = among.get(f"{full}::{inner}" if inner else full)
            if found:
                return found
        return None

    def _class(self, record: Cursor, kind: str) -> Class:
        if kind == "pimpl":
            return self._pimpl(record)
        name = qualified(record)
        callback = kind == "callback"
        methods = tuple(_method(function, callback=callback) for function in self.vtables.of(name))
        if not callback:
            return Class(kind, methods)
        bases = tuple(_base(base).spelling for base in children(record, CursorKind.CXX_BASE_SPECIFIER))
        return Class(kind, methods, bases=bases, interface_info=self._interface_info(name))

    def _pimpl(self, record: Cursor) -> Class:
        field = implementation(record)
        impl = qualified(field.type.get_pointee().get_canonical().get_declaration())
        public = self._forwarders(record, impl)
        methods = []
        for slot, function in enumerate(self.vtables.of(impl)):
            method = _method(function, callback=False)
            methods.append(method if function.destructor else _with_public(method, public.get(slot)))
        offset = field.get_field_offsetof() // 8
        return Class("pimpl", tuple(methods), impl=impl.removeprefix("nvinfer1::"), impl_offset=offset)

    def _forwarders(self, record: Cursor, impl: str) -> dict[int, Cursor]:
        """By slot, the inline method that calls it and no other; one that is not deprecated goes first."""
        slots = {_identity(function.declaration): slot for slot, function in enumerate(self.vtables.of(impl))}
        methods = [
            m for m in children(record, CursorKind.CXX_METHOD) if not m.is_virtual_method() and not m.is_static_method()
        ]
        out: dict[int, Cursor] = {}
        for method in sorted(methods, key=_deprecated):
            called = {slots[key] for call in _calls(method) if (key := _identity(call)) in slots}
            if len(called) == 1:
                out.setdefault(called.pop(), method)
        return out

    def _interface_info(self, name: str) -> tuple[str | int, ...] | None:
        """What `getInterfaceInfo` returns, read in the class or the nearest base that has a body for it."""
        for function in self.vtables.of(name):
            if function.name == "getInterfaceInfo" and not function.pure:
                tokens = _tokens(function.declaration.get_definition())
                body = " ".join(tokens[tokens.index("{") :])
                written = re.search(r'return (?:InterfaceInfo )?\{ "(\w+)" , (\d+) , (\d+) \} ;', body)
                if written is None:
                    raise DeriveError(f"{name}::getInterfaceInfo returns something else than three constants: {body}")
                return (written.group(1), int(written.group(2)), int(written.group(3)))
        return None

    def _exported(self) -> Iterator[str]:
        for function in self.exported:
            name = function.spelling
            if re.search(picked.EXPORTED, name) and not re.search(picked.NOT_EXPORTED, name):
                yield f"{name} {notation.signature(function)}"


def children(cursor: Cursor, kind: CursorKind) -> list[Cursor]:
    """What a declaration holds of one kind."""
    return [child for child in cursor.get_children() if child.kind == kind]


def implementation(record: Cursor) -> Cursor:
    """The member of a class through which it reaches its implementation."""
    fields = [field for field in children(record, CursorKind.FIELD_DECL) if field.spelling in _IMPLEMENTATION]
    if len(fields) != 1:
        raise DeriveError(f"{record.spelling} has {len(fields)} members named mImpl or mLayer, not 1")
    return fields[0]


def _tokens(cursor: Cursor) -> list[str]:
    return [token.spelling for token in cursor.get_tokens()]


def qualified(cursor: Cursor) -> str:
    """Name with all namespaces and classes around it."""
    parts: list[str] = []
    at: Cursor | None = cursor
    while at is not None and at.kind != CursorKind.TRANSLATION_UNIT:
        parts.insert(0, at.spelling)
        at = at.semantic_parent
    return "::".join(parts)


def _identity(declaration: Cursor) -> str:
    return declaration.get_usr()


def _deprecated(cursor: Cursor) -> bool:
    return cursor.availability == AvailabilityKind.DEPRECATED


def _base(specifier: Cursor) -> Cursor:
    return specifier.type.get_canonical().get_declaration()


def _calls(method: Cursor) -> Iterator[Cursor]:
    """The methods that an inline body calls."""
    for cursor in method.walk_preorder():
        if cursor.kind == CursorKind.CALL_EXPR and cursor.referenced is not None:
            yield cursor.referenced


def _declaration(record: Cursor) -> Declaration:
    bases = [
        Base(qualified(_base(specifier)), virtual="virtual" in _tokens(specifier))
        for specifier in children(record, CursorKind.CXX_BASE_SPECIFIER)
    ]
    functions = [_function(c) for c in record.get_children() if c.kind in _FUNCTIONS and not c.is_static_method()]
    return Declaration(tuple(bases), tuple(functions))


def _function(cursor: Cursor) -> Function:
    canonical = cursor.type.get_canonical()
    arguments = ",".join(argument.spelling for argument in canonical.argument_types())
    qualifiers = f"{' const' if cursor.is_const_method() else ''} {canonical.get_ref_qualifier().name}"
    return Function(
        name=cursor.spelling,
        signature=f"({arguments}){qualifiers}",
        returns=canonical.get_result().spelling,
        virtual=cursor.is_virtual_method(),
        pure=cursor.is_pure_virtual_method(),
        destructor=cursor.kind == CursorKind.DESTRUCTOR,
        declaration=cursor,
    )


def _method(function: Function, *, callback: bool) -> Method:
    if function.destructor:
        return Method(function.name, "void()")
    return Method(
        function.name,
        notation.abi(function.declaration.type),
        notation.signature(function.declaration),
        default=callback and not function.pure,
        deprecated=_deprecated(function.introduced),
    )


def _with_public(method: Method, forwarder: Cursor | None) -> Method:
    """Adds how a program reaches a slot of an implementation: by which public method, if by any."""
    if forwarder is None:
        return Method(**(vars(method) | {"public": None if method.name == "getPImpl" else ""}))
    abi = notation.abi(forwarder.type)
    return Method(
        method.name,
        method.abi,
        method.cxx,
        public=None if forwarder.spelling == method.name else forwarder.spelling,
        public_abi=None if abi == method.abi else abi,
        deprecated=_deprecated(forwarder),
    )


def _pod(record: Cursor) -> Pod:
    fields = children(record, CursorKind.FIELD_DECL)
    return Pod(
        record.type.get_size(),
        record.type.get_align(),
        tuple(Field(f.get_field_offsetof() // 8, f.spelling, notation.spell(f.type, keyword=True)) for f in fields),
    )


def _enum(cursor: Cursor) -> Enum:
    values = {c.spelling: c.enum_value for c in children(cursor, CursorKind.ENUM_CONSTANT_DECL)}
    return Enum(notation.abi_of_value(cursor.enum_type), values)
