/* What smoke.c is called back through: a table for each class that the caller implements, with an
 * offset and type information in front of it, as C++ has them. */
#ifndef STANDIN_SMOKE_H
#define STANDIN_SMOKE_H
#include "standin.h"

static const char *mode = "";
static bool asked(const char *word) { return strstr(mode, word); }

struct counts {
    int messages[5], errors, references, started, finished, steps, allocations, batches;
};
static struct counts counts;

static void *type_info;
#define CALLBACK(class, name, ...)             \
    static struct {                            \
        ptrdiff_t offset;                      \
        void *type;                            \
        class##_table table;                   \
    } name##_table = {.table = {__VA_ARGS__}}; \
    static void *name[2];                      \
    static void *make_##name(void) {           \
        name##_table.type = type_info;         \
        name[0] = &name##_table.table;         \
        return name;                           \
    }

static void log_message(void *self, int32_t severity, void *text) {
    (void)self;
    counts.messages[severity]++;
    if (severity <= ILogger_Severity_kWARNING || getenv("VERBOSE"))
        printf("log %d: %s\n", severity, (char *)text);
}
static void no_destructor(void *self) { (void)self; }
static int32_t error_count(void *self) {
    (void)self;
    return counts.errors;
}
static int32_t error_code(void *self, int32_t index) {
    (void)self, (void)index;
    return 0;
}
static void *error_text(void *self, int32_t index) {
    (void)self, (void)index;
    return "";
}
static bool no(void *self) {
    (void)self;
    return false;
}
static void clear(void *self) {
    (void)self;
    counts.errors = 0;
}
static bool report(void *self, int32_t code, void *text) {
    (void)self;
    counts.errors++;
    printf("error %d: %s\n", code, (char *)text);
    return true;
}
static int32_t more(void *self) {
    (void)self;
    return ++counts.references;
}
static int32_t fewer(void *self) {
    (void)self;
    return --counts.references;
}
static void *allocate(void *self, uint64_t size, uint64_t alignment, uint32_t flags) {
    (void)self, (void)flags;
    counts.allocations++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void *reallocate(void *self, void *memory, uint64_t alignment, uint64_t size) {
    (void)self, (void)memory, (void)alignment, (void)size;
    return NULL;
}
static bool deallocate(void *self, void *memory) {
    (void)self;
    counts.allocations--;
    free(memory);
    return true;
}
#ifndef V8_6
static void *allocate_async(void *self, uint64_t size, uint64_t alignment, uint32_t flags,
                            void *stream) {
    (void)stream;
    return allocate(self, size, alignment, flags);
}
static bool deallocate_async(void *self, void *memory, void *stream) {
    (void)stream;
    return deallocate(self, memory);
}
static void phase_start(void *self, void *phase, void *parent, int32_t steps) {
    (void)self;
    if (!counts.started++ || getenv("VERBOSE"))
        printf("phase %s in %s: %d steps\n", (char *)phase, parent ? (char *)parent : "none",
               steps);
}
static bool step_complete(void *self, void *phase, int32_t step) {
    (void)self, (void)phase, (void)step;
    return !(++counts.steps == 2 && asked("stop"));
}
static void phase_finish(void *self, void *phase) {
    (void)self, (void)phase;
    counts.finished++;
}
static int32_t no_number(void *self) {
    (void)self;
    return 0;
}
static InterfaceInfo info(void *self) {
    (void)self;
    return (InterfaceInfo){"smoke", 1, 0};
}
#define VERSIONED .getAPILanguage = no_number, .getInterfaceInfo = info,
CALLBACK(IProgressMonitor, monitor, VERSIONED.phaseStart = phase_start,
         .stepComplete = step_complete, .phaseFinish = phase_finish)
CALLBACK(IGpuAllocator, allocator, VERSIONED.complete_destructor = no_destructor,
         .deleting_destructor = no_destructor, .allocate = allocate, .reallocate = reallocate,
         .deallocate = deallocate, .allocateAsync = allocate_async,
         .deallocateAsync = deallocate_async)
#else
#define VERSIONED
CALLBACK(IGpuAllocator, allocator, .allocate = allocate, .reallocate = reallocate,
         .deallocate = deallocate)
#endif
#if defined V11 || defined RTX1
CALLBACK(ILogger, logger, VERSIONED.complete_destructor = no_destructor,
         .deleting_destructor = no_destructor, .log = log_message)
#else
CALLBACK(ILogger, logger, .complete_destructor = no_destructor,
         .deleting_destructor = no_destructor, .log = log_message)
#endif
CALLBACK(IErrorRecorder, recorder, VERSIONED.complete_destructor = no_destructor,
         .deleting_destructor = no_destructor, .getNbErrors = error_count,
         .getErrorCode = error_code, .getErrorDesc = error_text, .hasOverflowed = no,
         .clear = clear, .reportError = report, .incRefCount = more, .decRefCount = fewer)

/* Gives memory for the output whose size is not known, and remembers it and its shape. */
static struct {
    void *memory;
    struct shape shape;
} found_output;
static void *reallocate_output(void *self, void *name, void *memory, uint64_t size,
                               uint64_t alignment) {
    (void)self, (void)name, (void)memory;
    free(found_output.memory);
    return found_output.memory = aligned_alloc(alignment,
                                               (size + alignment - 1) / alignment * alignment);
}
static void notify_shape(void *self, void *name, void *dims) {
    (void)self;
    found_output.shape = from_dims(dims);
    printf("found %s: %s\n", (char *)name, shape_text(&found_output.shape));
}
#ifdef V8_6
static int32_t interface_version(void *self) {
    (void)self;
    return 1;
}
CALLBACK(IOutputAllocator, output_allocator, .getInterfaceVersion = interface_version,
         .reallocateOutput = reallocate_output, .notifyShape = notify_shape)
#else
static void *reallocate_output_async(void *self, void *name, void *memory, uint64_t size,
                                     uint64_t alignment, void *stream) {
    (void)stream;
    return reallocate_output(self, name, memory, size, alignment);
}
CALLBACK(IOutputAllocator, output_allocator,
         VERSIONED.reallocateOutputAsync = reallocate_output_async, .notifyShape = notify_shape)
#endif

static size_t type_size(DataType type) {
    return type == 0 || type == 3 ? 4 : type == 8 ? 8 : type == 1 || type == 7 ? 2 : 1;
}

#if defined V8_6 || defined V10
static int32_t batch_size(void *self) {
    (void)self;
    return 1;
}
static bool get_batch(void *self, void *bindings, void *names, int32_t count) {
    (void)self, (void)names;
    static float data[1 << 16] = {1, -12.7f};
    for (int i = 0; i < count; i++) ((void **)bindings)[i] = data;
    return counts.batches++ < 3;
}
static void *read_cache(void *self, void *size) {
    (void)self;
    *(uint64_t *)size = 0;
    return NULL;
}
static void write_cache(void *self, void *cache, uint64_t size) {
    (void)self;
    printf("calibration: %.*s", (int)size, (char *)cache);
}
static int32_t algorithm(void *self) {
    (void)self;
    return CalibrationAlgoType_kENTROPY_CALIBRATION_2;
}
CALLBACK(IInt8EntropyCalibrator2, calibrator, VERSIONED.getBatchSize = batch_size,
         .getBatch = get_batch, .readCalibrationCache = read_cache,
         .writeCalibrationCache = write_cache, .getAlgorithm = algorithm)
#endif

#endif
