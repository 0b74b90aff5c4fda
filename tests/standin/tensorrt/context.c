/* IExecutionContext. It computes nothing: output i is the bytes of input i, repeated to fill it. */
#include "engine.h"
#include <dlfcn.h>

struct binding {
    struct shape shape; /* of an input, -1 where not said yet */
    void *address, *output_allocator;
};

struct context {
    struct object object;
    struct engine *engine;
    void *memory, *temporary_allocator;
    struct binding *bindings;
    int profile;
    atomic_flag running;
};

static void release_context(void *self) {
    struct context *context = self;
    device_free_async(context->engine->allocator, context->memory, NULL);
    free(context->bindings);
}

void *context_make(struct engine *engine) {
    const struct plan *plan = &engine->plan;
    if (!is_complete(engine)) {
        fail(engine, ErrorCode_kINVALID_STATE,
             "ICudaEngine::createExecutionContext: Error Code 4: API Usage Error (The engine has "
             "no weights: it was built with kSTRIP_PLAN and must be refitted first.)");
        return NULL;
    }
    size_t size = plan->device_memory > 256 ? (size_t)plan->device_memory : 256;
    void *memory = device_allocate_async(engine->allocator, size, NULL);
    if (!memory) {
        fail(engine, ErrorCode_kFAILED_ALLOCATION,
             "ICudaEngine::createExecutionContext: Error Code 5: Out of Memory (Requested size was "
             "%zu bytes.)",
             size);
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
int32_t IExecutionContext_getOptimizationProfile(void *self) {
    return ((struct context *)self)->profile;
}

bool IExecutionContext_setTemporaryStorageAllocator(void *self, void *allocator) {
    FAIL_IF_PLANNED(false);
    ((struct context *)self)->temporary_allocator = callback(allocator, "IGpuAllocator");
    return true;
}

bool IExecutionContext_setOptimizationProfileAsync(void *self, int32_t profile, void *stream) {
    FAIL_IF_PLANNED(false);
    (void)stream;
    struct context *context = self;
    struct plan *plan = &context->engine->plan;
    if (profile < 0 || profile >= plan->profile_count) {
        fail(self, ErrorCode_kINVALID_ARGUMENT,
             "IExecutionContext::setOptimizationProfileAsync: Error Code 3: API Usage Error "
             "(Parameter check failed, condition: profileIndex >= 0 && profileIndex < "
             "getNbOptimizationProfiles().)");
        return false;
    }
    context->profile = profile;
    /* Shapes of inputs are those of no profile now. */
    for (int i = 0; i < plan->tensor_count; i++)
        context->bindings[i].shape = plan->tensors[i].shape;
    return true;
}

/* The index of a tensor, -1 of none, which is an error. */
static int find(struct context *context, const char *name, const char *method) {
    struct plan_tensor *tensor = plan_tensor(&context->engine->plan, name);
    if (tensor) return (int)(tensor - context->engine->plan.tensors);
    fail(context, ErrorCode_kINVALID_ARGUMENT,
         "IExecutionContext::%s: Error Code 3: Internal Error (Given invalid tensor name: %s. Get "
         "valid tensor names with getIOTensorName())",
         method, name);
    return -1;
}

bool IExecutionContext_setInputShape(void *self, void *name, void *dims) {
    FAIL_IF_PLANNED(false);
    struct context *context = self;
    int index = find(context, name, "setInputShape");
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
        fail(self, ErrorCode_kINVALID_ARGUMENT,
             "IExecutionContext::setInputShape: Error Code 3: API Usage Error (Parameter check "
             "failed, condition: engineDims.d[i] == dims.d[i]. Static dimension mismatch or out of "
             "the range of profile %d while setting input shape for %s: got %s, profile has %s to "
             "%s.)",
             context->profile, (char *)name, shape_text(&shape), shape_text(least),
             shape_text(most));
        return false;
    }
    context->bindings[index].shape = shape;
    return true;
}

/* The values of an input that holds a shape of this rank, where there is one whose address is known. */
static bool held_shape(const struct context *context, int rank, struct shape *shape) {
    const struct plan *plan = &context->engine->plan;
    for (int i = 0; i < plan->tensor_count; i++) {
        const struct plan_tensor *tensor = &plan->tensors[i];
        const void *values = context->bindings[i].address;
        if (!tensor->input || !tensor->holds_shape || !values || volume(&tensor->shape) != rank)
            continue;
        bool wide = element_bits(tensor->type) == 64;
        for (int axis = 0; axis < rank; axis++)
            shape->d[axis] = wide ? ((const int64_t *)values)[axis]
                                  : ((const int32_t *)values)[axis];
        return true;
    }
    return false;
}

static struct shape shape_of(const struct context *context, int index) {
    const struct plan *plan = &context->engine->plan;
    struct shape *inputs = calloc((size_t)plan->tensor_count + 1, sizeof *inputs);
    for (int i = 0; i < plan->tensor_count; i++) inputs[i] = context->bindings[i].shape;
    struct shape shape = plan_shape(plan, &plan->tensors[index], inputs), held;
    for (int axis = 0; !plan->tensors[index].input && axis < shape.rank; axis++)
        if (shape.d[axis] < 0 && held_shape(context, shape.rank, &held))
            shape.d[axis] = held.d[axis];
    free(inputs);
    return shape;
}

Dims IExecutionContext_getTensorShape(void *self, void *name) {
    int index = find(self, name, "getTensorShape");
    if (index < 0) return (Dims){.nbDims = -1};
    struct shape shape = shape_of(self, index);
    return to_dims(&shape);
}

bool IExecutionContext_setTensorAddress(void *self, void *name, void *address) {
    FAIL_IF_PLANNED(false);
    struct context *context = self;
    int index = find(context, name, "setTensorAddress");
    if (index < 0) return false;
    if ((uintptr_t)address % 256 && !context->engine->plan.tensors[index].holds_shape)
        die("the address of %s is not aligned to 256 bytes", (char *)name);
    context->bindings[index].address = address;
    return true;
}

bool IExecutionContext_setOutputAllocator(void *self, void *name, void *allocator) {
    FAIL_IF_PLANNED(false);
    struct context *context = self;
    int index = find(context, name, "setOutputAllocator");
    if (index < 0 || context->engine->plan.tensors[index].input) return false;
    context->bindings[index].output_allocator = callback(allocator, "IOutputAllocator");
    return true;
}

/* Of an output whose shape depends on data: as many elements as all inputs have. */
static struct shape largest_shape(const struct context *context, int index) {
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
    int index = find(self, name, "getMaxOutputSize");
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
    return missing;
}

/* ---- running */

static void *reallocate(void *allocator, const char *name, void *current, size_t size,
                        void *stream) {
#ifdef V8_6
    (void)stream;
    return CALL(IOutputAllocator, allocator, reallocateOutput, (void *)name, current, size, 256);
#else
    return CALL(IOutputAllocator, allocator, reallocateOutputAsync, (void *)name, current, size,
                256, stream);
#endif
}

/* One output that is to be written, and the input it is written from. */
struct copy {
    char *to;
    const char *from;
    size_t to_size, from_size;
    struct copy *next;
};

static void forget(struct copy *work) {
    for (struct copy *next; work; work = next) {
        next = work->next;
        free(work);
    }
}

static void perform(void *work) {
    for (struct copy *copy = work; copy; copy = copy->next)
        for (size_t at = 0; copy->from_size && at < copy->to_size; at += copy->from_size) {
            size_t left = copy->to_size - at;
            memcpy(copy->to + at, copy->from, left < copy->from_size ? left : copy->from_size);
        }
    forget(work);
}

/* In the stream, where a CUDA driver is loaded that can put it there. */
static bool submit(void *stream, struct copy *work) {
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    int (*launch)(void *, void (*)(void *), void *) = NULL;
    if (driver) launch = (__typeof__(launch))dlsym(driver, "cuLaunchHostFunc");
    bool done = !launch || !launch(stream, perform, work);
    if (!launch) perform(work);
    if (driver) dlclose(driver);
    return done;
}

/* The extents that an output with data-dependent ones turns out to have: half of all it could. */
static struct shape found_shape(const struct context *context, int index) {
    struct shape open = shape_of(context, index), shape = largest_shape(context, index);
    for (int axis = 0; axis < shape.rank; axis++)
        if (open.d[axis] < 0) shape.d[axis] = (shape.d[axis] + 1) / 2;
    return shape;
}

/* The nth input: they are taken in turn. */
static int source_of(const struct plan *plan, int output) {
    int inputs = 0, before = 0;
    for (int i = 0; i < plan->tensor_count; i++) inputs += plan->tensors[i].input;
    for (int i = 0; i < output; i++) before += !plan->tensors[i].input;
    for (int i = 0, left = inputs ? before % inputs : 0; i < plan->tensor_count; i++)
        if (plan->tensors[i].input && left-- == 0) return i;
    return -1;
}

static bool check_inputs(struct context *context) {
    const struct plan *plan = &context->engine->plan;
    for (int i = 0; i < plan->tensor_count; i++) {
        struct binding *binding = &context->bindings[i];
        const char *name = plan->tensors[i].name;
        if (plan->tensors[i].input && is_open(&binding->shape)) {
            fail(context, ErrorCode_kINVALID_STATE,
                 "IExecutionContext::enqueueV3: Error Code 3: API Usage Error (Parameter check "
                 "failed, condition: allInputDimensionsSpecified(). Input %s has no shape.)",
                 name);
            return false;
        }
        if (!binding->address && !binding->output_allocator) {
            fail(context, ErrorCode_kINVALID_STATE,
                 "IExecutionContext::enqueueV3: Error Code 3: API Usage Error (Parameter check "
                 "failed, condition: mContext.profileObliviousBindings.at(profileObliviousIndex) "
                 "|| getPtrOrNull(mOutputAllocators, profileObliviousIndex). Neither address or "
                 "allocator is set for tensor %s. Call setOutputAllocator, setTensorAddress or "
                 "setInput/OutputTensorAddress before enqueue/execute.)",
                 name);
            return false;
        }
    }
    return true;
}

/* Where an output goes; null of no memory. */
static void *place_of(struct context *context, int index, const struct shape *shape, size_t size,
                      void *stream) {
    struct binding *binding = &context->bindings[index];
    const char *name = context->engine->plan.tensors[index].name;
    struct shape known = shape_of(context, index);
    if (!binding->output_allocator) return is_open(&known) ? NULL : binding->address;
    void *place = reallocate(binding->output_allocator, name, binding->address, size, stream);
    Dims dims = to_dims(shape);
    if (place) CALL(IOutputAllocator, binding->output_allocator, notifyShape, (void *)name, &dims);
    return place;
}

/* What is to be copied for all outputs; false of no memory. */
static bool plan_copies(struct context *context, void *stream, struct copy **work) {
    const struct plan *plan = &context->engine->plan;
    for (int i = 0; i < plan->tensor_count; i++) {
        if (plan->tensors[i].input) continue;
        struct shape shape = found_shape(context, i);
        size_t size = byte_size(plan->tensors[i].type, volume(&shape));
        void *to = place_of(context, i, &shape, size, stream);
        if (!to) {
            fail(context, ErrorCode_kFAILED_ALLOCATION,
                 "IExecutionContext::enqueueV3: Error Code 5: Out of Memory (Requested size was "
                 "%zu bytes, for output %s.)",
                 size, plan->tensors[i].name);
            return false;
        }
        int source = source_of(plan, i);
        struct copy *copy = malloc(sizeof *copy);
        *copy = (struct copy){.to = to, .to_size = size, .next = *work};
        if (source >= 0) {
            copy->from = context->bindings[source].address;
            copy->from_size = byte_size(plan->tensors[source].type,
                                        volume(&context->bindings[source].shape));
        }
        *work = copy;
    }
    return true;
}

/* Scratch memory of layers whose size depends on data. */
static bool use_temporary_storage(struct context *context, void *stream) {
    enum { SCRATCH = 4096 };
    void *allocator = context->temporary_allocator ? context->temporary_allocator
                                                   : context->engine->allocator;
    void *memory = device_allocate_async(allocator, SCRATCH, stream);
    if (!memory)
        fail(context, ErrorCode_kFAILED_ALLOCATION,
             "IExecutionContext::enqueueV3: Error Code 5: Out of Memory (Requested size was %d "
             "bytes.)",
             SCRATCH);
    device_free_async(allocator, memory, stream);
    return memory;
}

static bool has_open_output(const struct context *context) {
    for (int i = 0; i < context->engine->plan.tensor_count; i++) {
        struct shape shape = shape_of(context, i);
        if (is_open(&shape)) return true;
    }
    return false;
}

bool IExecutionContext_enqueueV3(void *self, void *stream) {
    FAIL_IF_PLANNED(false);
    struct context *context = self;
    if (atomic_flag_test_and_set(&context->running))
        die("an IExecutionContext runs on two threads at once");
    struct copy *work = NULL;
    bool fine = check_inputs(context) &&
                (!has_open_output(context) || use_temporary_storage(context, stream)) &&
                plan_copies(context, stream, &work);
    if (fine) fine = submit(stream, work);
    else forget(work);
    atomic_flag_clear(&context->running);
    return fine;
}
