// What an engine costs in plain C++: the yardstick for `trt-pipeline bench`.
//
// One closed loop on one stream, no CUDA graph. Each iteration copies every input from pinned
// memory to the device, enqueues the engine, copies every output back and waits for the stream; its
// nanoseconds go to the samples file, one number a line. A JSON line on stdout says what ran.
// README.md beside this file says how to build and use it.

#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;

constexpr char kUsage[] =
    "usage: yardstick ENGINE --samples FILE [--shape NAME=1x3x224x224].. [--input NAME=RAW-FILE]..\n"
    "                 [--output NAME=RAW-FILE].. [--profile 0] [--warmup 200] [--iterations 2000]\n";

struct Options {
    std::string engine, samples;
    std::map<std::string, std::string> shapes, inputs, outputs;
    int profile = 0, warmup = 200, iterations = 2000;
};

[[noreturn]] void fail(std::string const& message) { throw std::runtime_error(message); }

void cuda(cudaError_t status, char const* what) {
    if (status != cudaSuccess) fail(std::string(what) + ": " + cudaGetErrorString(status));
}

void require(bool succeeded, std::string const& what) {
    if (!succeeded) fail(what + " failed");
}

class Logger final : public nvinfer1::ILogger {
    void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override {
        if (severity <= Severity::kWARNING) std::fprintf(stderr, "tensorrt: %s\n", message);
    }
};

int number(std::string const& text) {
    char* end = nullptr;
    long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 0 || value > INT32_MAX) fail("`" + text + "` is not a number");
    return static_cast<int>(value);
}

Options parse(int argc, char** argv) {
    Options options;
    auto pair = [](std::map<std::string, std::string>& into, std::string const& text) {
        auto at = text.find('=');
        if (at == std::string::npos) fail("`" + text + "` is not NAME=VALUE");
        into[text.substr(0, at)] = text.substr(at + 1);
    };
    for (int i = 1; i < argc; ++i) {
        std::string name = argv[i];
        if (name.rfind("--", 0) != 0) {
            options.engine = name;
            continue;
        }
        if (++i == argc) fail(name + " needs a value");
        std::string value = argv[i];
        if (name == "--samples") options.samples = value;
        else if (name == "--shape") pair(options.shapes, value);
        else if (name == "--input") pair(options.inputs, value);
        else if (name == "--output") pair(options.outputs, value);
        else if (name == "--profile") options.profile = number(value);
        else if (name == "--warmup") options.warmup = number(value);
        else if (name == "--iterations") options.iterations = number(value);
        else fail("unknown option " + name);
    }
    if (options.engine.empty() || options.samples.empty() || options.iterations < 1) fail(kUsage);
    return options;
}

std::vector<char> contents(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot read " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

Dims dims(std::string const& text) {
    Dims result{};
    for (size_t at = 0; at <= text.size();) {
        size_t end = std::min(text.find('x', at), text.size());
        if (result.nbDims == Dims::MAX_DIMS) fail("`" + text + "` has too many dimensions");
        result.d[result.nbDims++] = number(text.substr(at, end - at));
        at = end + 1;
    }
    return result;
}

size_t element_bytes(DataType type) {
    switch (type) {
    case DataType::kFLOAT: case DataType::kINT32: return 4;
    case DataType::kHALF: return 2;
    case DataType::kINT8: case DataType::kBOOL: case DataType::kUINT8: return 1;
#if NV_TENSORRT_MAJOR >= 10
    case DataType::kBF16: return 2;
    case DataType::kINT64: return 8;
#endif
    default: fail("an input or output has an element type that is not supported");
    }
}

// An input or output: its bytes in pinned memory and, unless TensorRT reads it from the host, on
// the device.
struct Tensor {
    std::string name;
    bool is_input = false, on_host = false;
    DataType type{};
    size_t bytes = 0;
    void *host = nullptr, *device = nullptr;

    void allocate(Dims const& shape) {
        size_t count = 1;
        for (int i = 0; i < shape.nbDims; ++i) {
            if (shape.d[i] < 0) fail("the shape of `" + name + "` is not known: add --shape for every dynamic input");
            count *= static_cast<size_t>(shape.d[i]);
        }
        bytes = count * element_bytes(type);
        cuda(cudaMallocHost(&host, std::max<size_t>(bytes, 1)), "cudaMallocHost");
        if (!on_host) cuda(cudaMalloc(&device, std::max<size_t>(bytes, 1)), "cudaMalloc");
    }

    // Bytes of a file, else numbers between 0 and 1 that are the same each time (0 and 1 for
    // integers, which may be indices).
    void fill(std::map<std::string, std::string> const& files) {
        auto file = files.find(name);
        if (file != files.end()) {
            auto content = contents(file->second);
            if (content.size() != bytes)
                fail(file->second + " has " + std::to_string(content.size()) + " bytes, `" + name + "` takes " + std::to_string(bytes));
            std::memcpy(host, content.data(), bytes);
            return;
        }
        std::memset(host, 0, bytes);
        if (type != DataType::kFLOAT) return;
        uint32_t state = 1;
        for (size_t i = 0; i < bytes / sizeof(float); ++i) {
            state = state * 1664525u + 1013904223u;
            static_cast<float*>(host)[i] = static_cast<float>(state >> 8) / 16777216.0f;
        }
    }
};

struct Session {
    Logger logger;
    std::unique_ptr<nvinfer1::IRuntime> runtime;
    std::unique_ptr<nvinfer1::ICudaEngine> engine;
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    std::vector<Tensor> inputs, outputs;
    cudaStream_t stream{};

    explicit Session(Options const& options) {
        auto plan = contents(options.engine);
        // Asked first: without a device TensorRT 8.6 crashes instead of saying so.
        cuda(cudaFree(nullptr), "opening the device");
        runtime.reset(nvinfer1::createInferRuntime(logger));
        require(runtime != nullptr, "createInferRuntime");
        engine.reset(runtime->deserializeCudaEngine(plan.data(), plan.size()));
        require(engine != nullptr, "deserializing " + options.engine);
        context.reset(engine->createExecutionContext());
        require(context != nullptr, "createExecutionContext");
        cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
        require(context->setOptimizationProfileAsync(options.profile, stream), "choosing the profile");
        cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
        for (int i = 0; i < engine->getNbIOTensors(); ++i) add(engine->getIOTensorName(i));
        for (auto const& given : {options.shapes, options.inputs})
            for (auto const& entry : given)
                if (std::none_of(inputs.begin(), inputs.end(), [&](Tensor const& t) { return t.name == entry.first; }))
                    fail("the engine has no input `" + entry.first + "`");
        for (auto& tensor : inputs) bind_input(tensor, options);
        for (auto& tensor : outputs) {
            tensor.allocate(context->getTensorShape(tensor.name.c_str()));
            require(context->setTensorAddress(tensor.name.c_str(), tensor.device), "binding `" + tensor.name + "`");
        }
    }

    void add(std::string const& name) {
        Tensor tensor;
        tensor.name = name;
        tensor.is_input = engine->getTensorIOMode(name.c_str()) == nvinfer1::TensorIOMode::kINPUT;
        tensor.on_host = engine->getTensorLocation(name.c_str()) == nvinfer1::TensorLocation::kHOST;
        tensor.type = engine->getTensorDataType(name.c_str());
        if (engine->getTensorFormat(name.c_str()) != nvinfer1::TensorFormat::kLINEAR) fail("`" + name + "` is not linear in memory");
        if (!tensor.is_input && tensor.on_host) fail("output `" + name + "` is in host memory, which is not supported");
        (tensor.is_input ? inputs : outputs).push_back(tensor);
    }

    void bind_input(Tensor& tensor, Options const& options) {
        auto shape = engine->getTensorShape(tensor.name.c_str());
        auto given = options.shapes.find(tensor.name);
        if (given != options.shapes.end()) shape = dims(given->second);
        tensor.allocate(shape);
        tensor.fill(options.inputs);
        require(context->setInputShape(tensor.name.c_str(), shape), "setting the shape of `" + tensor.name + "`");
        auto address = tensor.on_host ? tensor.host : tensor.device;
        require(context->setTensorAddress(tensor.name.c_str(), address), "binding `" + tensor.name + "`");
    }

    void iterate() {
        for (auto const& tensor : inputs)
            if (!tensor.on_host) cuda(cudaMemcpyAsync(tensor.device, tensor.host, tensor.bytes, cudaMemcpyHostToDevice, stream), "copying to the device");
        if (!context->enqueueV3(stream)) fail("enqueueV3 failed");
        for (auto const& tensor : outputs)
            cuda(cudaMemcpyAsync(tensor.host, tensor.device, tensor.bytes, cudaMemcpyDeviceToHost, stream), "copying from the device");
        cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    }

    ~Session() {
        context.reset();
        for (auto* tensors : {&inputs, &outputs})
            for (auto& tensor : *tensors) {
                cudaFree(tensor.device);
                cudaFreeHost(tensor.host);
            }
        if (stream) cudaStreamDestroy(stream);
    }
};

void measure(Options const& options) {
    using Clock = std::chrono::steady_clock;
    Session session(options);
    for (int i = 0; i < options.warmup; ++i) session.iterate();
    std::vector<int64_t> nanoseconds(options.iterations);
    for (auto& sample : nanoseconds) {
        auto start = Clock::now();
        session.iterate();
        sample = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
    }
    for (auto const& entry : options.outputs) {
        auto found = std::find_if(session.outputs.begin(), session.outputs.end(), [&](Tensor const& t) { return t.name == entry.first; });
        if (found == session.outputs.end()) fail("the engine has no output `" + entry.first + "`");
        std::ofstream(entry.second, std::ios::binary).write(static_cast<char const*>(found->host), static_cast<std::streamsize>(found->bytes));
    }
    std::ofstream samples(options.samples);
    for (auto sample : nanoseconds) samples << sample << '\n';
    require(static_cast<bool>(samples.flush()), "writing " + options.samples);

    cudaDeviceProp gpu{};
    int runtime = 0, driver = 0;
    cuda(cudaGetDeviceProperties(&gpu, 0), "cudaGetDeviceProperties");
    cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    std::sort(nanoseconds.begin(), nanoseconds.end());
    std::printf("{\"program\":\"yardstick\",\"tensorrt\":%d,\"headers\":%d,\"cuda_runtime\":%d,\"cuda_driver\":%d,\"gpu\":\"%s\","
                "\"warmup\":%d,\"iterations\":%d,\"median_ns\":%lld}\n",
                getInferLibVersion(), static_cast<int>(NV_TENSORRT_VERSION), runtime, driver, gpu.name, options.warmup, options.iterations,
                static_cast<long long>(nanoseconds[nanoseconds.size() / 2]));
}

}  // namespace

int main(int argc, char** argv) {
    try {
        measure(parse(argc, argv));
        return 0;
    } catch (std::exception const& error) {
        std::fprintf(stderr, "yardstick: %s\n", error.what());
        return 1;
    }
}
