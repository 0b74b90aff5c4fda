/* IBuilderConfig: keeps what is set, refuses what this version cannot mean. */
#include "builder.h"

static void refuse(void *self, const char *method, const char *why) {
    fail(self, ErrorCode_kINVALID_ARGUMENT, method, "API Usage Error",
         "Parameter check failed, condition: %s.", why);
}

/* Whether this version has a number of an enumeration, from the NAMES_ lists. */
#define KNOWN(number, name, since) \
    if (value == (number)) return TRT_VERSION >= (since);
static bool is_builder_flag(int32_t value) { NAMES_BuilderFlag(KNOWN) return false; }
static bool is_preview_feature(int32_t value) { NAMES_PreviewFeature(KNOWN) return false; }
#define BIT(number, name, since) | (TRT_VERSION >= (since) ? 1u << (number) : 0)
static const uint32_t ALL_TACTIC_SOURCES = 0 NAMES_TacticSource(BIT);

static void release_config(void *self) {
    struct config *config = self;
    for (int i = 0; i < config->plugin_count; i++) free(config->plugins[i]);
    free(config->plugins), free(config->profiles), free(config->capabilities);
}

struct config *config_make(struct object *builder) {
    struct config *config = object_make(sizeof *config, &class_IBuilderConfig, builder,
                                        release_config);
    config->flags = 1ull << BuilderFlag_kTF32;
    config->average_timing = 1;
    config->level = 3;
    config->aux_streams = -1;
    config->tactics = -1;
    config->l2_limit = -1;
    config->dla_core = -1;
    config->tactic_sources = ALL_TACTIC_SOURCES;
    config->pool_limit[MemoryPoolType_kWORKSPACE] = gpu_capability() ? (size_t)1 << 30 : 0;
    return config;
}

bool has_flag(const struct config *config, BuilderFlag flag) { return config->flags >> flag & 1; }

void IBuilderConfig_setFlag(void *self, BuilderFlag flag) {
    if (!is_builder_flag(flag))
        return refuse(self, "IBuilderConfig::setFlag", "builderFlag is of this version");
    ((struct config *)self)->flags |= 1ull << flag;
}

void IBuilderConfig_clearFlag(void *self, BuilderFlag flag) {
    if (!is_builder_flag(flag))
        return refuse(self, "IBuilderConfig::clearFlag", "builderFlag is of this version");
    ((struct config *)self)->flags &= ~(1ull << flag);
}

bool IBuilderConfig_getFlag(void *self, BuilderFlag flag) {
    return is_builder_flag(flag) && has_flag(self, flag);
}

void IBuilderConfig_setMemoryPoolLimit(void *self, MemoryPoolType pool, uint64_t size) {
    if (pool < 0 || pool > 5)
        return refuse(self, "IBuilderConfig::setMemoryPoolLimit", "pool is of this version");
    ((struct config *)self)->pool_limit[pool] = size;
}

uint64_t IBuilderConfig_getMemoryPoolLimit(void *self, MemoryPoolType pool) {
    return pool < 0 || pool > 5 ? 0 : ((struct config *)self)->pool_limit[pool];
}

/* 3 is the default everywhere; RTX has no level above 5 either. */
void IBuilderConfig_setBuilderOptimizationLevel(void *self, int32_t level) {
    if (level < 0 || level > 5)
        return refuse(self, "IBuilderConfig::setBuilderOptimizationLevel",
                      "0 <= level && level <= 5");
    ((struct config *)self)->level = level;
}

int32_t IBuilderConfig_getBuilderOptimizationLevel(void *self) {
    return ((struct config *)self)->level;
}

void IBuilderConfig_setAvgTimingIterations(void *self, int32_t count) {
    if (count < 1) return refuse(self, "IBuilderConfig::setAvgTimingIterations", "avgTiming >= 1");
    ((struct config *)self)->average_timing = count;
}

void IBuilderConfig_setEngineCapability(void *self, int32_t capability) {
    ((struct config *)self)->capability = capability;
}
void IBuilderConfig_setProfilingVerbosity(void *self, int32_t verbosity) {
    ((struct config *)self)->verbosity = verbosity;
}
void IBuilderConfig_setHardwareCompatibilityLevel(void *self, int32_t level) {
    ((struct config *)self)->hardware = level;
}
void IBuilderConfig_setRuntimePlatform(void *self, int32_t platform) {
    ((struct config *)self)->platform = platform;
}
void IBuilderConfig_setMaxNbTactics(void *self, int32_t count) {
    ((struct config *)self)->tactics = count;
}
void IBuilderConfig_setProgressMonitor(void *self, void *monitor) {
    ((struct config *)self)->monitor = callback(monitor, "IProgressMonitor");
}
void IBuilderConfig_setInt8Calibrator(void *self, void *calibrator) {
    ((struct config *)self)->calibrator = callback(calibrator, "IInt8Calibrator");
}
void IBuilderConfig_setDefaultDeviceType(void *self, int32_t type) {
    ((struct config *)self)->device_type = type;
}
void IBuilderConfig_setProfileStream(void *self, void *stream) { (void)self, (void)stream; }
void IBuilderConfig_setQuantizationFlag(void *self, int32_t flag) {
    ((struct config *)self)->quantization |= 1u << flag;
}

bool IBuilderConfig_setTilingOptimizationLevel(void *self, int32_t level) {
    FAIL_IF_PLANNED(false);
    ((struct config *)self)->tiling = level;
    return true;
}

bool IBuilderConfig_setL2LimitForTiling(void *self, int64_t size) {
    FAIL_IF_PLANNED(false);
    ((struct config *)self)->l2_limit = size;
    return size >= 0;
}

__typeof__(IBuilderConfig_setMaxAuxStreams(NULL, 0))
IBuilderConfig_setMaxAuxStreams(void *self, int32_t count) {
    ((struct config *)self)->aux_streams = count;
    return (__typeof__(IBuilderConfig_setMaxAuxStreams(NULL, 0)))1;
}

/* There is no DLA on the stand-in's GPU. */
void IBuilderConfig_setDLACore(void *self, int32_t core) {
    if (core >= 0)
        return refuse(self, "IBuilderConfig::setDLACore",
                      "dlaCore >= 0 && dlaCore < getNbDLACores()");
    ((struct config *)self)->dla_core = core;
}

bool IBuilderConfig_canRunOnDLA(void *self, void *layer) {
    (void)self;
    implementation(layer, &class_ILayer);
    return false;
}

int32_t IBuilderConfig_addOptimizationProfile(void *self, void *added) {
    FAIL_IF_PLANNED(-1);
    struct config *config = self;
    struct profile *profile = implementation(added, &class_IOptimizationProfile);
    if (!profile_is_valid(profile)) {
        refuse(self, "IBuilderConfig::addOptimizationProfile", "profile->isValid()");
        return -1;
    }
    APPEND(config->profiles, config->profile_count, profile);
    return config->profile_count - 1;
}

bool IBuilderConfig_setCalibrationProfile(void *self, void *profile) {
    FAIL_IF_PLANNED(false);
    struct profile *given = implementation(profile, &class_IOptimizationProfile);
    ((struct config *)self)->calibration_profile = given;
    return !given || profile_is_valid(given);
}

bool IBuilderConfig_setTacticSources(void *self, uint32_t sources) {
    FAIL_IF_PLANNED(false);
    if (sources & ~ALL_TACTIC_SOURCES) {
        refuse(self, "IBuilderConfig::setTacticSources", "tactic sources are of this version");
        return false;
    }
    ((struct config *)self)->tactic_sources = sources;
    return true;
}

uint32_t IBuilderConfig_getTacticSources(void *self) {
    return ((struct config *)self)->tactic_sources;
}

void IBuilderConfig_setPreviewFeature(void *self, PreviewFeature feature, bool on) {
    struct config *config = self;
    if (!is_preview_feature(feature))
        return refuse(self, "IBuilderConfig::setPreviewFeature", "feature is of this version");
    config->preview = on ? config->preview | 1u << feature : config->preview & ~(1u << feature);
}

void IBuilderConfig_setPluginsToSerialize(void *self, void *paths, int32_t count) {
    struct config *config = self;
    for (int i = 0; i < count; i++)
        APPEND(config->plugins, config->plugin_count, copy_text(((char **)paths)[i]));
}

bool IBuilderConfig_setNbComputeCapabilities(void *self, int32_t count) {
    FAIL_IF_PLANNED(false);
    struct config *config = self;
    if (count < 0 || count > 32) return false;
    free(config->capabilities);
    config->capabilities = calloc((size_t)count + 1, sizeof *config->capabilities);
    config->capability_count = count;
    return true;
}

bool IBuilderConfig_setComputeCapability(void *self, int32_t capability, int32_t index) {
    FAIL_IF_PLANNED(false);
    struct config *config = self;
    enum { CURRENT = 1 };
    if (index < 0 || index >= config->capability_count ||
        (capability != CURRENT && !is_supported(capability))) {
        refuse(self, "IBuilderConfig::setComputeCapability",
               "computeCapability is supported && index < getNbComputeCapabilities()");
        return false;
    }
    config->capabilities[index] = capability;
    return true;
}
