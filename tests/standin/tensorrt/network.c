/* INetworkDefinition, ITensor, ILayer. */
#include "network.h"

/* ---- ITensor */

static void release_tensor(void *self) {
    struct tensor *tensor = self;
    free(tensor->name);
    for (int i = 0; i < 8; i++) free(tensor->open[i]);
}

void *ITensor_getName(void *self) { return ((struct tensor *)self)->name; }
Dims ITensor_getDimensions(void *self) { return to_dims(&((struct tensor *)self)->shape); }
DataType ITensor_getType(void *self) { return ((struct tensor *)self)->type; }
bool ITensor_isShapeTensor(void *self) { return ((struct tensor *)self)->holds_shape; }

/* ---- ILayer */

static void release_layer(void *self) {
    struct layer *layer = self;
    free(layer->name), free(layer->operator);
    free(layer->inputs), free(layer->outputs);
}

/* What TensorRT makes of a few operators; the rest are ELEMENTWISE. */
LayerType ILayer_getType(void *self) {
    const struct {
        const char *operator;
        LayerType type;
    } TYPES[] = {
        {"Conv", LayerType_kCONVOLUTION},        {"Relu", LayerType_kACTIVATION},
        {"MatMul", LayerType_kMATRIX_MULTIPLY},  {"Gemm", LayerType_kMATRIX_MULTIPLY},
        {"MaxPool", LayerType_kPOOLING},         {"Softmax", LayerType_kSOFTMAX},
        {"Reshape", LayerType_kSHUFFLE},         {"Flatten", LayerType_kSHUFFLE},
        {"Transpose", LayerType_kSHUFFLE},       {"Constant", LayerType_kCONSTANT},
        {"Identity", LayerType_kIDENTITY},       {"Cast", LayerType_kCAST},
        {"NonZero", LayerType_kNON_ZERO},        {"Shape", LayerType_kSHAPE},
        {"QuantizeLinear", LayerType_kQUANTIZE}, {"DequantizeLinear", LayerType_kDEQUANTIZE},
    };
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (!strcmp(TYPES[i].operator, ((struct layer *)self)->operator)) return TYPES[i].type;
    return LayerType_kELEMENTWISE;
}

void *ILayer_getName(void *self) { return ((struct layer *)self)->name; }
int32_t ILayer_getNbInputs(void *self) { return ((struct layer *)self)->input_count; }
int32_t ILayer_getNbOutputs(void *self) { return ((struct layer *)self)->output_count; }

void *ILayer_getInput(void *self, int32_t index) {
    struct layer *layer = self;
    return index >= 0 && index < layer->input_count ? shell(layer->inputs[index]) : NULL;
}

void *ILayer_getOutput(void *self, int32_t index) {
    struct layer *layer = self;
    return index >= 0 && index < layer->output_count ? shell(layer->outputs[index]) : NULL;
}

void ILayer_setPrecision(void *self, DataType type) {
    if (!element_bits(type)) die("ILayer::setPrecision: %d is no type", type);
    ((struct layer *)self)->precision = type;
}

void ILayer_setOutputType(void *self, int32_t index, DataType type) {
    struct layer *layer = self;
    if (index < 0 || index >= layer->output_count || index >= 8)
        die("ILayer::setOutputType: no output %d", index);
    if (!element_bits(type)) die("ILayer::setOutputType: %d is no type", type);
    layer->output_type[index] = type;
}

DataType ILayer_getOutputType(void *self, int32_t index) {
    struct layer *layer = self;
    if (index < 0 || index >= layer->output_count || index >= 8)
        die("ILayer::getOutputType: no output %d", index);
    return layer->output_type[index] >= 0 ? layer->output_type[index] : layer->outputs[index]->type;
}

/* ---- INetworkDefinition */

static struct tensor *find_or_make_tensor(struct network *network, const char *name) {
    for (int i = 0; i < network->tensor_count; i++)
        if (!strcmp(network->tensors[i]->name, name)) return network->tensors[i];
    struct tensor *tensor = object_make_owned(sizeof *tensor, &class_ITensor, &network->object,
                                              release_tensor);
    tensor->name = copy_text(name);
    tensor->type = DataType_kFLOAT;
    APPEND(network->tensors, network->tensor_count, tensor);
    return tensor;
}

static struct layer *make_layer(struct network *network, const char *name, const char *operator) {
    struct layer *layer = object_make_owned(sizeof *layer, &class_ILayer, &network->object,
                                            release_layer);
    layer->name = copy_text(name);
    layer->operator = copy_text(operator);
    layer->precision = -1;
    for (int i = 0; i < 8; i++) layer->output_type[i] = -1;
    APPEND(network->layers, network->layer_count, layer);
    return layer;
}

static void connect(struct layer *layer, struct tensor *tensor, bool output) {
    if (output) APPEND(layer->outputs, layer->output_count, tensor);
    else APPEND(layer->inputs, layer->input_count, tensor);
}

static void mark(struct network *network, struct tensor *tensor, bool output) {
    if (output) {
        tensor->output = true;
        APPEND(network->outputs, network->output_count, tensor);
    } else {
        tensor->input = true;
        APPEND(network->inputs, network->input_count, tensor);
    }
}

static void add_weights(struct network *network, const char *name, DataType type, int64_t bytes) {
    struct weights weights = {copy_text(name), type, bytes};
    APPEND(network->weights, network->weights_count, weights);
}

static const struct network_ops OPS = {find_or_make_tensor, make_layer, connect, mark, add_weights};

static void release_network(void *self) {
    struct network *network = self;
    for (int i = 0; i < network->weights_count; i++) free(network->weights[i].name);
    free(network->tensors), free(network->inputs), free(network->outputs);
    free(network->layers), free(network->weights), free(network->name);
}

struct network *network_make(struct object *builder, uint32_t flags) {
    struct network *network = object_make(sizeof *network, &class_INetworkDefinition, builder,
                                          release_network);
    network->flags = flags;
    network->name = copy_text("");
    network->ops = &OPS;
    return network;
}

bool is_strongly_typed(const struct network *network) {
#ifdef V8_6
    (void)network;
    return false;
#else
    return network->flags >> NetworkDefinitionCreationFlag_kSTRONGLY_TYPED & 1;
#endif
}

bool has_operator(const struct network *network, const char *operator) {
    for (int i = 0; i < network->layer_count; i++)
        if (!strcmp(network->layers[i]->operator, operator)) return true;
    return false;
}

bool has_type(const struct network *network, DataType type) {
    for (int i = 0; i < network->tensor_count; i++)
        if (network->tensors[i]->type == type) return true;
    for (int i = 0; i < network->weights_count; i++)
        if (network->weights[i].type == type) return true;
    return false;
}

int32_t INetworkDefinition_getNbLayers(void *self) { return ((struct network *)self)->layer_count; }
int32_t INetworkDefinition_getNbInputs(void *self) { return ((struct network *)self)->input_count; }
int32_t INetworkDefinition_getNbOutputs(void *self) {
    return ((struct network *)self)->output_count;
}

void *INetworkDefinition_getLayer(void *self, int32_t index) {
    struct network *network = self;
    return index >= 0 && index < network->layer_count ? shell(network->layers[index]) : NULL;
}

void *INetworkDefinition_getInput(void *self, int32_t index) {
    struct network *network = self;
    return index >= 0 && index < network->input_count ? shell(network->inputs[index]) : NULL;
}

void *INetworkDefinition_getOutput(void *self, int32_t index) {
    struct network *network = self;
    return index >= 0 && index < network->output_count ? shell(network->outputs[index]) : NULL;
}

void INetworkDefinition_setErrorRecorder(void *self, void *recorder) {
    set_error_recorder(self, recorder);
}
