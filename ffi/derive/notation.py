"""C++ types in the table's two notations: the calling convention (`bool(ptr,i32)`) and the readable signature."""

from __future__ import annotations

from clang.cindex import Cursor, CursorKind, Type, TypeKind

from facts import DeriveError

_PRIMITIVE = {
    TypeKind.VOID: "void",
    TypeKind.BOOL: "bool",
    TypeKind.CHAR_S: "i8",
    TypeKind.SCHAR: "i8",
    TypeKind.UCHAR: "u8",
    TypeKind.SHORT: "i16",
    TypeKind.USHORT: "u16",
    TypeKind.INT: "i32",
    TypeKind.UINT: "u32",
    TypeKind.LONG: "i64",
    TypeKind.LONGLONG: "i64",
    TypeKind.ULONG: "u64",
    TypeKind.ULONGLONG: "u64",
    TypeKind.FLOAT: "f32",
    TypeKind.DOUBLE: "f64",
}
_ARRAY = {TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY}
_ADDRESS = {TypeKind.POINTER, TypeKind.LVALUEREFERENCE, TypeKind.RVALUEREFERENCE} | _ARRAY
"""Passed as an address; as an argument, an array is one too."""
_IN_REGISTERS = 16
"""Bytes up to which the ABI returns a plain structure in registers."""


def abi(function: Type) -> str:
    """Calling convention of a function type, arguments after `this`."""
    result = abi_of_value(function.get_result())
    if result.startswith("val:") and function.get_result().get_size() > _IN_REGISTERS:
        result = "sret:" + result.removeprefix("val:")
    return f"{result}({','.join(abi_of_value(argument) for argument in function.argument_types())})"


def abi_of_value(value: Type) -> str:
    """How one value is passed: a number's name, `ptr`, or `val:` and the name of a structure."""
    canonical = value.get_canonical()
    kind = canonical.kind
    if kind in _ADDRESS:
        return "ptr"
    if kind in _PRIMITIVE:
        return _PRIMITIVE[kind]
    if kind == TypeKind.ENUM:
        return abi_of_value(canonical.get_declaration().enum_type)
    if kind == TypeKind.RECORD:
        return "val:" + canonical.get_declaration().spelling
    raise DeriveError(f"{value.spelling}: no notation for a value of this type ({kind.name})")


def signature(method: Cursor) -> str:
    """Signature of a method: `ITensor *(const char *, Dims) const`, without the namespaces."""
    function = method.type
    arguments = ", ".join(_spell_argument(argument) for argument in function.argument_types())
    returned = spell(function.get_result())
    space = "" if returned.endswith(("*", "&")) else " "
    return f"{returned}{space}({arguments}){' const' if method.is_const_method() else ''}"


def spell(written: Type, *, keyword: bool = False) -> str:
    """A type as it is written in the headers, without the namespaces; `keyword` names the kind of a class or enum."""
    if written.kind == TypeKind.POINTER:
        return _with_mark(written.get_pointee(), "*const" if written.is_const_qualified() else "*", keyword)
    if written.kind == TypeKind.LVALUEREFERENCE:
        return _with_mark(written.get_pointee(), "&", keyword)
    if written.kind == TypeKind.CONSTANTARRAY:
        return f"{spell(written.element_type, keyword=keyword)}[{written.element_count}]"
    const = "const " if written.is_const_qualified() else ""
    declaration = written.get_declaration()
    if declaration.kind == CursorKind.NO_DECL_FOUND:
        if written.get_canonical().kind not in _PRIMITIVE:
            raise DeriveError(f"{written.spelling}: no notation for a type of this form ({written.kind.name})")
        return written.spelling
    return const + (_keyword(declaration) if keyword else "") + _qualified(declaration)


def _spell_argument(written: Type) -> str:
    return _with_mark(written.element_type, "*", False) if written.kind in _ARRAY else spell(written)


def _with_mark(pointee: Type, mark: str, keyword: bool) -> str:
    text = spell(pointee, keyword=keyword)
    return text + mark if text.endswith("*") else f"{text} {mark}"


def _keyword(declaration: Cursor) -> str:
    words = {CursorKind.ENUM_DECL: "enum ", CursorKind.CLASS_DECL: "class ", CursorKind.STRUCT_DECL: "struct "}
    return words.get(declaration.kind, "")


def _qualified(declaration: Cursor) -> str:
    """Name with the classes around it (`ILogger::Severity`), and `std`; NVIDIA's namespaces are left out."""
    parts = [declaration.spelling]
    around = declaration.semantic_parent
    while around is not None and around.kind != CursorKind.TRANSLATION_UNIT:
        if around.kind != CursorKind.NAMESPACE or around.spelling == "std":
            parts.insert(0, around.spelling)
        around = around.semantic_parent
    return "::".join(parts)
