/* Walks through an ONNX file's protobuf. */
#include "onnx.h"

/* What is left of a message, and the field that was last read from it. */
struct message {
    const uint8_t *at, *end;
    unsigned field, wire;
    uint64_t number;
    const uint8_t *bytes;
    size_t length;
    bool broken;
};

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static uint64_t varint(struct message *message) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && message->at < message->end; shift += 7) {
        uint8_t byte = *message->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return value;
    }
    message->broken = true;
    return 0;
}

/* Reads the next field; false at the end or where the message is broken. */
static bool next(struct message *message) {
    if (message->at == message->end || message->broken) return false;
    uint64_t key = varint(message);
    /* As protobuf: a zero or the end of a group ends the message, whatever follows. */
    if (key == 0 || (key & 7) == 4) {
        message->at = message->end;
        return false;
    }
    message->field = (unsigned)(key >> 3);
    message->wire = key & 7;
    message->length = 0;
    if (message->wire == VARINT) message->number = varint(message);
    else if (message->wire == BYTES) message->length = varint(message);
    else if (message->wire == FIXED64) message->length = 8;
    else if (message->wire == FIXED32) message->length = 4;
    else message->broken = true;
    message->broken |= message->field == 0 ||
                       message->length > (size_t)(message->end - message->at);
    if (message->broken) return false;
    message->bytes = message->at;
    message->at += message->length;
    return true;
}

static struct message inner(const struct message *message) {
    return (struct message){.at = message->bytes, .end = message->bytes + message->length};
}

static char *text(const struct message *message) {
    return format_text("%.*s", (int)message->length, (const char *)message->bytes);
}

/* Puts a text in place of another. */
static void set_text(char **place, const struct message *message) {
    free(*place);
    *place = text(message);
}

/* Field numbers are those of schemas/onnx.proto. */
static bool read_dimension(struct onnx_value *value, struct message message) {
    int axis = value->shape.rank++;
    if (axis >= 8) return false;
    value->shape.d[axis] = -1;
    while (next(&message)) {
        if (message.field == 1) value->shape.d[axis] = (int64_t)message.number;
        if (message.field == 2) set_text(&value->open[axis], &message);
    }
    return !message.broken;
}

static bool read_tensor_type(struct onnx_value *value, struct message message) {
    bool fine = true;
    while (fine && next(&message)) {
        if (message.field == 1) value->type = (int)message.number;
        if (message.field != 2) continue;
        struct message shape = inner(&message);
        while (fine && next(&shape))
            if (shape.field == 1) fine = read_dimension(value, inner(&shape));
        fine = fine && !shape.broken;
    }
    return fine && !message.broken;
}

static bool read_value(struct onnx_value *value, struct message message) {
    bool fine = true;
    while (fine && next(&message)) {
        if (message.field == 1) set_text(&value->name, &message);
        if (message.field != 2) continue;
        struct message type = inner(&message);
        while (fine && next(&type))
            if (type.field == 1) fine = read_tensor_type(value, inner(&type));
        fine = fine && !type.broken;
    }
    return fine && !message.broken && value->name;
}

/* The integer of an attribute of this name, 0 of another. */
static int read_attribute(const char *name, struct message message) {
    bool named = false;
    int number = 0;
    while (next(&message)) {
        if (message.field == 1)
            named = message.length == strlen(name) && !memcmp(message.bytes, name, message.length);
        if (message.field == 3) number = (int)message.number;
    }
    return named ? number : 0;
}

static bool read_node(struct onnx_node *node, struct message message) {
    while (next(&message)) {
        if (message.field == 1) APPEND(node->inputs, node->input_count, text(&message));
        if (message.field == 2) APPEND(node->outputs, node->output_count, text(&message));
        if (message.field == 3) set_text(&node->name, &message);
        if (message.field == 4) set_text(&node->operator, &message);
        if (message.field == 7) set_text(&node->domain, &message);
        int to = message.field == 5 ? read_attribute("to", inner(&message)) : 0;
        if (to) node->to = to;
    }
    return !message.broken && node->operator && node->output_count;
}

static bool read_weights(struct onnx_weights *weights, struct message message) {
    int64_t elements = 1;
    while (next(&message)) {
        if (message.field == 1 && message.wire == VARINT) elements *= (int64_t)message.number;
        if (message.field == 1 && message.wire == BYTES) {
            struct message packed = inner(&message);
            while (packed.at < packed.end && !packed.broken) elements *= (int64_t)varint(&packed);
        }
        if (message.field == 2) weights->type = (int)message.number;
        if (message.field == 8) set_text(&weights->name, &message);
        if (message.field != 13) continue;
        struct message entry = inner(&message), key = {0}, value = {0};
        while (next(&entry)) *(entry.field == 1 ? &key : &value) = entry;
        if (key.length == 8 && !memcmp(key.bytes, "location", 8)) set_text(&weights->file, &value);
    }
    weights->bytes = elements * 4;
    if (!weights->name) weights->name = copy_text("");
    return !message.broken;
}

#define READ(array, count, reader)              \
    do {                                        \
        __typeof__(*(array)) fresh = {0};       \
        fine = reader(&fresh, inner(&message)); \
        APPEND(array, count, fresh);            \
    } while (0)

static bool read_graph(struct onnx_model *model, struct message message) {
    bool fine = true;
    while (fine && next(&message)) {
        if (message.field == 1) READ(model->nodes, model->node_count, read_node);
        if (message.field == 2) set_text(&model->name, &message);
        if (message.field == 5) READ(model->weights, model->weights_count, read_weights);
        if (message.field == 11) READ(model->inputs, model->input_count, read_value);
        if (message.field == 12) READ(model->outputs, model->output_count, read_value);
        if (message.field == 13) READ(model->values, model->value_count, read_value);
    }
    return fine && !message.broken;
}

static void read_opset(struct onnx_model *model, struct message message) {
    bool standard = true;
    int64_t version = 0;
    while (next(&message)) {
        if (message.field == 1) standard = message.length == 0;
        if (message.field == 2) version = (int64_t)message.number;
    }
    if (standard) model->opset = version;
}

bool onnx_read(struct onnx_model *model, const void *bytes, size_t size) {
    *model = (struct onnx_model){0};
    struct message message = {.at = bytes, .end = (const uint8_t *)bytes + size};
    bool fine = true;
    while (fine && next(&message)) {
        if (message.field == 8 && message.wire == BYTES) read_opset(model, inner(&message));
        if (message.field == 7 && message.wire == BYTES) fine = read_graph(model, inner(&message));
    }
    if (!model->name) model->name = copy_text("");
    return fine && !message.broken;
}

static void free_values(struct onnx_value *values, int count) {
    for (int i = 0; i < count; i++) {
        free(values[i].name);
        for (int axis = 0; axis < 8; axis++) free(values[i].open[axis]);
    }
    free(values);
}

void onnx_free(struct onnx_model *model) {
    free_values(model->inputs, model->input_count);
    free_values(model->outputs, model->output_count);
    free_values(model->values, model->value_count);
    for (int i = 0; i < model->node_count; i++) {
        struct onnx_node *node = &model->nodes[i];
        for (int n = 0; n < node->input_count; n++) free(node->inputs[n]);
        for (int n = 0; n < node->output_count; n++) free(node->outputs[n]);
        free(node->inputs), free(node->outputs);
        free(node->name), free(node->operator), free(node->domain);
    }
    for (int i = 0; i < model->weights_count; i++)
        free(model->weights[i].name), free(model->weights[i].file);
    free(model->nodes), free(model->weights), free(model->name);
}
