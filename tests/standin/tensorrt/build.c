/* IBuilder::buildSerializedNetwork: checks, calibration, progress, the plan. */
#include "plan.h"
#include <time.h>

#define USAGE(...)                                                                \
    (fail(builder, ErrorCode_kINVALID_CONFIG, "IBuilder::buildSerializedNetwork", \
          "API Usage Error", __VA_ARGS__),                                        \
     false)

/* ---- checks */

static bool check_profile(struct builder *builder, struct network *network, struct profile *profile,
                          int index) {
    for (int i = 0; i < network->input_count; i++) {
        struct tensor *input = network->inputs[i];
        struct range *range = profile_range(profile, input->name);
        if (input->holds_shape && (!range || !range->has_values[0]))
            return USAGE("%s: shape tensor is missing values in profile %d.", input->name, index);
        if (!is_open(&input->shape) || input->holds_shape) continue;
        if (!range || !range->has_shape[0])
            return USAGE("%s: dynamic input is missing dimensions in profile %d.", input->name,
                         index);
        for (int selector = 0; selector < 3; selector++) {
            struct shape *given = &range->shape[selector];
            if (given->rank != input->shape.rank)
                return USAGE("%s: profile %d has %d dimensions where the network has %d.",
                             input->name, index, given->rank, input->shape.rank);
            for (int axis = 0; axis < given->rank; axis++)
                if (input->shape.d[axis] >= 0 && given->d[axis] != input->shape.d[axis])
                    return USAGE("%s: for dimension number %d in profile %d does not match network "
                                 "definition (got %lld), expected %lld.",
                                 input->name, axis, index, (long long)given->d[axis],
                                 (long long)input->shape.d[axis]);
        }
    }
    return true;
}

static bool check_precision(struct builder *builder, struct network *network,
                            struct config *config) {
#if WEAK_TYPING
    bool asked = has_flag(config, BuilderFlag_kFP16) || has_flag(config, BuilderFlag_kINT8);
    if (is_strongly_typed(network) && asked)
        return USAGE("precision flags cannot be set for a strongly typed network.");
    for (int i = 0; i < network->layer_count; i++) {
        DataType precision = network->layers[i]->precision;
        if (precision < 0) continue;
        if (is_strongly_typed(network))
            return USAGE("layer %s has a precision in a strongly typed network.",
                         network->layers[i]->name);
        if (precision == DataType_kHALF && !has_flag(config, BuilderFlag_kFP16))
            say(builder, ILogger_Severity_kWARNING,
                "Layer %s is to run in FP16, which the FP16 flag does not allow",
                network->layers[i]->name);
    }
    bool quantized = has_operator(network, "QuantizeLinear");
    if (has_flag(config, BuilderFlag_kINT8) && quantized && config->calibrator)
        say(builder, ILogger_Severity_kWARNING,
            "Calibrator won't be used in explicit precision mode. Use quantization aware training "
            "to generate network with Quantize/Dequantize nodes.");
    if (quantized && !has_flag(config, BuilderFlag_kINT8) && !is_strongly_typed(network))
        return USAGE("Int8 precision has been set for a layer or layer output, but int8 is not "
                     "configured in the builder");
    if (has_flag(config, BuilderFlag_kINT8) && !quantized && !config->calibrator)
        say(builder, ILogger_Severity_kWARNING,
            "Calibrator is not being used. Users must provide dynamic range for all tensors that "
            "are not Int32 or Bool.");
#else
    (void)builder, (void)network, (void)config;
#endif
    return true;
}

/* Types that only newer GPUs have. */
static bool check_types(struct builder *builder, const struct network *network, int capability) {
#ifndef V8_6
    static const struct {
        DataType type;
        int since;
        const char *name;
    } TYPES[] = {{7, 80, "b16"}, {6, 89, "fp8_e4m3"}, {10, 100, "fp4_e2m1"}};
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (has_type(network, TYPES[i].type) && capability < TYPES[i].since)
            return USAGE(
                "Networks with HW-specific datatypes: %s need compute capability %d.%d or later.",
                TYPES[i].name, TYPES[i].since / 10, TYPES[i].since % 10);
#else
    (void)builder, (void)network, (void)capability;
#endif
    return true;
}

static bool check_target(struct builder *builder, const struct network *network,
                         struct config *config) {
    enum { CURRENT = 1 };
    int gpu = gpu_capability();
    if (config->device_type == DeviceType_kDLA)
        return USAGE("Default device type is DLA, but DLA is not supported on this platform.");
    for (int i = 0; i < config->capability_count || i == 0; i++) {
        int capability = config->capability_count ? config->capabilities[i] : CURRENT;
        if (capability <= CURRENT) capability = gpu;
        if (!capability) return USAGE("no GPU, and no compute capability is set to build for.");
        if (!is_supported(capability))
            return USAGE("Target GPU SM %d is not supported by this %s release.", capability,
                         IS_RTX ? "TensorRT-RTX" : "TensorRT");
        if (!check_types(builder, network, capability)) return false;
    }
    return true;
}

static bool check(struct builder *builder, struct network *network, struct config *config) {
    if (network->parser_was_here && !network->parser->alive)
        die("a network was built after its parser, which has its weights, was deleted");
    if (config->timing && !config->timing->object.alive)
        die("a network was built with a deleted ITimingCache");
    if (!network->output_count) return USAGE("Network must have at least one output");
    bool dynamic = false;
    for (int i = 0; i < network->input_count; i++)
        dynamic |= is_open(&network->inputs[i]->shape) || network->inputs[i]->holds_shape;
    if (dynamic && !config->profile_count)
        return USAGE(
            "Network has dynamic or shape inputs, but no optimization profile has been defined.)");
    for (int i = 0; i < config->profile_count; i++)
        if (!check_profile(builder, network, config->profiles[i], i)) return false;
    for (int i = 0; i < network->layer_count; i++)
        if (!strcmp(network->layers[i]->operator, "NonMaxSuppression")) {
            fail(builder, ErrorCode_kUNSUPPORTED_STATE, "IBuilder::buildSerializedNetwork",
                 "Internal Error", "Could not find any implementation for node %s.",
                 network->layers[i]->name);
            return false;
        }
    return check_precision(builder, network, config) && check_target(builder, network, config);
}

bool IBuilder_isNetworkSupported(void *self, void *network, void *config) {
    FAIL_IF_PLANNED(false);
    return check(self, implementation(network, &class_INetworkDefinition),
                 implementation(config, &class_IBuilderConfig));
}

/* ---- progress */

static void pause_step(void) {
    const char *milliseconds = setting("STEP_MS");
    if (!milliseconds) return;
    long ms = atol(milliseconds);
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

#ifdef V8_6
static void phase_start(void *monitor, const char *phase, const char *parent, int steps) {
    (void)monitor, (void)phase, (void)parent, (void)steps;
}
static bool step_complete(void *monitor, const char *phase, int step) {
    (void)monitor, (void)phase, (void)step;
    return true;
}
static void phase_finish(void *monitor, const char *phase) { (void)monitor, (void)phase; }
#else
static void phase_start(void *monitor, const char *phase, const char *parent, int steps) {
    if (monitor) CALL(IProgressMonitor, monitor, phaseStart, (void *)phase, (void *)parent, steps);
}
static bool step_complete(void *monitor, const char *phase, int step) {
    return !monitor || CALL(IProgressMonitor, monitor, stepComplete, (void *)phase, step);
}
static void phase_finish(void *monitor, const char *phase) {
    if (monitor) CALL(IProgressMonitor, monitor, phaseFinish, (void *)phase);
}
#endif

static uint64_t layer_key(const struct layer *layer, const struct config *config) {
    uint64_t key = config->flags * 31 + (uint64_t)config->level;
    for (const char *c = layer->operator; *c; c++) key = (key ^ (uint8_t)*c) * 0x100000001b3;
    for (const char *c = layer->name; *c; c++) key = (key ^ (uint8_t)*c) * 0x100000001b3;
    return key;
}

/* Whether a layer was timed before; remembers it as timed. */
static bool was_timed(struct timing_cache *cache, uint64_t key) {
    for (int i = 0; cache && i < cache->entry_count; i++)
        if (cache->entries[i] == key) return true;
    if (cache) APPEND(cache->entries, cache->entry_count, key);
    return false;
}

/* Phases in a phase, two of them of one name, as TensorRT has; false where the monitor stopped it. */
static bool run_phases(struct network *network, struct config *config) {
    static const char *const PARTS[] = {"Optimizing graph", "Timing tactics",
                                        "Computing reformatting costs",
                                        "Computing reformatting costs"};
    static const char WHOLE[] = "Building engine";
    void *monitor = config->monitor;
    struct timing_cache *cache = has_flag(config, BuilderFlag_kDISABLE_TIMING_CACHE)
                                     ? NULL
                                     : config->timing;
    bool goes_on = true;
    int timed = 0;
    phase_start(monitor, WHOLE, NULL, 4);
    for (int part = 0; part < 4 && goes_on; part++) {
        int steps = part == 1 ? network->layer_count : 1;
        phase_start(monitor, PARTS[part], WHOLE, steps);
        for (int step = 0; step < steps && goes_on; step++) {
            bool known = part == 1 && was_timed(cache, layer_key(network->layers[step], config));
            timed += part == 1 && !known;
            if (!known) pause_step();
            goes_on = step_complete(monitor, PARTS[part], step);
        }
        phase_finish(monitor, PARTS[part]);
        goes_on = goes_on && step_complete(monitor, WHOLE, part);
    }
    phase_finish(monitor, WHOLE);
    say(config, ILogger_Severity_kVERBOSE, "Timed %d of %d layers.", timed, network->layer_count);
    return goes_on;
}

/* ---- the plan */

static void describe_tensor(struct plan *plan, const struct tensor *tensor,
                            const struct config *config) {
    struct plan_tensor described = {.name = tensor->name,
                                    .input = tensor->input,
                                    .holds_shape = tensor->holds_shape,
                                    .type = tensor->type,
                                    .shape = tensor->shape};
    memcpy(described.open, tensor->open, sizeof described.open);
    if (tensor->input) {
        described.ranges = calloc((size_t)config->profile_count + 1, sizeof *described.ranges);
        for (int i = 0; i < config->profile_count; i++) {
            struct range *range = profile_range(config->profiles[i], tensor->name);
            if (range) described.ranges[i] = *range;
        }
    }
    APPEND(plan->tensors, plan->tensor_count, described);
}

/* Bytes of all tensors at the largest shapes of any profile. */
static int64_t largest_bytes(const struct plan *plan) {
    int64_t most = 0;
    for (int profile = 0; profile < (plan->profile_count ? plan->profile_count : 1); profile++) {
        int64_t bytes = 0;
        for (int i = 0; i < plan->tensor_count; i++) {
            const struct plan_tensor *tensor = &plan->tensors[i];
            bool ranged = tensor->ranges && plan->profile_count &&
                          tensor->ranges[profile].has_shape[2];
            const struct shape *shape = ranged ? &tensor->ranges[profile].shape[2] : &tensor->shape;
            if (!is_open(shape)) bytes += (int64_t)byte_size(tensor->type, volume(shape));
        }
        most = bytes > most ? bytes : most;
    }
    return most;
}

static char *write_plan(struct network *network, struct config *config) {
    int gpu = gpu_capability();
    struct plan plan = {.version = TRT_VERSION,
                        .flavor = FLAVOR,
                        .name = network->name,
                        .flags = config->flags,
                        .hardware = config->hardware,
                        .verbosity = config->verbosity,
                        .aux_streams = config->aux_streams > 0 ? config->aux_streams : 0,
                        .profile_count = config->profile_count ? config->profile_count : 1};
    for (int i = 0; i < config->capability_count; i++)
        APPEND(plan.capabilities, plan.capability_count,
               config->capabilities[i] > 1 ? config->capabilities[i] : gpu);
    if (!plan.capability_count) APPEND(plan.capabilities, plan.capability_count, gpu);
    if (config->hardware == HardwareCompatibilityLevel_kAMPERE_PLUS) plan.at_least = 80;
#ifndef V8_6
    plan.stripped = has_flag(config, BuilderFlag_kSTRIP_PLAN);
#endif
    for (int i = 0; i < network->input_count; i++)
        describe_tensor(&plan, network->inputs[i], config);
    for (int i = 0; i < network->output_count; i++)
        describe_tensor(&plan, network->outputs[i], config);
    for (int i = 0; i < network->layer_count; i++) {
        struct layer *layer = network->layers[i];
        struct plan_layer described = {layer->name, layer->operator, layer->precision};
        APPEND(plan.layers, plan.layer_count, described);
    }
    if (has_flag(config, BuilderFlag_kREFIT) || plan.stripped) {
        plan.weights = network->weights;
        plan.weights_count = network->weights_count;
    }
    plan.device_memory = largest_bytes(&plan);
    char *text = plan_write(&plan);
    for (int i = 0; i < plan.tensor_count; i++) free(plan.tensors[i].ranges);
    free(plan.tensors), free(plan.layers), free(plan.capabilities);
    return text;
}

/* What timing layers needs, at most as much as is allowed. */
static size_t workspace(struct config *config) {
    size_t limit = config->pool_limit[MemoryPoolType_kWORKSPACE];
    size_t wanted = (size_t)1 << 20;
    return limit && limit < wanted ? limit : wanted;
}

void *IBuilder_buildSerializedNetwork(void *self, void *network_shell, void *config_shell) {
    struct builder *builder = self;
    struct network *network = implementation(network_shell, &class_INetworkDefinition);
    struct config *config = implementation(config_shell, &class_IBuilderConfig);
    FAIL_IF_PLANNED(NULL);
    if (!check(builder, network, config)) return NULL;
    /* Without a GPU nothing is timed. */
    size_t size = workspace(config);
    void *memory = gpu_capability() ? device_allocate_async(builder->allocator, size, NULL) : NULL;
    if (gpu_capability() && !memory) {
        fail(self, ErrorCode_kINTERNAL_ERROR, "IBuilder::buildSerializedNetwork", "OutOfMemory",
             "Requested size was %zu bytes.", size);
        return NULL;
    }
    say(self, ILogger_Severity_kVERBOSE, "Original: %d layers", network->layer_count);
    say(self, ILogger_Severity_kINFO, "Detected %d inputs and %d output network tensors.",
        network->input_count, network->output_count);
    void *plan = NULL;
    if (!calibrate(builder, network, config)) {
        /* calibrate has said why */
    } else if (!run_phases(network, config)) {
        fail(self, ErrorCode_kFAILED_EXECUTION, "IBuilder::buildSerializedNetwork", "BuildCanceled",
             "Build canceled by user In next at the stand-in");
    } else {
        char *text = write_plan(network, config);
        plan = host_memory_make(text, strlen(text));
        free(text);
        say(self, ILogger_Severity_kINFO, "Engine generation completed.");
    }
    device_free_async(builder->allocator, memory, NULL);
    return plan;
}
