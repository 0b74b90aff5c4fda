/* IExecutionContext::enqueueV3. It computes nothing: output i is the bytes of input i, repeated to
 * fill it. */
#include "context.h"
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

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
    char *earlier; /* what the input was when the graph was launched the last time */
    struct copy *next;
};

/* What one run does, once or as often as its graph is launched. */
struct run {
    const struct context *context; /* NULL where it is gone */
    int changes;
    struct copy *copies;
    struct run *next;
};

/* Runs that graphs have captured. Nobody says when a graph is gone, so they are kept, without what
 * they do once their context is gone. */
static struct run *captured;
static pthread_mutex_t captured_lock = PTHREAD_MUTEX_INITIALIZER;

static void forget(struct copy *work) {
    for (struct copy *next; work; work = next) {
        next = work->next;
        free(work->earlier);
        free(work);
    }
}

static void copy_all(const struct copy *copy, const char *from) {
    for (size_t at = 0; copy->from_size && at < copy->to_size; at += copy->from_size) {
        size_t left = copy->to_size - at;
        memcpy(copy->to + at, from, left < copy->from_size ? left : copy->from_size);
    }
}

static bool graphs_are(const char *how) {
    const char *asked = setting("GRAPHS");
    return asked && !strcmp(asked, how);
}

/* An engine whose answers differ from run to run. */
static void add_noise(const struct copy *copy) {
    static _Atomic unsigned char noise;
    if (copy->to_size) *copy->to = (char)++noise;
}

static void perform(void *argument) {
    struct run *run = argument;
    for (const struct copy *copy = run->copies; copy; copy = copy->next) {
        copy_all(copy, copy->from);
        if (graphs_are("noisy")) add_noise(copy);
    }
    forget(run->copies);
    free(run);
}

/* What a thing of this name is to cost. */
static void spend(const char *name) {
    const char *microseconds = setting(name);
    if (microseconds) usleep((unsigned)atoi(microseconds));
}

static void repeat(void *argument) {
    struct run *run = argument;
    spend("GRAPH_US");
    if (!run->context) die("a graph was launched whose execution context is gone");
    if (run->changes != run->context->changes)
        die("a graph was launched whose execution context has changed");
    for (struct copy *copy = run->copies; copy; copy = copy->next) {
        if (graphs_are("stale")) {
            copy_all(copy, copy->earlier);
            memcpy(copy->earlier, copy->from, copy->from_size);
        } else if (!graphs_are("idle")) {
            copy_all(copy, copy->from);
        }
        if (graphs_are("noisy")) add_noise(copy);
    }
}

void context_gone(const struct context *context) {
    pthread_mutex_lock(&captured_lock);
    for (struct run *run = captured; run; run = run->next) {
        if (run->context != context) continue;
        forget(run->copies);
        run->context = NULL;
        run->copies = NULL;
    }
    pthread_mutex_unlock(&captured_lock);
}

static void keep(struct run *run) {
    for (struct copy *copy = run->copies; copy; copy = copy->next)
        copy->earlier = calloc(1, copy->from_size + 1);
    pthread_mutex_lock(&captured_lock);
    run->next = captured;
    captured = run;
    pthread_mutex_unlock(&captured_lock);
}

/* In the stream, where a CUDA driver is loaded that can put it there. */
static bool submit(struct context *context, void *stream, struct copy *copies) {
    struct run *run = malloc(sizeof *run);
    *run = (struct run){context, context->changes, copies, NULL};
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    int (*launch)(void *, void (*)(void *), void *) = NULL;
    int (*ask)(void *, int *) = NULL;
    if (driver) launch = (__typeof__(launch))dlsym(driver, "cuLaunchHostFunc");
    if (driver) ask = (__typeof__(ask))dlsym(driver, "cuStreamIsCapturing");
    int capturing = 0;
    bool done = !ask || !ask(stream, &capturing);
    if (capturing && graphs_are("impossible")) {
        fail(context, ErrorCode_kINTERNAL_ERROR, "IExecutionContext::enqueueV3", "Cuda Runtime",
             "operation not permitted when stream is capturing");
        return false;
    }
    if (capturing) keep(run);
    if (launch && done) done = !launch(stream, capturing ? repeat : perform, run);
    else perform(run);
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
            fail(context, ErrorCode_kINVALID_ARGUMENT, "IExecutionContext::enqueueV3",
                 "API Usage Error",
                 "Parameter check failed, condition: allInputDimensionsSpecified(). Input %s has "
                 "no shape.",
                 name);
            return false;
        }
        if (!binding->address && !binding->output_allocator) {
            fail(context, ErrorCode_kINVALID_ARGUMENT, "IExecutionContext::enqueueV3",
                 "API Usage Error",
                 "Parameter check failed, condition: "
                 "mContext.profileObliviousBindings.at(profileObliviousIndex) || "
                 "getPtrOrNull(mOutputAllocators, profileObliviousIndex). Neither address or "
                 "allocator is set for tensor %s. Call setOutputAllocator, setTensorAddress or "
                 "setInput/OutputTensorAddress before enqueue/execute.",
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
            fail(context, ErrorCode_kINTERNAL_ERROR, "IExecutionContext::enqueueV3", "OutOfMemory",
                 "Requested size was %zu bytes, for output %s.", size, plan->tensors[i].name);
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

/* Scratch memory of layers whose size depends on data; kept for the next run. */
static bool use_scratch(struct context *context, void *stream) {
    enum { SCRATCH = 4096 };
    if (!context->scratch)
        context->scratch = device_allocate_async(scratch_allocator(context), SCRATCH, stream);
    if (!context->scratch)
        fail(context, ErrorCode_kINTERNAL_ERROR, "IExecutionContext::enqueueV3", "OutOfMemory",
             "Requested size was %d bytes.", SCRATCH);
    return context->scratch;
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
    if (!context->memory && !context->lent && context->engine->plan.device_memory)
        die("IExecutionContext::enqueueV3: it was lent no device memory");
    spend("ENQUEUE_US");
    struct copy *work = NULL;
    bool fine = check_inputs(context) && check_values(context, "IExecutionContext::enqueueV3") &&
                (!has_open_output(context) || use_scratch(context, stream)) &&
                plan_copies(context, stream, &work);
    if (fine) fine = submit(context, stream, work);
    else forget(work);
    atomic_flag_clear(&context->running);
    return fine;
}
