/* What every file of the stand-in shares: the generation, objects, faults, reports.
 *
 * One build is one version: TRT_VERSION is major * 10000 + minor * 100 + patch, and one of
 * V8_6, V10, V11, RTX1_4 and RTX1 is defined. A method is a function CLASS_method that gets what
 * the table's caller passes; tables.c puts it where this version has it, and an abort where the
 * stand-in has none. */
#ifndef STANDIN_H
#define STANDIN_H

#define _GNU_SOURCE
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined V8_6
#include "../../../ffi/trt_v8_6.h"
#include "slots_v8_6.h"
#elif defined V10
#include "../../../ffi/trt_v10.h"
#include "slots_v10.h"
#elif defined V11
#include "../../../ffi/trt_v11.h"
#include "slots_v11.h"
#elif defined RTX1_4
#include "../../../ffi/trt_rtx1_4.h"
#include "slots_rtx1_4.h"
#elif defined RTX1
#include "../../../ffi/trt_rtx1.h"
#include "slots_rtx1.h"
#else
#error "no generation"
#endif

#if defined RTX1_4 || defined RTX1
#define IS_RTX 1
#define FLAVOR "rtx"
#else
#define IS_RTX 0
#define FLAVOR "standard"
#endif
/* Networks may be weakly typed: precision is asked for by flags. */
#if defined V8_6 || defined V10 || defined RTX1_4
#define WEAK_TYPING 1
#else
#define WEAK_TYPING 0
#endif

#ifdef V8_6
typedef Dims32 Dims;
#else
typedef Dims64 Dims;
#endif

/* Every function of a table, with the type that the header gives it. */
#define DECLARE(class, slot, name) extern __typeof__(*((class##_table *)0)->name) class##_##name;
#define DECLARE_NOTHING(class, slot, name)
#define DECLARE_CLASS(class) SLOTS_##class(DECLARE, DECLARE_NOTHING)
PIMPL_CLASSES(DECLARE_CLASS)
DIRECT_CLASSES(DECLARE_CLASS)

/* ---- objects (tables.c, objects.c) */

enum { MAX_SLOTS = 128 };

struct class {
    const char *name;
    int length;
    const void *functions[MAX_SLOTS];
    const void *dead[MAX_SLOTS]; /* of objects that are deleted: every function aborts */
    atomic_int made, live;
};

#define DECLARE_CLASS_FACTS(C) extern struct class class_##C;
PIMPL_CLASSES(DECLARE_CLASS_FACTS)
DIRECT_CLASSES(DECLARE_CLASS_FACTS)

/* An object of any class. Of a pimpl class this is the implementation, and callers hold the shell.
 * It is never freed, so that using it after its end is noticed for certain; `release` frees what
 * it holds. */
struct object {
    const void *const *table;
    struct {
        const void *const *table;
        struct object *implementation;
    } shell;
    struct class *class;
    bool alive, owned; /* owned: deleted with its parent, not by the caller */
    struct object *parent;
    atomic_int children; /* that the caller must delete first */
    struct object *owns; /* the first of those owned */
    struct object *next; /* of the same owner */
    void *error_recorder, *logger;
    void (*release)(void *self);
    struct object *made_before; /* every object ever made */
};

/* A live object; `parent` may be null. */
void *object_make(size_t size, struct class *class, struct object *parent, void (*release)(void *));
/* As object_make; deleted with its parent. */
void *object_make_owned(size_t size, struct class *class, struct object *parent,
                        void (*release)(void *));
/* What callers of a pimpl class hold; null of null. */
void *shell(void *self);
/* The object behind what a caller holds, which must be alive and of the class; null of null. */
void *implementation(void *shell, struct class *class);
/* The deleting destructor: of the shell for a pimpl class, of the object itself for a direct one. */
void object_delete(struct object *object);
/* Ends an object that its owner does not need any more. */
void object_end(struct object *object);

/* ---- reports (report.c) */

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* STANDIN_TENSORRT_name, or null. */
const char *setting(const char *name);

/* A message to the object's logger. */
void say(void *self, ILogger_Severity severity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* An error to the object's recorder, or to that of what made it, or else to its logger: as TensorRT,
 * to one of them. */
void report_error(void *self, ErrorCode code, const char *text);
/* An error as TensorRT words it: "Class::method: Error Code 3: API Usage Error (why)". */
void fail(void *self, ErrorCode code, const char *method, const char *kind, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void set_error_recorder(void *self, void *recorder);

/* Whether STANDIN_TENSORRT_FAIL wants this call of `CLASS_method` to fail; reports it if so, or ends
 * the process where that is wanted. */
bool planned(void *self, const char *function);
#define FAIL_IF_PLANNED(result)                     \
    do {                                            \
        if (planned(self, __func__)) return result; \
    } while (0)

/* An object of the caller's, whose table must be laid out as C++ has them. */
void *callback(void *object, const char *class);
/* Calls a method of an object that the caller implements. */
#define CALL(class, object, method, ...) \
    ((*(const class##_table **)(object))->method((object), ##__VA_ARGS__))

/* ---- small things (report.c, shapes.c) */

char *copy_text(const char *text);
char *format_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Makes room for one more item in a growing array. */
#define APPEND(array, count, item)                                           \
    do {                                                                     \
        (array) = realloc((array), ((size_t)(count) + 1) * sizeof *(array)); \
        (array)[(count)++] = (item);                                         \
    } while (0)

/* Extents, -1 where open. */
struct shape {
    int rank;
    int64_t d[8];
};

Dims to_dims(const struct shape *shape);
struct shape from_dims(const Dims *dims);
bool same_shape(const struct shape *a, const struct shape *b);
bool is_open(const struct shape *shape);
int64_t volume(const struct shape *shape);
/* "1x3x8x8" in one of a few buffers that are used in turn. */
const char *shape_text(const struct shape *shape);
/* Bits of an element, 0 of a type that this version has not. */
int element_bits(DataType type);
size_t byte_size(DataType type, int64_t elements);

#endif
