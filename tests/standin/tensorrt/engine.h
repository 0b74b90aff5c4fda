/* What the runtime's files share. */
#ifndef STANDIN_ENGINE_H
#define STANDIN_ENGINE_H
#include "plan.h"

struct runtime {
    struct object object;
    void *allocator;
    bool host_code;
};

struct engine {
    struct object object;
    struct plan plan;
    void *allocator;
    void *weights;  /* device memory */
    bool *refitted; /* one for each of the plan's weights */
};

struct engine *engine_make(struct runtime *runtime, const struct plan *plan);
/* An execution context, which the caller lends its memory or not. */
void *context_make(struct engine *engine, bool lent);
/* Whether weights that the plan does not hold are there by now. */
bool is_complete(const struct engine *engine);

#endif
