"""Small headers in the manner of NVIDIA's, for the tests: an object, callbacks, structures, enumerations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headers import Headers
from read import Reader

RUNTIME_FUNCTIONS = """
    virtual IRuntime* getPImpl() noexcept = 0;
    virtual void* load(void const* data, std::size_t size) noexcept = 0;
    virtual void* load(IStreamReader& reader) noexcept = 0;
    virtual Dims shape(char const* name) const noexcept = 0;
    virtual bool bind(Weights weights, DataType type) noexcept = 0;
"""

_HEADER = """
#include <cstddef>
#include <cstdint>
#include <cuda_runtime_api.h>
#include "NvInferVersion.h"

namespace nvinfer1
{
class IRuntime;
namespace v_1_0 { class IStreamReader; }
using IStreamReader = v_1_0::IStreamReader;
enum class DataType : int32_t { kFLOAT = 0, kHALF = 1, kINT8 %(int8)s };
struct Dims64 { int32_t nbDims; int64_t d[8]; };
using Dims = Dims64;
struct Weights { DataType type; void const* values; int64_t count; };
struct InterfaceInfo { char const* kind; int32_t major; int32_t minor; };
enum class APILanguage : int32_t { kCPP = 0 };

class IVersionedInterface
{
public:
    virtual APILanguage getAPILanguage() const noexcept { return APILanguage::kCPP; }
    virtual InterfaceInfo getInterfaceInfo() const noexcept = 0;
    virtual ~IVersionedInterface() noexcept = default;
};

namespace v_1_0
{
class IStreamReader : public IVersionedInterface
{
public:
    ~IStreamReader() noexcept override = default;
    InterfaceInfo getInterfaceInfo() const noexcept override { return InterfaceInfo{"IStreamReader", 1, 0}; }
    virtual int64_t read(void* destination, int64_t bytes) = 0;
};
} // namespace v_1_0

class IProfiler
{
public:
    virtual void reportLayerTime(char const* name, float milliseconds) noexcept = 0;
    virtual ~IProfiler() noexcept {}
    virtual void finish(void* addresses[]) noexcept {}
};

namespace apiv
{
class VRoot
{
public:
    virtual ~VRoot() noexcept = default;
};
class VRuntime : public VRoot
{
public:
%(runtime)s
};
} // namespace apiv

class INoCopy
{
protected:
    INoCopy() = default;
    virtual ~INoCopy() = default;
};

class IRuntime : public INoCopy
{
public:
    void* load(void const* data, std::size_t size) noexcept { return mImpl->load(data, size); }
    void* loadStream(IStreamReader& reader) noexcept { return mImpl->load(reader); }
    [[deprecated]] Dims shape(char const* name) const noexcept { return mImpl->shape(name); }

protected:
    apiv::VRuntime* mImpl;
};
} // namespace nvinfer1

%(more)s

extern "C" void* createInferRuntime_INTERNAL(void* logger, int32_t version) noexcept;
"""


@contextmanager
def headers(
    *, version: str = "11.0.0", runtime: str = RUNTIME_FUNCTIONS, int8: str = "= 2", more: str = ""
) -> Iterator[Headers]:
    """A folder of them, which goes away again."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = zip(("MAJOR", "MINOR", "PATCH"), version.split("."), strict=True)
        defines = "".join(f"#define NV_TENSORRT_{part} {number} //!< part\n" for part, number in numbers)
        Path(folder, "NvInferVersion.h").write_text(defines, encoding="utf-8")
        text = _HEADER % {"runtime": runtime, "int8": int8, "more": more}
        Path(folder, "NvInfer.h").write_text(text, encoding="utf-8")
        yield Headers(Path(folder))


@contextmanager
def reader(**changes: str) -> Iterator[Reader]:
    """The same, read."""
    with headers(**changes) as folder:
        yield Reader(folder)
