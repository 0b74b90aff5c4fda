/* Implicit INT8 calibration of 8.6 and 10: asks the caller's calibrator for batches. */
#include "builder.h"

#if !defined V8_6 && !defined V10
bool calibrate(struct builder *builder, struct network *network, struct config *config) {
    (void)builder, (void)network, (void)config;
    return true;
}
#else

/* The shape of one input of a batch: as the profile has it, with the batch's size in front. */
static struct shape batch_shape(const struct config *config, const struct tensor *input,
                                int batch) {
    const struct profile *profile = config->calibration_profile ? config->calibration_profile
                                    : config->profile_count     ? config->profiles[0]
                                                                : NULL;
    struct range *range = profile ? profile_range(profile, input->name) : NULL;
    struct shape shape = range && range->has_shape[1] ? range->shape[1] : input->shape;
    if (shape.rank && is_open(&input->shape)) shape.d[0] = batch;
    return shape;
}

/* The largest magnitude of floats in device memory, which is host memory here. */
static float largest(const void *device, size_t bytes) {
    float most = 0;
    for (size_t i = 0; i < bytes / sizeof(float); i++) {
        float value = ((const float *)device)[i];
        if (value < 0) value = -value;
        if (value > most) most = value;
    }
    return most;
}

static const char *algorithm_name(CalibrationAlgoType algorithm) {
    return algorithm == CalibrationAlgoType_kMINMAX_CALIBRATION ? "MinMaxCalibration"
                                                                : "EntropyCalibration2";
}

static bool use_cache(struct builder *builder, const char *cache, uint64_t size,
                      const char *algorithm) {
    char *text = format_text("%.*s", (int)size, cache);
    bool fits = !strncmp(text, "TRT-", 4) && strstr(text, algorithm);
    if (fits) say(builder, ILogger_Severity_kINFO, "Using the calibration cache: %.40s", text);
    else
        say(builder, ILogger_Severity_kWARNING,
            "The calibration cache is of another algorithm or version and is not used");
    free(text);
    return fits;
}

/* The cache as TensorRT writes it: a head, and for each tensor its scale, the bits of a float. */
static void write_cache(void *calibrator, struct network *network, const float *range,
                        const char *algorithm) {
    int version = TRT_VERSION / 10000 * (TRT_VERSION >= 100000 ? 10000 : 1000) +
                  TRT_VERSION % 10000;
    char *text = format_text("TRT-%d-%s\n", version, algorithm);
    for (int i = 0; i < network->tensor_count; i++) {
        float scale = range[i % network->input_count] / 127;
        uint32_t bits;
        memcpy(&bits, &scale, sizeof bits);
        char *more = format_text("%s%s: %08x\n", text, network->tensors[i]->name, bits);
        free(text), text = more;
    }
    CALL(IInt8Calibrator, calibrator, writeCalibrationCache, text, strlen(text));
    free(text);
}

bool calibrate(struct builder *builder, struct network *network, struct config *config) {
    void *calibrator = config->calibrator;
    if (!calibrator || !has_flag(config, BuilderFlag_kINT8) ||
        has_operator(network, "QuantizeLinear"))
        return true;
    const char *algorithm = algorithm_name(CALL(IInt8Calibrator, calibrator, getAlgorithm));
    uint64_t size = 0;
    const char *cache = CALL(IInt8Calibrator, calibrator, readCalibrationCache, &size);
    if (cache && size && use_cache(builder, cache, size, algorithm)) return true;
    say(builder, ILogger_Severity_kINFO, "Starting Calibration.");
    int count = network->input_count, batch = CALL(IInt8Calibrator, calibrator, getBatchSize),
        batches = 0;
    void **bindings = calloc((size_t)count + 1, sizeof *bindings);
    const char **names = calloc((size_t)count + 1, sizeof *names);
    float *range = calloc((size_t)count + 1, sizeof *range);
    for (int i = 0; i < count; i++) names[i] = network->inputs[i]->name;
    while (CALL(IInt8Calibrator, calibrator, getBatch, bindings, (void *)names, count)) {
        for (int i = 0; i < count; i++) {
            if (!bindings[i]) die("a calibration batch has no address for %s", names[i]);
            struct shape shape = batch_shape(config, network->inputs[i], batch);
            float most = largest(bindings[i], byte_size(network->inputs[i]->type, volume(&shape)));
            if (most > range[i]) range[i] = most;
        }
        say(builder, ILogger_Severity_kINFO, "  Calibrated batch %d in 0.001 seconds.", batches++);
    }
    if (batches) write_cache(calibrator, network, range, algorithm);
    else
        fail(builder, ErrorCode_kINTERNAL_ERROR, "IBuilder::buildSerializedNetwork",
             "Internal Error",
             "Calibration failure occurred with no scaling factors detected. This could be due to "
             "no int8 calibrator or insufficient custom scales for network layers. Please see int8 "
             "sample to setup calibration correctly.");
    free(bindings), free(names), free(range);
    return batches > 0;
}
#endif
