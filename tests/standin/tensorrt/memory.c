/* Device memory, which is host memory here, and the GPU there is. */
#include "builder.h"
#include <dlfcn.h>

void *device_allocate(void *allocator, size_t size) {
    if (!allocator) return aligned_alloc(256, (size + 255) / 256 * 256);
    return CALL(IGpuAllocator, allocator, allocate, size, 256, 0);
}

void device_free(void *allocator, void *memory) {
    if (memory && !allocator) free(memory);
    if (memory && allocator && !CALL(IGpuAllocator, allocator, deallocate, memory))
        die("the allocator did not take %p back", memory);
}

#ifdef V8_6
void *device_allocate_async(void *allocator, size_t size, void *stream) {
    (void)stream;
    return device_allocate(allocator, size);
}

void device_free_async(void *allocator, void *memory, void *stream) {
    (void)stream;
    device_free(allocator, memory);
}
#else
void *device_allocate_async(void *allocator, size_t size, void *stream) {
    if (!allocator) return device_allocate(NULL, size);
    return CALL(IGpuAllocator, allocator, allocateAsync, size, 256, 0, stream);
}

void device_free_async(void *allocator, void *memory, void *stream) {
    if (!memory || !allocator) return device_free(allocator, memory);
    if (!CALL(IGpuAllocator, allocator, deallocateAsync, memory, stream))
        die("the allocator did not take %p back", memory);
}
#endif

int gpu_capability(void) {
    const char *named = setting("GPU");
    int major = 0, minor = 0, count = 0;
    if (named) return sscanf(named, "%d.%d", &major, &minor) == 2 ? major * 10 + minor : 0;
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (!driver) return 0;
    int (*start)(unsigned) = (int (*)(unsigned))dlsym(driver, "cuInit");
    int (*get_count)(int *) = (int (*)(int *))dlsym(driver, "cuDeviceGetCount");
    int (*attribute)(int *, int, int) = (int (*)(int *, int, int))dlsym(driver,
                                                                        "cuDeviceGetAttribute");
    enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };
    if (start && get_count && attribute && !start(0) && !get_count(&count) && count > 0) {
        attribute(&major, CAPABILITY_MAJOR, 0);
        attribute(&minor, CAPABILITY_MINOR, 0);
    }
    dlclose(driver);
    return major * 10 + minor;
}

bool is_supported(int capability) {
    if (!IS_RTX)
        return capability >= (TRT_VERSION >= 110000 ? 75 : TRT_VERSION >= 100000 ? 70 : 50);
    return capability == 75 || capability == 80 || capability == 86 || capability == 89 ||
           capability >= 120;
}

char *target_text(void) {
    return format_text("%s %d, compute capability %d", FLAVOR, TRT_VERSION, gpu_capability());
}
