"""What is read out of small headers, and that g++ says the same of them."""

from __future__ import annotations

import unittest
from unittest.mock import patch

import sample
from confirm import confirm
from facts import Class, DeriveError, Enum, Release, Version


def release(**changes: str) -> Release:
    with sample.reader(**changes) as reader:
        return reader.release()


def rows(found: Class) -> list[tuple[str, str]]:
    return [(key, method.abi) for key, method in zip(found.keyed(), found.methods, strict=True)]


class Facts(unittest.TestCase):
    release: Release

    @classmethod
    def setUpClass(cls) -> None:
        cls.release = release()

    def test_an_object_has_the_slots_of_its_implementation(self) -> None:
        runtime = self.release.classes["IRuntime"]
        self.assertEqual((runtime.kind, runtime.impl, runtime.impl_offset), ("pimpl", "apiv::VRuntime", 8))
        self.assertEqual(
            rows(runtime),
            [
                ("~complete", "void()"),
                ("~deleting", "void()"),
                ("getPImpl", "ptr()"),
                ("load", "ptr(ptr,u64)"),
                ("load__2", "ptr(ptr)"),
                ("shape", "sret:Dims64(ptr)"),
                ("bind", "bool(val:Weights,i32)"),
            ],
        )

    def test_a_slot_knows_the_public_method_that_calls_it(self) -> None:
        runtime = self.release.classes["IRuntime"]
        public = {key: method.public for key, method in zip(runtime.keyed(), runtime.methods, strict=True)}
        self.assertEqual(public["load"], None, "the same name")
        self.assertEqual(public["load__2"], "loadStream")
        self.assertEqual(public["bind"], "", "no public method calls it")
        self.assertEqual([method.name for method in runtime.methods if method.deprecated], ["shape"])

    def test_a_callback_has_the_slots_of_its_base_and_says_what_may_be_left_out(self) -> None:
        reader = self.release.classes["IStreamReader"]
        self.assertEqual((reader.bases, reader.interface_info), (("IVersionedInterface",), ("IStreamReader", 1, 0)))
        self.assertEqual(
            rows(reader),
            [
                ("getAPILanguage", "i32()"),
                ("getInterfaceInfo", "val:InterfaceInfo()"),
                ("~complete", "void()"),
                ("~deleting", "void()"),
                ("read", "i64(ptr,i64)"),
            ],
        )
        self.assertEqual([m.name for m in reader.methods if m.default], ["getAPILanguage", "getInterfaceInfo"])

    def test_a_destructor_in_the_middle_has_the_slots_in_the_middle(self) -> None:
        names = [key for key, _ in rows(self.release.classes["IProfiler"])]
        self.assertEqual(names, ["reportLayerTime", "~complete", "~deleting", "finish"])

    def test_signatures_are_written_without_namespaces(self) -> None:
        methods = self.release.classes["IRuntime"].methods + self.release.classes["IProfiler"].methods
        self.assertEqual(
            [method.cxx for method in methods if method.cxx],
            [
                "IRuntime *()",
                "void *(const void *, std::size_t)",
                "void *(IStreamReader &)",
                "Dims (const char *) const",
                "bool (Weights, DataType)",
                "void (const char *, float)",
                "void (void **)",
            ],
        )

    def test_structures_enumerations_and_functions_are_read(self) -> None:
        weights = self.release.pods["Weights"]
        self.assertEqual((weights.size, weights.align), (24, 8))
        self.assertEqual(
            [(field.offset, field.name) for field in weights.fields], [(0, "type"), (8, "values"), (16, "count")]
        )
        self.assertEqual(self.release.aliases, {"Dims": "Dims64"})
        self.assertEqual(self.release.enums["DataType"], Enum("i32", {"kFLOAT": 0, "kHALF": 1, "kINT8": 2}))
        self.assertEqual(self.release.exported, ("createInferRuntime_INTERNAL void *(void *, int32_t)",))


class Versions(unittest.TestCase):
    def test_the_version_and_the_flavor_are_those_of_the_headers(self) -> None:
        with sample.headers(version="10.13.2") as folder:
            self.assertEqual((folder.version, folder.flavor), (Version((10, 13, 2)), "tensorrt"))
            text = "#define TRT_MAJOR_RTX 1\n#define NV_TENSORRT_MAJOR TRT_MAJOR_RTX //!< x\n"
            text += "#define NV_TENSORRT_MINOR 7\n#define NV_TENSORRT_PATCH 1\n"
            (folder.folder / "NvInferVersion.h").write_text(text, encoding="utf-8")
            again = type(folder)(folder.folder)
            self.assertEqual((again.version, again.flavor), (Version((1, 7, 1)), "rtx"))


class Refusals(unittest.TestCase):
    def refused(self, reason: str, **changes: str) -> None:
        with self.assertRaisesRegex(DeriveError, reason):
            release(**changes)

    def test_headers_that_do_not_compile_are_refused(self) -> None:
        self.refused("do not compile.*\n.*NoSuchType", more="NoSuchType x;")

    def test_a_class_with_a_virtual_base_is_refused(self) -> None:
        more = "namespace nvinfer1 { class ILogger : public virtual IProfiler {}; }"
        self.refused("nvinfer1::ILogger has a virtual base", more=more)

    def test_a_class_with_two_tables_is_refused(self) -> None:
        more = "namespace nvinfer1 { class ILogger : public IProfiler, public IStreamReader {}; }"
        self.refused("nvinfer1::ILogger has several bases with virtual functions", more=more)


class SecondOpinion(unittest.TestCase):
    def test_the_second_compiler_says_the_same(self) -> None:
        with sample.reader() as reader:
            wrong, asked = confirm(reader)
        self.assertEqual(wrong, [])
        self.assertGreater(asked, 30)

    def test_the_second_compiler_sees_a_wrong_slot_and_a_wrong_length(self) -> None:
        with sample.reader() as reader:
            table = list(reader.vtables.of("nvinfer1::apiv::VRuntime"))
            table[2], table[5] = table[5], table[2]
            right = reader.vtables.of
            tampered = {"nvinfer1::apiv::VRuntime": tuple(table[:6])}
            with patch.object(reader.vtables, "of", lambda name: tampered.get(name) or right(name)):
                wrong, _ = confirm(reader)
        self.assertEqual(
            wrong,
            [
                "IRuntime.shape: slot: libclang says 2, g++ says 5",
                "IRuntime.getPImpl: slot: libclang says 5, g++ says 2",
                "IRuntime: number of slots: libclang says 6, g++ says 7",
            ],
        )

    def test_a_structure_that_does_not_travel_as_its_bytes_is_refused(self) -> None:
        more = (
            "namespace nvinfer1 { struct Owner { Owner(Owner const&); void* held; };"
            " class ILogger { public: virtual void take(Owner owner) = 0; }; }"
        )
        with sample.reader(more=more) as reader, self.assertRaisesRegex(DeriveError, "travels by address"):
            confirm(reader)


if __name__ == "__main__":
    unittest.main()
