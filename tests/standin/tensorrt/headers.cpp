// What smoke.c does, in C++ and compiled from NVIDIA's own headers: says the same, so that a
// difference between the two is a mistake in our tables.
//
//   headers RUNTIME PARSER MODEL [MODE]     MODE as for smoke: int8, strip, stop, shape
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <NvInfer.h>
#include <NvOnnxParser.h>

using namespace nvinfer1;

#ifdef TRT_MAJOR_RTX
constexpr bool IS_RTX = true;
constexpr int VERSION = TRT_MAJOR_RTX * 10000 + TRT_MINOR_RTX * 100;
#define OLD_RTX (TRT_MAJOR_RTX == 1 && TRT_MINOR_RTX < 5)
#define HAS_CALIBRATOR 0
#define HAS_VALUES_V2 1
#else
constexpr bool IS_RTX = false;
#define OLD_RTX 0
#define HAS_CALIBRATOR (NV_TENSORRT_MAJOR < 11)
#define HAS_VALUES_V2 \
    (NV_TENSORRT_MAJOR > 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR >= 11))
#endif
#define IS_8 (NV_TENSORRT_MAJOR == 8)

static std::string mode;
static bool asked(char const *word) { return mode.find(word) != std::string::npos; }

static struct {
    int errors, references, started, finished, steps, allocations, batches;
} counts;

struct Logger : ILogger {
    void log(Severity severity, AsciiChar const *text) noexcept override {
        if (severity <= Severity::kWARNING) std::printf("log %d: %s\n", int(severity), text);
    }
};

struct Recorder : IErrorRecorder {
    int32_t getNbErrors() const noexcept override { return counts.errors; }
    ErrorCode getErrorCode(int32_t) const noexcept override { return ErrorCode::kSUCCESS; }
    ErrorDesc getErrorDesc(int32_t) const noexcept override { return ""; }
    bool hasOverflowed() const noexcept override { return false; }
    void clear() noexcept override { counts.errors = 0; }
    bool reportError(ErrorCode code, ErrorDesc text) noexcept override {
        counts.errors++;
        std::printf("error %d: %s\n", int(code), text);
        return true;
    }
    RefCount incRefCount() noexcept override { return ++counts.references; }
    RefCount decRefCount() noexcept override { return --counts.references; }
};

struct Allocator : IGpuAllocator {
    void *allocate(uint64_t size, uint64_t alignment, AllocatorFlags) noexcept override {
        counts.allocations++;
        return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    }
    bool deallocate(void *memory) noexcept override {
        counts.allocations--;
        std::free(memory);
        return true;
    }
#if IS_8
    void free(void *) noexcept override {}
#else
    void *allocateAsync(uint64_t size, uint64_t alignment, AllocatorFlags flags,
                        cudaStream_t) noexcept override {
        return allocate(size, alignment, flags);
    }
    bool deallocateAsync(void *memory, cudaStream_t) noexcept override {
        return deallocate(memory);
    }
#endif
};

#if !IS_8
struct Monitor : IProgressMonitor {
    void phaseStart(char const *phase, char const *parent, int32_t steps) noexcept override {
        if (!counts.started++)
            std::printf("phase %s in %s: %d steps\n", phase, parent ? parent : "none", steps);
    }
    bool stepComplete(char const *, int32_t) noexcept override {
        return !(++counts.steps == 2 && asked("stop"));
    }
    void phaseFinish(char const *) noexcept override { counts.finished++; }
};
#endif

#if HAS_CALIBRATOR
struct Calibrator : IInt8EntropyCalibrator2 {
    int32_t getBatchSize() const noexcept override { return 1; }
    bool getBatch(void *bindings[], char const *[], int32_t count) noexcept override {
        static float data[1 << 16] = {1, -12.7f};
        for (int i = 0; i < count; i++) bindings[i] = data;
        return counts.batches++ < 3;
    }
    void const *readCalibrationCache(std::size_t &size) noexcept override {
        size = 0;
        return nullptr;
    }
    void writeCalibrationCache(void const *cache, std::size_t size) noexcept override {
        std::printf("calibration: %.*s", int(size), static_cast<char const *>(cache));
    }
};
#endif

static std::string text(Dims const &dims) {
    std::string text;
    for (int i = 0; i < dims.nbDims; i++) text += (i ? "x" : "") + std::to_string(dims.d[i]);
    return text;
}

struct OutputAllocator : IOutputAllocator {
    void *memory = nullptr;
    void *give(uint64_t size, uint64_t alignment) {
        std::free(memory);
        return memory = std::aligned_alloc(alignment,
                                           (size + alignment - 1) / alignment * alignment);
    }
#if IS_8
    void *reallocateOutput(char const *, void *, uint64_t size,
                           uint64_t alignment) noexcept override {
        return give(size, alignment);
    }
#else
    void *reallocateOutputAsync(char const *, void *, uint64_t size, uint64_t alignment,
                                cudaStream_t) noexcept override {
        return give(size, alignment);
    }
#endif
    void notifyShape(char const *name, Dims const &dims) noexcept override {
        std::printf("found %s: %s\n", name, text(dims).c_str());
    }
};

static Logger logger;
static Recorder recorder;
static Allocator allocator;

static size_t type_size(DataType type) {
    int const number = int(type);
    return number == 0 || number == 3 ? 4 : number == 8 ? 8 : number == 1 || number == 7 ? 2 : 1;
}

static void print_parser_errors(nvonnxparser::IParser &parser) {
    for (int i = 0; i < parser.getNbErrors(); i++) {
        auto const &error = *parser.getError(i);
        std::printf("parser error %d at node %d: %s, %s (%s:%d)\n", int(error.code()), error.node(),
                    error.func(), error.desc(), error.file(), error.line());
#if !IS_8
        std::printf("  %s %s\n", error.nodeName(), error.nodeOperator());
#endif
    }
}

static bool set_values(IOptimizationProfile &profile, char const *name, int selector, int count) {
    auto const which = static_cast<OptProfileSelector>(selector);
#if HAS_VALUES_V2
    std::vector<int64_t> const values(count, 1 << selector);
    return profile.setShapeValuesV2(name, which, values.data(), count);
#else
    std::vector<int32_t> const values(count, 1 << selector);
    return profile.setShapeValues(name, which, values.data(), count);
#endif
}

static IOptimizationProfile *make_profile(IBuilder &builder, INetworkDefinition &network) {
    auto *profile = builder.createOptimizationProfile();
    for (int i = 0; i < network.getNbInputs(); i++) {
        ITensor &input = *network.getInput(i);
        Dims const dims = input.getDimensions();
        std::printf("input %s: type %d, %s\n", input.getName(), int(input.getType()),
                    text(dims).c_str());
        for (int selector = 0; selector < 3; selector++) {
            if (input.isShapeTensor()) {
                if (!set_values(*profile, input.getName(), selector, int(dims.d[0])))
                    std::printf("setShapeValues refused\n");
                continue;
            }
            Dims some = dims;
            for (int axis = 0; axis < some.nbDims; axis++)
                if (some.d[axis] < 0) some.d[axis] = 1 << selector * 2;
            if (!profile->setDimensions(input.getName(), static_cast<OptProfileSelector>(selector),
                                        some))
                std::printf("setDimensions refused\n");
        }
    }
    return profile;
}

static IHostMemory *build(char const *model) {
    std::unique_ptr<IBuilder> builder{createInferBuilder(logger)};
    if (!builder) return std::printf("no builder\n"), nullptr;
    builder->setErrorRecorder(&recorder);
    builder->setGpuAllocator(&allocator);
#if IS_8
    auto const flags = 1u << int(NetworkDefinitionCreationFlag::kEXPLICIT_BATCH);
#else
    auto const flags = asked("int8") ? 0u
                                     : 1u << int(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#endif
    std::unique_ptr<INetworkDefinition> network{builder->createNetworkV2(flags)};
    auto *parser = nvonnxparser::createParser(*network, logger);
    std::unique_ptr<IBuilderConfig> config{builder->createBuilderConfig()};
    config->setMemoryPoolLimit(MemoryPoolType::kWORKSPACE, 1 << 24);
    config->setProfilingVerbosity(ProfilingVerbosity::kDETAILED);
#if !IS_8
    Monitor monitor;
    if (asked("strip")) config->setFlag(BuilderFlag::kSTRIP_PLAN);
    config->setProgressMonitor(&monitor);
#endif
#if HAS_CALIBRATOR
    Calibrator calibrator;
    if (asked("int8")) {
        config->setFlag(BuilderFlag::kINT8);
        config->setInt8Calibrator(&calibrator);
    }
#endif
#ifdef TRT_MAJOR_RTX
    if (!config->setNbComputeCapabilities(1) ||
        !config->setComputeCapability(ComputeCapability::kSM89, 0))
        std::printf("no compute capability set\n");
#endif
    std::printf("config: workspace %zu, level %d, TF32 %d\n",
                config->getMemoryPoolLimit(MemoryPoolType::kWORKSPACE),
                config->getBuilderOptimizationLevel(), config->getFlag(BuilderFlag::kTF32));
    IHostMemory *plan = nullptr;
    if (!parser->parseFromFile(model, 2)) print_parser_errors(*parser);
    else {
        std::printf("network: %d inputs, %d outputs, %d layers, the first of type %d\n",
                    network->getNbInputs(), network->getNbOutputs(), network->getNbLayers(),
                    int(network->getLayer(0)->getType()));
        auto *profile = make_profile(*builder, *network);
        std::printf("profile %d\n", config->addOptimizationProfile(profile));
        plan = builder->buildSerializedNetwork(*network, *config);
    }
    config.reset();
#if IS_8
    parser->destroy();
#else
    delete parser;
#endif
    network.reset();
    builder.reset();
    std::printf(
        "built: %s; started %d, finished %d, steps %d; errors %d, references %d, allocations %d\n",
        plan ? "yes" : "no", counts.started, counts.finished, counts.steps, counts.errors,
        counts.references, counts.allocations);
    return plan;
}

static void run(ICudaEngine &engine) {
    std::unique_ptr<IExecutionContext> context{engine.createExecutionContext()};
    if (!context) return (void)std::printf("no context\n");
    int const count = engine.getNbIOTensors();
    std::vector<std::unique_ptr<uint8_t, void (*)(void *)>> memory;
    OutputAllocator outputs;
    for (int i = 0; i < count; i++) {
        char const *name = engine.getIOTensorName(i);
        bool const input = engine.getTensorIOMode(name) == TensorIOMode::kINPUT;
        if (input) {
            Dims dims = engine.getProfileShape(name, 0, OptProfileSelector::kOPT);
            if (asked("shape")) dims.d[0] = 1000;
            if (!context->setInputShape(name, dims)) std::printf("setInputShape refused\n");
        }
        Dims const dims = context->getTensorShape(name);
        size_t const size = type_size(engine.getTensorDataType(name));
        std::printf("%s %s: type %d, %s\n", input ? "input" : "output", name,
                    int(engine.getTensorDataType(name)), text(dims).c_str());
        bool open = false;
        size_t bytes = size;
        for (int axis = 0; axis < dims.nbDims; axis++) {
            open |= dims.d[axis] < 0;
            bytes *= size_t(dims.d[axis]);
        }
        if (open) bytes = 0;
        size_t const room = (bytes + 256) / 256 * 256;
        auto *place = static_cast<uint8_t *>(std::aligned_alloc(256, room));
        memory.emplace_back(place, std::free);
        std::memset(place, 0, room);
        for (size_t b = 0; input && b < bytes; b++) place[b] = uint8_t(b * 7 + size_t(i));
        for (size_t b = 0; engine.isShapeInferenceIO(name) && b < bytes; b++)
            place[b] = b % size ? 0 : 2;
        if (open && !context->setOutputAllocator(name, &outputs))
            std::printf("setOutputAllocator refused\n");
        if (!open && !context->setTensorAddress(name, place))
            std::printf("setTensorAddress refused\n");
    }
    std::printf("inferShapes %d\n", context->inferShapes(0, nullptr));
    bool const ran = context->enqueueV3(nullptr);
    auto const *out = outputs.memory ? static_cast<uint8_t *>(outputs.memory) : memory.back().get();
    std::printf(
        "enqueued: %s; the last output begins %d %d %d %d, of %lld bytes at most\n",
        ran ? "yes" : "no", out[0], out[1], out[2], out[3],
        static_cast<long long>(context->getMaxOutputSize(engine.getIOTensorName(count - 1))));
    std::free(outputs.memory);
}

#if !IS_8
static void refit(ICudaEngine &engine, char const *model) {
    std::unique_ptr<IRefitter> refitter{createInferRefitter(engine, logger)};
    if (!refitter) return (void)std::printf("no refitter\n");
    std::unique_ptr<nvonnxparser::IParserRefitter> parser{
        nvonnxparser::createParserRefitter(*refitter, logger)};
    int const all = refitter->getAllWeights(0, nullptr);
    int const missing = refitter->getMissingWeights(0, nullptr);
    bool const read = parser->refitFromFile(model);
    bool const done = refitter->refitCudaEngine();
    std::printf("refit: %d weights, %d missing, read %d, done %d\n", all, missing, read, done);
}
#endif

static void use(char const *model, void const *bytes, size_t size) {
    std::unique_ptr<IRuntime> runtime{createInferRuntime(logger)};
    if (!runtime) return (void)std::printf("no runtime\n");
    runtime->setErrorRecorder(&recorder);
    runtime->setGpuAllocator(&allocator);
#ifdef TRT_MAJOR_RTX
    uint64_t diagnostics = 0;
    auto const validity = runtime->getEngineValidity(bytes, int64_t(size), &diagnostics);
    std::printf("validity %d, diagnostics %d\n", int(validity), int(diagnostics));
#endif
    std::unique_ptr<ICudaEngine> engine{runtime->deserializeCudaEngine(bytes, size)};
    if (engine) {
        std::printf("engine %s: %d layers, %d profiles, refittable %d\n", engine->getName(),
                    engine->getNbLayers(), engine->getNbOptimizationProfiles(),
                    engine->isRefittable());
        std::unique_ptr<IEngineInspector> inspector{engine->createEngineInspector()};
        std::printf("layer 0: %s\n",
                    inspector->getLayerInformation(0, LayerInformationFormat::kJSON));
        std::printf("layers: %s\n", inspector->getEngineInformation(LayerInformationFormat::kJSON));
        inspector.reset();
#if !IS_8
        if (asked("strip")) refit(*engine, model);
#endif
        run(*engine);
        engine.reset();
    } else std::printf("no engine\n");
    runtime.reset();
    std::printf("used: errors %d, references %d, allocations %d\n", counts.errors,
                counts.references, counts.allocations);
    (void)model;
}

int main(int count, char **words) {
    if (count > 4) mode = words[4];
    std::printf("library %d, parser %d\n", getInferLibVersion(), getNvOnnxParserVersion());
    std::unique_ptr<IHostMemory> plan{build(words[3])};
    if (!plan) return 0;
    std::vector<char> const bytes(static_cast<char *>(plan->data()),
                                  static_cast<char *>(plan->data()) + plan->size());
    plan.reset();
    use(words[3], bytes.data(), bytes.size());
    return 0;
}
