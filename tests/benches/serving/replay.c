/* Sends prepared HTTP/1.1 requests over connections that stay open, for requests that `bench` does
 * not make: tensors in shared memory.
 *
 *     cc -O2 -static -pthread replay.c -o replay -lm
 *     replay PORT REQUESTS --threads 4 --seconds 5 [--warmup 1] [--rate R]
 *
 * REQUESTS holds for each connection four bytes, little endian, and as many bytes of a whole request,
 * which is all that this connection sends. Without --rate each has one request under way at any time;
 * with it, requests come at random so many a second and wait for a free connection, and their time
 * counts from when they came. Each answer must be a 200 with a Content-Length. Prints one line of
 * JSON; times are in microseconds. Linux.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 1 << 16, EVENTS = 256, MOST_WAITING = 1 << 20 };

struct connection {
    int socket;
    char *request;
    uint32_t length;
    int64_t asked;
    size_t read, body; /* bytes of the answer so far; where the answer ends, 0 until that is known */
    char answer[HEAD];
    struct connection *next;
};

struct worker {
    pthread_t thread;
    struct connection *connections;
    int count;
    double rate;
    uint64_t random;
    uint32_t *took; /* nanoseconds / 16: up to 68 s */
    size_t answered, room, late;
};

static struct sockaddr_in server;
static int64_t begin, counted_from, end;
static pthread_barrier_t ready;

static void die(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fprintf(stderr, "replay: ");
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
    exit(1);
}

static void *memory(size_t count, size_t size) {
    void *got = calloc(count, size);
    if (!got) die("out of memory");
    return got;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* From 0, 1 excluded (xorshift64*). */
static double uniform(struct worker *worker) {
    worker->random ^= worker->random >> 12;
    worker->random ^= worker->random << 25;
    worker->random ^= worker->random >> 27;
    return (double)(worker->random * UINT64_C(2685821657736338717) >> 11) / 9007199254740992.0;
}

static void ask(struct connection *connection, int64_t came) {
    connection->asked = came;
    connection->read = connection->body = 0;
    ssize_t sent = send(connection->socket, connection->request, connection->length, MSG_NOSIGNAL);
    if (sent != (ssize_t)connection->length) die("sending failed: %s", sent < 0 ? strerror(errno) : "too large for the socket");
}

/* Whether the answer is whole. */
static int answered(struct connection *connection) {
    ssize_t got = recv(connection->socket, connection->answer + connection->read, HEAD - 1 - connection->read, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) die("the server closed a connection");
    connection->read += (size_t)got;
    connection->answer[connection->read] = 0;
    if (!connection->body) {
        char *head = strstr(connection->answer, "\r\n\r\n");
        if (!head) return connection->read < HEAD - 1 ? 0 : (die("an answer's head is too long"), 0);
        char *length = strcasestr(connection->answer, "\r\ncontent-length:");
        if (strncmp(connection->answer, "HTTP/1.1 200", 12) != 0 || !length || length > head) die("answered: %s", connection->answer);
        connection->body = (size_t)(head + 4 - connection->answer) + strtoul(length + 17, NULL, 10);
        if (connection->body >= HEAD) die("an answer is too long");
    }
    if (connection->read > connection->body) die("more came than one answer");
    return connection->read == connection->body;
}

static void count(struct worker *worker, struct connection *connection) {
    int64_t done = now();
    if (done < counted_from || done > end) return;
    if (worker->answered == worker->room) {
        worker->room = worker->room ? 2 * worker->room : 1 << 16;
        worker->took = realloc(worker->took, worker->room * sizeof *worker->took);
        if (!worker->took) die("out of memory");
    }
    worker->took[worker->answered++] = (uint32_t)((done - connection->asked) >> 4);
}

static int64_t pause_before_next(struct worker *worker) {
    return (int64_t)(-log(1 - uniform(worker)) / worker->rate * 1e9);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    int poll = epoll_create1(0);
    for (int i = 0; i < worker->count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &worker->connections[i]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, worker->connections[i].socket, &event) != 0) die("epoll: %s", strerror(errno));
    }
    pthread_barrier_wait(&ready);
    /* Of an open loop: connections without a request, requests without a connection. */
    struct connection *idle = NULL;
    int64_t *waiting = worker->rate > 0 ? memory(MOST_WAITING, sizeof *waiting) : NULL, next = INT64_MAX;
    size_t first = 0, past = 0;
    for (int i = 0; i < worker->count; i++) {
        struct connection *connection = &worker->connections[i];
        if (worker->rate > 0) connection->next = idle, idle = connection;
        else ask(connection, now());
    }
    if (worker->rate > 0) next = begin + pause_before_next(worker);
    for (int64_t time = now(); time < end; time = now()) {
        for (; next <= time; next += pause_before_next(worker)) {
            if (past - first == MOST_WAITING) die("the server does not keep up with the rate");
            waiting[past++ % MOST_WAITING] = next;
        }
        while (idle && first < past) {
            struct connection *connection = idle;
            idle = idle->next;
            ask(connection, waiting[first++ % MOST_WAITING]);
        }
        int64_t until = (next < end ? next : end) - now();
        struct timespec timeout = {.tv_sec = until < 0 ? 0 : until / 1000000000, .tv_nsec = until < 0 ? 0 : until % 1000000000};
        struct epoll_event events[EVENTS];
        int some = epoll_pwait2(poll, events, EVENTS, &timeout, NULL);
        for (int i = 0; i < some; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!answered(connection)) continue;
            count(worker, connection);
            if (worker->rate > 0) connection->next = idle, idle = connection;
            else ask(connection, now());
        }
    }
    worker->late = past - first;
    return NULL;
}

static int connected(void) {
    int one = 1, made = socket(AF_INET, SOCK_STREAM, 0);
    if (made < 0 || connect(made, (struct sockaddr *)&server, sizeof server) != 0) die("connecting failed: %s", strerror(errno));
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return made;
}

static struct connection *prepared(const char *path, int *count) {
    FILE *file = fopen(path, "rb");
    if (!file) die("cannot read %s", path);
    struct connection *all = NULL;
    uint32_t length;
    for (*count = 0; fread(&length, sizeof length, 1, file) == 1; ++*count) {
        all = realloc(all, (size_t)(*count + 1) * sizeof *all);
        if (!all) die("out of memory");
        struct connection *made = &all[*count];
        memset(made, 0, sizeof *made);
        made->request = memory(1, length);
        made->length = length;
        if (fread(made->request, 1, length, file) != length) die("%s is cut short", path);
        made->socket = connected();
    }
    fclose(file);
    return all;
}

static int ascending(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    double seconds = 5, warmup = 1, rate = 0;
    int threads = 4, total = 0;
    for (int i = 3; i + 1 < argc; i += 2) {
        double value = atof(argv[i + 1]);
        if (strcmp(argv[i], "--threads") == 0) threads = (int)value;
        else if (strcmp(argv[i], "--seconds") == 0) seconds = value;
        else if (strcmp(argv[i], "--warmup") == 0) warmup = value;
        else if (strcmp(argv[i], "--rate") == 0) rate = value;
        else die("unknown option %s", argv[i]);
    }
    if (argc < 3 || argc % 2 == 0 || threads < 1 || seconds <= 0) die("usage: replay PORT REQUESTS [--threads N] [--seconds S] [--warmup S] [--rate R]");
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct connection *all = prepared(argv[2], &total);
    if (total < threads) threads = total;
    if (total == 0) die("there is no request in %s", argv[2]);
    struct worker *workers = memory((size_t)threads, sizeof *workers);
    pthread_barrier_init(&ready, NULL, (unsigned)threads + 1);
    for (int i = 0, given = 0; i < threads; i++) {
        workers[i].count = (total - given) / (threads - i);
        workers[i].connections = all + given;
        workers[i].rate = rate / threads;
        workers[i].random = UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(i + 1);
        given += workers[i].count;
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    begin = now();
    counted_from = begin + (int64_t)(warmup * 1e9);
    end = counted_from + (int64_t)(seconds * 1e9);
    pthread_barrier_wait(&ready);
    size_t requests = 0, late = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        requests += workers[i].answered;
        late += workers[i].late;
    }
    if (requests == 0) die("nothing was answered");
    uint32_t *took = memory(requests, sizeof *took);
    for (int i = 0, at = 0; i < threads; at += (int)workers[i].answered, i++)
        if (workers[i].answered) memcpy(took + at, workers[i].took, workers[i].answered * sizeof *took);
    qsort(took, requests, sizeof *took, ascending);
    double us[3], percents[3] = {0.5, 0.99, 1};
    for (int i = 0; i < 3; i++) us[i] = took[(size_t)ceil(percents[i] * (double)requests) - 1] * 16 / 1e3;
    printf("{\"requests\":%zu,\"seconds\":%.3f,\"per_second\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"waiting_at_the_end\":%zu}\n",
           requests, seconds, (double)requests / seconds, us[0], us[1], us[2], late);
    return 0;
}
