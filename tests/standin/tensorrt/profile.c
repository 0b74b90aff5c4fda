/* IOptimizationProfile. */
#include "builder.h"

static void release_profile(void *self) {
    struct profile *profile = self;
    for (int i = 0; i < profile->range_count; i++) free(profile->ranges[i].name);
    free(profile->ranges);
}

/* Profiles are the builder's: callers do not delete them. */
struct profile *profile_make(struct object *builder) {
    return object_make_owned(sizeof(struct profile), &class_IOptimizationProfile, builder,
                             release_profile);
}

struct range *profile_range(const struct profile *profile, const char *name) {
    for (int i = 0; i < profile->range_count; i++)
        if (!strcmp(profile->ranges[i].name, name)) return &profile->ranges[i];
    return NULL;
}

static struct range *range_of(struct profile *profile, const char *name) {
    struct range *found = profile_range(profile, name);
    if (found) return found;
    struct range fresh = {.name = copy_text(name)};
    APPEND(profile->ranges, profile->range_count, fresh);
    return &profile->ranges[profile->range_count - 1];
}

static bool set_dimensions(void *self, const char *name, int32_t selector, const Dims *dims) {
    struct shape shape = from_dims(dims);
    if (selector < 0 || selector > 2 || shape.rank < 0 || shape.rank > 8 || is_open(&shape)) {
        fail(self, ErrorCode_kINVALID_ARGUMENT, "IOptimizationProfile::setDimensions",
             "API Usage Error",
             "Parameter check failed, condition: std::all_of(dims.d, dims.d + dims.nbDims, "
             "[](int32_t x) noexcept { return x >= 0; }).");
        return false;
    }
    struct range *range = range_of(self, name);
    range->shape[selector] = shape;
    range->has_shape[selector] = true;
    return true;
}

#ifdef V8_6
bool IOptimizationProfile_setDimensions(void *self, void *name, int32_t selector, Dims32 dims) {
    FAIL_IF_PLANNED(false);
    return set_dimensions(self, name, selector, &dims);
}
#else
bool IOptimizationProfile_setDimensions(void *self, void *name, int32_t selector, void *dims) {
    FAIL_IF_PLANNED(false);
    return set_dimensions(self, name, selector, dims);
}
#endif

/* Room for the values of one selector, or null. */
static int64_t *values_of(void *self, const char *name, int32_t selector, int32_t count) {
    if (selector < 0 || selector > 2 || count < 0 || count > 8) return NULL;
    struct range *range = range_of(self, name);
    bool others = range->has_values[0] || range->has_values[1] || range->has_values[2];
    if (others && range->value_count != count) return NULL;
    range->value_count = count;
    range->has_values[selector] = true;
    return range->values[selector];
}

bool IOptimizationProfile_setShapeValues(void *self, void *name, int32_t selector, void *values,
                                         int32_t count) {
    FAIL_IF_PLANNED(false);
    int64_t *room = values_of(self, name, selector, count);
    for (int i = 0; room && i < count; i++) room[i] = ((int32_t *)values)[i];
    return room;
}

bool IOptimizationProfile_setShapeValuesV2(void *self, void *name, int32_t selector, void *values,
                                           int32_t count) {
    FAIL_IF_PLANNED(false);
    int64_t *room = values_of(self, name, selector, count);
    for (int i = 0; room && i < count; i++) room[i] = ((int64_t *)values)[i];
    return room;
}

static bool range_is_valid(const struct range *range) {
    bool shapes = range->has_shape[0] && range->has_shape[1] && range->has_shape[2];
    bool values = range->has_values[0] && range->has_values[1] && range->has_values[2];
    if (!shapes && !values) return false;
    for (int i = 0; shapes && i < range->shape[0].rank; i++) {
        if (range->shape[1].rank != range->shape[0].rank ||
            range->shape[2].rank != range->shape[0].rank)
            return false;
        if (range->shape[0].d[i] > range->shape[1].d[i] ||
            range->shape[1].d[i] > range->shape[2].d[i])
            return false;
    }
    for (int i = 0; values && i < range->value_count; i++)
        if (range->values[0][i] > range->values[1][i] || range->values[1][i] > range->values[2][i])
            return false;
    return true;
}

bool profile_is_valid(const struct profile *profile) {
    for (int i = 0; i < profile->range_count; i++)
        if (!range_is_valid(&profile->ranges[i])) return false;
    return true;
}

bool IOptimizationProfile_isValid(void *self) { return profile_is_valid(self); }
