/* ICudaEngine and IEngineInspector. */
#include "engine.h"

static void release_engine(void *self) {
    struct engine *engine = self;
    device_free(engine->allocator, engine->weights);
    free(engine->refitted);
    plan_free(&engine->plan);
}

struct engine *engine_make(struct runtime *runtime, const struct plan *plan) {
    size_t bytes = (size_t)1 << 16; /* of weights */
    for (int i = 0; i < plan->weights_count; i++) bytes += (size_t)plan->weights[i].bytes;
    void *weights = device_allocate(runtime->allocator, bytes);
    if (!weights) {
        fail(runtime, ErrorCode_kINTERNAL_ERROR, "IRuntime::deserializeCudaEngine", "OutOfMemory",
             "Requested size was %zu bytes.", bytes);
        struct plan copy = *plan;
        plan_free(&copy);
        return NULL;
    }
    struct engine *engine = object_make(sizeof *engine, &class_ICudaEngine, &runtime->object,
                                        release_engine);
    engine->plan = *plan;
    engine->allocator = runtime->allocator;
    engine->weights = weights;
    engine->refitted = calloc((size_t)plan->weights_count + 1, sizeof *engine->refitted);
    return engine;
}

bool is_complete(const struct engine *engine) {
    for (int i = 0; engine->plan.stripped && i < engine->plan.weights_count; i++)
        if (!engine->refitted[i]) return false;
    return true;
}

static struct plan_tensor *tensor_of(void *self, const char *name, const char *method) {
    struct plan_tensor *tensor = plan_tensor(&((struct engine *)self)->plan, name);
    if (!tensor)
        fail(self, ErrorCode_kINVALID_ARGUMENT, method, "Internal Error",
             "Given invalid tensor name: %s. Get valid tensor names with getIOTensorName()", name);
    return tensor;
}

int32_t ICudaEngine_getNbLayers(void *self) { return ((struct engine *)self)->plan.layer_count; }
bool ICudaEngine_isRefittable(void *self) {
    return ((struct engine *)self)->plan.weights_count > 0;
}
void *ICudaEngine_getName(void *self) { return ((struct engine *)self)->plan.name; }
int32_t ICudaEngine_getNbOptimizationProfiles(void *self) {
    return ((struct engine *)self)->plan.profile_count;
}
int32_t ICudaEngine_getNbIOTensors(void *self) {
    return ((struct engine *)self)->plan.tensor_count;
}
int32_t ICudaEngine_getHardwareCompatibilityLevel(void *self) {
    return ((struct engine *)self)->plan.hardware;
}
int32_t ICudaEngine_getNbAuxStreams(void *self) {
    return ((struct engine *)self)->plan.aux_streams;
}
uint64_t ICudaEngine_getDeviceMemorySize(void *self) {
    return (uint64_t)((struct engine *)self)->plan.device_memory;
}
int64_t ICudaEngine_getDeviceMemorySizeV2(void *self) {
    return ((struct engine *)self)->plan.device_memory;
}
void ICudaEngine_setErrorRecorder(void *self, void *recorder) {
    set_error_recorder(self, recorder);
}

void *ICudaEngine_getIOTensorName(void *self, int32_t index) {
    struct plan *plan = &((struct engine *)self)->plan;
    return index >= 0 && index < plan->tensor_count ? plan->tensors[index].name : NULL;
}

Dims ICudaEngine_getTensorShape(void *self, void *name) {
    struct plan_tensor *tensor = tensor_of(self, name, "ICudaEngine::getTensorShape");
    return tensor ? to_dims(&tensor->shape) : (Dims){.nbDims = -1};
}

DataType ICudaEngine_getTensorDataType(void *self, void *name) {
    struct plan_tensor *tensor = tensor_of(self, name, "ICudaEngine::getTensorDataType");
    return tensor ? tensor->type : DataType_kFLOAT;
}

TensorLocation ICudaEngine_getTensorLocation(void *self, void *name) {
    struct plan_tensor *tensor = tensor_of(self, name, "ICudaEngine::getTensorLocation");
    return tensor && tensor->holds_shape ? TensorLocation_kHOST : TensorLocation_kDEVICE;
}

bool ICudaEngine_isShapeInferenceIO(void *self, void *name) {
    struct plan_tensor *tensor = tensor_of(self, name, "ICudaEngine::isShapeInferenceIO");
    return tensor && tensor->holds_shape;
}

TensorIOMode ICudaEngine_getTensorIOMode(void *self, void *name) {
    struct plan_tensor *tensor = plan_tensor(&((struct engine *)self)->plan, name);
    return !tensor         ? TensorIOMode_kNONE
           : tensor->input ? TensorIOMode_kINPUT
                           : TensorIOMode_kOUTPUT;
}

TensorFormat ICudaEngine_getTensorFormat(void *self, void *name) {
    tensor_of(self, name, "ICudaEngine::getTensorFormat");
    return TensorFormat_kLINEAR;
}

void *ICudaEngine_getTensorFormatDesc(void *self, void *name) {
    return tensor_of(self, name, "ICudaEngine::getTensorFormatDesc")
               ? "Row major linear FP32 format (kLINEAR)"
               : "";
}

static struct range *range_of(void *self, const char *name, int32_t profile, int32_t selector,
                              const char *method) {
    struct plan_tensor *tensor = tensor_of(self, name, method);
    struct plan *plan = &((struct engine *)self)->plan;
    if (!tensor || !tensor->input || profile < 0 || profile >= plan->profile_count ||
        selector < 0 || selector > 2)
        return NULL;
    return &tensor->ranges[profile];
}

Dims ICudaEngine_getProfileShape(void *self, void *name, int32_t profile, int32_t selector) {
    struct range *range = range_of(self, name, profile, selector, "ICudaEngine::getProfileShape");
    if (!range) return (Dims){.nbDims = -1};
    return to_dims(range->has_shape[selector]
                       ? &range->shape[selector]
                       : &tensor_of(self, name, "ICudaEngine::getProfileShape")->shape);
}

void *ICudaEngine_getProfileTensorValuesV2(void *self, void *name, int32_t profile,
                                           int32_t selector) {
    struct range *range = range_of(self, name, profile, selector,
                                   "ICudaEngine::getProfileTensorValuesV2");
    return range && range->has_values[selector] ? range->values[selector] : NULL;
}

/* The same values as 32-bit numbers, which stay where they are until the next call of the thread. */
void *ICudaEngine_getProfileTensorValues(void *self, void *name, int32_t profile,
                                         int32_t selector) {
    static _Thread_local int32_t narrow[8];
    int64_t *wide = ICudaEngine_getProfileTensorValuesV2(self, name, profile, selector);
    for (int i = 0; wide && i < 8; i++) narrow[i] = (int32_t)wide[i];
    return wide ? narrow : NULL;
}

#ifdef V8_6
/* As the others, by the numbers of profile and tensor. */
void *ICudaEngine_getProfileShapeValues(void *self, int32_t profile, int32_t tensor,
                                        int32_t selector) {
    char *name = ICudaEngine_getIOTensorName(self, tensor);
    return name ? ICudaEngine_getProfileTensorValues(self, name, profile, selector) : NULL;
}
#endif

#ifdef V8_6
void *ICudaEngine_createExecutionContextWithoutDeviceMemory(void *self) {
    FAIL_IF_PLANNED(NULL);
    return context_make(self, true);
}

void *ICudaEngine_createExecutionContext(void *self) {
    FAIL_IF_PLANNED(NULL);
    return context_make(self, false);
}
#else
void *ICudaEngine_createExecutionContext(void *self, int32_t strategy) {
    enum { STATIC, USER_MANAGED = 2 };
    if (strategy != STATIC && strategy != USER_MANAGED)
        die("ICudaEngine::createExecutionContext: strategy %d is not implemented", strategy);
    FAIL_IF_PLANNED(NULL);
    return context_make(self, strategy == USER_MANAGED);
}
#endif

/* ---- IEngineInspector: what it returned is valid until it is deleted */

struct inspector {
    struct object object;
    char **texts;
    int text_count;
};

static void release_inspector(void *self) {
    struct inspector *inspector = self;
    for (int i = 0; i < inspector->text_count; i++) free(inspector->texts[i]);
    free(inspector->texts);
}

void *ICudaEngine_createEngineInspector(void *self) {
    FAIL_IF_PLANNED(NULL);
    return shell(
        object_make(sizeof(struct inspector), &class_IEngineInspector, self, release_inspector));
}

void IEngineInspector_setErrorRecorder(void *self, void *recorder) {
    set_error_recorder(self, recorder);
}

static char *keep(struct inspector *inspector, char *text) {
    APPEND(inspector->texts, inspector->text_count, text);
    return text;
}

/* As TensorRT: a name with LAYER_NAMES_ONLY, an object with DETAILED. */
static char *layer_text(const struct plan *plan, int index, LayerInformationFormat format) {
    struct plan_layer *layer = &plan->layers[index];
    if (plan->verbosity == ProfilingVerbosity_kNONE)
        return copy_text(format == LayerInformationFormat_kJSON ? "{}" : "");
    if (format != LayerInformationFormat_kJSON) return copy_text(layer->name);
    if (plan->verbosity != ProfilingVerbosity_kDETAILED) return format_text("\"%s\"", layer->name);
    return format_text("{\"Name\": \"%s\", \"LayerType\": \"%s\", \"Inputs\": [], \"Outputs\": [], "
                       "\"TacticValue\": \"0x0000000000000000\"}",
                       layer->name, layer->operator);
}

void *IEngineInspector_getLayerInformation(void *self, int32_t index,
                                           LayerInformationFormat format) {
    FAIL_IF_PLANNED(NULL);
    struct inspector *inspector = self;
    struct plan *plan = &((struct engine *)inspector->object.parent)->plan;
    if (index < 0 || index >= plan->layer_count) {
        fail(self, ErrorCode_kINVALID_ARGUMENT, "IEngineInspector::getLayerInformation",
             "API Usage Error", "Parameter check failed, condition: layerIndex < getNbLayers().");
        return NULL;
    }
    return keep(inspector, layer_text(plan, index, format));
}

void *IEngineInspector_getEngineInformation(void *self, LayerInformationFormat format) {
    FAIL_IF_PLANNED(NULL);
    struct inspector *inspector = self;
    struct plan *plan = &((struct engine *)inspector->object.parent)->plan;
    bool json = format == LayerInformationFormat_kJSON;
    char *text = copy_text(json ? "{\"Layers\": [" : "Layers:\n");
    for (int i = 0; i < plan->layer_count; i++) {
        char *layer = layer_text(plan, i, format);
        char *more = format_text("%s%s%s%s", text, json && i ? ", " : "", layer, json ? "" : "\n");
        free(text), free(layer), text = more;
    }
    for (int i = 0; json && i < plan->tensor_count; i++) {
        char *more = format_text("%s%s\"%s\"", text, i ? ", " : "], \"Bindings\": [",
                                 plan->tensors[i].name);
        free(text), text = more;
    }
    if (json) {
        char *more = format_text("%s]}", text);
        free(text), text = more;
    }
    return keep(inspector, text);
}
