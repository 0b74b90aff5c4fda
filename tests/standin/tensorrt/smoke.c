/* Builds an engine and runs it, through the function tables of one generation and nothing else.
 *
 *   smoke RUNTIME PARSER MODEL [MODE]
 *
 * Says on standard output what was called back and what came of it. MODE is one word, or several
 * with commas between: no-profile, stop (by the progress monitor), int8, refit, strip, no-run,
 * damage (of the plan), shape (one outside the profile), delete-parser, delete-builder,
 * delete-twice, use-after-delete, missing-method, past-the-end. Works with NVIDIA's libraries too.
 */
#include "standin.h"
#include <dlfcn.h>

static const char *mode = "";
static bool asked(const char *word) { return strstr(mode, word); }

/* ---- calling */

/* A method behind an object that has an implementation, and of one that is it itself. */
#define M(class, object, method, ...) \
    ((*(const class##_table **)((void **)(object))[1])->method(((void **)(object))[1], ##__VA_ARGS__))
#define D(class, object, method, ...) CALL(class, object, method, ##__VA_ARGS__)

static void delete(void *object) { ((void (**)(void *))*(void **)object)[1](object); }

static void *load(const char *path) {
    void *library = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
    if (!library) printf("%s\n", dlerror()), exit(2);
    return library;
}

#define EXPORTED(library, name, type) ((type)dlsym(library, name))

/* ---- called back: tables with type information in front of them, as C++ has them */

struct counts { int messages[5], errors, references, started, finished, steps, allocations, batches; };
static struct counts counts;

static void *type_info;
#define CALLBACK(class, name, ...) \
    static struct { ptrdiff_t offset; void *type; class##_table table; } name##_table = {.table = {__VA_ARGS__}}; \
    static void *name[2]; \
    static void *make_##name(void) { name##_table.type = type_info; name[0] = &name##_table.table; return name; }

static void log_message(void *self, int32_t severity, void *text) {
    (void)self;
    counts.messages[severity]++;
    if (severity <= ILogger_Severity_kWARNING || getenv("VERBOSE")) printf("log %d: %s\n", severity, (char *)text);
}
static void no_destructor(void *self) { (void)self; }
static int32_t error_count(void *self) { (void)self; return counts.errors; }
static int32_t error_code(void *self, int32_t index) { (void)self, (void)index; return 0; }
static void *error_text(void *self, int32_t index) { (void)self, (void)index; return ""; }
static bool no(void *self) { (void)self; return false; }
static void clear(void *self) { (void)self; counts.errors = 0; }
static bool report(void *self, int32_t code, void *text) {
    (void)self;
    counts.errors++;
    printf("error %d: %s\n", code, (char *)text);
    return true;
}
static int32_t more(void *self) { (void)self; return ++counts.references; }
static int32_t fewer(void *self) { (void)self; return --counts.references; }
static void *allocate(void *self, uint64_t size, uint64_t alignment, uint32_t flags) {
    (void)self, (void)flags;
    counts.allocations++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void *reallocate(void *self, void *memory, uint64_t alignment, uint64_t size) { (void)self, (void)memory, (void)alignment, (void)size; return NULL; }
static bool deallocate(void *self, void *memory) {
    (void)self;
    counts.allocations--;
    free(memory);
    return true;
}
#ifndef V8_6
static void *allocate_async(void *self, uint64_t size, uint64_t alignment, uint32_t flags, void *stream) { (void)stream; return allocate(self, size, alignment, flags); }
static bool deallocate_async(void *self, void *memory, void *stream) { (void)stream; return deallocate(self, memory); }
static void phase_start(void *self, void *phase, void *parent, int32_t steps) {
    (void)self;
    if (!counts.started++ || getenv("VERBOSE")) printf("phase %s in %s: %d steps\n", (char *)phase, parent ? (char *)parent : "none", steps);
}
static bool step_complete(void *self, void *phase, int32_t step) {
    (void)self, (void)phase, (void)step;
    return !(++counts.steps == 2 && asked("stop"));
}
static void phase_finish(void *self, void *phase) { (void)self, (void)phase; counts.finished++; }
static int32_t no_number(void *self) { (void)self; return 0; }
static InterfaceInfo info(void *self) { (void)self; return (InterfaceInfo){"smoke", 1, 0}; }
#define VERSIONED .getAPILanguage = no_number, .getInterfaceInfo = info,
CALLBACK(IProgressMonitor, monitor, VERSIONED .phaseStart = phase_start, .stepComplete = step_complete, .phaseFinish = phase_finish)
CALLBACK(IGpuAllocator, allocator, VERSIONED .complete_destructor = no_destructor, .deleting_destructor = no_destructor, .allocate = allocate,
         .reallocate = reallocate, .deallocate = deallocate, .allocateAsync = allocate_async, .deallocateAsync = deallocate_async)
#else
#define VERSIONED
CALLBACK(IGpuAllocator, allocator, .allocate = allocate, .reallocate = reallocate, .deallocate = deallocate)
#endif
#if defined V11 || defined RTX1
CALLBACK(ILogger, logger, VERSIONED .complete_destructor = no_destructor, .deleting_destructor = no_destructor, .log = log_message)
#else
CALLBACK(ILogger, logger, .complete_destructor = no_destructor, .deleting_destructor = no_destructor, .log = log_message)
#endif
CALLBACK(IErrorRecorder, recorder, VERSIONED .complete_destructor = no_destructor, .deleting_destructor = no_destructor, .getNbErrors = error_count,
         .getErrorCode = error_code, .getErrorDesc = error_text, .hasOverflowed = no, .clear = clear, .reportError = report,
         .incRefCount = more, .decRefCount = fewer)

static size_t type_size(DataType type) { return type == 0 || type == 3 ? 4 : type == 8 ? 8 : type == 1 || type == 7 ? 2 : 1; }

#if defined V8_6 || defined V10
static int32_t batch_size(void *self) { (void)self; return 1; }
static bool get_batch(void *self, void *bindings, void *names, int32_t count) {
    (void)self, (void)names;
    static float data[1 << 16] = {1, -12.7f};
    for (int i = 0; i < count; i++) ((void **)bindings)[i] = data;
    return counts.batches++ < 3;
}
static void *read_cache(void *self, void *size) { (void)self; *(uint64_t *)size = 0; return NULL; }
static void write_cache(void *self, void *cache, uint64_t size) { (void)self; printf("calibration: %.*s", (int)size, (char *)cache); }
static int32_t algorithm(void *self) { (void)self; return CalibrationAlgoType_kENTROPY_CALIBRATION_2; }
CALLBACK(IInt8EntropyCalibrator2, calibrator, VERSIONED .getBatchSize = batch_size, .getBatch = get_batch, .readCalibrationCache = read_cache,
         .writeCalibrationCache = write_cache, .getAlgorithm = algorithm)
#endif

/* ---- building */

static void print_parser_errors(void *parser) {
    for (int i = 0; i < D(IParser, parser, getNbErrors); i++) {
        void *error = D(IParser, parser, getError, i);
        printf("parser error %d at node %d: %s, %s (%s:%d)\n", D(IParserError, error, code), D(IParserError, error, node), (char *)D(IParserError, error, func),
               (char *)D(IParserError, error, desc), (char *)D(IParserError, error, file), D(IParserError, error, line));
#ifndef V8_6
        printf("  %s %s\n", (char *)D(IParserError, error, nodeName), (char *)D(IParserError, error, nodeOperator));
#endif
    }
}

static void delete_parser(void *parser) {
#ifdef V8_6
    D(IParser, parser, destroy);
#else
    D(IParser, parser, deleting_destructor);
#endif
}

static void *make_profile(void *builder, void *network) {
    void *profile = M(IBuilder, builder, createOptimizationProfile);
    for (int i = 0; i < M(INetworkDefinition, network, getNbInputs); i++) {
        void *input = M(INetworkDefinition, network, getInput, i);
        char *name = M(ITensor, input, getName);
        Dims dims = M(ITensor, input, getDimensions);
        struct shape open = from_dims(&dims);
        printf("input %s: type %d, %s\n", name, M(ITensor, input, getType), shape_text(&open));
        for (int selector = 0; selector < 3 && !M(ITensor, input, isShapeTensor); selector++) {
            Dims some = dims;
            for (int axis = 0; axis < some.nbDims; axis++)
                if (some.d[axis] < 0) some.d[axis] = 1 << selector * 2;
#ifdef V8_6
            if (!M(IOptimizationProfile, profile, setDimensions, name, selector, some)) printf("setDimensions refused\n");
#else
            if (!M(IOptimizationProfile, profile, setDimensions, name, selector, &some)) printf("setDimensions refused\n");
#endif
        }
    }
    return profile;
}

static void configure(void *config) {
    M(IBuilderConfig, config, setMemoryPoolLimit, MemoryPoolType_kWORKSPACE, 1 << 24);
    M(IBuilderConfig, config, setProfilingVerbosity, ProfilingVerbosity_kDETAILED);
    if (asked("refit")) M(IBuilderConfig, config, setFlag, BuilderFlag_kREFIT);
#ifndef V8_6
    if (asked("strip")) M(IBuilderConfig, config, setFlag, BuilderFlag_kSTRIP_PLAN);
    M(IBuilderConfig, config, setProgressMonitor, make_monitor());
#endif
#if defined V8_6 || defined V10
    if (asked("int8")) {
        M(IBuilderConfig, config, setFlag, BuilderFlag_kINT8);
        M(IBuilderConfig, config, setInt8Calibrator, make_calibrator());
    }
#endif
#if defined RTX1_4 || defined RTX1
    if (!M(IBuilderConfig, config, setNbComputeCapabilities, 1) || !M(IBuilderConfig, config, setComputeCapability, ComputeCapability_kSM89, 0))
        printf("no compute capability set\n");
#endif
    printf("config: workspace %zu, level %d, TF32 %d\n", (size_t)M(IBuilderConfig, config, getMemoryPoolLimit, MemoryPoolType_kWORKSPACE),
           M(IBuilderConfig, config, getBuilderOptimizationLevel), M(IBuilderConfig, config, getFlag, BuilderFlag_kTF32));
}

typedef void *(*create)(void *, void *, int32_t);
typedef void *(*create_root)(void *, int32_t);

static void *build(void *runtime_library, void *parser_library, const char *model) {
    void *builder = EXPORTED(runtime_library, "createInferBuilder_INTERNAL", create_root)(logger, 0);
    if (!builder) return printf("no builder\n"), NULL;
    M(IBuilder, builder, setErrorRecorder, make_recorder());
    M(IBuilder, builder, setGpuAllocator, make_allocator());
#if defined V8_6
    void *network = M(IBuilder, builder, createNetworkV2, 1u << NetworkDefinitionCreationFlag_kEXPLICIT_BATCH);
#else
    void *network = M(IBuilder, builder, createNetworkV2, asked("int8") ? 0u : 1u << NetworkDefinitionCreationFlag_kSTRONGLY_TYPED);
#endif
    if (!network) return printf("no network\n"), delete(builder), NULL;
    void *parser = EXPORTED(parser_library, "createNvOnnxParser_INTERNAL", create)(network, logger, 100);
    void *config = M(IBuilder, builder, createBuilderConfig), *plan = NULL;
    if (config) configure(config);
    if (!D(IParser, parser, parseFromFile, (void *)model, 2)) print_parser_errors(parser);
    else if (config) {
        printf("network: %d inputs, %d outputs, %d layers, the first of type %d\n", M(INetworkDefinition, network, getNbInputs), M(INetworkDefinition, network, getNbOutputs),
               M(INetworkDefinition, network, getNbLayers), M(ILayer, M(INetworkDefinition, network, getLayer, 0), getType));
        void *profile = make_profile(builder, network);
        if (!asked("no-profile")) printf("profile %d\n", M(IBuilderConfig, config, addOptimizationProfile, profile));
        if (asked("delete-parser")) delete_parser(parser), parser = NULL;
        if (asked("delete-builder")) delete(builder);
        plan = M(IBuilder, builder, buildSerializedNetwork, network, config);
    }
    if (config) delete(config);
    if (parser) delete_parser(parser);
    if (asked("delete-twice")) delete(config);
    if (asked("use-after-delete")) M(IBuilderConfig, config, getFlag, 0);
    if (asked("missing-method")) M(IBuilder, builder, reset);
    if (asked("past-the-end")) ((void (**)(void *))*(void **)((void **)builder)[1])[100](((void **)builder)[1]);
    delete(network);
    delete(builder);
    printf("built: %s; started %d, finished %d, steps %d; errors %d, references %d, allocations %d\n", plan ? "yes" : "no", counts.started, counts.finished, counts.steps,
           counts.errors, counts.references, counts.allocations);
    return plan;
}

/* ---- running */

/* Bytes of a tensor with these extents, none open. */
static size_t bytes_of(void *engine, const char *name, const Dims *dims) {
    size_t bytes = type_size(M(ICudaEngine, engine, getTensorDataType, (void *)name));
    for (int axis = 0; axis < dims->nbDims; axis++) bytes *= (size_t)dims->d[axis];
    return bytes;
}

static void run(void *engine) {
#ifdef V8_6
    void *context = M(ICudaEngine, engine, createExecutionContext);
#else
    void *context = M(ICudaEngine, engine, createExecutionContext, 0);
#endif
    if (!context) return (void)printf("no context\n");
    uint8_t *memory[16];
    int count = M(ICudaEngine, engine, getNbIOTensors);
    for (int i = 0; i < count; i++) {
        char *name = M(ICudaEngine, engine, getIOTensorName, i);
        bool input = M(ICudaEngine, engine, getTensorIOMode, name) == TensorIOMode_kINPUT;
        if (input) {
            Dims dims = M(ICudaEngine, engine, getProfileShape, name, 0, OptProfileSelector_kOPT);
            if (asked("shape")) dims.d[0] = 1000;
            if (!M(IExecutionContext, context, setInputShape, name, &dims)) printf("setInputShape refused\n");
        }
        Dims dims = M(IExecutionContext, context, getTensorShape, name);
        struct shape shape = from_dims(&dims);
        printf("%s %s: type %d, %s\n", input ? "input" : "output", name, M(ICudaEngine, engine, getTensorDataType, name), shape_text(&shape));
        size_t bytes = is_open(&shape) ? 4096 : bytes_of(engine, name, &dims);
        memory[i] = aligned_alloc(256, (bytes + 255) / 256 * 256);
        for (size_t b = 0; b < bytes; b++) memory[i][b] = input ? (uint8_t)(b * 7 + (size_t)i) : 0;
        if (!M(IExecutionContext, context, setTensorAddress, name, memory[i])) printf("setTensorAddress refused\n");
    }
    printf("inferShapes %d\n", M(IExecutionContext, context, inferShapes, 0, NULL));
    bool ran = M(IExecutionContext, context, enqueueV3, NULL);
    char *last = M(ICudaEngine, engine, getIOTensorName, count - 1);
    Dims dims = M(IExecutionContext, context, getTensorShape, last);
    printf("enqueued: %s; the last output begins %d %d %d %d, of %lld bytes at most\n", ran ? "yes" : "no", memory[count - 1][0], memory[count - 1][1], memory[count - 1][2],
           memory[count - 1][3], (long long)M(IExecutionContext, context, getMaxOutputSize, last));
    (void)dims;
    delete(context);
    for (int i = 0; i < count; i++) free(memory[i]);
}

#ifndef V8_6
static void refit(void *library, void *parser_library, void *engine, const char *model) {
    void *refitter = EXPORTED(library, "createInferRefitter_INTERNAL", create)(engine, logger, 0);
    if (!refitter) return (void)printf("no refitter\n");
    void *parser = EXPORTED(parser_library, "createNvOnnxParserRefitter_INTERNAL", create)(refitter, logger, 100);
    int all = M(IRefitter, refitter, getAllWeights, 0, NULL), missing = M(IRefitter, refitter, getMissingWeights, 0, NULL);
    bool read = D(IParserRefitter, parser, refitFromFile, (void *)model);
    bool done = M(IRefitter, refitter, refitCudaEngine);
    printf("refit: %d weights, %d missing, read %d, done %d\n", all, missing, read, done);
    D(IParserRefitter, parser, deleting_destructor);
    delete(refitter);
}
#endif

static void use(void *library, void *parser_library, const char *model, void *bytes, size_t size) {
    void *runtime = EXPORTED(library, "createInferRuntime_INTERNAL", create_root)(logger, 0);
    if (!runtime) return (void)printf("no runtime\n");
    M(IRuntime, runtime, setErrorRecorder, make_recorder());
    M(IRuntime, runtime, setGpuAllocator, make_allocator());
#if defined RTX1_4 || defined RTX1
    uint64_t diagnostics = 0;
    int validity = M(IRuntime, runtime, getEngineValidity, bytes, (int64_t)size, &diagnostics);
    printf("validity %d, diagnostics %d\n", validity, (int)diagnostics);
#endif
#ifdef V8_6
    void *engine = M(IRuntime, runtime, deserializeCudaEngine, bytes, size, NULL);
#else
    void *engine = M(IRuntime, runtime, deserializeCudaEngine, bytes, size);
#endif
    if (engine) {
        printf("engine %s: %d layers, %d profiles, refittable %d\n", (char *)M(ICudaEngine, engine, getName), M(ICudaEngine, engine, getNbLayers),
               M(ICudaEngine, engine, getNbOptimizationProfiles), M(ICudaEngine, engine, isRefittable));
        void *inspector = M(ICudaEngine, engine, createEngineInspector);
        printf("layer 0: %s\n", (char *)M(IEngineInspector, inspector, getLayerInformation, 0, LayerInformationFormat_kJSON));
        if (getenv("VERBOSE")) printf("%s\n", (char *)M(IEngineInspector, inspector, getEngineInformation, LayerInformationFormat_kJSON));
        delete(inspector);
#ifndef V8_6
        if (asked("refit") || asked("strip")) refit(library, parser_library, engine, model);
#endif
        if (!asked("no-run")) run(engine);
        delete(engine);
    } else printf("no engine\n");
    (void)parser_library, (void)model;
    delete(runtime);
    printf("used: errors %d, references %d, allocations %d\n", counts.errors, counts.references, counts.allocations);
}

int main(int count, char **words) {
    if (count < 4) return 2;
    if (count > 4) mode = words[4];
    setvbuf(stdout, NULL, _IOLBF, 0);
    void *library = load(words[1]), *parser_library = load(words[2]);
    type_info = dlsym(RTLD_DEFAULT, "_ZTISt9exception");
    make_logger();
    printf("library %d, parser %d\n", EXPORTED(library, "getInferLibVersion", int32_t (*)(void))(), EXPORTED(parser_library, "getNvOnnxParserVersion", int (*)(void))());
    void *plan = build(library, parser_library, words[3]);
    if (!plan) return 0;
    size_t size = M(IHostMemory, plan, size);
    char *bytes = malloc(size);
    memcpy(bytes, M(IHostMemory, plan, data), size);
    delete(plan);
    if (asked("damage")) bytes[size / 2] ^= 1;
    if (getenv("PLAN")) {
        FILE *file = fopen(getenv("PLAN"), "wb");
        fwrite(bytes, 1, size, file);
        fclose(file);
    }
    use(library, parser_library, words[3], bytes, size);
    free(bytes);
    return 0;
}
