/* IBuilder: makes the parts of a build. */
#include "builder.h"

static void need_known_flags(void *self, uint32_t flags) {
#define FLAG(number, name, since) | (TRT_VERSION >= (since) ? 1u << (number) : 0)
    uint32_t known = 0 NAMES_NetworkDefinitionCreationFlag(FLAG);
    if (flags & ~known)
        say(self, ILogger_Severity_kWARNING, "createNetworkV2: flags %#x are not of this version",
            flags & ~known);
}

void *IBuilder_createNetworkV2(void *self, uint32_t flags) {
    FAIL_IF_PLANNED(NULL);
    need_known_flags(self, flags);
    return shell(network_make(self, flags));
}

void *IBuilder_createBuilderConfig(void *self) {
    FAIL_IF_PLANNED(NULL);
    return shell(config_make(self));
}

void *IBuilder_createOptimizationProfile(void *self) {
    FAIL_IF_PLANNED(NULL);
    return shell(profile_make(self));
}

bool IBuilder_platformHasFastFp16(void *self) {
    (void)self;
    return true;
}
bool IBuilder_platformHasFastInt8(void *self) {
    (void)self;
    return true;
}
int32_t IBuilder_getNbDLACores(void *self) {
    (void)self;
    return 0;
}
int32_t IBuilder_getMaxDLABatchSize(void *self) {
    (void)self;
    return 0;
}
void IBuilder_setGpuAllocator(void *self, void *allocator) {
    ((struct builder *)self)->allocator = callback(allocator, "IGpuAllocator");
}
void IBuilder_setErrorRecorder(void *self, void *recorder) { set_error_recorder(self, recorder); }
bool IBuilder_setMaxThreads(void *self, int32_t count) {
    (void)self;
    return count > 0;
}
void *IBuilder_getLogger(void *self) { return ((struct object *)self)->logger; }
