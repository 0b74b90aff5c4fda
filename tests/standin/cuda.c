/* A stand-in for the CUDA driver, for tests on machines without a GPU.
 *
 * Device memory is host memory at the same address, so that another stand-in can compute in it.
 * Work is done when it is submitted, or, with STANDIN_CUDA_DEFER, when the stream is waited for.
 * What the real driver would corrupt memory over ends the process with a message: a copy out of
 * bounds, memory freed twice or while work is left, an object that outlives its context.
 *
 * Settings, all from the environment:
 *   STANDIN_CUDA_DEVICES     how many devices there are (1)
 *   STANDIN_CUDA_NAME        their name (Stand-in GPU)
 *   STANDIN_CUDA_CAPABILITY  their compute capability (9.0)
 *   STANDIN_CUDA_MEMORY      bytes of each device's memory (1 GiB)
 *   STANDIN_CUDA_PINNED      bytes of host memory that can be pinned (1 GiB)
 *   STANDIN_CUDA_VERSION     the driver's version (12020)
 *   STANDIN_CUDA_FAIL        calls that fail, as "function:n=code,..": its n-th call returns code
 *   STANDIN_CUDA_DEFER       work waits until its stream is synchronized
 *   STANDIN_CUDA_REPORT      a file for the number of live objects of each kind at exit
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int CUresult;
typedef int CUdevice;
typedef uintptr_t CUdeviceptr;
typedef struct context *CUcontext;
typedef struct object *CUstream;
typedef struct object *CUevent;

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_READY = 600,
    MAX_DEVICES = 8,
    ALIGNMENT = 256,
    PAGE = 4096,
};

/* state, all of it under one lock */

enum kind { STREAM, EVENT, DEVICE, PINNED, KINDS };
static const char *const KIND_NAMES[KINDS] = {"streams", "events", "device", "pinned"};

enum work_kind { COPY, FILL, RECORD };

struct work {
    enum work_kind kind;
    char *to;
    const char *from;
    size_t length;
    enum kind to_kind, from_kind; /* KINDS: ordinary host memory */
    int byte;
    struct object *event;
    struct work *next;
};

struct object {
    enum kind kind;
    int device;
    char *memory;
    size_t length;
    struct work *left; /* of a stream */
    enum { NEVER, SUBMITTED, REACHED } recorded;
    double time; /* milliseconds, of an event */
    struct object *next;
};

struct context {
    int device;
    int retained;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct context contexts[MAX_DEVICES];
static struct object *objects;
static int started;
static __thread struct context *current;

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("stand-in CUDA: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    abort();
}

/* settings */

static const char *setting(const char *name, const char *otherwise) {
    char variable[64];
    snprintf(variable, sizeof variable, "STANDIN_CUDA_%s", name);
    const char *value = getenv(variable);
    return value ? value : otherwise;
}

static size_t number(const char *name, const char *otherwise) {
    return strtoull(setting(name, otherwise), NULL, 10);
}

static int device_count(void) {
    int count = (int)number("DEVICES", "1");
    if (count > MAX_DEVICES) die("at most %d devices", MAX_DEVICES);
    return count;
}

static size_t memory_limit(enum kind kind) {
    return number(kind == DEVICE ? "MEMORY" : "PINNED", "1073741824");
}

/* The code that this call of a function is to fail with, or SUCCESS. */
static CUresult planned(const char *function) {
    static struct { const char *function; int calls; } seen[64];
    size_t at = 0;
    while (seen[at].function && strcmp(seen[at].function, function)) at++;
    seen[at].function = function;
    int call = ++seen[at].calls;
    char plan[256];
    snprintf(plan, sizeof plan, "%s", setting("FAIL", ""));
    char *rest = plan, *item;
    while ((item = strsep(&rest, ","))) {
        char name[64];
        int nth, code;
        if (sscanf(item, "%63[^:]:%d=%d", name, &nth, &code) == 3 && nth == call &&
            !strcmp(name, function))
            return code;
    }
    return SUCCESS;
}

/* Every function begins so: takes the lock until it returns, and fails where that is planned. */
static void unlock(pthread_mutex_t **held) { pthread_mutex_unlock(*held); }
#define ENTER                                                                     \
    pthread_mutex_lock(&lock);                                                    \
    __attribute__((cleanup(unlock))) pthread_mutex_t *held = &lock;               \
    (void)held;                                                                   \
    CUresult plan = planned(__func__);                                            \
    if (plan != SUCCESS) return plan
#define STARTED                                                                   \
    if (!started) return NOT_INITIALIZED
#define IN_CONTEXT                                                                \
    if (!current || !current->retained) return INVALID_CONTEXT

/* objects */

static struct object *add(enum kind kind, char *memory, size_t length) {
    struct object *object = calloc(1, sizeof *object);
    *object = (struct object){.kind = kind,
                              .device = current->device,
                              .memory = memory,
                              .length = length,
                              .next = objects};
    return objects = object;
}

static void delete(struct object *object) {
    struct object **link = &objects;
    while (*link != object) link = &(*link)->next;
    *link = object->next;
    free(object);
}

/* A stream or an event, which must be alive. */
static struct object *alive(struct object *handle, enum kind kind) {
    for (struct object *object = objects; object; object = object->next)
        if (object == handle && object->kind == kind) return object;
    die("%p is none of the live %s", (void *)handle, KIND_NAMES[kind]);
    return NULL;
}

/* The allocation that holds an address, or NULL. */
static struct object *holder(const char *address) {
    for (struct object *object = objects; object; object = object->next)
        if (object->memory && address >= object->memory &&
            address < object->memory + object->length)
            return object;
    return NULL;
}

static enum kind kind_at(const char *address) {
    struct object *object = holder(address);
    return object ? object->kind : KINDS;
}

/* Ordinary host memory is not known here; all other memory must be there, whole. */
static void check_range(const char *start, size_t length, enum kind kind) {
    if (kind == KINDS) return;
    struct object *object = holder(start);
    if (!object || object->kind != kind)
        die("%p is in no live allocation of %s memory", (void *)start, KIND_NAMES[kind]);
    if (length > (size_t)(object->memory + object->length - start))
        die("%zu bytes at %p run past an allocation of %zu", length, (void *)start, object->length);
}

static size_t in_use(enum kind kind, int device) {
    size_t bytes = 0;
    for (struct object *object = objects; object; object = object->next)
        if (object->kind == kind && (kind == PINNED || object->device == device))
            bytes += object->length;
    return bytes;
}

static char *allocate(enum kind kind, size_t length, size_t alignment) {
    if (length > memory_limit(kind) - in_use(kind, current->device)) return NULL;
    char *memory = aligned_alloc(alignment, (length + alignment - 1) / alignment * alignment);
    if (!memory) return NULL;
    memset(memory, 0xA5, length); /* what was there before */
    add(kind, memory, length);
    return memory;
}

static void release(char *memory, enum kind kind) {
    struct object *object = holder(memory);
    if (!object || object->memory != memory || object->kind != kind)
        die("%p freed, which is no live allocation of %s memory", (void *)memory,
            KIND_NAMES[kind]);
    free(memory);
    delete(object);
}

/* work */

static void perform(struct work *work) {
    switch (work->kind) {
    case COPY:
        check_range(work->from, work->length, work->from_kind);
        check_range(work->to, work->length, work->to_kind);
        memmove(work->to, work->from, work->length);
        break;
    case FILL:
        check_range(work->to, work->length, work->to_kind);
        memset(work->to, work->byte, work->length);
        break;
    case RECORD:
        for (struct object *object = objects; object; object = object->next)
            if (object == work->event) {
                struct timespec now;
                clock_gettime(CLOCK_MONOTONIC, &now);
                object->time = (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
                object->recorded = REACHED;
            }
        break;
    }
}

static void finish(struct object *stream) {
    while (stream->left) {
        struct work *work = stream->left;
        perform(work);
        stream->left = work->next;
        free(work);
    }
}

static CUresult submit(CUstream handle, struct work work) {
    struct object *stream = alive(handle, STREAM);
    if (stream->device != current->device) return INVALID_HANDLE;
    if (work.kind != RECORD && work.length == 0) return INVALID_VALUE;
    if (work.kind == COPY) check_range(work.from, work.length, work.from_kind);
    if (work.kind != RECORD) check_range(work.to, work.length, work.to_kind);
    struct work **link = &stream->left;
    while (*link) link = &(*link)->next;
    *link = malloc(sizeof work);
    **link = work;
    if (!getenv("STANDIN_CUDA_DEFER")) finish(stream);
    return SUCCESS;
}

/* the driver, as cuda.h declares it */

CUresult cuDriverGetVersion(int *version) {
    ENTER;
    *version = (int)number("VERSION", "12020");
    return SUCCESS;
}

CUresult cuInit(unsigned flags) {
    ENTER;
    if (flags) return INVALID_VALUE;
    if (device_count() == 0) return NO_DEVICE;
    started = 1;
    return SUCCESS;
}

static const struct { CUresult code; const char *name, *text; } ERRORS[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

CUresult cuGetErrorName(CUresult code, const char **name) {
    *name = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code) *name = ERRORS[i].name;
    return *name ? SUCCESS : INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult code, const char **text) {
    *text = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code) *text = ERRORS[i].text;
    return *text ? SUCCESS : INVALID_VALUE;
}

CUresult cuDeviceGetCount(int *count) {
    ENTER;
    STARTED;
    *count = device_count();
    return SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    ENTER;
    STARTED;
    if (ordinal < 0 || ordinal >= device_count()) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    ENTER;
    STARTED;
    (void)device;
    snprintf(name, (size_t)length, "%s", setting("NAME", "Stand-in GPU"));
    return SUCCESS;
}

CUresult cuDeviceGetUuid_v2(char *uuid, CUdevice device) {
    ENTER;
    STARTED;
    for (int i = 0; i < 16; i++) uuid[i] = (char)(0xF0 + i);
    uuid[15] = (char)device;
    return SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    ENTER;
    STARTED;
    (void)device;
    *bytes = memory_limit(DEVICE);
    return SUCCESS;
}

/* An H200's numbers. */
CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    ENTER;
    STARTED;
    (void)device;
    static const int VALUES[][2] = {
        {1, 1024},       {5, 2147483647}, {6, 65535},       {7, 65535},    {8, 49152},
        {13, 1980000},   {14, 512},       {16, 132},        {18, 0},       {36, 3201000},
        {37, 6144},      {38, 62914560},  {69, 268435456},  {81, 233472},  {108, 39321600},
    };
    int major, minor;
    if (sscanf(setting("CAPABILITY", "9.0"), "%d.%d", &major, &minor) != 2)
        die("STANDIN_CUDA_CAPABILITY is no compute capability");
    if (attribute == 75 || attribute == 76) {
        *value = attribute == 75 ? major : minor;
        return SUCCESS;
    }
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++)
        if (VALUES[i][0] == attribute) {
            *value = VALUES[i][1];
            return SUCCESS;
        }
    return INVALID_VALUE;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    ENTER;
    STARTED;
    if (device < 0 || device >= device_count()) return INVALID_DEVICE;
    contexts[device].device = device;
    contexts[device].retained++;
    *context = &contexts[device];
    return SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER;
    STARTED;
    if (!contexts[device].retained) die("context of device %d released too often", device);
    if (--contexts[device].retained) return SUCCESS;
    for (struct object *object = objects; object; object = object->next)
        if (object->device == device)
            die("context of device %d released before its %s", device, KIND_NAMES[object->kind]);
    return SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    ENTER;
    STARTED;
    if (context && !context->retained) return INVALID_CONTEXT;
    current = context;
    return SUCCESS;
}

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
    ENTER;
    IN_CONTEXT;
    *total = memory_limit(DEVICE);
    *available = *total - in_use(DEVICE, current->device);
    return SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t length) {
    ENTER;
    IN_CONTEXT;
    if (!length) return INVALID_VALUE;
    *address = (CUdeviceptr)allocate(DEVICE, length, ALIGNMENT);
    return *address ? SUCCESS : OUT_OF_MEMORY;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    ENTER;
    IN_CONTEXT;
    release((char *)address, DEVICE);
    return SUCCESS;
}

CUresult cuMemHostAlloc(void **address, size_t length, unsigned flags) {
    ENTER;
    IN_CONTEXT;
    (void)flags;
    if (!length) return INVALID_VALUE;
    *address = allocate(PINNED, length, PAGE);
    return *address ? SUCCESS : OUT_OF_MEMORY;
}

CUresult cuMemFreeHost(void *address) {
    ENTER;
    IN_CONTEXT;
    release(address, PINNED);
    return SUCCESS;
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
    ENTER;
    IN_CONTEXT;
    (void)flags;
    *stream = add(STREAM, NULL, 0);
    return SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream handle) {
    ENTER;
    IN_CONTEXT;
    struct object *stream = alive(handle, STREAM);
    finish(stream);
    delete(stream);
    return SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle) {
    ENTER;
    IN_CONTEXT;
    finish(alive(handle, STREAM));
    return SUCCESS;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t length, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = COPY, .to = (char *)to, .to_kind = DEVICE,
                                        .from = from, .from_kind = kind_at(from),
                                        .length = length});
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t length, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = COPY, .to = to, .to_kind = kind_at(to),
                                        .from = (char *)from, .from_kind = DEVICE,
                                        .length = length});
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t length, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = COPY, .to = (char *)to, .to_kind = DEVICE,
                                        .from = (char *)from, .from_kind = DEVICE,
                                        .length = length});
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char byte, size_t length, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = FILL, .to = (char *)to, .to_kind = DEVICE,
                                        .byte = byte, .length = length});
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
    ENTER;
    IN_CONTEXT;
    (void)flags;
    *event = add(EVENT, NULL, 0);
    return SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
    ENTER;
    IN_CONTEXT;
    delete(alive(event, EVENT));
    return SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    alive(event, EVENT)->recorded = SUBMITTED;
    return submit(stream, (struct work){.kind = RECORD, .event = event});
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
    ENTER;
    IN_CONTEXT;
    if (alive(start, EVENT)->recorded == NEVER || alive(end, EVENT)->recorded == NEVER)
        return INVALID_HANDLE;
    if (start->recorded == SUBMITTED || end->recorded == SUBMITTED) return NOT_READY;
    *milliseconds = (float)(end->time - start->time);
    return SUCCESS;
}

/* the report */

__attribute__((destructor)) static void report(void) {
    const char *path = setting("REPORT", NULL);
    if (!path || !started) return;
    int counts[KINDS] = {0}, retained = 0;
    for (struct object *object = objects; object; object = object->next) counts[object->kind]++;
    for (int i = 0; i < MAX_DEVICES; i++) retained += contexts[i].retained;
    FILE *file = fopen(path, "w");
    if (!file) die("cannot write %s", path);
    fprintf(file, "contexts=%d", retained);
    for (int i = 0; i < KINDS; i++) fprintf(file, " %s=%d", KIND_NAMES[i], counts[i]);
    fclose(file);
}
