/* A stand-in for NVML, for tests on machines without a GPU: as many devices as asked for, whose
 * UUIDs are those of the stand-in CUDA driver. What a device tells follows from its number, so that
 * one can be told from another.
 *
 * Settings, all from the environment:
 *   STANDIN_NVML_INIT      what nvmlInit_v2 returns (0)
 *   STANDIN_NVML_DEVICES   how many of the driver's devices it knows (8)
 *   STANDIN_NVML_CLOCKS    SM clocks in MHz, as "1980,1500": each question gets the next, then the
 *                          last again (1980)
 *   STANDIN_NVML_REASONS   likewise, the bits of the throttle reasons (0)
 *   STANDIN_NVML_LACKS     functions that are not supported, as "nvmlDeviceGetPowerUsage,.."
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
enum { MAX_DEVICES = 8, CLOCK_SM = 1, CLOCK_MEMORY = 2 };

struct device { unsigned number; };

struct utilization { unsigned gpu, memory; };

struct memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

static struct device devices[MAX_DEVICES];
static int started;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *setting(const char *name, const char *otherwise) {
    char variable[64];
    snprintf(variable, sizeof variable, "STANDIN_NVML_%s", name);
    const char *value = getenv(variable);
    return value ? value : otherwise;
}

/* The next of some numbers, or the last. */
static unsigned next(const char *name, const char *otherwise, unsigned *asked) {
    pthread_mutex_lock(&lock);
    const char *value = setting(name, otherwise);
    for (unsigned skipped = 0; skipped < *asked && strchr(value, ','); skipped++)
        value = strchr(value, ',') + 1;
    ++*asked;
    pthread_mutex_unlock(&lock);
    return (unsigned)strtoul(value, NULL, 0);
}

static int lacks(const char *function) {
    const char *found = strstr(setting("LACKS", ""), function);
    return found != NULL;
}

#define ENTER                                   \
    if (!started) return UNINITIALIZED;         \
    if (lacks(__func__)) return NOT_SUPPORTED

int nvmlInit_v2(void) {
    int code = atoi(setting("INIT", "0"));
    started = code == SUCCESS;
    return code;
}

int nvmlShutdown(void) {
    started = 0;
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    ENTER;
    snprintf(version, length, "535.161.08");
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **device) {
    ENTER;
    static const char COMMON[] = "GPU-f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfe";
    if (strncmp(uuid, COMMON, sizeof COMMON - 1) != 0) return NOT_FOUND;
    unsigned number = (unsigned)strtoul(uuid + sizeof COMMON - 1, NULL, 16);
    if (number >= MAX_DEVICES || number >= strtoul(setting("DEVICES", "8"), NULL, 10))
        return NOT_FOUND;
    devices[number].number = number;
    *device = &devices[number];
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(struct device *device, struct utilization *rates) {
    ENTER;
    rates->gpu = 50 + device->number;
    rates->memory = 20 + device->number;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(struct device *device, unsigned clock, unsigned *mhz) {
    ENTER;
    static unsigned asked;
    (void)device;
    if (clock != CLOCK_SM && clock != CLOCK_MEMORY) return INVALID_ARGUMENT;
    *mhz = clock == CLOCK_SM ? next("CLOCKS", "1980", &asked) : 3201;
    return SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(struct device *device, unsigned clock, unsigned *mhz) {
    ENTER;
    (void)device;
    if (clock != CLOCK_SM && clock != CLOCK_MEMORY) return INVALID_ARGUMENT;
    *mhz = clock == CLOCK_SM ? 1980 : 3201;
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct device *device, unsigned long long *reasons) {
    ENTER;
    static unsigned asked;
    (void)device;
    *reasons = next("REASONS", "0", &asked);
    return SUCCESS;
}

int nvmlDeviceGetTemperature(struct device *device, unsigned sensor, unsigned *celsius) {
    ENTER;
    if (sensor != 0) return INVALID_ARGUMENT;
    *celsius = 40 + device->number;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(struct device *device, unsigned *milliwatts) {
    ENTER;
    *milliwatts = 300000 + device->number;
    return SUCCESS;
}

int nvmlDeviceGetPerformanceState(struct device *device, unsigned *state) {
    ENTER;
    *state = device->number;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory *memory) {
    ENTER;
    if (memory->version != (sizeof *memory | 2 << 24)) return INVALID_ARGUMENT;
    memory->total = 1 << 30;
    memory->used = (1 << 20) + device->number;
    memory->reserved = 0;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
