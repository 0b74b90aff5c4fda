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
    void *memory, *scratch; /* of the engine's allocator, of the temporary one */
    void *temporary_allocator;
    struct binding *bindings;
    int profile;
    atomic_flag running;
};

/* The shape of a tensor as far as inputs decide it, -1 where data does. */
struct shape shape_of(const struct context *context, int index);
/* As shape_of; of an output whose shape depends on data, as many elements as all inputs have. */
struct shape largest_shape(const struct context *context, int index);
/* Whether the values of inputs that hold shapes are in the profile; an error if not. */
bool check_values(struct context *context, const char *method);
/* Scratch memory comes from the temporary allocator, or else from the engine's. */
void *scratch_allocator(const struct context *context);

#endif
