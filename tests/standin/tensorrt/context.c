/* IExecutionContext: its profile, the shapes and addresses of its tensors. */
#include "context.h"

void *scratch_allocator(const struct context *context) {
    return context->temporary_allocator ? context->temporary_allocator : context->engine->allocator;
}

static void release_context(void *self) {
    struct context *context = self;
    context_gone(context);
    device_free_async(context->engine->allocator, context->memory, NULL);
    device_free_async(scratch_allocator(context), context->scratch, NULL);
    free(context->bindings);
}

void *context_make(struct engine *engine, bool lent) {
    const struct plan *plan = &engine->plan;
    if (!is_complete(engine)) {
        fail(
            engine, ErrorCode_kINVALID_CONFIG, "ICudaEngine::createExecutionContext",
            "API Usage Error",
            "The engine has no weights: it was built with kSTRIP_PLAN and must be refitted first.");
        return NULL;
    }
    size_t size = plan->device_memory > 256 ? (size_t)plan->device_memory : 256;
    void *memory = lent ? NULL : device_allocate_async(engine->allocator, size, NULL);
    if (!memory && !lent) {
        fail(engine, ErrorCode_kINTERNAL_ERROR, "ICudaEngine::createExecutionContext",
             "OutOfMemory", "Requested size was %zu bytes.", size);
        return NULL;
    }
    struct context *context = object_make(sizeof *context, &class_IExecutionContext,
                                          &engine->object, release_context);
    context->engine = engine;
    context->memory = memory;
    context->bindings = calloc((size_t)plan->tensor_count + 1, sizeof *context->bindings);
    for (int i = 0; i < plan->tensor_count; i++)
        context->bindings[i].shape = plan->tensors[i].shape;
    return shell(context);
}

void IExecutionContext_setErrorRecorder(void *self, void *recorder) {
    set_error_recorder(self, recorder);
}

#if !defined V8_6
void IExecutionContext_setDeviceMemoryV2(void *self, void *memory, int64_t size) {
    struct context *context = self;
    if (size < context->engine->plan.device_memory)
        die("%lld bytes are too few: the engine needs %lld", (long long)size,
            (long long)context->engine->plan.device_memory);
    IExecutionContext_setDeviceMemory(self, memory);
}
#endif
void IExecutionContext_setDeviceMemory(void *self, void *memory) {
    struct context *context = self;
    if (context->memory) die("a context with memory of its own was lent other");
    if ((uintptr_t)memory % 256) die("the memory lent to a context is not aligned to 256 bytes");
    context->lent = memory;
    context->changes++;
}

int32_t IExecutionContext_getOptimizationProfile(void *self) {
    return ((struct context *)self)->profile;
}

bool IExecutionContext_setTemporaryStorageAllocator(void *self, void *allocator) {
    FAIL_IF_PLANNED(false);
    if (((struct context *)self)->scratch) die("the temporary allocator changed while in use");
    ((struct context *)self)->temporary_allocator = callback(allocator, "IGpuAllocator");
    return true;
}

bool IExecutionContext_setOptimizationProfileAsync(void *self, int32_t profile, void *stream) {
    FAIL_IF_PLANNED(false);
    (void)stream;
    struct context *context = self;
    struct plan *plan = &context->engine->plan;
    if (profile < 0 || profile >= plan->profile_count) {
        fail(self, ErrorCode_kINVALID_ARGUMENT, "IExecutionContext::setOptimizationProfileAsync",
             "API Usage Error",
             "Parameter check failed, condition: profileIndex >= 0 && profileIndex < "
             "getNbOptimizationProfiles().");
        return false;
    }
    context->profile = profile;
    context->changes++;
    /* Shapes of inputs are those of no profile now. */
    for (int i = 0; i < plan->tensor_count; i++)
        context->bindings[i].shape = plan->tensors[i].shape;
    return true;
}

/* The index of a tensor, -1 of none, which is an error. */
static int find(struct context *context, const char *name, const char *method) {
    struct plan_tensor *tensor = plan_tensor(&context->engine->plan, name);
    if (tensor) return (int)(tensor - context->engine->plan.tensors);
    fail(context, ErrorCode_kINVALID_ARGUMENT, method, "Internal Error",
         "Given invalid tensor name: %s. Get valid tensor names with getIOTensorName()", name);
    return -1;
}

bool IExecutionContext_setInputShape(void *self, void *name, void *dims) {
    FAIL_IF_PLANNED(false);
    struct context *context = self;
    int index = find(context, name, "IExecutionContext::setInputShape");
    if (index < 0) return false;
    struct plan_tensor *tensor = &context->engine->plan.tensors[index];
    struct shape shape = from_dims(dims);
    struct range *range = tensor->ranges ? &tensor->ranges[context->profile] : NULL;
    bool ranged = range && range->has_shape[0];
    const struct shape *least = ranged ? &range->shape[0] : &tensor->shape,
                       *most = ranged ? &range->shape[2] : &tensor->shape;
    bool fits = tensor->input && shape.rank == tensor->shape.rank;
    for (int axis = 0; fits && axis < shape.rank; axis++)
        fits = shape.d[axis] >= least->d[axis] && shape.d[axis] <= most->d[axis];
    if (!fits) {
        fail(self, ErrorCode_kINVALID_ARGUMENT, "IExecutionContext::setInputShape",
             "API Usage Error",
             "Parameter check failed, condition: engineDims.d[i] == dims.d[i]. Static dimension "
             "mismatch or out of the range of profile %d while setting input shape for %s: got %s, "
             "profile has %s to %s.",
             context->profile, (char *)name, shape_text(&shape), shape_text(least),
             shape_text(most));
        return false;
    }
    context->bindings[index].shape = shape;
    context->changes++;
    return true;
}

/* The values of an input that holds a shape, which are in host memory. */
static bool held_values(const struct context *context, int index, int64_t *values) {
    const struct plan_tensor *tensor = &context->engine->plan.tensors[index];
    const void *held = context->bindings[index].address;
    int64_t count = volume(&tensor->shape);
    if (!tensor->input || !tensor->holds_shape || !held || count > 8) return false;
    for (int i = 0; i < count; i++)
        values[i] = element_bits(tensor->type) == 64 ? ((const int64_t *)held)[i]
                                                     : ((const int32_t *)held)[i];
    return true;
}

bool check_values(struct context *context, const char *method) {
    const struct plan *plan = &context->engine->plan;
    int64_t values[8];
    for (int i = 0; i < plan->tensor_count; i++) {
        if (!held_values(context, i, values)) continue;
        const struct range *range = &plan->tensors[i].ranges[context->profile];
        for (int v = 0; v < range->value_count; v++) {
            if (values[v] >= range->values[0][v] && values[v] <= range->values[2][v]) continue;
            fail(
                context, ErrorCode_kINVALID_ARGUMENT, method, "API Usage Error",
                "Parameter check failed, condition: shape tensor %s has value %lld at %d, which is "
                "not in [%lld, %lld] of profile %d.",
                plan->tensors[i].name, (long long)values[v], v, (long long)range->values[0][v],
                (long long)range->values[2][v], context->profile);
            return false;
        }
    }
    return true;
}

/* The values of an input that holds a shape of this rank. */
static bool held_shape(const struct context *context, int rank, int64_t *extents) {
    const struct plan *plan = &context->engine->plan;
    for (int i = 0; i < plan->tensor_count; i++)
        if (volume(&plan->tensors[i].shape) == rank && held_values(context, i, extents))
            return true;
    return false;
}

struct shape shape_of(const struct context *context, int index) {
    const struct plan *plan = &context->engine->plan;
    struct shape *inputs = calloc((size_t)plan->tensor_count + 1, sizeof *inputs);
    for (int i = 0; i < plan->tensor_count; i++) inputs[i] = context->bindings[i].shape;
    struct shape shape = plan_shape(plan, &plan->tensors[index], inputs);
    int64_t held[8];
    for (int axis = 0; !plan->tensors[index].input && axis < shape.rank; axis++)
        if (shape.d[axis] < 0 && held_shape(context, shape.rank, held)) shape.d[axis] = held[axis];
    free(inputs);
    return shape;
}

Dims IExecutionContext_getTensorShape(void *self, void *name) {
    int index = find(self, name, "IExecutionContext::getTensorShape");
    if (index < 0) return (Dims){.nbDims = -1};
    struct shape shape = shape_of(self, index);
    return to_dims(&shape);
}

bool IExecutionContext_setTensorAddress(void *self, void *name, void *address) {
    FAIL_IF_PLANNED(false);
    struct context *context = self;
    int index = find(context, name, "IExecutionContext::setTensorAddress");
    if (index < 0) return false;
    if ((uintptr_t)address % 256 && !context->engine->plan.tensors[index].holds_shape)
        die("the address of %s is not aligned to 256 bytes", (char *)name);
    context->bindings[index].address = address;
    context->changes++;
    return true;
}

bool IExecutionContext_setOutputAllocator(void *self, void *name, void *allocator) {
    FAIL_IF_PLANNED(false);
    struct context *context = self;
    int index = find(context, name, "IExecutionContext::setOutputAllocator");
    if (index < 0 || context->engine->plan.tensors[index].input) return false;
    context->bindings[index].output_allocator = callback(allocator, "IOutputAllocator");
    return true;
}

struct shape largest_shape(const struct context *context, int index) {
    struct shape shape = shape_of(context, index);
    if (!is_open(&shape)) return shape;
    const struct plan *plan = &context->engine->plan;
    int64_t elements = 1;
    for (int i = 0; i < plan->tensor_count; i++)
        if (plan->tensors[i].input)
            elements *= is_open(&context->bindings[i].shape) ? -1
                                                             : volume(&context->bindings[i].shape);
    if (elements < 0) return shape;
    for (int axis = 0; axis < shape.rank; axis++)
        if (shape.d[axis] < 0) shape.d[axis] = elements;
    return shape;
}

int64_t IExecutionContext_getMaxOutputSize(void *self, void *name) {
    int index = find(self, name, "IExecutionContext::getMaxOutputSize");
    if (index < 0) return -1;
    struct shape shape = largest_shape(self, index);
    if (is_open(&shape)) return -1; /* an input has no shape yet */
    return (int64_t)byte_size(((struct context *)self)->engine->plan.tensors[index].type,
                              volume(&shape));
}

/* The names of inputs whose shape, or of shape inputs whose address, is missing. */
int32_t IExecutionContext_inferShapes(void *self, int32_t room, void *names) {
    FAIL_IF_PLANNED(-1);
    struct context *context = self;
    struct plan *plan = &context->engine->plan;
    int missing = 0;
    for (int i = 0; i < plan->tensor_count; i++) {
        bool lacks = is_open(&context->bindings[i].shape) ||
                     (plan->tensors[i].holds_shape && !context->bindings[i].address);
        if (!plan->tensors[i].input || !lacks) continue;
        if (missing < room && names) ((const char **)names)[missing] = plan->tensors[i].name;
        missing++;
    }
    if (!missing && !check_values(context, "IExecutionContext::inferShapes")) return -1;
    return missing;
}
