/* The function tables, laid out as this version has them. */
#include "standin.h"

/* A function that the stand-in does not have, or the version does not. */
static _Noreturn void missing(const char *class, const char *name, int slot, int length) {
    if (slot < length) die("%s::%s is not implemented", class, name);
    die("%s::%s (slot %d) is not in this version, whose table ends after %d", class, name, slot,
        length);
}

#define REFERENCE(C, slot, name)                                    \
    extern __typeof__(C##_##name) C##_##name __attribute__((weak)); \
    static void C##_##name##_missing(void) { missing(#C, #name, slot, LENGTH_##C); }
#define REFERENCE_OTHER(C, slot, name) \
    static void C##_##name##_missing(void) { missing(#C, #name, slot, LENGTH_##C); }
#define PUT(C, slot, name)                                     \
    facts->functions[slot] = (slot) < LENGTH_##C && C##_##name \
                                 ? (const void *)C##_##name    \
                                 : (const void *)C##_##name##_missing;
#define PUT_OTHER(C, slot, name) facts->functions[slot] = (const void *)C##_##name##_missing;

#define DEFINE_CLASS(C)                                                          \
    SLOTS_##C(REFERENCE, REFERENCE_OTHER) struct class class_##C = {.name = #C}; \
    static void C##_past_the_end(void) {                                         \
        die("a function behind the table of " #C " was called");                 \
    }                                                                            \
    static void C##_dead(void) { die("a deleted " #C " was used"); }             \
    static void fill_##C(void) {                                                 \
        struct class *facts = &class_##C;                                        \
        facts->length = LENGTH_##C;                                              \
        for (int i = 0; i < MAX_SLOTS; i++) {                                    \
            facts->functions[i] = (const void *)C##_past_the_end;                \
            facts->dead[i] = (const void *)C##_dead;                             \
        }                                                                        \
        SLOTS_##C(PUT, PUT_OTHER)                                                \
    }
PIMPL_CLASSES(DEFINE_CLASS)
DIRECT_CLASSES(DEFINE_CLASS)

#define FILL(class) fill_##class();
__attribute__((constructor)) static void fill(void) {
    PIMPL_CLASSES(FILL)
    DIRECT_CLASSES(FILL)
}
