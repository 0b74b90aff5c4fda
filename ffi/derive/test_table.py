"""A table that grows by releases of small headers, and every way in which it can be wrong about them."""

from __future__ import annotations

import copy
import tomllib
import unittest
from collections.abc import Callable

import merge
import render
import sample
import table
from compare import compare
from facts import DeriveError, Release, Version
from headers import Headers
from read import Reader

LATER = "    virtual void added(int32_t) noexcept = 0;\n"


def release(**changes: str) -> Release:
    with sample.reader(**changes) as reader:
        return reader.release()


def written(generation: table.Generation) -> table.Toml:
    """A generation as it is read back from its text."""
    return tomllib.loads(render.section(generation))


def read_back(toml: table.Toml) -> table.Generation:
    return table.generations(toml)["v20"]


def grown(*releases: tuple[str, Release]) -> table.Generation:
    generation = merge.empty("v20")
    for label, found in releases:
        generation = merge.add(generation, label, found)
    return read_back(written(generation))


def differences(generation: table.Generation, label: str, found: Release) -> list[str]:
    return [str(difference) for difference in compare(generation, label, found)[0]]


class Growth(unittest.TestCase):
    first: Release
    second: Release
    generation: table.Generation

    @classmethod
    def setUpClass(cls) -> None:
        cls.first = release()
        cls.second = release(
            runtime=sample.RUNTIME_FUNCTIONS + LATER,
            int8="= 2, kFP8 = 3",
            more="namespace nvinfer1 { class ILogger { public: virtual void log() = 0; }; }",
        )
        cls.generation = grown(("20.0", cls.first), ("20.1", cls.second))

    def test_what_a_release_adds_is_known_to_be_there_since_then(self) -> None:
        runtime = self.generation.classes["IRuntime"]
        self.assertEqual(runtime.since, [None] * 7 + ["20.1"])
        self.assertEqual(runtime.slots_by_version, {"20.0": 7, "20.1": 8})
        self.assertEqual(self.generation.classes["ILogger"].class_since, "20.1")
        self.assertEqual(self.generation.enums["DataType"].since, {"kFP8": "20.1"})

    def test_the_grown_table_agrees_with_every_release_in_it(self) -> None:
        self.assertEqual(differences(self.generation, "20.0", self.first), [])
        self.assertEqual(differences(self.generation, "20.1", self.second), [])

    def test_an_older_release_does_not_pass_for_a_newer_one(self) -> None:
        self.assertEqual(
            differences(self.generation, "20.1", self.first),
            [
                "IRuntime: number of slots: table says 8, headers say 7",
                "IRuntime.added: slot: table says 7, headers say nothing",
                "ILogger: class: table says 'present', headers say nothing",
                "DataType::kFP8: value: table says 3, headers say nothing",
            ],
        )

    def test_the_same_release_again_changes_nothing(self) -> None:
        again = merge.add(self.generation, "20.1", self.second)
        self.assertEqual(render.section(again), render.section(self.generation))

    def test_a_function_that_moved_is_an_exception_of_the_older_release(self) -> None:
        before = release(runtime=sample.RUNTIME_FUNCTIONS + LATER)
        after = release(runtime=LATER + sample.RUNTIME_FUNCTIONS)
        generation = grown(("20.0", before), ("20.1", after))
        moved = generation.exceptions["20.0", "IRuntime"].slots
        self.assertEqual((moved["getPImpl"], moved["added"], len(moved)), (2, 7, 6))
        self.assertEqual(differences(generation, "20.0", before), [])
        self.assertEqual(differences(generation, "20.1", after), [])

    def test_parser_classes_stay_through_releases_whose_headers_lack_the_parser(self) -> None:
        parser = "class IParser { public: virtual bool parse() = 0; %s };"
        with_parser = [_with_parser(parser % more) for more in ("", "virtual void later() = 0;")]
        releases = [("20.0", with_parser[0]), ("20.1", self.first), ("20.2", with_parser[1])]
        generation = grown(*releases)
        self.assertEqual(generation.parser_headers, ["20.0", "20.2"])
        self.assertEqual(generation.classes["IParser"].since, [None, "20.2"])
        self.assertEqual(generation.classes["IParser"].absent_in, [None, "20.0"], "20.1 may have had it")
        for label, found in releases:
            self.assertEqual(differences(generation, label, found), [])


def _with_parser(text: str) -> Release:
    with sample.headers() as folder:
        (folder.folder / "NvOnnxParser.h").write_text(f"namespace nvonnxparser {{ {text} }}", encoding="utf-8")
        return Reader(Headers(folder.folder)).release()


class Refusals(unittest.TestCase):
    def refused(self, reason: str, label: str = "20.2", **changes: str) -> None:
        generation = grown(("20.1", release()))
        with self.assertRaisesRegex(DeriveError, reason):
            merge.add(generation, label, release(**changes))

    def test_a_value_that_changed_begins_a_generation(self) -> None:
        self.refused("DataType::kINT8 was 2 and is 5: not the same generation", int8="= 5")

    def test_a_signature_that_changed_begins_a_generation(self) -> None:
        changed = sample.RUNTIME_FUNCTIONS.replace("bind(Weights weights", "bind(Weights const& weights")
        self.refused(
            r"IRuntime.bind: was bool \(Weights, DataType\) and is bool \(const Weights &, DataType\)", runtime=changed
        )

    def test_a_function_that_went_begins_a_generation(self) -> None:
        gone = "\n".join(line for line in sample.RUNTIME_FUNCTIONS.splitlines() if "bind" not in line)
        self.refused("IRuntime.bind: was .* and is None", runtime=gone)

    def test_releases_are_added_oldest_first(self) -> None:
        self.refused("20.0 is older than 20.1", label="20.0")


class Corruptions(unittest.TestCase):
    release: Release
    toml: table.Toml

    @classmethod
    def setUpClass(cls) -> None:
        cls.release = release()
        cls.toml = written(grown(("20.0", cls.release)))

    def corrupted(self, change: Callable[[table.Toml], object]) -> list[str]:
        """What is reported once something in the table was changed."""
        toml = copy.deepcopy(self.toml)
        change(toml["gen"]["v20"])
        return differences(read_back(toml), "20.0", self.release)

    def test_the_table_as_it_is_has_no_difference(self) -> None:
        self.assertEqual(self.corrupted(lambda generation: None), [])

    def test_two_exchanged_slots(self) -> None:
        def exchange(generation: table.Toml) -> None:
            functions = generation["class"]["IRuntime"]["m"]
            functions[2], functions[5] = functions[5] | {"slot": 2}, functions[2] | {"slot": 5}

        self.assertEqual(
            self.corrupted(exchange),
            [
                "IRuntime.shape: slot: table says 2, headers say 5",
                "IRuntime.getPImpl: slot: table says 5, headers say 2",
            ],
        )

    def test_destructor_slots_at_another_place(self) -> None:
        def put_last(generation: table.Toml) -> None:
            functions = generation["class"]["IProfiler"]["m"]
            functions.append(functions.pop(1))
            functions.append(functions.pop(1))
            for slot, function in enumerate(functions):
                function["slot"] = slot

        self.assertEqual(
            self.corrupted(put_last),
            [
                "IProfiler.finish: slot: table says 1, headers say 3",
                "IProfiler.~complete: slot: table says 2, headers say 1",
                "IProfiler.~deleting: slot: table says 3, headers say 2",
            ],
        )

    def test_a_slot_that_is_missing(self) -> None:
        def remove_last(generation: table.Toml) -> None:
            entry = generation["class"]["IStreamReader"]
            entry["m"].pop()
            entry["slots"] -= 1

        self.assertEqual(
            self.corrupted(remove_last),
            [
                "IStreamReader: number of slots: table says 4, headers say 5",
                "IStreamReader.read: slot: table says nothing, headers say 4",
            ],
        )

    def test_a_class_that_is_missing(self) -> None:
        reported = self.corrupted(lambda generation: generation["class"].pop("IProfiler"))
        self.assertEqual(reported, ["IProfiler: class: table says nothing, headers say 'present'"])

    def test_another_calling_convention(self) -> None:
        reported = self.corrupted(lambda generation: generation["class"]["IRuntime"]["m"][5].update(abi="ptr(ptr)"))
        self.assertEqual(reported, ["IRuntime.shape: abi: table says 'ptr(ptr)', headers say 'sret:Dims64(ptr)'"])

    def test_another_interface_of_a_callback(self) -> None:
        info = ["IStreamReader", 2, 0]
        reported = self.corrupted(lambda generation: generation["class"]["IStreamReader"].update(interface_info=info))
        self.assertEqual(
            reported,
            ["IStreamReader: interface_info: table says ('IStreamReader', 2, 0), headers say ('IStreamReader', 1, 0)"],
        )

    def test_another_place_of_the_implementation(self) -> None:
        reported = self.corrupted(lambda generation: generation["class"]["IRuntime"].update(impl_offset=16))
        self.assertEqual(reported, ["IRuntime: impl_offset: table says 16, headers say 8"])

    def test_another_offset_or_size_of_a_structure(self) -> None:
        for change in (
            lambda generation: generation["pod"]["Dims64"].update(size=68),
            lambda generation: generation["pod"]["Dims64"]["fields"][1].update(offset=4),
        ):
            (reported,) = self.corrupted(change)
            self.assertRegex(reported, r"^Dims64: structure: table says Pod\(.*\), headers say Pod\(size=72, .*\)$")

    def test_another_or_a_missing_value_of_an_enumerator(self) -> None:
        reported = self.corrupted(lambda generation: generation["enum"]["DataType"].update(kHALF=4))
        self.assertEqual(reported, ["DataType::kHALF: value: table says 4, headers say 1"])
        reported = self.corrupted(lambda generation: generation["enum"]["DataType"].pop("kHALF"))
        self.assertEqual(reported, ["DataType::kHALF: value: table says nothing, headers say 1"])

    def test_a_function_said_to_be_newer_than_it_is(self) -> None:
        def postpone(generation: table.Toml) -> None:
            generation["headers"].append("20.1")
            entry = generation["class"]["IRuntime"]
            entry["m"][6]["since"] = "20.1"
            entry["slots_by_version"] = {"20.0": 6, "20.1": 7}

        self.assertEqual(
            self.corrupted(postpone),
            [
                "IRuntime: number of slots: table says 6, headers say 7",
                "IRuntime.bind: slot: table says nothing, headers say 6",
            ],
        )

    def test_an_exception_that_is_none(self) -> None:
        reported = self.corrupted(lambda generation: generation.update(exception={"20.0": {"IRuntime": {"bind": 2}}}))
        self.assertEqual(reported, ["IRuntime.bind: slot: table says 2, headers say 6"])

    def test_slots_out_of_order_are_refused(self) -> None:
        with self.assertRaisesRegex(DeriveError, r"gen.v20.class.IRuntime: the slots are not 0 to 6 in order"):
            self.corrupted(lambda generation: generation["class"]["IRuntime"]["m"][3].update(slot=4))


class Labels(unittest.TestCase):
    def test_a_patch_that_was_not_read_is_held_against_the_one_before(self) -> None:
        generation = grown(("20.0.1", release()), ("20.0.3", release()))
        labels = {patch: generation.label(Version.parse(f"20.0.{patch}")) for patch in range(5)}
        self.assertEqual(labels, {0: None, 1: "20.0.1", 2: "20.0.1", 3: "20.0.3", 4: "20.0.3"})
        self.assertIsNone(generation.label(Version.parse("20.1")), "another minor is another release")


if __name__ == "__main__":
    unittest.main()
