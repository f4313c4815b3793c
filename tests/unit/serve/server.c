#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/serve/server.h"

static lx_serve *server;
static int n_closed; /* streams */

static int tick(lx_str *out, void *stream)
{
    int *n = stream;
    if (++*n > 3)
        return LX_OK; /* nothing new, until the server stops */
    lx_serve_event(out, "tick", "7", "{\"a\":\n1}");
    return LX_OK;
}

static void close_stream(void *stream)
{
    n_closed++;
    lx_free(stream);
}

static int handle(lx_serve_reply *reply, void *context, const lx_serve_request *request,
                  lx_arena *arena, lx_error *err)
{
    const char *what = request->n_parts ? request->parts[0] : "";

    (void)context;
    if (strcmp(what, "stream") == 0) {
        reply->type = "text/event-stream";
        reply->next = tick;
        reply->stream = lx_calloc(1, sizeof(int));
        reply->close = close_stream;
    } else if (strcmp(what, "fail") == 0) {
        lx_str_puts(&reply->body, "half a page");
        return lx_fail(err, LX_EFORMAT, "broken");
    } else if (strcmp(what, "save") == 0) {
        reply->file_name = lx_arena_strdup(arena, "a\"b\r\nX-Evil: 1/..");
        lx_str_puts(&reply->body, "x");
    } else if (strcmp(what, "empty") != 0) {
        lx_str_puts(&reply->body, "hello");
    }
    return LX_OK;
}

static void apologise(lx_serve_reply *reply, void *context,
                      const lx_serve_request *request, const char *text)
{
    (void)context;
    (void)request;
    lx_str_printf(&reply->body, "sorry: %s", text);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int connect_to_server(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)lx_serve_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Sends bytes and gives what comes until the other side closes, or for some seconds: a stream that
 * gives signs of life does not end by itself. */
static char *ask(const char *request, int seconds)
{
    static char answer[65536];
    const struct timeval limit = {.tv_sec = seconds};
    const double end = now() + seconds;
    int fd = connect_to_server();
    size_t n = 0;
    ssize_t got;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    while (n < sizeof answer - 1 && now() < end &&
           (got = recv(fd, answer + n, sizeof answer - 1 - n, 0)) > 0)
        n += (size_t)got;
    answer[n] = '\0';
    close(fd);
    return answer;
}

static char *get(const char *target, const char *headers)
{
    char request[8192];
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n%s\r\n",
             target, lx_serve_port(server), headers);
    return ask(request, 5);
}

static bool is_status(const char *answer, int status)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "HTTP/1.1 %d", status);
    return lx_starts_with(answer, wanted);
}

static void test_serve_server__every_answer_carries_the_policy(void **state)
{
    static const char *const targets[] = {"/", "/empty", "/fail", "/%", "/save"};
    static const char *const wanted[] = {"Content-Security-Policy: default-src 'none'; ",
                                         "X-Content-Type-Options: nosniff",
                                         "Referrer-Policy: no-referrer",
                                         "X-Frame-Options: DENY",
                                         "Cross-Origin-Resource-Policy: same-origin",
                                         "Cache-Control: no-store"};

    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const char *answer = get(targets[i], "");
        for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++)
            assert_non_null(strstr(answer, wanted[k]));
        assert_null(strstr(answer, "Access-Control"));
        assert_null(strstr(answer, "unsafe"));
    }
}

static void test_serve_server__an_error_leaves_nothing_half(void **state)
{
    const char *answer = get("/fail", "");
    (void)state;
    assert_true(is_status(answer, 500));
    assert_null(strstr(answer, "half a page"));
    assert_non_null(strstr(answer, "sorry: broken"));
    assert_true(is_status(get("/%", ""), 400));
}

static void test_serve_server__a_file_name_is_no_header(void **state)
{
    const char *answer = get("/save", "");
    (void)state;
    assert_non_null(strstr(answer, "attachment; filename=\"a_b__X-Evil__1_..\"\r\n"));
}

static void test_serve_server__others_are_refused(void **state)
{
    (void)state;
    assert_true(is_status(get("/", ""), 200));
    assert_true(is_status(get("/", "Sec-Fetch-Site: cross-site\r\n"), 403));
    assert_true(is_status(get("/", "Sec-Fetch-Site: same-site\r\n"), 403));
    assert_true(is_status(get("/", "Sec-Fetch-Site: none\r\n"), 200));
    assert_true(is_status(get("/", "Origin: null\r\n"), 403));
    assert_true(is_status(get("/", "Host: evil.example\r\n"), 400)); /* two of them */
    assert_true(is_status(get("/", "Content-Length: 5\r\n"), 413));
    assert_true(is_status(get("/", "Transfer-Encoding: chunked\r\n"), 413));
    assert_true(is_status(ask("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 5), 421));
    assert_true(is_status(ask("POST / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 5), 405));
    assert_true(is_status(ask("GET / HTTP/1.0\r\n\r\n", 5), 400) ||
                lx_starts_with(ask("GET / HTTP/1.0\r\n\r\n", 5), "HTTP/1.0 400"));
}

static void test_serve_server__a_connection_serves_again(void **state)
{
    char request[512];
    const char *answer;

    (void)state;
    snprintf(request, sizeof request,
             "GET / HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"
             "HEAD / HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n",
             lx_serve_port(server), lx_serve_port(server));
    answer = ask(request, 5);
    assert_true(is_status(answer, 200));
    answer = strstr(answer, "hello");
    assert_non_null(answer);
    assert_true(is_status(answer + 5, 200));
    assert_non_null(strstr(answer, "Content-Length: 5"));
    assert_null(strstr(answer + 5, "hello"));
}

/* A byte now and then is no request: it has its time as a whole. */
static void test_serve_server__a_slow_head_is_not_waited_for(void **state)
{
    const lx_serve_options o = {
        .most_connections = 2, .idle = 2, .handle = handle, .apologise = apologise};
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nX: aaaaaaaaaaaaa";
    lx_serve *usual = server;
    const double begin = now();
    bool is_over = false;
    lx_error err = {0};
    int fds[2];

    (void)state;
    assert_int_equal(lx_serve_start(&server, &o, &err), LX_OK);
    for (int k = 0; k < 2; k++)
        fds[k] = connect_to_server();
    for (size_t i = 0; i < sizeof request - 1 && !is_over; i++) {
        char byte;
        for (int k = 0; k < 2; k++) {
            send(fds[k], request + i, 1, MSG_NOSIGNAL);
            is_over |= recv(fds[k], &byte, 1, MSG_DONTWAIT) == 0;
        }
        usleep(250000);
    }
    assert_true(is_over);
    assert_true(now() - begin < 8);
    sleep(1);
    assert_true(is_status(get("/", ""), 200)); /* others come in again */
    for (int k = 0; k < 2; k++)
        close(fds[k]);
    lx_serve_stop(server);
    server = usual;
}

static void test_serve_server__stopping_ends_the_streams(void **state)
{
    const lx_serve_options o = {.handle = handle, .apologise = apologise};
    struct timespec from, to;
    const char *answer = get("/stream", "");
    lx_error err = {0};

    (void)state;
    assert_non_null(strstr(answer, "id: 7\nevent: tick\ndata: {\"a\":1}\n\n"));
    clock_gettime(CLOCK_MONOTONIC, &from);
    lx_serve_stop(server);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_int_equal(n_closed, 1);
    assert_true(to.tv_sec - from.tv_sec < 3);
    assert_int_equal(lx_serve_start(&server, &o, &err), 0);
}

static void test_serve_server__a_port_that_is_taken_is_told(void **state)
{
    const lx_serve_options o = {
        .handle = handle, .apologise = apologise, .port = lx_serve_port(server)};
    lx_serve *second = NULL;
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_serve_start(&second, &o, &err), LX_EBUSY);
    assert_null(second);
    assert_non_null(strstr(err.text, "127.0.0.1, port "));
}

static int set_up(void **state)
{
    const lx_serve_options o = {.handle = handle, .apologise = apologise};
    (void)state;
    return lx_serve_start(&server, &o, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    lx_serve_stop(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serve_server__every_answer_carries_the_policy),
        cmocka_unit_test(test_serve_server__an_error_leaves_nothing_half),
        cmocka_unit_test(test_serve_server__a_file_name_is_no_header),
        cmocka_unit_test(test_serve_server__others_are_refused),
        cmocka_unit_test(test_serve_server__a_connection_serves_again),
        cmocka_unit_test(test_serve_server__a_slow_head_is_not_waited_for),
        cmocka_unit_test(test_serve_server__stopping_ends_the_streams),
        cmocka_unit_test(test_serve_server__a_port_that_is_taken_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
