"""Slots by the rules of the Itanium ABI, without a compiler."""

from __future__ import annotations

import unittest

from facts import DeriveError
from vtable import Base, Declaration, Function, Vtables


def virtual(name: str, signature: str = "()", returns: str = "void") -> Function:
    return Function(name, signature, returns, virtual=True, pure=True)


def destructor(*, is_virtual: bool = True) -> Function:
    return Function("~", "()", "void", virtual=is_virtual, pure=False, destructor=True)


def table(classes: dict[str, Declaration], name: str) -> list[str]:
    return [function.name + function.signature for function in Vtables(classes).of(name)]


def alone(*functions: Function) -> list[str]:
    return table({"A": Declaration((), functions)}, "A")


def derived(base: tuple[Function, ...], own: tuple[Function, ...]) -> list[str]:
    return table({"A": Declaration((), base), "B": Declaration((Base("A"),), own)}, "B")


class Slots(unittest.TestCase):
    def test_functions_take_slots_in_the_order_of_declaration(self) -> None:
        self.assertEqual(alone(virtual("b"), virtual("a")), ["b()", "a()"])

    def test_a_function_that_is_not_virtual_takes_none(self) -> None:
        plain = Function("plain", "()", "void", virtual=False, pure=False)
        self.assertEqual(alone(plain, virtual("a")), ["a()"])

    def test_a_virtual_destructor_takes_two_slots_where_it_is_declared(self) -> None:
        self.assertEqual(alone(virtual("a"), destructor(), virtual("b")), ["a()", "~complete()", "~deleting()", "b()"])

    def test_a_destructor_that_is_not_virtual_takes_none(self) -> None:
        self.assertEqual(alone(destructor(is_virtual=False), virtual("a")), ["a()"])

    def test_the_destructor_of_a_derived_class_takes_the_slots_of_the_base(self) -> None:
        self.assertEqual(derived((destructor(),), (virtual("a"), destructor())), ["~complete()", "~deleting()", "a()"])

    def test_a_destructor_first_virtual_in_the_derived_class_comes_after_the_base(self) -> None:
        self.assertEqual(derived((virtual("a"),), (destructor(),)), ["a()", "~complete()", "~deleting()"])

    def test_overloads_take_a_slot_each(self) -> None:
        overloads = (virtual("f", "(int)"), virtual("f", "(int) const"), virtual("f", "(long)"))
        self.assertEqual(alone(*overloads), ["f(int)", "f(int) const", "f(long)"])

    def test_an_override_keeps_the_slot_and_an_overload_of_the_derived_class_gets_a_new_one(self) -> None:
        own = (virtual("f", "(long)"), virtual("f", "(int)"))
        self.assertEqual(derived((virtual("f", "(int)"), virtual("g")), own), ["f(int)", "g()", "f(long)"])

    def test_a_base_without_virtual_functions_does_not_count(self) -> None:
        classes = {
            "Plain": Declaration((), (Function("p", "()", "void", virtual=False, pure=False),)),
            "A": Declaration((), (virtual("a"),)),
            "B": Declaration((Base("Plain"), Base("A")), (virtual("b"),)),
        }
        self.assertEqual(table(classes, "B"), ["a()", "b()"])


class Refusals(unittest.TestCase):
    def refused(self, classes: dict[str, Declaration], name: str, reason: str) -> None:
        with self.assertRaisesRegex(DeriveError, reason):
            Vtables(classes).of(name)

    def test_a_virtual_base_is_refused(self) -> None:
        classes = {"A": Declaration((), ()), "B": Declaration((Base("A", virtual=True),), ())}
        self.refused(classes, "B", "B has a virtual base")

    def test_two_bases_with_virtual_functions_are_refused(self) -> None:
        one = Declaration((), (virtual("a"),))
        classes = {"A": one, "B": one, "C": Declaration((Base("A"), Base("B")), ())}
        self.refused(classes, "C", "C has several bases with virtual functions")

    def test_an_override_with_another_return_type_is_refused(self) -> None:
        classes = {
            "A": Declaration((), (virtual("f", returns="A *"),)),
            "B": Declaration((Base("A"),), (virtual("f", returns="B *"),)),
        }
        self.refused(classes, "B", "B::f overrides with another return type")


if __name__ == "__main__":
    unittest.main()
