/* What the files of IExecutionContext share. */
#ifndef STANDIN_CONTEXT_H
#define STANDIN_CONTEXT_H
#include "engine.h"

struct binding {
    struct shape shape; /* of an input, -1 where not said yet */
    void *address, *output_allocator;
};

struct context {
    struct object object;
    struct engine *engine;
    /* Of the engine's allocator, of the caller's, of the temporary allocator. */
    void *memory, *lent, *scratch;
    void *temporary_allocator;
    struct binding *bindings;
    int profile;
    int changes; /* of profile, shapes and addresses */
    atomic_flag running;
};

/* Graphs of a context that is gone, or that changed, must not be launched. */
void context_gone(const struct context *context);

/* The shape of a tensor as far as inputs decide it, -1 where data does. */
struct shape shape_of(const struct context *context, int index);
/* As shape_of; of an output whose shape depends on data, as many elements as all inputs have. */
struct shape largest_shape(const struct context *context, int index);
/* Whether the values of inputs that hold shapes are in the profile; an error if not. */
bool check_values(struct context *context, const char *method);
/* Scratch memory comes from the temporary allocator, or else from the engine's. */
void *scratch_allocator(const struct context *context);

#endif
