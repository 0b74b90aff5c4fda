/* A network: what the parser fills in and the builder reads. The parser is another library, so it
 * makes the parts through `ops`. */
#ifndef STANDIN_NETWORK_H
#define STANDIN_NETWORK_H
#include "standin.h"

struct tensor {
    struct object object;
    char *name;
    DataType type;
    struct shape shape;
    char *open[8]; /* names of open extents, null where they have none */
    bool input, output;
    bool holds_shape; /* its values are a shape: it lives in host memory */
};

struct layer {
    struct object object;
    char *name, *operator;
    struct tensor **inputs, **outputs;
    int input_count, output_count;
    DataType precision;      /* -1 where free */
    DataType output_type[8]; /* -1 where free */
};

struct weights {
    char *name;
    DataType type;
    int64_t bytes;
};

struct network {
    struct object object;
    uint32_t flags;
    char *name;
    struct tensor **tensors, **inputs, **outputs;
    int tensor_count, input_count, output_count;
    struct layer **layers;
    int layer_count;
    struct weights *weights;
    int weights_count;
    /* The parser that filled it in: its weights are the parser's, which must outlive the build. */
    struct object *parser;
    bool parser_was_here;
    const struct network_ops *ops;
};

struct network_ops {
    /* The tensor of a name, made where there is none. */
    struct tensor *(*tensor)(struct network *network, const char *name);
    struct layer *(*layer)(struct network *network, const char *name, const char *operator);
    void (*connect)(struct layer *layer, struct tensor *tensor, bool output);
    void (*mark)(struct network *network, struct tensor *tensor, bool output);
    void (*weights)(struct network *network, const char *name, DataType type, int64_t bytes);
};

struct network *network_make(struct object *builder, uint32_t flags);
bool is_strongly_typed(const struct network *network);
/* Whether the network has a layer of this operator. */
bool has_operator(const struct network *network, const char *operator);
/* Whether a tensor or weights of the network have this type. */
bool has_type(const struct network *network, DataType type);

#endif
