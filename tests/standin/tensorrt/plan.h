/* A serialized engine: text behind a magic word, so that a test can look at it or damage it. */
#ifndef STANDIN_PLAN_H
#define STANDIN_PLAN_H
#include "builder.h"

struct plan_tensor {
    char *name;
    bool input, holds_shape;
    DataType type;
    struct shape shape;
    char *open[8];
    struct range *ranges; /* one for each profile; inputs that need one */
};

struct plan_layer {
    char *name, *operator;
    DataType precision;
};

struct plan {
    int version; /* as TRT_VERSION */
    char *flavor, *name;
    int *capabilities; /* on which it runs; empty: on any */
    int capability_count;
    int at_least;   /* on GPUs from this compute capability on, 0: only on those listed */
    uint64_t flags; /* BuilderFlags it was built with */
    int32_t hardware, verbosity, aux_streams;
    int64_t device_memory;
    struct plan_tensor *tensors;
    int tensor_count, profile_count;
    struct plan_layer *layers;
    int layer_count;
    struct weights *weights;
    int weights_count;
    bool stripped; /* weights are missing until it is refitted */
};

/* The text of a plan; the caller frees it. */
char *plan_write(const struct plan *plan);
enum plan_fault { PLAN_FINE, PLAN_NO_MAGIC, PLAN_TRUNCATED, PLAN_DAMAGED };
enum plan_fault plan_read(struct plan *plan, const char *bytes, size_t size);
void plan_free(struct plan *plan);

/* The flavour of the plan, where its bytes begin as one. */
struct plan_tensor *plan_tensor(const struct plan *plan, const char *name);
/* Extents of a tensor where those of the inputs are known; -1 where they depend on data. */
struct shape plan_shape(const struct plan *plan, const struct plan_tensor *tensor,
                        const struct shape *inputs);

#endif
