/* Extents and element types. */
#include "standin.h"

Dims to_dims(const struct shape *shape) {
    Dims dims = {.nbDims = shape->rank};
    for (int i = 0; i < 8; i++) dims.d[i] = (__typeof__(dims.d[0]))shape->d[i];
    return dims;
}

struct shape from_dims(const Dims *dims) {
    struct shape shape = {.rank = dims->nbDims};
    for (int i = 0; i < 8 && i < dims->nbDims; i++) shape.d[i] = dims->d[i];
    return shape;
}

bool same_shape(const struct shape *a, const struct shape *b) {
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = a->d[i] == b->d[i];
    return same;
}

bool is_open(const struct shape *shape) {
    for (int i = 0; i < shape->rank; i++)
        if (shape->d[i] < 0) return true;
    return false;
}

int64_t volume(const struct shape *shape) {
    int64_t volume = 1;
    for (int i = 0; i < shape->rank; i++) volume *= shape->d[i];
    return volume;
}

const char *shape_text(const struct shape *shape) {
    static _Thread_local char texts[4][192];
    static _Thread_local unsigned turn;
    char *text = texts[turn++ % 4];
    int at = 0;
    text[0] = 0;
    for (int i = 0; i < shape->rank; i++)
        at += snprintf(text + at, 192 - (size_t)at, "%s%lld", i ? "x" : "", (long long)shape->d[i]);
    return text;
}

int element_bits(DataType type) {
    static const int BITS[] = {32, 16, 8, 32, 8, 8, 8, 16, 64, 4, 4, 8};
#if defined V8_6
    int known = DataType_kFP8 + 1;
#elif defined V10
    int known = TRT_VERSION >= 100800 ? DataType_kFP4 + 1 : DataType_kINT4 + 1;
#else
    int known = DataType_kFP4 + 1;
#endif
    return type >= 0 && type < known ? BITS[type] : 0;
}

size_t byte_size(DataType type, int64_t elements) {
    return ((size_t)elements * (size_t)element_bits(type) + 7) / 8;
}
