/* What the parser's files share. */
#ifndef STANDIN_PARSER_H
#define STANDIN_PARSER_H
#include "network.h"
#include "onnx.h"

/* nvonnxparser::ErrorCode; the same numbers in every version. */
enum { MODEL_DESERIALIZE_FAILED = 3, INVALID_VALUE = 4, INVALID_GRAPH = 5, UNSUPPORTED_NODE = 8 };

struct parser_error {
    struct object object;
    int code, node;
    char *description, *node_name, *operator, * function;
};

struct parser {
    struct object object;
    struct network *network;
    struct parser_error **errors;
    int error_count;
    uint64_t flags;
};

/* Takes the description; `at` is the node, or null of what is no node's. */
void add_error(struct parser *parser, int code, const char *function, int node,
               const struct onnx_node *at, char *description);
/* Whether this operator of the standard can be imported. */
bool has_importer(const char *operator);
/* Checks a model and puts it into the parser's network; false with errors. External data is looked
 * for beside `path`. */
bool import_model(struct parser *parser, const struct onnx_model *model, const char *path);
/* Whether weights beside the model are there, and of a type that this version has. */
bool check_weights(struct parser *parser, const struct onnx_weights *weights, const char *path);

#endif
