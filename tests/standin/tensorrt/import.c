/* From an ONNX model to a network: what this version takes, and what it makes of it. */
#include "parser.h"
#include <signal.h>

/* Some that no version has an importer for. */
bool has_importer(const char *operator) {
    static const char *const NONE[] = {"Det", "BitShift", "Optional", "StringNormalizer",
                                       "TfIdfVectorizer"};
    for (size_t i = 0; i < sizeof NONE / sizeof *NONE; i++)
        if (!strcmp(NONE[i], operator)) return false;
    return true;
}

/* The DataType of a TensorProto.DataType, -1 of none. */
static int to_type(int onnx) {
    static const struct {
        int onnx, type;
    } TYPES[] = {{1, 0},  {10, 1}, {3, 2}, {6, 3},  {9, 4},   {2, 5},
                 {17, 6}, {16, 7}, {7, 8}, {22, 9}, {23, 10}, {24, 11}};
#ifdef V8_6
    /* It has no INT64, and its parser knows nothing of FP8. */
    if (onnx == 7) return DataType_kINT32;
    if (onnx == 17) return -1;
#endif
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (TYPES[i].onnx == onnx) return element_bits(TYPES[i].type) ? TYPES[i].type : -1;
    return -1;
}

static bool check_node(struct parser *parser, const struct onnx_node *node, int index) {
    bool standard = !node->domain || !*node->domain || !strcmp(node->domain, "ai.onnx");
    if (standard && has_importer(node->operator)) return true;
    if (standard && TRT_VERSION / 10000 != 8) {
        char *function = format_text("check%s", node->operator);
        add_error(parser, UNSUPPORTED_NODE, function, index, node, copy_text("false"));
        free(function);
        return false;
    }
    say(parser, ILogger_Severity_kINFO,
        "No importer registered for op: %s. Attempting to import as plugin.", node->operator);
    add_error(parser, UNSUPPORTED_NODE, "importFallbackPluginImporter", index, node,
              copy_text("Assertion failed: creator && \"Plugin not found, are the plugin name, "
                        "version, and namespace correct?\""));
    return false;
}

static bool check_type(struct parser *parser, int type, const char *name) {
    if (to_type(type) >= 0) return true;
    add_error(parser, UNSUPPORTED_NODE, "convertDtype", -1, NULL,
              format_text("Assertion failed: Unsupported ONNX data type %d of `%s`", type, name));
    return false;
}

/* Weights beside the model must be there. */
bool check_weights(struct parser *parser, const struct onnx_weights *weights,
                   const char *model_path) {
    if (!check_type(parser, weights->type, weights->name)) return false;
    if (!weights->file) return true;
    const char *slash = model_path ? strrchr(model_path, '/') : NULL;
    char *path = format_text("%.*s%s", slash ? (int)(slash + 1 - model_path) : 0,
                             slash ? model_path : "", weights->file);
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    else
        add_error(parser, INVALID_VALUE, "parseExternalWeights", -1, NULL,
                  format_text("Failed to open file: %s", path));
    free(path);
    return file;
}

/* Whether a node takes this input's values for a shape. */
static bool takes_as_shape(const struct onnx_node *node, int input) {
    static const struct {
        const char *operator;
        int first, last;
    } SHAPES[] = {
        {"Reshape", 1, 1},         {"Expand", 1, 1}, {"Tile", 1, 1},
        {"ConstantOfShape", 0, 0}, {"Slice", 1, 4},  {"Resize", 3, 3},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++)
        if (!strcmp(SHAPES[i].operator, node->operator) && input >= SHAPES[i].first &&
            input <= SHAPES[i].last)
            return true;
    return false;
}

/* ---- filling in the network */

static bool is_weights(const struct onnx_model *model, const char *name) {
    for (int i = 0; i < model->weights_count; i++)
        if (!strcmp(model->weights[i].name, name)) return true;
    return false;
}

static struct tensor *add_tensor(struct network *network, const struct onnx_value *value) {
    struct tensor *tensor = network->ops->tensor(network, value->name);
    tensor->type = to_type(value->type);
    tensor->shape = value->shape;
    for (int axis = 0; axis < value->shape.rank; axis++)
        if (value->open[axis]) tensor->open[axis] = copy_text(value->open[axis]);
    return tensor;
}

/* The type of a node's output where the model does not say it: as TensorRT infers it, roughly. */
static DataType infer_type(struct network *network, const struct onnx_model *model,
                           const struct onnx_node *node) {
    static const struct {
        const char *operator;
        int type;
    } FIXED[] = {{"Greater", 9}, {"Less", 9},  {"Equal", 9},   {"And", 9},   {"Or", 9},
                 {"Not", 9},     {"Shape", 7}, {"NonZero", 7}, {"ArgMax", 7}};
    for (size_t i = 0; i < sizeof FIXED / sizeof *FIXED; i++)
        if (!strcmp(FIXED[i].operator, node->operator)) return to_type(FIXED[i].type);
    if (node->to) return to_type(node->to);
    /* Quantized values have their zero point's type, the others that of their scale. */
    int like = !strcmp(node->operator, "QuantizeLinear")     ? 2
               : !strcmp(node->operator, "DequantizeLinear") ? 1
               : !strcmp(node->operator, "Where")            ? 1
                                                             : 0;
    if (like >= node->input_count) return like == 2 ? DataType_kINT8 : DataType_kFLOAT;
    for (int i = 0; i < model->weights_count; i++)
        if (!strcmp(model->weights[i].name, node->inputs[like]))
            return to_type(model->weights[i].type);
    return network->ops->tensor(network, node->inputs[like])->type;
}

static bool is_declared(const struct onnx_model *model, const char *name) {
    for (int i = 0; i < model->value_count; i++)
        if (!strcmp(model->values[i].name, name)) return true;
    return false;
}

static void fill_in(struct parser *parser, const struct onnx_model *model) {
    struct network *network = parser->network;
    const struct network_ops *ops = network->ops;
    free(network->name);
    network->name = copy_text(model->name);
    for (int i = 0; i < model->input_count; i++)
        if (!is_weights(model, model->inputs[i].name))
            ops->mark(network, add_tensor(network, &model->inputs[i]), false);
    for (int i = 0; i < model->value_count; i++) add_tensor(network, &model->values[i]);
    for (int i = 0; i < model->node_count; i++) {
        const struct onnx_node *node = &model->nodes[i];
        struct layer *layer = ops->layer(
            network, node->name && *node->name ? node->name : node->outputs[0], node->operator);
        for (int n = 0; n < node->input_count; n++) {
            if (!*node->inputs[n] || is_weights(model, node->inputs[n])) continue;
            struct tensor *tensor = ops->tensor(network, node->inputs[n]);
            if (tensor->input && takes_as_shape(node, n)) tensor->holds_shape = true;
            ops->connect(layer, tensor, false);
        }
        for (int n = 0; n < node->output_count; n++) {
            if (!*node->outputs[n]) continue;
            struct tensor *output = ops->tensor(network, node->outputs[n]);
            if (!is_declared(model, node->outputs[n]))
                output->type = infer_type(network, model, node);
            ops->connect(layer, output, true);
        }
    }
    for (int i = 0; i < model->output_count; i++)
        ops->mark(network, add_tensor(network, &model->outputs[i]), true);
    for (int i = 0; i < model->weights_count; i++)
        ops->weights(network, model->weights[i].name, to_type(model->weights[i].type),
                     model->weights[i].bytes);
    network->parser = &parser->object;
    network->parser_was_here = true;
}

static bool check_model(struct parser *parser, const struct onnx_model *model, const char *path) {
    /* 8.6 stops at the first error, later versions name them all. */
    bool stops = TRT_VERSION / 10000 == 8, fine = true;
    const char *crash = setting("CRASH_AT");
    for (int i = 0; (fine || !stops) && i < model->node_count; i++) {
        const struct onnx_node *node = &model->nodes[i];
        say(parser, ILogger_Severity_kVERBOSE, "Parsing node: %s [%s]", node->name, node->operator);
        if (crash && !strcmp(crash, node->operator)) raise(SIGSEGV);
        fine &= check_node(parser, node, i);
    }
    for (int i = 0; (fine || !stops) && i < model->input_count; i++)
        fine &= check_type(parser, model->inputs[i].type, model->inputs[i].name);
    for (int i = 0; (fine || !stops) && i < model->output_count; i++)
        fine &= check_type(parser, model->outputs[i].type, model->outputs[i].name);
    for (int i = 0; (fine || !stops) && i < model->weights_count; i++)
        fine &= check_weights(parser, &model->weights[i], path);
    return fine;
}

bool import_model(struct parser *parser, const struct onnx_model *model, const char *path) {
    if (!check_model(parser, model, path)) return false;
    say(parser, ILogger_Severity_kINFO, "Opset version: %lld", (long long)model->opset);
    fill_in(parser, model);
    return true;
}
