/* The life of objects: parents and children, deletion, what is alive at exit. */
#include "standin.h"
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static _Atomic(struct object *) newest;

static struct object *of_shell(void *held) {
    return (struct object *)((char *)held - offsetof(struct object, shell));
}

static void delete_shell(void *held) { object_delete(of_shell(held)); }

static void complete_shell(void *held) {
    die("the complete destructor of an %s was called: objects are on the heap",
        of_shell(held)->class->name);
}

static const void *const shell_functions[] = {(const void *)complete_shell,
                                              (const void *)delete_shell};

void *object_make(size_t size, struct class *class, struct object *parent,
                  void (*release)(void *)) {
    struct object *object = calloc(1, size);
    if (!object) die("out of memory");
    object->table = class->functions;
    object->shell.table = shell_functions;
    object->shell.implementation = object;
    object->class = class;
    object->alive = true;
    object->parent = parent;
    object->release = release;
    if (parent) {
        if (!parent->alive) die("an %s made by a deleted %s", class->name, parent->class->name);
        object->logger = parent->logger;
        parent->children++;
    }
    class->made++;
    class->live++;
    object->made_before = atomic_load(&newest);
    while (!atomic_compare_exchange_weak(&newest, &object->made_before, object)) {
    }
    return object;
}

void *object_make_owned(size_t size, struct class *class, struct object *parent,
                        void (*release)(void *)) {
    struct object *object = object_make(size, class, parent, release);
    parent->children--;
    object->owned = true;
    object->next = parent->owns;
    parent->owns = object;
    return object;
}

void *shell(void *self) { return self ? &((struct object *)self)->shell : NULL; }

void *implementation(void *held, struct class *class) {
    if (!held) return NULL;
    struct object *object = of_shell(held);
    if (object->shell.implementation != object) die("%p is no %s", held, class->name);
    if (strcmp(object->class->name, class->name))
        die("an %s was given as an %s", object->class->name, class->name);
    if (!object->alive) die("a deleted %s was given", class->name);
    return object;
}

void object_end(struct object *object) {
    for (struct object *owned = object->owns; owned; owned = owned->next)
        if (owned->alive) object_end(owned);
    if (object->release) object->release(object);
    set_error_recorder(object, NULL);
    object->alive = false;
    object->table = object->class->dead;
    object->class->live--;
}

static const char *name_of_child(const struct object *parent) {
    for (struct object *child = newest; child; child = child->made_before)
        if (child->alive && child->parent == parent && !child->owned) return child->class->name;
    return "object of another library";
}

void object_delete(struct object *object) {
    const char *name = object->class->name;
    if (!object->alive) die("an %s was deleted twice", name);
    if (object->owned)
        die("an %s was deleted, which belongs to its %s", name, object->parent->class->name);
    if (object->children)
        die("an %s was deleted before the %s that it made", name, name_of_child(object));
    object_end(object);
    if (object->parent) object->parent->children--;
}

/* One line of JSON per library and process, at the end of the file STANDIN_TENSORRT_REPORT. */
__attribute__((destructor)) static void report(void) {
    const char *path = setting("REPORT");
    if (!path) return;
    char *made = copy_text(""), *live = copy_text("");
#define COUNT(c)                                                                               \
    if (class_##c.made) {                                                                      \
        char *more = format_text("%s%s\"" #c "\":%d", made, *made ? "," : "", class_##c.made); \
        free(made), made = more;                                                               \
    }                                                                                          \
    if (class_##c.live) {                                                                      \
        char *more = format_text("%s%s\"" #c "\":%d", live, *live ? "," : "", class_##c.live); \
        free(live), live = more;                                                               \
    }
    PIMPL_CLASSES(COUNT)
    DIRECT_CLASSES(COUNT)
    char *line = format_text("{\"process\":%d,\"library\":\"%s\",\"version\":\"%d.%d.%d\",\"live\":"
                             "{%s},\"made\":{%s}}\n",
                             getpid(), LIBRARY, TRT_VERSION / 10000, TRT_VERSION / 100 % 100,
                             TRT_VERSION % 100, live, made);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (file < 0 || write(file, line, strlen(line)) != (ssize_t)strlen(line))
        die("cannot write %s", path);
    close(file);
    free(line), free(made), free(live);
}
