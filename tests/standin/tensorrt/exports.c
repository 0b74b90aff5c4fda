/* What the runtime library exports, the plug-in registry, and refitters. */
#include "engine.h"
#include <dlfcn.h>

#define EXPORT __attribute__((visibility("default")))

/* ---- IPluginRegistry: the library's own, which nobody deletes */

struct registry {
    struct object object;
};

static struct registry *the_registry(void) {
    static _Atomic(struct registry *) made;
    static struct registry only;
    if (!made) {
        only.object = (struct object){.table = class_IPluginRegistry.functions,
                                      .class = &class_IPluginRegistry,
                                      .alive = true,
                                      .owned = true};
        made = &only;
    }
    return made;
}

void *IPluginRegistry_loadLibrary(void *self, void *path) {
    FAIL_IF_PLANNED(NULL);
    void *library = dlopen(path, RTLD_LAZY);
    if (!library)
        fail(self, ErrorCode_kINVALID_ARGUMENT, "IPluginRegistry::loadLibrary", "Internal Error",
             "Unable to load library: %s: %s", (char *)path, dlerror());
    return library;
}

void IPluginRegistry_deregisterLibrary(void *self, void *library) {
    (void)self;
    if (!library || dlclose(library)) die("deregisterLibrary: %p is no library", library);
}

void *IRuntime_getPluginRegistry(void *self) {
    (void)self;
    return the_registry();
}
void *IBuilder_getPluginRegistry(void *self) {
    (void)self;
    return the_registry();
}

/* ---- IRefitter */

struct refitter {
    struct object object;
};

static struct engine *engine_of(void *refitter) {
    return (struct engine *)((struct object *)refitter)->parent;
}

void IRefitter_setErrorRecorder(void *self, void *recorder) { set_error_recorder(self, recorder); }

bool IRefitter_setNamedWeights(void *self, void *name, Weights weights) {
    FAIL_IF_PLANNED(false);
    struct engine *engine = engine_of(self);
    for (int i = 0; i < engine->plan.weights_count; i++)
        if (!strcmp(engine->plan.weights[i].name, name) && weights.values)
            return engine->refitted[i] = true;
    fail(self, ErrorCode_kINVALID_ARGUMENT, "IRefitter::setNamedWeights", "Internal Error",
         "no refittable weights %s", (char *)name);
    return false;
}

static int32_t list_weights(struct engine *engine, bool missing, int32_t room, const char **names) {
    int found = 0;
    for (int i = 0; i < engine->plan.weights_count; i++) {
        if (missing && (!engine->plan.stripped || engine->refitted[i])) continue;
        if (found < room && names) names[found] = engine->plan.weights[i].name;
        found++;
    }
    return found;
}

int32_t IRefitter_getMissingWeights(void *self, int32_t room, void *names) {
    return list_weights(engine_of(self), true, room, names);
}
int32_t IRefitter_getAllWeights(void *self, int32_t room, void *names) {
    return list_weights(engine_of(self), false, room, names);
}

bool IRefitter_refitCudaEngine(void *self) {
    FAIL_IF_PLANNED(false);
    int missing = list_weights(engine_of(self), true, 0, NULL);
    if (missing)
        fail(self, ErrorCode_kINVALID_CONFIG, "IRefitter::refitCudaEngine", "API Usage Error",
             "%d weights are missing.", missing);
    return !missing;
}

/* ---- exports */

static void *last_logger;

/* A root object with its logger, or null where the call is to fail. */
static void *make_root(size_t size, struct class *class, void *logger, const char *function) {
    struct object probe = {.logger = callback(logger, "ILogger")};
    if (planned(&probe, function)) return NULL;
    struct object *object = object_make(size, class, NULL, NULL);
    object->logger = last_logger = logger;
    return object;
}

EXPORT int32_t getInferLibVersion(void) {
    int major = TRT_VERSION / 10000;
    return major * (major >= 10 || IS_RTX ? 10000 : 1000) + TRT_VERSION % 10000;
}

static void no_gpu(void *logger, const char *function) {
    struct object probe = {.logger = logger};
    fail(&probe, ErrorCode_kFAILED_INITIALIZATION, function, "API Usage Error",
         "CUDA initialization failure with error: 35. Please check your CUDA installation: "
         "http://docs.nvidia.com/cuda/cuda-installation-guide-linux/index.html");
}

EXPORT void *createInferBuilder_INTERNAL(void *logger, int32_t version) {
    (void)version; /* any is taken, as by TensorRT */
    if (!IS_RTX && !gpu_capability()) return no_gpu(logger, "createInferBuilder"), NULL;
    return shell(
        make_root(sizeof(struct builder), &class_IBuilder, logger, "createInferBuilder_INTERNAL"));
}

EXPORT void *createInferRuntime_INTERNAL(void *logger, int32_t version) {
    (void)version;
#ifdef V8_6
    if (!gpu_capability()) *(volatile int *)0 = 0; /* so does 8.6 */
#else
    if (!IS_RTX && !gpu_capability()) return no_gpu(logger, "createInferRuntime"), NULL;
#endif
    return shell(
        make_root(sizeof(struct runtime), &class_IRuntime, logger, "createInferRuntime_INTERNAL"));
}

EXPORT void *createInferRefitter_INTERNAL(void *engine_shell, void *logger, int32_t version) {
    (void)version;
    struct engine *engine = implementation(engine_shell, &class_ICudaEngine);
    struct object probe = {.logger = logger};
    if (planned(&probe, "createInferRefitter_INTERNAL")) return NULL;
    if (!engine->plan.weights_count) {
        fail(&probe, ErrorCode_kINVALID_CONFIG, "createInferRefitter", "API Usage Error",
             "The engine was not built with kREFIT.");
        return NULL;
    }
    struct refitter *refitter = object_make(sizeof *refitter, &class_IRefitter, &engine->object,
                                            NULL);
    refitter->object.logger = logger;
    return shell(refitter);
}

EXPORT void *getPluginRegistry(void) { return the_registry(); }
EXPORT void *getLogger(void) { return last_logger; }

/* tensorrt_version_8_6_0_12: what a library is can be told without running it. */
#define JOIN(prefix, version) prefix##version
#define VERSION_SYMBOL(version) JOIN(tensorrt_version_, version)
EXPORT const char VERSION_SYMBOL(TRT_BUILD) = 0;
