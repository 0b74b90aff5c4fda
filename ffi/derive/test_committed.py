"""The committed table: written as this program writes it, and the same as NVIDIA's headers where they are at hand
(DERIVE_HEADERS names the folder that holds TRT-RTX-1.7 and its neighbours; `check.sh` sets it)."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import merge
import render
import table
from compare import compare
from facts import Release
from headers import Headers
from read import Reader

HEADERS = os.environ.get("DERIVE_HEADERS")
PROGRAM = Path(__file__).parent


class Text(unittest.TestCase):
    def test_the_table_is_written_as_this_program_writes_it(self) -> None:
        text = table.TABLE.read_text(encoding="utf-8")
        every = table.generations(table.load())
        self.assertEqual(len(every), 5)
        for generation in every.values():
            self.assertEqual(render.replace(text, generation, every), text, generation.name)

    def test_every_table_of_functions_is_as_long_as_it_says_in_every_release(self) -> None:
        for generation in table.generations(table.load()).values():
            for name in generation.classes:
                for label in generation.releases_of(name):
                    if slots := generation.slots_at(name, label):
                        where = f"{generation.name} {name} {label}"
                        self.assertEqual(sorted(slots.values()), list(range(generation.length_at(name, label))), where)


@unittest.skipUnless(HEADERS, "DERIVE_HEADERS is not set")
class AgainstHeaders(unittest.TestCase):
    def folder(self, name: str) -> Path:
        return Path(HEADERS or "", name)

    def release(self, name: str) -> Release:
        return Reader(Headers(self.folder(name))).release()

    def test_adding_the_releases_one_by_one_to_nothing_makes_the_table(self) -> None:
        every = table.generations(table.load())
        for name, labels in (("rtx1_4", ["1.3", "1.4"]), ("rtx1", ["1.5", "1.6", "1.7"])):
            generation = merge.empty(name)
            for label in labels:
                generation = merge.add(generation, label, self.release(f"TRT-RTX-{label}"))
            self.assertEqual(render.section(generation), render.section(every[name]))

    def test_one_changed_fact_of_each_kind_is_seen(self) -> None:
        release = self.release("TRT-RTX-1.7")
        toml = table.load()
        rtx = toml["gen"]["rtx1"]
        functions = rtx["class"]["INetworkDefinition"]["m"]
        changes = {
            "INetworkDefinition.addInput": lambda g: g["class"]["INetworkDefinition"]["m"][2].update(name="addOther"),
            "ILogger.log": lambda g: g["class"]["ILogger"]["m"][4].update(abi="void(ptr,ptr)"),
            "Weights": lambda g: g["pod"]["Weights"].update(size=16),
            "BuilderFlag::kTF32": lambda g: g["enum"]["BuilderFlag"].update(kTF32=7),
        }
        self.assertEqual(functions[2]["name"], "addInput")
        self.assertEqual(compare(table.generations(toml)["rtx1"], "1.7", release)[0], [])
        for where, change in changes.items():
            corrupted = copy.deepcopy(toml)
            change(corrupted["gen"]["rtx1"])
            found, _ = compare(table.generations(corrupted)["rtx1"], "1.7", release)
            self.assertIn(where, {difference.where for difference in found})

    def run_program(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROGRAM), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_the_program_ends_with_1_and_names_the_slot_when_the_table_is_wrong(self) -> None:
        text = table.TABLE.read_text(encoding="utf-8")
        right = '{ slot = 3, name = "deserializeCudaEngine", abi = "ptr(ptr,u64)"'
        self.assertIn(right, text)
        with tempfile.TemporaryDirectory() as folder:
            wrong = Path(folder, "wrong.toml")
            wrong.write_text(text.replace(right, right.replace("u64", "u32")), encoding="utf-8")
            ended = self.run_program("--headers", self.folder("TRT-RTX-1.7"), "--table", wrong)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        expected = "IRuntime.deserializeCudaEngine: abi: table says 'ptr(ptr,u32)', headers say 'ptr(ptr,u64)'"
        self.assertIn(expected, ended.stdout)

    def test_a_release_that_the_table_does_not_know_is_written_into_it_in_one_run(self) -> None:
        text = table.TABLE.read_text(encoding="utf-8")
        every = table.generations(table.load())
        before = merge.empty("rtx1")
        for label in ("1.5", "1.6"):
            before = merge.add(before, label, self.release(f"TRT-RTX-{label}"))
        with tempfile.TemporaryDirectory() as folder:
            older = Path(folder, "older.toml")
            older.write_text(render.replace(text, before, every | {"rtx1": before}), encoding="utf-8")
            newest = self.folder("TRT-RTX-1.7")
            unknown = self.run_program("--headers", newest, "--table", older)
            self.assertEqual((unknown.returncode, "not in the table" in unknown.stdout), (1, True), unknown)
            written = self.run_program("--headers", newest, "--version", "1.7", "--table", older, "--write")
            self.assertEqual(written.returncode, 0, written.stderr)
            self.assertEqual(older.read_text(encoding="utf-8"), text)

    def test_headers_of_another_version_or_flavor_than_meant_are_refused(self) -> None:
        for meant in (("--version", "1.6"), ("--flavor", "tensorrt")):
            ended = self.run_program("--headers", self.folder("TRT-RTX-1.7"), *meant)
            self.assertEqual(ended.returncode, 2)
            self.assertRegex(ended.stderr, r"^error: .*TRT-RTX-1.7 is of (version 1.7.1|flavor rtx), not ")


if __name__ == "__main__":
    unittest.main()
