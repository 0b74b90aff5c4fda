/* What the stand-in says: messages, errors, its own complaints; and the failures it is asked for. */
#include "standin.h"
#include <pthread.h>
#include <unistd.h>

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

char *copy_text(const char *text) { return format_text("%s", text); }

void say(void *self, ILogger_Severity severity, const char *format, ...) {
    void *logger = ((struct object *)self)->logger;
    va_list arguments;
    va_start(arguments, format);
    char *text = vformat(format, arguments);
    if (logger) CALL(ILogger, logger, log, severity, text);
    free(text);
}

void *callback(void *object, const char *class) {
    if (!object) return NULL;
    const intptr_t *table = *(const intptr_t **)object;
    if (table[-2]) die("the table of an %s has no offset to its top in front of it", class);
    return object;
}

/* The recorder of the object, else of the one that made it. */
static void *recorder_of(struct object *object) {
    while (object && !object->error_recorder) object = object->parent;
    return object ? object->error_recorder : NULL;
}

void report_error(void *self, ErrorCode code, const char *text) {
    void *recorder = recorder_of(self);
    if (recorder) CALL(IErrorRecorder, recorder, reportError, code, (void *)text);
    else say(self, ILogger_Severity_kERROR, "%s", text);
}

void fail(void *self, ErrorCode code, const char *method, const char *kind, const char *format,
          ...) {
    va_list arguments;
    va_start(arguments, format);
    char *why = vformat(format, arguments);
    char *text = format_text("%s: Error Code %d: %s (%s)", method, code, kind, why);
    report_error(self, code, text);
    free(text), free(why);
}

void set_error_recorder(void *self, void *recorder) {
    struct object *object = self;
    callback(recorder, "IErrorRecorder");
    if (recorder) CALL(IErrorRecorder, recorder, incRefCount);
    if (object->error_recorder) CALL(IErrorRecorder, object->error_recorder, decRefCount);
    object->error_recorder = recorder;
}

/* How often each method was called so far, this call included. */
static int count_call(const char *method) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        const char *method;
        int calls;
    } *seen;
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

/* What is planned for this call: null, or a word. */
static const char *plan_for(const char *method) {
    static const char *const KINDS[] = {"oom", "abort", "segv", "hang"};
    const char *plan = setting("FAIL"), *found = NULL;
    if (!plan) return NULL;
    int call = count_call(method);
    char *items = copy_text(plan), *rest = items, *item;
    size_t length = strlen(method);
    while ((item = strsep(&rest, ","))) {
        char *kind = strchr(item, '=');
        if (kind) *kind++ = 0;
        if (strncmp(item, method, length) || (item[length] && item[length] != ':')) continue;
        if (item[length] && atoi(item + length + 1) != call) continue;
        found = kind ? NULL : "fail";
        for (size_t i = 0; kind && i < sizeof KINDS / sizeof *KINDS; i++)
            if (!strcmp(kind, KINDS[i])) found = KINDS[i];
        if (!found) die("STANDIN_TENSORRT_FAIL has `%s`", kind);
    }
    free(items);
    return found;
}

bool planned(void *self, const char *function) {
    const char *underline = strchr(function, '_');
    char *method = !strcmp(underline, "_INTERNAL")
                       ? copy_text(function)
                       : format_text("%.*s::%s", (int)(underline - function), function,
                                     underline + 1);
    const char *plan = plan_for(method);
    if (plan && !strcmp(plan, "abort")) abort();
    if (plan && !strcmp(plan, "segv")) *(volatile int *)0 = 0;
    if (plan && !strcmp(plan, "hang")) fprintf(stderr, "stand-in TensorRT: %s hangs\n", method);
    while (plan && !strcmp(plan, "hang")) sleep(1);
    if (plan && !strcmp(plan, "oom"))
        fail(self, ErrorCode_kINTERNAL_ERROR, method, "OutOfMemory",
             "Requested size was 1073741824 bytes. In allocate at the stand-in");
    else if (plan)
        fail(self, ErrorCode_kINTERNAL_ERROR, method, "Internal Error",
             "failure on demand In the stand-in");
    free(method);
    return plan;
}
