/* Writes and reads plans. One fact a line: a word, numbers, and last a name. */
#include "plan.h"
#include <inttypes.h>

static const char MAGIC[] = "standin plan\n";

static uint64_t checksum(const char *bytes, size_t size) {
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t i = 0; i < size; i++) sum = (sum ^ (uint8_t)bytes[i]) * 0x100000001b3;
    return sum;
}

/* ---- writing */

struct text {
    char *bytes;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *more;
    int length = vasprintf(&more, format, arguments);
    if (length < 0) die("out of memory");
    text->bytes = realloc(text->bytes, text->size + (size_t)length + 1);
    memcpy(text->bytes + text->size, more, (size_t)length + 1);
    text->size += (size_t)length;
    free(more);
}

/* A name ends its line; line ends in it are written as another character. */
static void put_name(struct text *text, const char *name) {
    put(text, " %s\n", name);
    for (char *c = text->bytes + text->size - 1 - strlen(name); *c; c++)
        if (*c == '\n' && c[1]) *c = '\1';
}

static void put_shape(struct text *text, const struct shape *shape) {
    put(text, " %d", shape->rank);
    for (int i = 0; i < shape->rank; i++) put(text, " %" PRId64, shape->d[i]);
}

static void put_range(struct text *text, int tensor, int profile, const struct range *range) {
    for (int selector = 0; selector < 3; selector++) {
        if (range->has_shape[selector]) {
            put(text, "range %d %d %d", tensor, profile, selector);
            put_shape(text, &range->shape[selector]);
            put(text, "\n");
        }
        if (range->has_values[selector]) {
            put(text, "values %d %d %d %d", tensor, profile, selector, range->value_count);
            for (int i = 0; i < range->value_count; i++)
                put(text, " %" PRId64, range->values[selector][i]);
            put(text, "\n");
        }
    }
}

char *plan_write(const struct plan *plan) {
    struct text text = {0};
    put(&text, "version %d\nflavor %s\nname", plan->version, plan->flavor);
    put_name(&text, plan->name);
    for (int i = 0; i < plan->capability_count; i++)
        put(&text, "capability %d\n", plan->capabilities[i]);
    put(&text,
        "at_least %d\nflags %" PRIu64
        "\nhardware %d\nverbosity %d\naux_streams %d\ndevice_memory %" PRId64 "\n",
        plan->at_least, plan->flags, plan->hardware, plan->verbosity, plan->aux_streams,
        plan->device_memory);
    put(&text, "profiles %d\nstripped %d\n", plan->profile_count, plan->stripped);
    for (int i = 0; i < plan->tensor_count; i++) {
        struct plan_tensor *tensor = &plan->tensors[i];
        put(&text, "tensor %d %d %d", tensor->input, tensor->holds_shape, tensor->type);
        put_shape(&text, &tensor->shape);
        put_name(&text, tensor->name);
        for (int axis = 0; axis < tensor->shape.rank; axis++)
            if (tensor->open[axis]) {
                put(&text, "open %d %d", i, axis);
                put_name(&text, tensor->open[axis]);
            }
        for (int profile = 0; tensor->ranges && profile < plan->profile_count; profile++)
            put_range(&text, i, profile, &tensor->ranges[profile]);
    }
    for (int i = 0; i < plan->layer_count; i++) {
        put(&text, "layer %d %s", plan->layers[i].precision, plan->layers[i].operator);
        put_name(&text, plan->layers[i].name);
    }
    for (int i = 0; i < plan->weights_count; i++) {
        put(&text, "weights %" PRId64, plan->weights[i].bytes);
        put_name(&text, plan->weights[i].name);
    }
    char *whole = format_text("%s%016" PRIx64 " %zu\n%s", MAGIC, checksum(text.bytes, text.size),
                              text.size, text.bytes);
    free(text.bytes);
    return whole;
}

/* ---- reading */

static struct shape take_shape(char **line) {
    struct shape shape = {.rank = (int)strtol(*line, line, 10)};
    for (int i = 0; i < shape.rank && i < 8; i++) shape.d[i] = strtoll(*line, line, 10);
    return shape;
}

static int take(char **line) { return (int)strtol(*line, line, 10); }

/* The name at the end of a line, behind one space. */
static char *take_name(const char *line) {
    char *name = copy_text(*line == ' ' ? line + 1 : line);
    for (char *c = name; *c; c++)
        if (*c == '\1') *c = '\n';
    return name;
}

static void read_line(struct plan *plan, char *line) {
    char *word = strsep(&line, " ");
    if (!line) line = "";
#define IS(name) (!strcmp(word, name))
    if (IS("version")) plan->version = take(&line);
    else if (IS("flavor")) plan->flavor = copy_text(line);
    else if (IS("name")) plan->name = take_name(line);
    else if (IS("capability")) APPEND(plan->capabilities, plan->capability_count, take(&line));
    else if (IS("at_least")) plan->at_least = take(&line);
    else if (IS("flags")) plan->flags = strtoull(line, NULL, 10);
    else if (IS("hardware")) plan->hardware = take(&line);
    else if (IS("verbosity")) plan->verbosity = take(&line);
    else if (IS("aux_streams")) plan->aux_streams = take(&line);
    else if (IS("device_memory")) plan->device_memory = strtoll(line, NULL, 10);
    else if (IS("profiles")) plan->profile_count = take(&line);
    else if (IS("stripped")) plan->stripped = take(&line);
    else if (IS("tensor")) {
        struct plan_tensor tensor = {.input = take(&line)};
        tensor.holds_shape = take(&line);
        tensor.type = take(&line);
        tensor.shape = take_shape(&line);
        tensor.name = take_name(line);
        tensor.ranges = calloc((size_t)plan->profile_count + 1, sizeof *tensor.ranges);
        APPEND(plan->tensors, plan->tensor_count, tensor);
    } else if (IS("open")) {
        struct plan_tensor *tensor = &plan->tensors[take(&line)];
        char **open = &tensor->open[take(&line)];
        *open = take_name(line);
    } else if (IS("range") || IS("values")) {
        struct plan_tensor *tensor = &plan->tensors[take(&line)];
        struct range *range = &tensor->ranges[take(&line)];
        int selector = take(&line);
        struct shape numbers = take_shape(&line);
        if (IS("range")) {
            range->shape[selector] = numbers;
            range->has_shape[selector] = true;
        } else {
            range->value_count = numbers.rank;
            memcpy(range->values[selector], numbers.d, sizeof numbers.d);
            range->has_values[selector] = true;
        }
    } else if (IS("layer")) {
        struct plan_layer layer = {.precision = take(&line)};
        char *operator = line + 1;
        layer.name = strchr(operator, ' ');
        *layer.name++ = 0;
        layer.operator = copy_text(operator);
        layer.name = take_name(layer.name);
        APPEND(plan->layers, plan->layer_count, layer);
    } else if (IS("weights")) {
        struct weights weights = {.type = -1, .bytes = strtoll(line, &line, 10)};
        weights.name = take_name(line);
        APPEND(plan->weights, plan->weights_count, weights);
    } else die("a plan has a line `%s`", word);
}

enum plan_fault plan_read(struct plan *plan, const char *bytes, size_t size) {
    *plan = (struct plan){0};
    size_t head = strlen(MAGIC) + 17;
    if (size < head || memcmp(bytes, MAGIC, strlen(MAGIC))) return PLAN_NO_MAGIC;
    char *copy = malloc(size + 1);
    memcpy(copy, bytes, size);
    copy[size] = 0;
    char *rest;
    uint64_t sum = strtoull(copy + strlen(MAGIC), &rest, 16);
    size_t length = strtoull(rest, &rest, 10);
    enum plan_fault fault = PLAN_FINE;
    if (*rest++ != '\n' || (size_t)(copy + size - rest) < length) fault = PLAN_TRUNCATED;
    else if (checksum(rest, length) != sum) fault = PLAN_DAMAGED;
    char *line;
    while (fault == PLAN_FINE && (line = strsep(&rest, "\n")) && *line) read_line(plan, line);
    free(copy);
    return fault;
}

void plan_free(struct plan *plan) {
    for (int i = 0; i < plan->tensor_count; i++) {
        for (int axis = 0; axis < 8; axis++) free(plan->tensors[i].open[axis]);
        free(plan->tensors[i].name), free(plan->tensors[i].ranges);
    }
    for (int i = 0; i < plan->layer_count; i++)
        free(plan->layers[i].name), free(plan->layers[i].operator);
    for (int i = 0; i < plan->weights_count; i++) free(plan->weights[i].name);
    free(plan->tensors), free(plan->layers), free(plan->weights), free(plan->capabilities);
    free(plan->flavor), free(plan->name);
    *plan = (struct plan){0};
}

/* ---- asking */

struct plan_tensor *plan_tensor(const struct plan *plan, const char *name) {
    for (int i = 0; i < plan->tensor_count; i++)
        if (!strcmp(plan->tensors[i].name, name)) return &plan->tensors[i];
    return NULL;
}

struct shape plan_shape(const struct plan *plan, const struct plan_tensor *tensor,
                        const struct shape *inputs) {
    struct shape shape = tensor->input ? inputs[tensor - plan->tensors] : tensor->shape;
    for (int axis = 0; axis < shape.rank; axis++) {
        if (shape.d[axis] >= 0 || !tensor->open[axis]) continue;
        /* An open extent of the same name in an input. */
        for (int i = 0; i < plan->tensor_count; i++) {
            const struct plan_tensor *other = &plan->tensors[i];
            for (int a = 0; other->input && a < other->shape.rank; a++)
                if (other->open[a] && !strcmp(other->open[a], tensor->open[axis]))
                    shape.d[axis] = inputs[i].d[a];
        }
    }
    return shape;
}
