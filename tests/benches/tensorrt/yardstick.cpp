// What an engine costs in plain C++: the yardstick for `trt-pipeline bench`.
//
// One closed loop a stream: a thread, an execution context, a stream and pinned memory each. An
// iteration copies every input from pinned memory to the device, enqueues the engine or launches
// the graph that was captured of that, copies every output back and waits once for the stream.
// Every run's start and nanoseconds go to the samples file; a JSON line on stdout says what ran.
// README.md beside this file says how to build and use it.

#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;

using Clock = std::chrono::steady_clock;

constexpr char kUsage[] =
    "usage: yardstick ENGINE --samples FILE [--shape NAME=1x3x224x224].. [--input NAME=RAW-FILE]..\n"
    "                 [--output NAME=RAW-FILE].. [--profile 0] [--streams 1] [--graphs off|on]\n"
    "                 [--warmup 200] [--iterations 2000 | --milliseconds N]\n"
    "Each stream makes so many warm-up runs and then so many that count, or all it can in the time.\n";

struct Options {
    std::string engine, samples;
    std::map<std::string, std::string> shapes, inputs, outputs;
    int profile = 0, streams = 1, warmup = 200, iterations = 2000, milliseconds = 0;
    bool graphs = false;
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
        else if (name == "--streams") options.streams = number(value);
        else if (name == "--graphs" && (value == "on" || value == "off")) options.graphs = value == "on";
        else if (name == "--warmup") options.warmup = number(value);
        else if (name == "--iterations") options.iterations = number(value);
        else if (name == "--milliseconds") options.milliseconds = number(value);
        else fail("unknown option " + name);
    }
    if (options.engine.empty() || options.samples.empty() || options.iterations < 1 || options.streams < 1) fail(kUsage);
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

    // Bytes of a file, else the numbers that `trt-pipeline bench` takes: from 0 to 1 for float32, 0
    // or 1 for integers, from a sequence (SplitMix64) that starts at the hash (FNV-1a) of the name.
    void fill(std::map<std::string, std::string> const& files) {
        auto file = files.find(name);
        if (file != files.end()) {
            auto content = contents(file->second);
            if (content.size() != bytes)
                fail(file->second + " has " + std::to_string(content.size()) + " bytes, `" + name + "` takes " + std::to_string(bytes));
            std::memcpy(host, content.data(), bytes);
            return;
        }
        uint64_t state = 0xcbf29ce484222325u;
        for (unsigned char letter : name) state = (state ^ letter) * 0x100000001b3u;
        size_t const size = element_bytes(type);
        std::memset(host, 0, bytes);
        for (char *element = static_cast<char*>(host), *end = element + bytes; element != end; element += size) {
            uint64_t mixed = state += 0x9e3779b97f4a7c15u;
            mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
            mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
            mixed ^= mixed >> 31;
            float const fraction = static_cast<float>(mixed >> 40) / 16777216.0f;
            if (type == DataType::kFLOAT) std::memcpy(element, &fraction, sizeof fraction);
            else if (type != DataType::kHALF) *element = static_cast<char>(mixed >> 63);
        }
    }
};

struct Engine {
    Logger logger;
    std::unique_ptr<nvinfer1::IRuntime> runtime;
    std::unique_ptr<nvinfer1::ICudaEngine> engine;

    explicit Engine(Options const& options) {
        auto plan = contents(options.engine);
        // Asked first: without a device TensorRT 8.6 crashes instead of saying so.
        cuda(cudaFree(nullptr), "opening the device");
        runtime.reset(nvinfer1::createInferRuntime(logger));
        require(runtime != nullptr, "createInferRuntime");
        engine.reset(runtime->deserializeCudaEngine(plan.data(), plan.size()));
        require(engine != nullptr, "deserializing " + options.engine);
    }
};

// One of the streams, with all that its runs need.
struct Session {
    nvinfer1::ICudaEngine& engine;
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    std::vector<Tensor> inputs, outputs;
    cudaStream_t stream{};
    cudaGraphExec_t graph{};

    Session(nvinfer1::ICudaEngine& shared, Options const& options) : engine(shared) {
        context.reset(engine.createExecutionContext());
        require(context != nullptr, "createExecutionContext");
        cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
        // TensorRT 8.6 shares a profile between contexts where the engine was built to.
        require(context->setOptimizationProfileAsync(options.profile, stream), "choosing the profile");
        cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
        for (int i = 0; i < engine.getNbIOTensors(); ++i) add(engine.getIOTensorName(i));
        for (auto const& given : {options.shapes, options.inputs})
            for (auto const& entry : given)
                if (std::none_of(inputs.begin(), inputs.end(), [&](Tensor const& t) { return t.name == entry.first; }))
                    fail("the engine has no input `" + entry.first + "`");
        for (auto& tensor : inputs) bind_input(tensor, options);
        for (auto& tensor : outputs) {
            tensor.allocate(context->getTensorShape(tensor.name.c_str()));
            require(context->setTensorAddress(tensor.name.c_str(), tensor.device), "binding `" + tensor.name + "`");
        }
        if (options.graphs) capture();
    }

    void add(std::string const& name) {
        Tensor tensor;
        tensor.name = name;
        tensor.is_input = engine.getTensorIOMode(name.c_str()) == nvinfer1::TensorIOMode::kINPUT;
        tensor.on_host = engine.getTensorLocation(name.c_str()) == nvinfer1::TensorLocation::kHOST;
        tensor.type = engine.getTensorDataType(name.c_str());
        if (engine.getTensorFormat(name.c_str()) != nvinfer1::TensorFormat::kLINEAR) fail("`" + name + "` is not linear in memory");
        if (!tensor.is_input && tensor.on_host) fail("output `" + name + "` is in host memory, which is not supported");
        (tensor.is_input ? inputs : outputs).push_back(tensor);
    }

    void bind_input(Tensor& tensor, Options const& options) {
        auto shape = engine.getTensorShape(tensor.name.c_str());
        auto given = options.shapes.find(tensor.name);
        if (given != options.shapes.end()) shape = dims(given->second);
        tensor.allocate(shape);
        tensor.fill(options.inputs);
        require(context->setInputShape(tensor.name.c_str(), shape), "setting the shape of `" + tensor.name + "`");
        auto address = tensor.on_host ? tensor.host : tensor.device;
        require(context->setTensorAddress(tensor.name.c_str(), address), "binding `" + tensor.name + "`");
    }

    void enqueue() {
        if (!context->enqueueV3(stream)) fail("enqueueV3 failed");
    }

    // The copies stay outside: what is captured is what `enqueue` does, without what TensorRT only
    // does in the first run with a shape.
    void capture() {
        upload();
        enqueue();
        cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
        cudaGraph_t captured{};
        cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
        enqueue();
        cuda(cudaStreamEndCapture(stream, &captured), "cudaStreamEndCapture");
        cuda(cudaGraphInstantiate(&graph, captured, 0), "cudaGraphInstantiate");
        cuda(cudaGraphDestroy(captured), "cudaGraphDestroy");
    }

    void upload() {
        for (auto const& tensor : inputs)
            if (!tensor.on_host) cuda(cudaMemcpyAsync(tensor.device, tensor.host, tensor.bytes, cudaMemcpyHostToDevice, stream), "copying to the device");
    }

    void iterate() {
        upload();
        if (graph) cuda(cudaGraphLaunch(graph, stream), "cudaGraphLaunch");
        else enqueue();
        for (auto const& tensor : outputs)
            cuda(cudaMemcpyAsync(tensor.host, tensor.device, tensor.bytes, cudaMemcpyDeviceToHost, stream), "copying from the device");
        cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    }

    Session(Session const&) = delete;

    ~Session() {
        if (graph) cudaGraphExecDestroy(graph);
        context.reset();
        for (auto* tensors : {&inputs, &outputs})
            for (auto& tensor : *tensors) {
                cudaFree(tensor.device);
                cudaFreeHost(tensor.host);
            }
        if (stream) cudaStreamDestroy(stream);
    }
};

struct Run {
    int64_t started, took;
};

// Lets all streams go at one moment, when the last of them is warm.
class Start {
    std::mutex mutex;
    std::condition_variable changed;
    int missing;
    Clock::time_point moment;

public:
    explicit Start(int streams) : missing(streams) {}

    Clock::time_point wait() {
        std::unique_lock<std::mutex> lock(mutex);
        if (--missing == 0) {
            moment = Clock::now();
            changed.notify_all();
        }
        changed.wait(lock, [this] { return missing == 0; });
        return moment;
    }
};

int64_t nanoseconds(Clock::duration duration) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

std::vector<Run> loop(Session& session, Options const& options, Start& start, std::atomic<bool> const& failed) {
    auto const limit = std::chrono::milliseconds(options.milliseconds);
    std::vector<Run> runs;
    runs.reserve(options.milliseconds ? 1 << 16 : options.iterations);
    auto const moment = start.wait();
    while (!failed) {
        auto began = Clock::now();
        if (options.milliseconds ? began - moment >= limit && !runs.empty() : runs.size() == static_cast<size_t>(options.iterations)) break;
        session.iterate();
        auto ended = Clock::now();
        runs.push_back({nanoseconds(began - moment), nanoseconds(ended - began)});
    }
    return runs;
}

// Every session in a thread of its own; gives the runs of each that count.
std::vector<std::vector<Run>> drive(std::vector<std::unique_ptr<Session>>& sessions, Options const& options) {
    std::vector<std::vector<Run>> runs(sessions.size());
    std::vector<std::exception_ptr> errors(sessions.size());
    std::vector<std::thread> threads;
    std::atomic<bool> failed{false};
    Start start(options.streams);
    for (size_t at = 0; at < sessions.size(); ++at)
        threads.emplace_back([&, at] {
            bool is_warm = false;
            try {
                for (int i = 0; i < options.warmup; ++i) sessions[at]->iterate();
                is_warm = true;
                runs[at] = loop(*sessions[at], options, start, failed);
            } catch (...) {
                errors[at] = std::current_exception();
                failed = true;
                if (!is_warm) start.wait();
            }
        });
    for (auto& thread : threads) thread.join();
    for (auto const& error : errors)
        if (error) std::rethrow_exception(error);
    return runs;
}

void write_outputs(Session const& session, Options const& options) {
    for (auto const& entry : options.outputs) {
        auto found = std::find_if(session.outputs.begin(), session.outputs.end(), [&](Tensor const& t) { return t.name == entry.first; });
        if (found == session.outputs.end()) fail("the engine has no output `" + entry.first + "`");
        std::ofstream(entry.second, std::ios::binary).write(static_cast<char const*>(found->host), static_cast<std::streamsize>(found->bytes));
    }
}

void measure(Options const& options) {
    Engine engine(options);
    std::vector<std::unique_ptr<Session>> sessions;
    for (int i = 0; i < options.streams; ++i) sessions.push_back(std::make_unique<Session>(*engine.engine, options));
    auto const runs = drive(sessions, options);
    write_outputs(*sessions.front(), options);

    std::ofstream samples(options.samples);
    samples << "context,started_ns,run_ns\n";
    std::vector<int64_t> times;
    int64_t first = INT64_MAX, last = 0;
    for (size_t at = 0; at < runs.size(); ++at)
        for (auto const& run : runs[at]) {
            samples << at << ',' << run.started << ',' << run.took << '\n';
            times.push_back(run.took);
            first = std::min(first, run.started);
            last = std::max(last, run.started + run.took);
        }
    require(static_cast<bool>(samples.flush()), "writing " + options.samples);

    cudaDeviceProp gpu{};
    int runtime = 0, driver = 0;
    cuda(cudaGetDeviceProperties(&gpu, 0), "cudaGetDeviceProperties");
    cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    std::sort(times.begin(), times.end());
    double const seconds = static_cast<double>(last - first) / 1e9;
    std::printf("{\"program\":\"yardstick\",\"tensorrt\":%d,\"headers\":%d,\"cuda_runtime\":%d,\"cuda_driver\":%d,\"gpu\":\"%s\","
                "\"streams\":%d,\"graphs\":%s,\"warmup\":%d,\"runs\":%zu,\"seconds\":%.6f,\"runs_per_second\":%.3f,\"median_ns\":%lld}\n",
                getInferLibVersion(), static_cast<int>(NV_TENSORRT_VERSION), runtime, driver, gpu.name, options.streams,
                options.graphs ? "true" : "false", options.warmup, times.size(), seconds, static_cast<double>(times.size()) / seconds,
                static_cast<long long>(times[times.size() / 2]));
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
