/* Counts and times the calls that a process makes of the CUDA driver, whoever makes them: the
 * program, or a CUDA runtime that is linked into TensorRT. Where no profiler is, it shows what the
 * host waits for.
 *
 *     cc -O2 -shared -fPIC -pthread calls.c -o calls.so
 *     CUDA_CALLS=FILE LD_PRELOAD=$PWD/calls.so PROGRAM ..
 *
 * When the process exits, FILE gets a line of JSON for each thread and function: `thread` (from 1, in
 * the order of first calls), `name`, `calls` and the `ns` spent in them. With CUDA_CALLS_AFTER=N it
 * also gets, for each thread, the calls after its first N, with `call`, `start_ns` and `ns`: a window
 * of a steady state.
 *
 * The driver is only ever reached through dlsym() and cuGetProcAddress(). Both are answered with
 * stubs, one a function, that note the time, go on to the driver's function with every argument
 * where it was, and note the time when it returns. x86-64 with the GNU C library.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FUNCTIONS = 1024, DEPTH = 32, WINDOW = 96 };

static struct { void *target; const char *name; } functions[FUNCTIONS];
static atomic_int known;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct call { int function; int64_t start, ns; };

static struct thread {
    struct thread *next;
    int number, depth;
    int64_t made;
    struct { void *back; int function; int64_t start; } stack[DEPTH];
    struct { int64_t calls, ns; } sums[FUNCTIONS];
    int kept;
    struct call window[WINDOW];
} *threads;
static int thread_count;
static int64_t after = INT64_MAX;
static __thread struct thread *self __attribute__((tls_model("initial-exec")));

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static struct thread *this_thread(void) {
    if (self) return self;
    struct thread *made = calloc(1, sizeof *made);
    if (!made) abort();
    pthread_mutex_lock(&lock);
    made->number = ++thread_count;
    made->next = threads;
    threads = made;
    pthread_mutex_unlock(&lock);
    return self = made;
}

extern char calls_stubs[], calls_leave[];

/* From a stub: remembers where the call goes back to and sends it by calls_leave. */
__attribute__((used, visibility("hidden"))) void *calls_enter(int function, void **back) {
    struct thread *thread = this_thread();
    if (thread->depth < DEPTH) {
        thread->stack[thread->depth].back = *back;
        thread->stack[thread->depth].function = function;
        thread->stack[thread->depth].start = now();
        thread->depth++;
        *back = calls_leave;
    }
    return functions[function].target;
}

/* From calls_leave: says where the call goes back to. */
__attribute__((used, visibility("hidden"))) void *calls_left(void) {
    int64_t end = now();
    struct thread *thread = self;
    thread->depth--;
    int function = thread->stack[thread->depth].function;
    int64_t start = thread->stack[thread->depth].start;
    thread->sums[function].calls++;
    thread->sums[function].ns += end - start;
    if (thread->made++ >= after && thread->kept < WINDOW)
        thread->window[thread->kept++] = (struct call){function, start, end - start};
    return thread->stack[thread->depth].back;
}

/* Stub N is 16 bytes long: it pushes N. Registers that hold arguments are as they were when the
 * driver's function starts, and so is the stack but for where to return to. */
__asm__(
    ".text\n"
    ".balign 16\n"
    "calls_stubs:\n"
    ".set number, 0\n"
    ".rept 1024\n"
    "    .balign 16\n"
    "    pushq $number\n"
    "    jmp calls_common\n"
    "    .set number, number + 1\n"
    ".endr\n"
    "calls_common:\n"
    "    pushq %rdi; pushq %rsi; pushq %rdx; pushq %rcx; pushq %r8; pushq %r9; pushq %rax; pushq %r10\n"
    "    subq $128, %rsp\n"
    "    movups %xmm0, (%rsp); movups %xmm1, 16(%rsp); movups %xmm2, 32(%rsp); movups %xmm3, 48(%rsp)\n"
    "    movups %xmm4, 64(%rsp); movups %xmm5, 80(%rsp); movups %xmm6, 96(%rsp); movups %xmm7, 112(%rsp)\n"
    "    movl 192(%rsp), %edi\n"
    "    leaq 200(%rsp), %rsi\n"
    "    call calls_enter\n"
    "    movq %rax, %r11\n"
    "    movups (%rsp), %xmm0; movups 16(%rsp), %xmm1; movups 32(%rsp), %xmm2; movups 48(%rsp), %xmm3\n"
    "    movups 64(%rsp), %xmm4; movups 80(%rsp), %xmm5; movups 96(%rsp), %xmm6; movups 112(%rsp), %xmm7\n"
    "    addq $128, %rsp\n"
    "    popq %r10; popq %rax; popq %r9; popq %r8; popq %rcx; popq %rdx; popq %rsi; popq %rdi\n"
    "    addq $8, %rsp\n"
    "    jmp *%r11\n"
    "calls_leave:\n"
    "    subq $8, %rsp\n"
    "    pushq %rax; pushq %rdx\n"
    "    subq $24, %rsp\n"
    "    movups %xmm0, (%rsp)\n"
    "    call calls_left\n"
    "    movups (%rsp), %xmm0\n"
    "    movq %rax, 40(%rsp)\n"
    "    addq $24, %rsp\n"
    "    popq %rdx; popq %rax\n"
    "    ret\n");

/* The stub of a function of the driver; the function itself where there are no more stubs. */
static void *stub(const char *name, void *target) {
    pthread_mutex_lock(&lock);
    int found = 0, count = atomic_load(&known);
    while (found < count && functions[found].target != target) found++;
    if (found == count && count < FUNCTIONS) {
        functions[count].target = target;
        functions[count].name = strdup(name);
        atomic_store(&known, count + 1);
    }
    pthread_mutex_unlock(&lock);
    return found < FUNCTIONS ? calls_stubs + 16 * found : target;
}

typedef int proc_v1(const char *, void **, int, uint64_t);
typedef int proc_v2(const char *, void **, int, uint64_t, int *);
static proc_v1 *driver_v1;
static proc_v2 *driver_v2;
static proc_v1 proc_address_v1;
static proc_v2 proc_address_v2;

static void *replaced(const char *name, void *target, int version) {
    if (strcmp(name, "cuGetProcAddress_v2") == 0 || (strcmp(name, "cuGetProcAddress") == 0 && version >= 12000)) {
        driver_v2 = (proc_v2 *)target;
        return proc_address_v2;
    }
    if (strcmp(name, "cuGetProcAddress") == 0) {
        driver_v1 = (proc_v1 *)target;
        return proc_address_v1;
    }
    return stub(name, target);
}

static int proc_address_v1(const char *name, void **target, int version, uint64_t flags) {
    int status = driver_v1(name, target, version, flags);
    if (status == 0 && target && *target) *target = replaced(name, *target, version);
    return status;
}

static int proc_address_v2(const char *name, void **target, int version, uint64_t flags, int *found) {
    int status = driver_v2(name, target, version, flags, found);
    if (status == 0 && target && *target) *target = replaced(name, *target, version);
    return status;
}

typedef void *lookup(void *, const char *);
__attribute__((visibility("hidden"))) lookup *calls_dlsym;

static int is_of_driver(void *target) {
    Dl_info about;
    if (!dladdr(target, &about) || !about.dli_fname) return 0;
    const char *file = strrchr(about.dli_fname, '/');
    return strncmp(file ? file + 1 : about.dli_fname, "libcuda.so", strlen("libcuda.so")) == 0;
}

__attribute__((used, visibility("hidden"))) void *calls_looked_up(void *handle, const char *name) {
    void *target = calls_dlsym(handle, name);
    if (!target || strncmp(name, "cu", 2) != 0 || name[2] < 'A' || name[2] > 'Z' || !is_of_driver(target)) return target;
    return replaced(name, target, 0);
}

__attribute__((used, visibility("hidden"))) void calls_find_dlsym(void) {
    if (!calls_dlsym) calls_dlsym = (lookup *)dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (!calls_dlsym) calls_dlsym = (lookup *)dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    if (!calls_dlsym) abort();
}

/* What RTLD_NEXT means depends on who asks: such calls go on as they came. */
__asm__(
    ".text\n"
    ".globl dlsym\n"
    ".type dlsym, @function\n"
    "dlsym:\n"
    "    cmpq $0, calls_dlsym(%rip)\n"
    "    jne 1f\n"
    "    pushq %rdi; pushq %rsi; subq $8, %rsp\n"
    "    call calls_find_dlsym\n"
    "    addq $8, %rsp; popq %rsi; popq %rdi\n"
    "1:  cmpq $-1, %rdi\n"
    "    jne calls_looked_up\n"
    "    jmp *calls_dlsym(%rip)\n"
    ".size dlsym, . - dlsym\n");

__attribute__((constructor)) static void start(void) {
    const char *text = getenv("CUDA_CALLS_AFTER");
    if (text) after = strtoll(text, NULL, 10);
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("CUDA_CALLS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    pthread_mutex_lock(&lock);
    for (struct thread *thread = threads; thread; thread = thread->next) {
        for (int i = 0; i < known; i++)
            if (thread->sums[i].calls)
                fprintf(file, "{\"thread\":%d,\"name\":\"%s\",\"calls\":%lld,\"ns\":%lld}\n", thread->number, functions[i].name,
                        (long long)thread->sums[i].calls, (long long)thread->sums[i].ns);
        for (int i = 0; i < thread->kept; i++)
            fprintf(file, "{\"thread\":%d,\"call\":\"%s\",\"start_ns\":%lld,\"ns\":%lld}\n", thread->number,
                    functions[thread->window[i].function].name, (long long)thread->window[i].start, (long long)thread->window[i].ns);
    }
    pthread_mutex_unlock(&lock);
    fclose(file);
}
