/*
 * A closed-loop HTTP/1.1 load generator for senders that open a connection for each request.
 *
 *   load HOST PORT CONNECTIONS SECONDS FILE
 *
 * FILE holds complete requests, each as a 4-byte little-endian length and that many bytes. Each is sent once, in the
 * order of the file, on a connection of its own, and must ask for "Connection: close": an answer ends where the server
 * closes. The run stops after SECONDS or when the file runs out, and prints one line of JSON.
 *
 * HOST must be a loopback address: this is a measuring tool, not something to point at other people's machines.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define MAX_SECONDS 600.0
#define ANSWER_TIMEOUT 10.0
#define STATUS_END 12 /* the length of "HTTP/1.1 200" */

struct request { const char *bytes; size_t length; };
struct connection { int fd; const char *next; size_t left; char head[STATUS_END + 1]; size_t got; double started; };

static struct request *requests;
static size_t request_count, sent_count;
static struct connection connections[MAX_CONNECTIONS];
static int open_count, epoll_fd;
static struct sockaddr_in server;
static double deadline, *latencies;
static size_t answered, succeeded, failed, by_status[1000];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void quit(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

static void read_requests(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) quit("the file of requests cannot be read");
    long size = ftell(file);
    rewind(file);
    unsigned char *bytes = size > 0 ? malloc((size_t)size) : NULL;
    if (!bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size) quit("the file of requests is empty or unreadable");
    fclose(file);
    size_t room = 0, at = 0, end = (size_t)size;
    while (at < end) {
        if (end - at < 4) quit("the file of requests ends inside a length");
        const unsigned char *p = bytes + at;
        size_t length = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
        at += 4;
        if (length == 0 || length > end - at) quit("the file of requests ends inside a request");
        if (request_count == room) {
            room = room ? room * 2 : 4096;
            requests = realloc(requests, room * sizeof *requests);
            if (!requests) quit("out of memory");
        }
        requests[request_count++] = (struct request){(const char *)bytes + at, length};
        at += length;
    }
}

static void watch(struct connection *c, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) != 0) quit("epoll_ctl failed");
}

/* Opens a connection for the next request; leaves the slot closed when there is nothing more to send. */
static void open_next(struct connection *c)
{
    while (sent_count < request_count && now() < deadline) {
        struct request *r = &requests[sent_count++];
        *c = (struct connection){.fd = -1, .next = r->bytes, .left = r->length, .started = now()};
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->fd < 0) quit("no socket to be had; is the limit of open files too low?");
        int one = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(c->fd, (struct sockaddr *)&server, sizeof server) == 0 || errno == EINPROGRESS) {
            watch(c, EPOLL_CTL_ADD, EPOLLOUT);
            open_count++;
            return;
        }
        close(c->fd);
        c->fd = -1;
        failed++;
    }
}

static void finish(struct connection *c, int whole)
{
    int status = 0;
    if (whole && c->got >= STATUS_END && memcmp(c->head, "HTTP/1.", 7) == 0) status = atoi(c->head + 9);
    if (status >= 100 && status <= 999) {
        latencies[answered++] = now() - c->started;
        by_status[status]++;
        if (status >= 200 && status < 400) succeeded++;
    } else {
        failed++;
    }
    close(c->fd);
    c->fd = -1;
    open_count--;
    open_next(c);
}

static void send_more(struct connection *c)
{
    ssize_t n = send(c->fd, c->next, c->left, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) finish(c, 0);
        return;
    }
    c->next += n;
    c->left -= (size_t)n;
    if (c->left == 0) watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void receive_more(struct connection *c)
{
    static char buffer[65536];
    for (;;) {
        ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
        if (n > 0) {
            size_t room = STATUS_END - c->got, take = (size_t)n < room ? (size_t)n : room;
            memcpy(c->head + c->got, buffer, take);
            c->got += take;
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        finish(c, n == 0);
        return;
    }
}

static void drop_late(size_t count)
{
    double limit = now() - ANSWER_TIMEOUT;
    for (size_t i = 0; i < count; i++)
        if (connections[i].fd >= 0 && connections[i].started < limit) finish(&connections[i], 0);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(double share)
{
    if (answered == 0) return 0.0;
    return latencies[(size_t)(share * (double)(answered - 1) + 0.5)] * 1000.0;
}

static void print_result(double seconds)
{
    qsort(latencies, answered, sizeof *latencies, ascending);
    printf("{\"requests\": %zu, \"seconds\": %.4f, \"rps\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, ",
           sent_count, seconds, (double)succeeded / seconds, percentile_ms(0.50), percentile_ms(0.99));
    printf("\"ok\": %zu, \"other\": %zu, \"errors\": %zu, \"by_status\": {", succeeded, answered - succeeded, failed);
    const char *comma = "";
    for (int status = 100; status < 1000; status++)
        if (by_status[status]) {
            printf("%s\"%d\": %zu", comma, status, by_status[status]);
            comma = ", ";
        }
    printf("}, \"ran_out\": %s}\n", sent_count == request_count ? "true" : "false");
}

int main(int argc, char **argv)
{
    if (argc != 6) quit("usage: load HOST PORT CONNECTIONS SECONDS FILE");
    int port = atoi(argv[2]), count = atoi(argv[3]);
    double seconds = atof(argv[4]);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || ntohl(server.sin_addr.s_addr) >> 24 != 127)
        quit("HOST must be a loopback address, 127.x.x.x");
    if (port < 1 || port > 65535 || count < 1 || count > MAX_CONNECTIONS) quit("PORT or CONNECTIONS is out of range");
    if (!(seconds > 0.0 && seconds <= MAX_SECONDS)) quit("SECONDS is out of range");
    read_requests(argv[5]);
    latencies = malloc(request_count * sizeof *latencies);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!latencies || epoll_fd < 0) quit("out of memory or file descriptors");

    double start = now(), checked = start;
    deadline = start + seconds;
    for (int i = 0; i < count; i++) connections[i].fd = -1;
    for (int i = 0; i < count; i++) open_next(&connections[i]);
    while (open_count > 0) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll_fd, events, 256, 100);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->left > 0) send_more(c);
            else receive_more(c);
        }
        if (now() - checked > 0.5) {
            drop_late((size_t)count);
            checked = now();
        }
    }
    print_result(now() - start);
    return 0;
}
