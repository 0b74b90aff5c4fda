/* ITimingCache and IHostMemory. */
#include "builder.h"

/* ---- IHostMemory: the bytes are the object's, whoever made it may be gone */

struct host_memory {
    struct object object;
    void *bytes;
    size_t size;
};

static void release_host_memory(void *self) { free(((struct host_memory *)self)->bytes); }

void *host_memory_make(const void *bytes, size_t size) {
    struct host_memory *memory = object_make(sizeof *memory, &class_IHostMemory, NULL,
                                             release_host_memory);
    memory->bytes = malloc(size ? size : 1);
    memcpy(memory->bytes, bytes, size);
    memory->size = size;
    return shell(memory);
}

void *IHostMemory_data(void *self) { return ((struct host_memory *)self)->bytes; }
uint64_t IHostMemory_size(void *self) { return ((struct host_memory *)self)->size; }

/* ---- ITimingCache: text, so that a difference can be looked at */

static const char MAGIC[] = "standin timing cache\n";

static void release_timing_cache(void *self) {
    struct timing_cache *cache = self;
    free(cache->made_by), free(cache->entries);
}

void *IBuilderConfig_createTimingCache(void *self, void *bytes, uint64_t size) {
    FAIL_IF_PLANNED(NULL);
    struct config *config = self;
    char *made_by = NULL;
    uint64_t *entries = NULL;
    int count = 0;
    char *text = format_text("%.*s", (int)size, (char *)bytes), *rest = text, *line;
    if (size) {
        if (strncmp(text, MAGIC, strlen(MAGIC))) {
            fail(self, ErrorCode_kUNSPECIFIED_ERROR, "IBuilderConfig::createTimingCache",
                 "Serialization",
                 "Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not "
                 "match");
            free(text);
            return NULL;
        }
        rest += strlen(MAGIC);
        made_by = copy_text(strsep(&rest, "\n"));
        while ((line = strsep(&rest, "\n")) && *line)
            APPEND(entries, count, strtoull(line, NULL, 16));
    }
    free(text);
    struct timing_cache *cache = object_make(sizeof *cache, &class_ITimingCache, NULL,
                                             release_timing_cache);
    cache->object.logger = config->object.logger;
    cache->made_by = made_by ? made_by : target_text();
    cache->entries = entries;
    cache->entry_count = count;
    return shell(cache);
}

bool IBuilderConfig_setTimingCache(void *self, void *given, bool ignore_mismatch) {
    FAIL_IF_PLANNED(false);
    struct timing_cache *cache = implementation(given, &class_ITimingCache);
    char *here = target_text();
    bool same = !strcmp(cache->made_by, here);
    free(here);
    if (!same) {
        say(self, ILogger_Severity_kWARNING,
            "The timing cache was made by another library or for another GPU: %s", cache->made_by);
        if (!ignore_mismatch) return false;
    }
    ((struct config *)self)->timing = cache;
    return true;
}

void *IBuilderConfig_getTimingCache(void *self) { return shell(((struct config *)self)->timing); }

void *ITimingCache_serialize(void *self) {
    FAIL_IF_PLANNED(NULL);
    struct timing_cache *cache = self;
    char *text = format_text("%s%s\n", MAGIC, cache->made_by);
    for (int i = 0; i < cache->entry_count; i++) {
        char *more = format_text("%s%016llx\n", text, (unsigned long long)cache->entries[i]);
        free(text), text = more;
    }
    void *memory = host_memory_make(text, strlen(text));
    free(text);
    return memory;
}

bool ITimingCache_combine(void *self, void *other, bool ignore_mismatch) {
    FAIL_IF_PLANNED(false);
    struct timing_cache *cache = self, *from = implementation(other, &class_ITimingCache);
    if (strcmp(cache->made_by, from->made_by) && !ignore_mismatch) return false;
    for (int i = 0; i < from->entry_count; i++) {
        bool has = false;
        for (int j = 0; j < cache->entry_count; j++) has |= cache->entries[j] == from->entries[i];
        if (!has) APPEND(cache->entries, cache->entry_count, from->entries[i]);
    }
    return true;
}

bool ITimingCache_reset(void *self) {
    ((struct timing_cache *)self)->entry_count = 0;
    return true;
}
