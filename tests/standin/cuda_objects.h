/* What the stand-in CUDA driver keeps: its settings, its objects, and work not done yet. */

#ifndef CUDA_OBJECTS_H
#define CUDA_OBJECTS_H

#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
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
typedef struct object *CUgraph;
typedef struct object *CUgraphExec;
typedef const char *CUmodule;
typedef const char *CUfunction;

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_IMAGE = 200,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    MAX_DEVICES = 8,
    ALIGNMENT = 256,
    PAGE = 4096,
};

/* state, all of it under one lock */

enum kind { STREAM, EVENT, DEVICE, PINNED, GRAPH, EXECUTABLE, KINDS };
static const char *const KIND_NAMES[KINDS] = {"streams", "events", "device",
                                              "pinned",  "graphs", "executables"};

enum work_kind { COPY, FILL, RECORD, WAIT, CALL, BREAK };

struct work {
    enum work_kind kind;
    char *to;
    const char *from;
    size_t length;
    enum kind to_kind, from_kind; /* KINDS: ordinary host memory */
    int byte;
    struct object *event;
    int number; /* of the event's records, from 1 */
    void (*function)(void *);
    void *argument;
    struct work *next;
};

struct object {
    enum kind kind;
    int device;
    char *memory;
    size_t length;
    struct work *left; /* of a stream; what a graph has captured */
    struct object *capture; /* the graph that a stream captures into */
    pthread_t capturer;     /* the thread that began to */
    bool invalidated;       /* of such a graph */
    enum { NEVER, SUBMITTED, REACHED } recorded;
    int records, reached; /* of an event: how often it was recorded, and reached */
    double time; /* milliseconds, of an event */
    struct object *next;
};

struct context {
    int device;
    int retained;
    CUresult broken; /* what every call for it returns, once a kernel broke it */
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
    if (!current || !current->retained) return INVALID_CONTEXT;                   \
    if (current->broken) return current->broken

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

static void reach(struct object *event, int number);

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
                object->reached = work->number;
                if (object->reached == object->records) object->recorded = REACHED;
            }
        break;
    case WAIT: reach(work->event, work->number); break;
    case CALL: work->function(work->argument); break;
    case BREAK: break;
    }
}

static void step(struct object *stream) {
    struct work *work = stream->left;
    struct context *context = &contexts[stream->device];
    if (work->kind == BREAK) context->broken = ILLEGAL_ADDRESS;
    if (!context->broken) perform(work);
    stream->left = work->next;
    free(work);
}

static void finish(struct object *stream) {
    while (stream->left) step(stream);
}

/* Does the work before a record of an event, on whichever stream it is. Nobody waits for a record
 * that comes later, so no stream waits for itself. */
static void reach(struct object *event, int number) {
    for (struct object *stream = objects; stream; stream = stream->next) {
        if (stream->kind != STREAM) continue;
        struct work *work = stream->left;
        while (work && (work->kind != RECORD || work->event != event || work->number > number))
            work = work->next;
        for (bool last = false; work && !last;) {
            last = stream->left == work;
            step(stream);
        }
    }
}

static void append(struct object *to, const struct work *work) {
    struct work **link = &to->left;
    while (*link) link = &(*link)->next;
    *link = malloc(sizeof *work);
    **link = *work;
    (*link)->next = NULL;
}

static void forget(struct object *graph) {
    for (struct work *next; graph->left; graph->left = next) {
        next = graph->left->next;
        free(graph->left);
    }
    delete(graph);
}

/* A call that a capture on this stream does not bear, or one of this thread, on whatever device. */
static CUresult invalidate(struct object *stream) {
    CUresult code = SUCCESS;
    for (struct object *object = objects; object; object = object->next) {
        if (object->kind != STREAM || !object->capture) continue;
        if (stream ? object != stream : !pthread_equal(object->capturer, pthread_self())) continue;
        object->capture->invalidated = true;
        code = CAPTURE_UNSUPPORTED;
    }
    return code;
}
#define NOT_IN_CAPTURE(stream)                                                    \
    CUresult capture = invalidate(stream);                                        \
    if (capture != SUCCESS) return capture

static CUresult submit(CUstream handle, struct work work) {
    struct object *stream = alive(handle, STREAM);
    if (stream->device != current->device) return INVALID_HANDLE;
    if (stream->capture && stream->capture->invalidated) return CAPTURE_INVALIDATED;
    bool moves = work.kind == COPY || work.kind == FILL;
    if (moves && work.length == 0) return INVALID_VALUE;
    if (work.kind == COPY) check_range(work.from, work.length, work.from_kind);
    if (moves) check_range(work.to, work.length, work.to_kind);
    append(stream->capture ? stream->capture : stream, &work);
    if (stream->capture) return SUCCESS;
    if (!getenv("STANDIN_CUDA_DEFER")) finish(stream);
    return SUCCESS;
}

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

#endif
