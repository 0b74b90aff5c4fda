/* The parser library: IParser, IParserError and what it exports. */
#include "network.h"
#include "onnx.h"

#define EXPORT __attribute__((visibility("default")))

/* nvonnxparser::ErrorCode; the same numbers in every version. */
enum { MODEL_DESERIALIZE_FAILED = 3, INVALID_VALUE = 4, INVALID_GRAPH = 5, UNSUPPORTED_NODE = 8 };

struct parser_error {
    struct object object;
    int code, node;
    char *description, *node_name, *operator, *function;
};

struct parser {
    struct object object;
    struct network *network;
    struct parser_error **errors;
    int error_count;
    uint64_t flags;
};

static void release_error(void *self) {
    struct parser_error *error = self;
    free(error->description), free(error->node_name), free(error->operator), free(error->function);
}

int32_t IParserError_code(void *self) { return ((struct parser_error *)self)->code; }
void *IParserError_desc(void *self) { return ((struct parser_error *)self)->description; }
void *IParserError_file(void *self) {
    (void)self;
    return "ModelImporter.cpp";
}
int32_t IParserError_line(void *self) {
    (void)self;
    return 836;
}
void *IParserError_func(void *self) { return ((struct parser_error *)self)->function; }
int32_t IParserError_node(void *self) { return ((struct parser_error *)self)->node; }
void *IParserError_nodeName(void *self) { return ((struct parser_error *)self)->node_name; }
void *IParserError_nodeOperator(void *self) { return ((struct parser_error *)self)->operator; }

static void add_error(struct parser *parser, int code, const char *function, int node,
                      const struct onnx_node *at, char *description) {
    struct parser_error *error = object_make_owned(sizeof *error, &class_IParserError,
                                                   &parser->object, release_error);
    error->code = code;
    error->function = copy_text(function);
    error->node = node;
    error->description = description;
    error->node_name = copy_text(at && at->name ? at->name : "");
    error->operator = copy_text(at ? at->operator : "");
    APPEND(parser->errors, parser->error_count, error);
    /* Those of a node go to the logger, the rest where errors go. */
    if (!at) {
        char *text = format_text("In node -1 with name:  and operator:  (%s): %s", function,
                                 description);
        report_error(parser, ErrorCode_kINTERNAL_ERROR, text);
        free(text);
        return;
    }
    say(parser, ILogger_Severity_kERROR,
        "ModelImporter.cpp:140: While parsing node number %d [%s -> \"%s\"]:", node, at->operator,
        at->outputs[0]);
    say(parser, ILogger_Severity_kERROR, "ModelImporter.cpp:142: --- Begin node ---\nNode name: %s",
        error->node_name);
    say(parser, ILogger_Severity_kERROR, "ModelImporter.cpp:143: --- End node ---");
    say(parser, ILogger_Severity_kERROR,
        "ModelImporter.cpp:151: ERROR: onnxOpCheckers.cpp:1130 In function %s:\n[%d] %s", function,
        code, description);
}

/* ---- what this version takes */

/* Operators that no version has an importer for. */
static bool has_importer(const char *operator) {
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
    if (onnx == 7) return DataType_kINT32; /* it has no INT64 */
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
static bool check_weights(struct parser *parser, const struct onnx_weights *weights,
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
        for (int n = 0; n < node->output_count; n++)
            if (*node->outputs[n])
                ops->connect(layer, ops->tensor(network, node->outputs[n]), true);
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
    for (int i = 0; (fine || !stops) && i < model->node_count; i++)
        fine &= check_node(parser, &model->nodes[i], i);
    for (int i = 0; (fine || !stops) && i < model->input_count; i++)
        fine &= check_type(parser, model->inputs[i].type, model->inputs[i].name);
    for (int i = 0; (fine || !stops) && i < model->output_count; i++)
        fine &= check_type(parser, model->outputs[i].type, model->outputs[i].name);
    for (int i = 0; (fine || !stops) && i < model->weights_count; i++)
        fine &= check_weights(parser, &model->weights[i], path);
    return fine;
}

static bool parse(struct parser *parser, const void *bytes, size_t size, const char *path) {
    struct onnx_model model;
    bool read = onnx_read(&model, bytes, size);
    if (!read)
        add_error(parser, MODEL_DESERIALIZE_FAILED, "deserializeOnnxModel", -1, NULL,
                  copy_text("Assertion failed: model->ParseFromCodedStream(&codedInput): Failed to "
                            "parse the ONNX model."));
    bool fine = read && check_model(parser, &model, path);
    if (fine) {
        say(parser, ILogger_Severity_kINFO, "Opset version: %lld", (long long)model.opset);
        fill_in(parser, &model);
    }
    onnx_free(&model);
    return fine;
}

/* ---- IParser */

bool IParser_parse(void *self, void *bytes, uint64_t size, void *path) {
    FAIL_IF_PLANNED(false);
    return parse(self, bytes, size, path);
}

/* The bytes of a file, or null. */
static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    *size = fread(bytes, 1, *size, file);
    fclose(file);
    return bytes;
}

bool IParser_parseFromFile(void *self, void *path, int32_t verbosity) {
    FAIL_IF_PLANNED(false);
    (void)verbosity;
    size_t size;
    char *bytes = read_file(path, &size);
    if (!bytes) {
        add_error(
            self, INVALID_VALUE, "parseFromFile", -1, NULL,
            format_text("Assertion failed: stat(onnxModelFile, &sb) == 0 && S_ISREG(sb.st_mode): "
                        "Input file cannot be found, or is not a regular file: %s",
                        (char *)path));
        return false;
    }
    bool fine = parse(self, bytes, size, path);
    free(bytes);
    return fine;
}

bool IParser_supportsOperator(void *self, void *operator) {
    (void)self;
    return has_importer(operator);
}
int32_t IParser_getNbErrors(void *self) { return ((struct parser *)self)->error_count; }

void *IParser_getError(void *self, int32_t index) {
    struct parser *parser = self;
    return index >= 0 && index < parser->error_count ? parser->errors[index] : NULL;
}

void IParser_clearErrors(void *self) {
    struct parser *parser = self;
    for (int i = 0; i < parser->error_count; i++) object_end(&parser->errors[i]->object);
    parser->error_count = 0;
}

void *IParser_getUsedVCPluginLibraries(void *self, void *count) {
    (void)self;
    *(int64_t *)count = 0;
    return NULL;
}

void IParser_setFlag(void *self, int32_t flag) { ((struct parser *)self)->flags |= 1ull << flag; }
void IParser_destroy(void *self) { object_delete(self); }
void IParser_deleting_destructor(void *self) { object_delete(self); }

static void release_parser(void *self) { free(((struct parser *)self)->errors); }

EXPORT void *createNvOnnxParser_INTERNAL(void *network_shell, void *logger, int version) {
    (void)version;
    struct network *network = implementation(network_shell, &class_INetworkDefinition);
    struct object probe = {.logger = logger};
    if (planned(&probe, "createNvOnnxParser_INTERNAL")) return NULL;
    struct parser *parser = object_make(sizeof *parser, &class_IParser, &network->object,
                                        release_parser);
    parser->object.logger = logger;
    parser->network = network;
    return parser;
}

/* 0.1.0, from TensorRT-RTX 1.7 on 0.2.0. */
EXPORT int getNvOnnxParserVersion(void) { return IS_RTX && TRT_VERSION >= 10700 ? 200 : 100; }

/* ---- IParserRefitter */

#ifndef V8_6
struct parser_refitter {
    struct parser parser; /* for its errors */
    struct object *refitter;
};

static bool refit(struct parser_refitter *self, const void *bytes, size_t size, const char *path) {
    struct onnx_model model;
    bool fine = onnx_read(&model, bytes, size);
    if (!fine)
        add_error(&self->parser, MODEL_DESERIALIZE_FAILED, "deserializeOnnxModel", -1, NULL,
                  copy_text("Failed to parse the ONNX model"));
    for (int i = 0; fine && i < model.weights_count; i++)
        fine = check_weights(&self->parser, &model.weights[i], path);
    for (int i = 0; fine && i < model.weights_count; i++) {
        Weights weights = {.values = model.weights, .count = 1};
        fine = CALL(IRefitter, self->refitter, setNamedWeights, model.weights[i].name, weights);
        if (!fine)
            add_error(&self->parser, INVALID_GRAPH, "refitOnnxWeights", -1, NULL,
                      format_text("the engine has no weights `%s`", model.weights[i].name));
    }
    onnx_free(&model);
    return fine;
}

bool IParserRefitter_refitFromBytes(void *self, void *bytes, uint64_t size, void *path) {
    FAIL_IF_PLANNED(false);
    return refit(self, bytes, size, path);
}

bool IParserRefitter_refitFromFile(void *self, void *path) {
    FAIL_IF_PLANNED(false);
    size_t size;
    char *bytes = read_file(path, &size);
    if (!bytes)
        add_error(self, MODEL_DESERIALIZE_FAILED, "refitFromFile", -1, NULL,
                  format_text("Failed to open file: %s", (char *)path));
    bool fine = bytes && refit(self, bytes, size, path);
    free(bytes);
    return fine;
}

int32_t IParserRefitter_getNbErrors(void *self) { return IParser_getNbErrors(self); }
void *IParserRefitter_getError(void *self, int32_t index) { return IParser_getError(self, index); }
void IParserRefitter_clearErrors(void *self) { IParser_clearErrors(self); }
void IParserRefitter_deleting_destructor(void *self) { object_delete(self); }

EXPORT void *createNvOnnxParserRefitter_INTERNAL(void *refitter_shell, void *logger, int version) {
    (void)version;
    struct object *refitter = implementation(refitter_shell, &class_IRefitter),
                  probe = {.logger = logger};
    if (planned(&probe, "createNvOnnxParserRefitter_INTERNAL")) return NULL;
    struct parser_refitter *made = object_make(sizeof *made, &class_IParserRefitter, refitter,
                                               release_parser);
    made->parser.object.logger = logger;
    made->refitter = refitter;
    return made;
}
#endif
