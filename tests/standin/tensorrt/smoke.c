/* Builds an engine and runs it, through the function tables of one generation and nothing else.
 *
 *   smoke RUNTIME PARSER MODEL [MODE]
 *
 * Says on standard output what was called back and what came of it. MODE is one word, or several
 * with commas between:
 *
 *   no-profile, int8, refit, strip, stop (by the progress monitor), timing (a cache in $TIMING),
 *   save (the plan to $PLAN), load (the plan from there, build none), damage, cut (of the plan),
 *   no-run, shape (one outside the profile),
 *   delete-parser, delete-builder, delete-twice, use-after-delete, missing-method, later-method,
 *   past-the-end
 *
 * Works with NVIDIA's libraries too.
 */
#include "smoke.h"
#include <dlfcn.h>

/* ---- calling */

/* A method behind an object that has an implementation, and of one that is it itself. */
#define M(class, object, method, ...)                  \
    ((*(const class##_table **)((void **)(object))[1]) \
         ->method(((void **)(object))[1], ##__VA_ARGS__))
#define D(class, object, method, ...) CALL(class, object, method, ##__VA_ARGS__)

static void delete(void *object) { ((void (**)(void *)) * (void **)object)[1](object); }

static void *load(const char *path) {
    void *library = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
    if (!library) printf("%s\n", dlerror()), exit(2);
    return library;
}

#define EXPORTED(library, name, type) ((type)dlsym(library, name))

/* The bytes of a file, null of none. */
static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    *size = fread(bytes, 1, *size, file);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
}

/* ---- building */

static void print_parser_errors(void *parser) {
    for (int i = 0; i < D(IParser, parser, getNbErrors); i++) {
        void *error = D(IParser, parser, getError, i);
        printf("parser error %d at node %d: %s, %s (%s:%d)\n", D(IParserError, error, code),
               D(IParserError, error, node), (char *)D(IParserError, error, func),
               (char *)D(IParserError, error, desc), (char *)D(IParserError, error, file),
               D(IParserError, error, line));
#ifndef V8_6
        printf("  %s %s\n", (char *)D(IParserError, error, nodeName),
               (char *)D(IParserError, error, nodeOperator));
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

/* Values from 1 to 4 for an input that holds a shape. */
static bool set_values(void *profile, char *name, int32_t selector, int32_t count) {
#if defined V8_6 || (defined V10 && TRT_VERSION < 101100)
    int32_t values[8];
    for (int i = 0; i < count && i < 8; i++) values[i] = 1 << selector;
    return M(IOptimizationProfile, profile, setShapeValues, name, selector, values, count);
#else
    int64_t values[8];
    for (int i = 0; i < count && i < 8; i++) values[i] = 1 << selector;
    return M(IOptimizationProfile, profile, setShapeValuesV2, name, selector, values, count);
#endif
}

static void *make_profile(void *builder, void *network) {
    void *profile = M(IBuilder, builder, createOptimizationProfile);
    if (!profile) return printf("no profile\n"), NULL;
    for (int i = 0; i < M(INetworkDefinition, network, getNbInputs); i++) {
        void *input = M(INetworkDefinition, network, getInput, i);
        char *name = M(ITensor, input, getName);
        Dims dims = M(ITensor, input, getDimensions);
        struct shape open = from_dims(&dims);
        printf("input %s: type %d, %s\n", name, M(ITensor, input, getType), shape_text(&open));
        for (int selector = 0; selector < 3; selector++) {
            if (M(ITensor, input, isShapeTensor)) {
                if (!set_values(profile, name, selector, (int32_t)open.d[0]))
                    printf("setShapeValues refused\n");
                continue;
            }
            Dims some = dims;
            for (int axis = 0; axis < some.nbDims; axis++)
                if (some.d[axis] < 0) some.d[axis] = 1 << selector * 2;
#ifdef V8_6
            if (!M(IOptimizationProfile, profile, setDimensions, name, selector, some))
                printf("setDimensions refused\n");
#else
            if (!M(IOptimizationProfile, profile, setDimensions, name, selector, &some))
                printf("setDimensions refused\n");
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
    if (!M(IBuilderConfig, config, setNbComputeCapabilities, 1) ||
        !M(IBuilderConfig, config, setComputeCapability, ComputeCapability_kSM89, 0))
        printf("no compute capability set\n");
#endif
    printf("config: workspace %zu, level %d, TF32 %d\n",
           (size_t)M(IBuilderConfig, config, getMemoryPoolLimit, MemoryPoolType_kWORKSPACE),
           M(IBuilderConfig, config, getBuilderOptimizationLevel),
           M(IBuilderConfig, config, getFlag, BuilderFlag_kTF32));
}

/* From the file that $TIMING names, where there is one. */
static void *use_timing_cache(void *config) {
    size_t size = 0;
    char *bytes = read_file(getenv("TIMING"), &size);
    void *cache = M(IBuilderConfig, config, createTimingCache, bytes, size);
    bool set = cache && M(IBuilderConfig, config, setTimingCache, cache, false);
    printf("timing cache of %zu bytes: made %d, set %d\n", size, cache != NULL, set);
    free(bytes);
    return cache;
}

static void save_timing_cache(void *cache) {
    void *memory = M(ITimingCache, cache, serialize);
    if (!memory) return (void)printf("no timings\n");
    write_file(getenv("TIMING"), M(IHostMemory, memory, data), M(IHostMemory, memory, size));
    printf("timings: %zu bytes\n", (size_t)M(IHostMemory, memory, size));
    delete(memory);
}

typedef void *(*create)(void *, void *, int32_t);
typedef void *(*create_root)(void *, int32_t);

static void *build(void *runtime_library, void *parser_library, const char *model) {
    void *builder = EXPORTED(runtime_library, "createInferBuilder_INTERNAL", create_root)(logger,
                                                                                          0);
    if (!builder) return printf("no builder\n"), NULL;
    M(IBuilder, builder, setErrorRecorder, make_recorder());
    M(IBuilder, builder, setGpuAllocator, make_allocator());
#if defined V8_6
    void *network = M(IBuilder, builder, createNetworkV2,
                      1u << NetworkDefinitionCreationFlag_kEXPLICIT_BATCH);
#else
    void *network = M(IBuilder, builder, createNetworkV2,
                      asked("int8") ? 0u : 1u << NetworkDefinitionCreationFlag_kSTRONGLY_TYPED);
#endif
    if (!network) return printf("no network\n"), delete(builder), NULL;
    void *parser = EXPORTED(parser_library, "createNvOnnxParser_INTERNAL", create)(network, logger,
                                                                                   100);
    void *config = M(IBuilder, builder, createBuilderConfig), *cache = NULL, *plan = NULL;
    if (!config) printf("no config\n");
    else configure(config);
    if (!parser) printf("no parser\n");
    else if (!D(IParser, parser, parseFromFile, (void *)model, 2)) print_parser_errors(parser);
    else if (config) {
        int layers = M(INetworkDefinition, network, getNbLayers);
        printf("network: %d inputs, %d outputs, %d layers, the first of type %d\n",
               M(INetworkDefinition, network, getNbInputs),
               M(INetworkDefinition, network, getNbOutputs), layers,
               layers ? M(ILayer, M(INetworkDefinition, network, getLayer, 0), getType) : -1);
        void *profile = make_profile(builder, network);
        if (asked("timing")) cache = use_timing_cache(config);
        if (profile && !asked("no-profile"))
            printf("profile %d\n", M(IBuilderConfig, config, addOptimizationProfile, profile));
        if (asked("delete-parser")) delete_parser(parser), parser = NULL;
        if (asked("delete-builder")) delete(builder);
        plan = M(IBuilder, builder, buildSerializedNetwork, network, config);
        if (cache) save_timing_cache(cache);
    }
#ifdef V10
    if (asked("later-method")) M(IBuilderConfig, config, getRemoteAutoTuningConfig);
#endif
    if (config) delete(config);
    if (cache) delete(cache);
    if (parser) delete_parser(parser);
    if (asked("delete-twice")) delete(config);
    if (asked("use-after-delete")) M(IBuilderConfig, config, getFlag, 0);
    if (asked("missing-method")) M(IBuilder, builder, reset);
    if (asked("past-the-end"))
        ((void (**)(void *)) * (void **)((void **)builder)[1])[100](((void **)builder)[1]);
    delete(network);
    delete(builder);
    printf(
        "built: %s; started %d, finished %d, steps %d; errors %d, references %d, allocations %d\n",
        plan ? "yes" : "no", counts.started, counts.finished, counts.steps, counts.errors,
        counts.references, counts.allocations);
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
            if (!M(IExecutionContext, context, setInputShape, name, &dims))
                printf("setInputShape refused\n");
        }
        Dims dims = M(IExecutionContext, context, getTensorShape, name);
        struct shape shape = from_dims(&dims);
        printf("%s %s: type %d, %s\n", input ? "input" : "output", name,
               M(ICudaEngine, engine, getTensorDataType, name), shape_text(&shape));
        bool open = is_open(&shape);
        size_t bytes = open ? 0 : bytes_of(engine, name, &dims);
        memory[i] = aligned_alloc(256, (bytes + 256) / 256 * 256);
        memset(memory[i], 0, (bytes + 256) / 256 * 256);
        for (size_t b = 0; input && b < bytes; b++) memory[i][b] = (uint8_t)(b * 7 + (size_t)i);
        if (M(ICudaEngine, engine, isShapeInferenceIO, name))
            for (size_t b = 0; b < bytes; b++)
                memory[i][b] = b % type_size(M(ICudaEngine, engine, getTensorDataType, name)) ? 0
                                                                                              : 2;
        if (open &&
            !M(IExecutionContext, context, setOutputAllocator, name, make_output_allocator()))
            printf("setOutputAllocator refused\n");
        if (!open && !M(IExecutionContext, context, setTensorAddress, name, memory[i]))
            printf("setTensorAddress refused\n");
    }
    printf("inferShapes %d\n", M(IExecutionContext, context, inferShapes, 0, NULL));
    bool ran = M(IExecutionContext, context, enqueueV3, NULL);
    char *last = M(ICudaEngine, engine, getIOTensorName, count - 1);
    const uint8_t *out = found_output.memory ? found_output.memory : memory[count - 1];
    printf("enqueued: %s; the last output begins %d %d %d %d, of %lld bytes at most\n",
           ran ? "yes" : "no", out[0], out[1], out[2], out[3],
           (long long)M(IExecutionContext, context, getMaxOutputSize, last));
    delete(context);
    free(found_output.memory);
    for (int i = 0; i < count; i++) free(memory[i]);
}

#ifndef V8_6
static void refit(void *library, void *parser_library, void *engine, const char *model) {
    void *refitter = EXPORTED(library, "createInferRefitter_INTERNAL", create)(engine, logger, 0);
    if (!refitter) return (void)printf("no refitter\n");
    void *parser = EXPORTED(parser_library, "createNvOnnxParserRefitter_INTERNAL",
                            create)(refitter, logger, 100);
    if (!parser) return printf("no parser refitter\n"), delete(refitter);
    int all = M(IRefitter, refitter, getAllWeights, 0, NULL),
        missing = M(IRefitter, refitter, getMissingWeights, 0, NULL);
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
        printf("engine %s: %d layers, %d profiles, refittable %d\n",
               (char *)M(ICudaEngine, engine, getName), M(ICudaEngine, engine, getNbLayers),
               M(ICudaEngine, engine, getNbOptimizationProfiles),
               M(ICudaEngine, engine, isRefittable));
        void *inspector = M(ICudaEngine, engine, createEngineInspector);
        if (inspector) {
            char *layer = M(IEngineInspector, inspector, getLayerInformation, 0,
                            LayerInformationFormat_kJSON);
            char *all = M(IEngineInspector, inspector, getEngineInformation,
                          LayerInformationFormat_kJSON);
            printf("layer 0: %s\nlayers: %s\n", layer ? layer : "none", all ? all : "none");
            delete(inspector);
        } else printf("no inspector\n");
#ifndef V8_6
        if (asked("refit") || asked("strip")) refit(library, parser_library, engine, model);
#endif
        if (!asked("no-run")) run(engine);
        delete(engine);
    } else printf("no engine\n");
    (void)parser_library, (void)model;
    delete(runtime);
    printf("used: errors %d, references %d, allocations %d\n", counts.errors, counts.references,
           counts.allocations);
}

int main(int count, char **words) {
    if (count < 4) return 2;
    if (count > 4) mode = words[4];
    setvbuf(stdout, NULL, _IOLBF, 0);
    void *library = load(words[1]), *parser_library = load(words[2]);
    type_info = dlsym(RTLD_DEFAULT, "_ZTISt9exception");
    make_logger();
    printf("library %d, parser %d\n", EXPORTED(library, "getInferLibVersion", int32_t (*)(void))(),
           EXPORTED(parser_library, "getNvOnnxParserVersion", int (*)(void))());
    size_t size = 0;
    char *bytes = NULL;
    if (asked("load")) bytes = read_file(getenv("PLAN"), &size);
    else {
        void *plan = build(library, parser_library, words[3]);
        if (!plan) return 0;
        size = M(IHostMemory, plan, size);
        bytes = memcpy(malloc(size), M(IHostMemory, plan, data), size);
        delete(plan);
    }
    if (asked("save")) write_file(getenv("PLAN"), bytes, size);
    if (asked("damage")) bytes[size / 2] ^= 1;
    if (asked("cut")) size /= 2;
    use(library, parser_library, words[3], bytes, size);
    free(bytes);
    return 0;
}
