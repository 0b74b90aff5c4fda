/* A stand-in for the CUDA driver, for tests on machines without a GPU.
 *
 * Device memory is host memory at the same address, so that another stand-in can compute in it.
 * Work is done when it is submitted, or, with STANDIN_CUDA_DEFER, when the stream is waited for.
 * A kernel does nothing but break its context: every later call for the device fails.
 * What the real driver would corrupt memory over ends the process with a message: a copy out of
 * bounds, memory freed twice or while work is left, an object that outlives its context.
 *
 * Settings, all from the environment:
 *   STANDIN_CUDA_DEVICES     how many devices there are (1)
 *   STANDIN_CUDA_NAME        their name (Stand-in GPU)
 *   STANDIN_CUDA_CAPABILITY  their compute capability (9.0)
 *   STANDIN_CUDA_MEMORY      bytes of each device's memory (1 GiB)
 *   STANDIN_CUDA_PINNED      bytes of host memory that can be pinned (1 GiB)
 *   STANDIN_CUDA_VERSION     the driver's version (12020)
 *   STANDIN_CUDA_FAIL        calls that fail, as "function:n=code,..": its n-th call returns code
 *   STANDIN_CUDA_DEFER       work waits until its stream is synchronized
 *   STANDIN_CUDA_REPORT      a file for the number of live objects of each kind at exit
 */

#include "cuda_objects.h"

CUresult cuDriverGetVersion(int *version) {
    ENTER;
    *version = (int)number("VERSION", "12020");
    return SUCCESS;
}

CUresult cuInit(unsigned flags) {
    ENTER;
    if (flags) return INVALID_VALUE;
    if (device_count() == 0) return NO_DEVICE;
    started = 1;
    return SUCCESS;
}

static const struct { CUresult code; const char *name, *text; } ERRORS[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

CUresult cuGetErrorName(CUresult code, const char **name) {
    *name = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code) *name = ERRORS[i].name;
    return *name ? SUCCESS : INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult code, const char **text) {
    *text = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code) *text = ERRORS[i].text;
    return *text ? SUCCESS : INVALID_VALUE;
}

CUresult cuDeviceGetCount(int *count) {
    ENTER;
    STARTED;
    *count = device_count();
    return SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    ENTER;
    STARTED;
    if (ordinal < 0 || ordinal >= device_count()) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    ENTER;
    STARTED;
    (void)device;
    snprintf(name, (size_t)length, "%s", setting("NAME", "Stand-in GPU"));
    return SUCCESS;
}

CUresult cuDeviceGetUuid_v2(char *uuid, CUdevice device) {
    ENTER;
    STARTED;
    for (int i = 0; i < 16; i++) uuid[i] = (char)(0xF0 + i);
    uuid[15] = (char)device;
    return SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *place, int length, CUdevice device) {
    ENTER;
    STARTED;
    snprintf(place, (size_t)length, "0000:%02X:00.0", 0x3A + device);
    return SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    ENTER;
    STARTED;
    (void)device;
    *bytes = memory_limit(DEVICE);
    return SUCCESS;
}

/* An H200's numbers. */
CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    ENTER;
    STARTED;
    (void)device;
    static const int VALUES[][2] = {
        {1, 1024},       {5, 2147483647}, {6, 65535},       {7, 65535},    {8, 49152},
        {9, 65536},      {10, 32},        {12, 65536},      {13, 1980000}, {14, 512},
        {16, 132},       {18, 0},         {31, 1},          {32, 1},       {36, 3201000},
        {37, 6144},      {38, 62914560},  {39, 2048},       {40, 3},       {41, 1},
        {69, 268435456}, {81, 233472},    {82, 65536},      {83, 1},       {97, 232448},
        {108, 39321600},
    };
    int major, minor;
    if (sscanf(setting("CAPABILITY", "9.0"), "%d.%d", &major, &minor) != 2)
        die("STANDIN_CUDA_CAPABILITY is no compute capability");
    if (attribute == 75 || attribute == 76) {
        *value = attribute == 75 ? major : minor;
        return SUCCESS;
    }
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++)
        if (VALUES[i][0] == attribute) {
            *value = VALUES[i][1];
            return SUCCESS;
        }
    return INVALID_VALUE;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    ENTER;
    STARTED;
    if (device < 0 || device >= device_count()) return INVALID_DEVICE;
    if (contexts[device].broken) return contexts[device].broken;
    contexts[device].device = device;
    contexts[device].retained++;
    *context = &contexts[device];
    return SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER;
    STARTED;
    if (!contexts[device].retained) die("context of device %d released too often", device);
    if (--contexts[device].retained) return SUCCESS;
    for (struct object *object = objects; object; object = object->next)
        if (object->device == device)
            die("context of device %d released before its %s", device, KIND_NAMES[object->kind]);
    return SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    ENTER;
    STARTED;
    if (context && !context->retained) return INVALID_CONTEXT;
    current = context;
    return SUCCESS;
}

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
    ENTER;
    IN_CONTEXT;
    *total = memory_limit(DEVICE);
    *available = *total - in_use(DEVICE, current->device);
    return SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t length) {
    ENTER;
    IN_CONTEXT;
    NOT_IN_CAPTURE(NULL);
    if (!length) return INVALID_VALUE;
    *address = (CUdeviceptr)allocate(DEVICE, length, ALIGNMENT);
    return *address ? SUCCESS : OUT_OF_MEMORY;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    ENTER;
    IN_CONTEXT;
    release((char *)address, DEVICE);
    return SUCCESS;
}

CUresult cuMemHostAlloc(void **address, size_t length, unsigned flags) {
    ENTER;
    IN_CONTEXT;
    (void)flags;
    if (!length) return INVALID_VALUE;
    *address = allocate(PINNED, length, PAGE);
    return *address ? SUCCESS : OUT_OF_MEMORY;
}

CUresult cuMemFreeHost(void *address) {
    ENTER;
    IN_CONTEXT;
    release(address, PINNED);
    return SUCCESS;
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
    ENTER;
    IN_CONTEXT;
    (void)flags;
    *stream = add(STREAM, NULL, 0);
    return SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream handle) {
    ENTER;
    IN_CONTEXT;
    struct object *stream = alive(handle, STREAM);
    finish(stream);
    delete(stream);
    return SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle) {
    ENTER;
    IN_CONTEXT;
    /* The default stream is no object: what is submitted to it is done at once. */
    NOT_IN_CAPTURE(handle ? alive(handle, STREAM) : NULL);
    if (handle) finish(handle);
    return current->broken;
}

/* Does work at once, on the default stream, for which no stream of ours waits. */
static CUresult copy_now(char *to, enum kind to_kind, const char *from, enum kind from_kind,
                         size_t length) {
    NOT_IN_CAPTURE(NULL);
    perform(&(struct work){.kind = COPY, .to = to, .to_kind = to_kind, .from = from,
                           .from_kind = from_kind, .length = length});
    return SUCCESS;
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t length) {
    ENTER;
    IN_CONTEXT;
    return copy_now((char *)to, DEVICE, from, kind_at(from), length);
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t length) {
    ENTER;
    IN_CONTEXT;
    return copy_now(to, kind_at(to), (char *)from, DEVICE, length);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t length) {
    ENTER;
    IN_CONTEXT;
    return copy_now((char *)to, DEVICE, (char *)from, DEVICE, length);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t length, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = COPY, .to = (char *)to, .to_kind = DEVICE,
                                        .from = from, .from_kind = kind_at(from),
                                        .length = length});
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t length, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = COPY, .to = to, .to_kind = kind_at(to),
                                        .from = (char *)from, .from_kind = DEVICE,
                                        .length = length});
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t length, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = COPY, .to = (char *)to, .to_kind = DEVICE,
                                        .from = (char *)from, .from_kind = DEVICE,
                                        .length = length});
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char byte, size_t length, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = FILL, .to = (char *)to, .to_kind = DEVICE,
                                        .byte = byte, .length = length});
}

/* The function must not call the driver, which is true of the real one too. */
CUresult cuLaunchHostFunc(CUstream stream, void (*function)(void *), void *argument) {
    ENTER;
    IN_CONTEXT;
    return submit(stream, (struct work){.kind = CALL, .function = function, .argument = argument});
}

/* An image that has a store in it; what else it is, is not looked at. */
CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    ENTER;
    IN_CONTEXT;
    if (strncmp(image, ".version", 8) || !strstr(image, "st.global")) return INVALID_IMAGE;
    *module = image;
    return SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    ENTER;
    IN_CONTEXT;
    char entry[64];
    snprintf(entry, sizeof entry, ".entry %s(", name);
    *function = strstr(module, entry);
    return *function ? SUCCESS : NOT_FOUND;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                        CUstream stream, void **arguments, void **extra) {
    ENTER;
    IN_CONTEXT;
    (void)shared, (void)arguments, (void)extra;
    if (!function || !grid_x || !grid_y || !grid_z || !block_x || !block_y || !block_z)
        return INVALID_VALUE;
    return submit(stream, (struct work){.kind = BREAK});
}

/* A capture is of one thread, as with the mode that is asked for: what others do does not matter. */
CUresult cuStreamBeginCapture_v2(CUstream handle, unsigned mode) {
    ENTER;
    IN_CONTEXT;
    (void)mode;
    struct object *stream = alive(handle, STREAM);
    if (stream->capture) return INVALID_VALUE;
    stream->capture = add(GRAPH, NULL, 0);
    stream->capturer = pthread_self();
    return SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, int *status) {
    ENTER;
    IN_CONTEXT;
    struct object *capture = alive(handle, STREAM)->capture;
    *status = !capture ? 0 : capture->invalidated ? 2 : 1;
    return SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
    ENTER;
    IN_CONTEXT;
    struct object *stream = alive(handle, STREAM);
    *graph = NULL;
    if (!stream->capture) return INVALID_VALUE;
    struct object *captured = stream->capture;
    stream->capture = NULL;
    if (captured->invalidated) {
        forget(captured);
        return CAPTURE_INVALIDATED;
    }
    *graph = captured;
    return SUCCESS;
}

CUresult cuGraphGetNodes(CUgraph handle, void **nodes, size_t *count) {
    ENTER;
    (void)nodes;
    *count = 0;
    for (struct work *work = alive(handle, GRAPH)->left; work; work = work->next) ++*count;
    return SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph,
                                     unsigned long long flags) {
    ENTER;
    IN_CONTEXT;
    (void)flags;
    *executable = add(EXECUTABLE, NULL, 0);
    for (struct work *work = alive(graph, GRAPH)->left; work; work = work->next)
        append(*executable, work);
    return SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec executable, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    alive(executable, EXECUTABLE);
    alive(stream, STREAM);
    return SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    CUresult code = SUCCESS;
    for (struct work *work = alive(executable, EXECUTABLE)->left; work && !code; work = work->next)
        code = submit(stream, *work);
    return code;
}

CUresult cuGraphDestroy(CUgraph graph) {
    ENTER;
    forget(alive(graph, GRAPH));
    return SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
    ENTER;
    forget(alive(executable, EXECUTABLE));
    return SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
    ENTER;
    IN_CONTEXT;
    (void)flags;
    *event = add(EVENT, NULL, 0);
    return SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
    ENTER;
    IN_CONTEXT;
    delete(alive(event, EVENT));
    return SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    ENTER;
    IN_CONTEXT;
    alive(event, EVENT)->recorded = SUBMITTED;
    int number = ++event->records;
    return submit(stream, (struct work){.kind = RECORD, .event = event, .number = number});
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
    ENTER;
    IN_CONTEXT;
    if (flags) return INVALID_VALUE;
    int number = alive(event, EVENT)->records;
    return submit(stream, (struct work){.kind = WAIT, .event = event, .number = number});
}

CUresult cuEventQuery(CUevent event) {
    ENTER;
    IN_CONTEXT;
    return alive(event, EVENT)->recorded == SUBMITTED ? NOT_READY : SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
    ENTER;
    IN_CONTEXT;
    reach(alive(event, EVENT), event->records);
    return SUCCESS;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
    ENTER;
    IN_CONTEXT;
    if (alive(start, EVENT)->recorded == NEVER || alive(end, EVENT)->recorded == NEVER)
        return INVALID_HANDLE;
    if (start->recorded == SUBMITTED || end->recorded == SUBMITTED) return NOT_READY;
    *milliseconds = (float)(end->time - start->time);
    return SUCCESS;
}
