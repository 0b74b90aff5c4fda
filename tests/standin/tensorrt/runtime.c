/* IRuntime: whether an engine runs here, and making it. */
#include "engine.h"

#define METHOD "IRuntime::deserializeCudaEngine"

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

/* Says why an engine does not run here, as TensorRT does; false where it does not. */
static bool check(struct runtime *runtime, const struct plan *plan, enum plan_fault fault) {
    int gpu = gpu_capability();
    if (fault == PLAN_NO_MAGIC)
        fail(runtime, ErrorCode_kUNSPECIFIED_ERROR,
             METHOD ": Error Code 1: Serialization (Serialization assertion header.magicTag == "
                    "rt::kMAGIC_TAG failed.Magic tag does not match)");
    else if (fault == PLAN_TRUNCATED)
        fail(runtime, ErrorCode_kUNSPECIFIED_ERROR,
             METHOD ": Error Code 1: Serialization (Serialization assertion sizeRead == "
                    "static_cast<uint64_t>(mEnd - mCurrent) failed.Size specified in header does "
                    "not match archive size)");
    else if (fault == PLAN_DAMAGED)
        fail(runtime, ErrorCode_kUNSPECIFIED_ERROR,
             METHOD ": Error Code 1: Serialization (Serialization assertion storedCrc == "
                    "computedCrc failed.Checksum does not match)");
    else if (strcmp(plan->flavor, FLAVOR))
        fail(runtime, ErrorCode_kUNSPECIFIED_ERROR,
             METHOD ": Error Code 1: Serialization (Serialization assertion safeVersionRead == "
                    "kSAFE_SERIALIZATION_VERSION failed.Version tag does not match. Note: Current "
                    "Version: 0, Serialized Engine Version: 1)");
    else if (!version_fits(plan, runtime))
        fail(runtime, ErrorCode_kUNSPECIFIED_ERROR,
             METHOD ": Error Code 1: Serialization (Serialization assertion stdVersionRead == "
                    "kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current "
                    "Version: %d, Serialized Engine Version: %d)",
             TRT_VERSION, plan->version);
    else if (!gpu)
        fail(runtime, ErrorCode_kUNSPECIFIED_ERROR,
             METHOD ": Error Code 1: Cuda Runtime (In ScopedCudaStream at the stand-in (cudaError "
                    "35: CUDA driver version is insufficient for CUDA runtime version))");
    else if (!runs_on(plan, gpu))
        fail(runtime, ErrorCode_kINVALID_CONFIG,
             METHOD
             ": Error Code 6: API Usage Error (The engine plan file is generated on an "
             "incompatible device, expecting compute %d.%d got compute %d.%d, please rebuild.)",
             gpu / 10, gpu % 10, plan->capabilities[0] / 10, plan->capabilities[0] % 10);
    else return true;
    return false;
}

static void *deserialize(struct runtime *runtime, const void *bytes, size_t size) {
    struct plan plan;
    enum plan_fault fault = plan_read(&plan, bytes, size);
    if (fault != PLAN_FINE || !check(runtime, &plan, PLAN_FINE)) {
        if (fault != PLAN_FINE) check(runtime, &plan, fault);
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
