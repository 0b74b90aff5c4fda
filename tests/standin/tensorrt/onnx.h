/* As much of an ONNX file as the stand-in looks at. */
#ifndef STANDIN_ONNX_H
#define STANDIN_ONNX_H
#include "standin.h"

struct onnx_value {
    char *name;
    int type;           /* TensorProto.DataType */
    struct shape shape; /* -1 where open */
    char *open[8];
};

struct onnx_node {
    char *name, *operator, * domain;
    char **inputs, **outputs;
    int input_count, output_count;
    int to; /* the TensorProto.DataType that a Cast makes, 0 of other nodes */
};

struct onnx_weights {
    char *name, *file; /* file: where the bytes are, null where they are in the model */
    int type;
    int64_t bytes;
};

struct onnx_model {
    char *name;
    int64_t opset;
    struct onnx_value *inputs, *outputs, *values;
    struct onnx_node *nodes;
    struct onnx_weights *weights;
    int input_count, output_count, value_count, node_count, weights_count;
};

/* False where the bytes are broken. A model without a graph is an empty one, as it is to protobuf. */
bool onnx_read(struct onnx_model *model, const void *bytes, size_t size);
void onnx_free(struct onnx_model *model);

#endif
