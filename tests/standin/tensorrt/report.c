/* What the stand-in says: messages, errors, its own complaints; and the failures it is asked for. */
#include "standin.h"
#include <pthread.h>

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("stand-in TensorRT: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    abort();
}

const char *setting(const char *name) {
    char variable[64];
    snprintf(variable, sizeof variable, "STANDIN_TENSORRT_%s", name);
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

static char *vformat(const char *format, va_list arguments) {
    char *text;
    if (vasprintf(&text, format, arguments) < 0) die("out of memory");
    return text;
}

char *format_text(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    return vformat(format, arguments);
}

char *copy_text(const char *text) {
    return format_text("%s", text);
}

void say(void *self, ILogger_Severity severity, const char *format, ...) {
    void *logger = ((struct object *)self)->logger;
    va_list arguments;
    va_start(arguments, format);
    char *text = vformat(format, arguments);
    if (logger) CALL(ILogger, logger, log, severity, text);
    free(text);
}

/* The recorder of the object, else of the one that made it. */
static void *recorder_of(struct object *object) {
    while (object && !object->error_recorder) object = object->parent;
    return object ? object->error_recorder : NULL;
}

static void report_error(void *self, ErrorCode code, const char *text) {
    void *recorder = recorder_of(self);
    if (recorder) CALL(IErrorRecorder, recorder, reportError, code, (void *)text);
    else say(self, ILogger_Severity_kERROR, "%s", text);
}

void fail(void *self, ErrorCode code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = vformat(format, arguments);
    report_error(self, code, text);
    free(text);
}

void set_error_recorder(void *self, void *recorder) {
    struct object *object = self;
    if (recorder) CALL(IErrorRecorder, recorder, incRefCount);
    if (object->error_recorder) CALL(IErrorRecorder, object->error_recorder, decRefCount);
    object->error_recorder = recorder;
}

/* How often each method was called so far, this call included. */
static int count_call(const char *method) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct { const char *method; int calls; } *seen;
    static int known;
    pthread_mutex_lock(&lock);
    int at = 0;
    while (at < known && strcmp(seen[at].method, method)) at++;
    if (at == known) {
        __typeof__(*seen) fresh = {copy_text(method), 0};
        APPEND(seen, known, fresh);
    }
    int calls = ++seen[at].calls;
    pthread_mutex_unlock(&lock);
    return calls;
}

enum fault planned(void *self, const char *function) {
    const char *plan = setting("FAIL");
    if (!plan) return NO_FAULT;
    const char *underline = strchr(function, '_');
    char *method = format_text("%.*s::%s", (int)(underline - function), function, underline + 1);
    int call = count_call(method);
    enum fault fault = NO_FAULT;
    char *items = copy_text(plan), *rest = items, *item;
    while ((item = strsep(&rest, ","))) {
        char *kind = strchr(item, '=');
        if (kind) *kind++ = 0;
        size_t length = strlen(method);
        if (strncmp(item, method, length)) continue;
        if (item[length] && (item[length] != ':' || atoi(item + length + 1) != call)) continue;
        fault = kind && !strcmp(kind, "oom") ? FAULT_OOM : FAULT;
    }
    if (fault == FAULT)
        fail(self, ErrorCode_kINTERNAL_ERROR, "%s: Error Code 2: Internal Error (failure on demand)", method);
    if (fault == FAULT_OOM)
        fail(self, ErrorCode_kFAILED_ALLOCATION, "%s: Error Code 5: Out of Memory (Requested size was 1073741824 bytes.)", method);
    free(items);
    free(method);
    return fault;
}
