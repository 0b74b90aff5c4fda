/* The parser library: IParser, IParserError, IParserRefitter, and what it exports. */
#include "parser.h"

#define EXPORT __attribute__((visibility("default")))

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

void add_error(struct parser *parser, int code, const char *function, int node,
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

static bool parse(struct parser *parser, const void *bytes, size_t size, const char *path) {
    struct onnx_model model;
    bool read = onnx_read(&model, bytes, size);
    if (!read)
        add_error(parser, MODEL_DESERIALIZE_FAILED, "deserializeOnnxModel", -1, NULL,
                  copy_text("Assertion failed: model->ParseFromCodedStream(&codedInput): Failed to "
                            "parse the ONNX model."));
    bool fine = read && import_model(parser, &model, path);
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
