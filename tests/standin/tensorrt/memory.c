/* Device memory, which is host memory here, and the GPU there is. */
#include "builder.h"
#include <dlfcn.h>

void *device_allocate(void *allocator, size_t size, void *stream) {
    if (!allocator) return aligned_alloc(256, (size + 255) / 256 * 256);
#ifdef V8_6
    (void)stream;
    return CALL(IGpuAllocator, allocator, allocate, size, 256, 0);
#else
    return CALL(IGpuAllocator, allocator, allocateAsync, size, 256, 0, stream);
#endif
}

void device_free(void *allocator, void *memory, void *stream) {
    if (!memory) return;
    if (!allocator) return free(memory);
#ifdef V8_6
    (void)stream;
    bool freed = CALL(IGpuAllocator, allocator, deallocate, memory);
#else
    bool freed = CALL(IGpuAllocator, allocator, deallocateAsync, memory, stream);
#endif
    if (!freed) die("the allocator did not take %p back", memory);
}

int gpu_capability(void) {
    const char *named = setting("GPU");
    int major = 0, minor = 0, count = 0;
    if (named) return sscanf(named, "%d.%d", &major, &minor) == 2 ? major * 10 + minor : 0;
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (!driver) return 0;
    int (*get_count)(int *) = (int (*)(int *))dlsym(driver, "cuDeviceGetCount");
    int (*attribute)(int *, int, int) = (int (*)(int *, int, int))dlsym(driver, "cuDeviceGetAttribute");
    enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };
    if (get_count && attribute && !get_count(&count) && count > 0) {
        attribute(&major, CAPABILITY_MAJOR, 0);
        attribute(&minor, CAPABILITY_MINOR, 0);
    }
    dlclose(driver);
    return major * 10 + minor;
}

char *target_text(void) {
    return format_text("%s %d, compute capability %d", FLAVOR, TRT_VERSION, gpu_capability());
}
