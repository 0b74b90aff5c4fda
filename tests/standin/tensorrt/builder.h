/* What the builder's files share. */
#ifndef STANDIN_BUILDER_H
#define STANDIN_BUILDER_H
#include "network.h"

/* The shapes of one input in a profile, or, of a shape input, its values. */
struct range {
    char *name;
    struct shape shape[3]; /* by OptProfileSelector */
    bool has_shape[3];
    int64_t values[3][8];
    int value_count;
    bool has_values[3];
};

struct profile {
    struct object object;
    struct range *ranges;
    int range_count;
};

struct timing_cache {
    struct object object;
    char *made_by; /* library and GPU */
    uint64_t *entries;
    int entry_count;
};

struct config {
    struct object object;
    uint64_t flags;
    struct profile **profiles;
    int profile_count;
    size_t pool_limit[8];
    int32_t average_timing, capability, dla_core, device_type, verbosity, level, hardware, platform;
    int32_t aux_streams, tactics, tiling;
    int64_t l2_limit;
    uint32_t tactic_sources, preview, quantization;
    char **plugins;
    int plugin_count;
    int32_t *capabilities; /* RTX: which GPUs to build for */
    int capability_count;
    struct timing_cache *timing;
    struct profile *calibration_profile;
    void *calibrator, *monitor;
};

struct builder {
    struct object object;
    void *allocator;
};

struct config *config_make(struct object *builder);
bool has_flag(const struct config *config, BuilderFlag flag);
struct profile *profile_make(struct object *builder);
/* The entry of an input, or null. */
struct range *profile_range(const struct profile *profile, const char *name);
bool profile_is_valid(const struct profile *profile);
void *host_memory_make(const void *bytes, size_t size);

/* What engines and timing caches depend on besides the version: the GPU's compute capability times
 * ten, 0 without a GPU. STANDIN_TENSORRT_GPU is one, such as 8.9, or none; without it a CUDA driver
 * that the process has loaded is asked. */
int gpu_capability(void);
/* Whether engines can be built for and run on such a GPU. */
bool is_supported(int capability);
/* Library and GPU. */
char *target_text(void);

/* calibrate.c: false where it failed, which it reports. */
bool calibrate(struct builder *builder, struct network *network, struct config *config);

/* memory.c: from the caller's allocator, or from the stand-in's own; null of no memory. In the order
 * of a stream where the generation's allocator can. */
void *device_allocate(void *allocator, size_t size);
void device_free(void *allocator, void *memory);
void *device_allocate_async(void *allocator, size_t size, void *stream);
void device_free_async(void *allocator, void *memory, void *stream);

#endif
