/* IRuntime: whether an engine runs here, and making it. */
#include "engine.h"

void IRuntime_setGpuAllocator(void *self, void *allocator) {
    ((struct runtime *)self)->allocator = callback(allocator, "IGpuAllocator");
}
void IRuntime_setErrorRecorder(void *self, void *recorder) { set_error_recorder(self, recorder); }
void IRuntime_setEngineHostCodeAllowed(void *self, bool allowed) {
    ((struct runtime *)self)->host_code = allowed;
}
void IRuntime_setDLACore(void *self, int32_t core) { (void)self, (void)core; }
int32_t IRuntime_getNbDLACores(void *self) {
    (void)self;
    return 0;
}
void *IRuntime_getLogger(void *self) { return ((struct object *)self)->logger; }

static bool runs_on(const struct plan *plan, int gpu) {
    for (int i = 0; i < plan->capability_count; i++)
        if (plan->capabilities[i] == gpu) return true;
    return plan->at_least && gpu >= plan->at_least;
}

static bool version_fits(const struct plan *plan, const struct runtime *runtime) {
    if (plan->version == TRT_VERSION) return true;
    bool compatible = plan->flags >> BuilderFlag_kVERSION_COMPATIBLE & 1;
    return compatible && runtime->host_code && plan->version / 10000 <= TRT_VERSION / 10000;
}

static const char METHOD[] = "IRuntime::deserializeCudaEngine";

static bool no_engine(struct runtime *runtime, const char *why) {
    fail(runtime, ErrorCode_kUNSPECIFIED_ERROR, METHOD, "Serialization",
         "Serialization assertion %s", why);
    return false;
}

static char *version_text(int version) {
    return format_text("%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}

/* Another minor version, or another major one, whose serialization differs. */
static bool other_version(struct runtime *runtime, const struct plan *plan) {
    if (plan->version / 10000 != TRT_VERSION / 10000) {
        fail(runtime, ErrorCode_kUNSPECIFIED_ERROR, METHOD, "Serialization",
             "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag "
             "does not match. Note: Current Version: %d, Serialized Engine Version: %d",
             TRT_VERSION, plan->version);
        return false;
    }
    char *here = version_text(TRT_VERSION), *there = version_text(plan->version);
    fail(runtime, ErrorCode_kFAILED_INITIALIZATION, METHOD, "API Usage Error",
         "The engine plan file is not compatible with this version of TensorRT, expecting library "
         "version %s got %s, please rebuild.",
         here, there);
    free(here), free(there);
    return false;
}

/* Whether an engine runs here; says why not, as TensorRT does. */
static bool check(struct runtime *runtime, const struct plan *plan, enum plan_fault fault) {
    int gpu = gpu_capability();
    if (fault == PLAN_TRUNCATED)
        return no_engine(runtime, "sizeRead == static_cast<uint64_t>(mEnd - mCurrent) failed.Size "
                                  "specified in header does not match archive size");
    if (fault == PLAN_DAMAGED)
        return no_engine(runtime, "storedCrc == computedCrc failed.Checksum does not match");
    if (fault == PLAN_NO_MAGIC || strcmp(plan->flavor, FLAVOR))
        return no_engine(runtime,
                         "header.magicTag == rt::kMAGIC_TAG failed.Magic tag does not match");
    if (!version_fits(plan, runtime)) return other_version(runtime, plan);
    if (!gpu) {
        fail(runtime, ErrorCode_kUNSPECIFIED_ERROR, METHOD, "Cuda Runtime",
             "In ScopedCudaStream at the stand-in (cudaError 35: CUDA driver version is "
             "insufficient for CUDA runtime version)");
        return false;
    }
    if (!runs_on(plan, gpu)) {
        fail(runtime, ErrorCode_kFAILED_INITIALIZATION, METHOD, "API Usage Error",
             "The engine plan file is generated on an incompatible device, expecting compute %d.%d "
             "got compute %d.%d, please rebuild.",
             gpu / 10, gpu % 10, plan->capabilities[0] / 10, plan->capabilities[0] % 10);
        return false;
    }
    return true;
}

static void *deserialize(struct runtime *runtime, const void *bytes, size_t size) {
    struct plan plan;
    enum plan_fault fault = plan_read(&plan, bytes, size);
    if (!check(runtime, &plan, fault)) {
        plan_free(&plan);
        return NULL;
    }
    say(runtime, ILogger_Severity_kINFO, "Loaded engine size: %zu MiB", size >> 20);
    return shell(engine_make(runtime, &plan));
}

#ifdef V8_6
void *IRuntime_deserializeCudaEngine(void *self, void *bytes, uint64_t size, void *factory) {
    FAIL_IF_PLANNED(NULL);
    if (factory) die("the third argument of IRuntime::deserializeCudaEngine is not null");
    return deserialize(self, bytes, size);
}
#else
void *IRuntime_deserializeCudaEngine(void *self, void *bytes, uint64_t size) {
    FAIL_IF_PLANNED(NULL);
    return deserialize(self, bytes, size);
}
#endif

#if IS_RTX
EngineValidity IRuntime_getEngineValidity(void *self, void *bytes, int64_t size,
                                          void *diagnostics) {
    FAIL_IF_PLANNED(EngineValidity_kINVALID);
    struct plan plan;
    enum plan_fault fault = plan_read(&plan, bytes, (size_t)size);
    int gpu = gpu_capability();
    uint64_t found = 0;
    if (fault != PLAN_FINE || strcmp(plan.flavor, FLAVOR))
        found |= EngineInvalidityDiagnostics_kMALFORMED_ENGINE;
    else {
        if (!version_fits(&plan, self)) found |= EngineInvalidityDiagnostics_kVERSION_MISMATCH;
        if (gpu && !runs_on(&plan, gpu)) found |= EngineInvalidityDiagnostics_kUNSUPPORTED_CC;
    }
    if (!gpu)
        say(self, ILogger_Severity_kINTERNAL_ERROR,
            "Error reading CUDA GPU properties: In getCurrentCC at the stand-in (cudaError 35: "
            "CUDA driver version is insufficient for CUDA runtime version) Ensure that the GPU "
            "driver is installed and up to date.");
    *(uint64_t *)diagnostics = found;
    plan_free(&plan);
    return found || !gpu ? EngineValidity_kINVALID : EngineValidity_kVALID;
}
#endif
