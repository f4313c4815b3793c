#include "src/serve/server.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/late.h"

/* libmicrohttpd, loaded when a server starts: http.start_daemon is MHD_start_daemon. */
#define HTTP_FUNCTIONS(F)                             \
    F(start_daemon)                                   \
    F(stop_daemon)                                    \
    F(queue_response)                                 \
    F(lookup_connection_value)                        \
    F(get_connection_values)                          \
    F(add_response_header)                            \
    F(get_connection_info)                            \
    F(create_response_from_callback)                  \
    F(create_response_from_buffer)                    \
    F(create_response_from_buffer_with_free_callback) \
    F(destroy_response)

static struct http_functions {
#define HTTP_MEMBER(name) __typeof__(MHD_##name) *name;
    HTTP_FUNCTIONS(HTTP_MEMBER)
#undef HTTP_MEMBER
} http;

static int load_http(lx_error *err)
{
    static const char *const names[] = {
#define HTTP_NAME(name) "MHD_" #name,
        HTTP_FUNCTIONS(HTTP_NAME)
#undef HTTP_NAME
    };
    static const lx_late library = {.soname = LX_LIBMICROHTTPD,
                                    .plain = "libmicrohttpd.so",
                                    .use = "the web server",
                                    .package = "libmicrohttpd-dev",
                                    .names = names,
                                    .n = sizeof names / sizeof *names};

    return http.start_daemon ? LX_OK : lx_late_load(&http, &library, err);
}

static const double LOOK_AGAIN = 0.5; /* seconds between two questions to a stream */
static const double SIGN_OF_LIFE = 5; /* a stream says something at least as often */

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/* A connection, from its beginning to its end. */
typedef struct peer {
    struct peer *next;
    int fd;
    double waits_since; /* monotonic: for the head of a request; 0 = there is one */
} peer;

struct lx_serve {
    lx_serve_options options;
    struct MHD_Daemon *daemon;
    lx_serve_names ours;
    const char *names[16];
    char host[NI_MAXHOST + 3]; /* as in an address: [::1] */
    char address[NI_MAXHOST + 32];
    bool is_local;
    pthread_mutex_t mutex; /* over is_stopping and the peers */
    pthread_cond_t stopped;
    bool is_stopping, has_watch;
    pthread_t watch;
    peer *peers;
};

/* ---- listening --------------------------------------------------------------------- */

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >>
                   24 ==
               127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(
               &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static int listen_at(int *out, const struct addrinfo *at, lx_error *err)
{
    int one = 1,
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);

    *out = -1;
    if (fd < 0)
        return lx_fail_errno(err, errno, "a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (at->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, 64) < 0) {
        const bool is_taken = errno == EADDRINUSE;
        int rc = lx_fail_errno(err, errno, "listening");
        close(fd);
        return is_taken ? lx_fail(err, LX_EBUSY, "the port is taken by another program")
                        : rc;
    }
    *out = fd;
    return LX_OK;
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;

    if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return 0;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

static int open_socket(int *fd, lx_serve *s, lx_error *err)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    const char *host = s->options.host ? s->options.host : "127.0.0.1";
    struct addrinfo *found = NULL;
    char port[16];
    int rc;

    snprintf(port, sizeof port, "%d", s->options.port);
    if ((rc = getaddrinfo(host, port, &wanted, &found)) != 0)
        return rc == EAI_MEMORY
                   ? lx_oom(err)
                   : lx_fail(err, LX_ENOTFOUND, "%s: %s", host, gai_strerror(rc));
    rc = LX_ENOTFOUND;
    for (const struct addrinfo *a = found; a && rc < 0; a = a->ai_next)
        if ((rc = listen_at(fd, a, err)) == LX_OK)
            s->is_local = is_loopback(a->ai_addr);
    freeaddrinfo(found);
    if (rc < 0) {
        lx_within(err, "%s, port %d", host, s->options.port);
        return rc;
    }
    s->ours.port = port_of(*fd);
    snprintf(s->host, sizeof s->host, strchr(host, ':') ? "[%s]" : "%s", host);
    snprintf(s->address, sizeof s->address, "http://%s:%d/", s->host, s->ours.port);
    return LX_OK;
}

/* Only what lies on this machine is called localhost; elsewhere any address of ours may
 * be the one that was typed. */
static void set_names(lx_serve *s)
{
    enum { MOST = sizeof s->names / sizeof *s->names };
    size_t n = 0;

    s->names[n++] = "localhost";
    s->names[n++] = "127.0.0.1";
    s->names[n++] = "[::1]";
    s->names[n++] = s->host;
    for (size_t i = 0; i < s->options.n_names && n < MOST; i++)
        s->names[n++] = s->options.names[i];
    s->ours.names = s->names;
    s->ours.n_names = n;
    s->ours.takes_addresses = !s->is_local;
}

/* ---- event streams ----------------------------------------------------------------- */

typedef struct events {
    lx_serve *s;
    lx_serve_next next;
    void *stream;
    void (*close)(void *stream);
    lx_str waiting; /* appended by `next`, not sent yet */
    size_t sent;
    double spoke; /* when something was sent last */
    bool is_over;
} events;

static double monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Waits a while; false when the server stops. */
static bool rest(lx_serve *s)
{
    struct timespec until;
    const double at = monotonic() + LOOK_AGAIN;
    bool goes_on;

    until.tv_sec = (time_t)at;
    until.tv_nsec = (long)((at - (double)until.tv_sec) * 1e9);
    pthread_mutex_lock(&s->mutex);
    while (!s->is_stopping &&
           pthread_cond_timedwait(&s->stopped, &s->mutex, &until) != ETIMEDOUT)
        ;
    goes_on = !s->is_stopping;
    pthread_mutex_unlock(&s->mutex);
    return goes_on;
}

static void gather(events *e)
{
    lx_str_clear(&e->waiting);
    e->sent = 0;
    while (!e->waiting.len && !e->is_over) {
        e->is_over = e->next(&e->waiting, e->stream) < 0 || e->waiting.failed;
        if (e->waiting.len || e->is_over)
            break;
        if (monotonic() - e->spoke > SIGN_OF_LIFE)
            lx_str_puts(&e->waiting, ":\n\n");
        else
            e->is_over = !rest(e->s);
    }
    e->spoke = monotonic();
}

static ssize_t read_events(void *context, uint64_t at, char *to, size_t room)
{
    events *e = context;
    size_t n;

    (void)at;
    if (e->sent == e->waiting.len)
        gather(e);
    n = e->waiting.len - e->sent;
    if (!n)
        return MHD_CONTENT_READER_END_OF_STREAM;
    n = n < room ? n : room;
    memcpy(to, e->waiting.data + e->sent, n);
    e->sent += n;
    return (ssize_t)n;
}

static void free_events(void *context)
{
    events *e = context;

    if (e->close)
        e->close(e->stream);
    lx_str_release(&e->waiting);
    lx_free(e);
}

void lx_serve_event(lx_str *out, const char *name, const char *id, const char *data)
{
    if (id)
        lx_str_printf(out, "id: %s\n", id);
    lx_str_printf(out, "event: %s\ndata: ", name);
    for (const char *p = data; *p; p++) /* a line break would end the event */
        if (*p != '\n' && *p != '\r')
            lx_str_putc(out, *p);
    lx_str_puts(out, "\n\n");
}

/* ---- answers ----------------------------------------------------------------------- */

static struct MHD_Response *stream_response(lx_serve *s, lx_serve_reply *r)
{
    struct MHD_Response *response;
    events *e = lx_calloc(1, sizeof *e);

    if (!e)
        return NULL;
    *e = (events){s, r->next, r->stream, r->close, r->body, 0, monotonic(), false};
    response = http.create_response_from_callback(MHD_SIZE_UNKNOWN, LX_SERVE_MEMORY / 4,
                                                  read_events, e, free_events);
    if (!response) {
        e->close = NULL; /* still the reply's */
        e->waiting = (lx_str)LX_STR_INIT;
        free_events(e);
        return NULL;
    }
    r->body = (lx_str)LX_STR_INIT;
    r->stream = NULL;
    r->close = NULL;
    return response;
}

static struct MHD_Response *body_response(lx_serve_reply *r)
{
    struct MHD_Response *response;
    size_t n = r->body.len;
    char *bytes = n && !r->body.failed ? lx_str_detach(&r->body) : NULL;

    if (!bytes)
        return n ? NULL
                 : http.create_response_from_buffer(0, (void *)(uintptr_t) "",
                                                    MHD_RESPMEM_PERSISTENT);
    response = http.create_response_from_buffer_with_free_callback(n, bytes, lx_free);
    if (!response)
        lx_free(bytes);
    return response;
}

/* A name for the user's disk: letters, digits and a few more; the rest is '_'. */
static void put_file_name(struct MHD_Response *response, const char *name)
{
    char header[160] = "attachment; filename=\"";
    size_t n = strlen(header);

    for (const char *p = name; *p && n < sizeof header - 2; p++)
        header[n++] = isalnum((unsigned char)*p) || strchr("-_.", *p) ? *p : '_';
    header[n++] = '"';
    header[n] = '\0';
    http.add_response_header(response, "Content-Disposition", header);
}

/* Invariant (3). */
static void put_headers(struct MHD_Response *response, const lx_serve_reply *r)
{
    static const char *const always[][2] = {
        {"Content-Security-Policy", policy},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };

    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        http.add_response_header(response, always[i][0], always[i][1]);
    http.add_response_header(response, "Content-Type",
                             r->type ? r->type : "text/html; charset=utf-8");
    http.add_response_header(response, "Cache-Control",
                             r->is_lasting ? "private, max-age=31536000, immutable"
                                           : "no-store");
    if (r->file_name)
        put_file_name(response, r->file_name);
    if (r->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        http.add_response_header(response, "Allow", "GET, HEAD");
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, lx_serve *s,
                                  lx_serve_reply *r)
{
    struct MHD_Response *response = r->next ? stream_response(s, r) : body_response(r);
    enum MHD_Result sent = MHD_NO;

    if (response) {
        put_headers(response, r);
        sent = http.queue_response(
            connection, r->status ? (unsigned)r->status : MHD_HTTP_OK, response);
        http.destroy_response(response);
    }
    if (r->close)
        r->close(r->stream);
    lx_str_release(&r->body);
    return sent;
}

/* Before there is a request to answer: a line of plain text. */
static enum MHD_Result refuse(struct MHD_Connection *connection, lx_serve *s,
                              unsigned status, const char *text)
{
    lx_serve_reply r = {.status = (int)status, .type = "text/plain; charset=utf-8"};
    lx_str_printf(&r.body, "%s\n", text);
    return send_reply(connection, s, &r);
}

int lx_serve_status(int code)
{
    switch (code) {
    case LX_OK:
        return MHD_HTTP_OK;
    case LX_EUSAGE:
    case LX_EMISMATCH:
    case LX_EUNSUPPORTED:
        return MHD_HTTP_BAD_REQUEST;
    case LX_ELIMIT:
        return MHD_HTTP_URI_TOO_LONG;
    case LX_ENOTFOUND:
        return MHD_HTTP_NOT_FOUND;
    case LX_EBUSY:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

/* ---- those that take their time ---------------------------------------------------- */

/* The library's own limit begins anew with every byte. Invariant (2): the whole head has as long. */
static void *watch_peers(void *context)
{
    lx_serve *s = context;

    while (rest(s)) {
        const double since = monotonic() - s->options.idle;
        pthread_mutex_lock(&s->mutex);
        for (const peer *p = s->peers; p; p = p->next)
            if (p->waits_since > 0 && p->waits_since < since)
                shutdown(p->fd, SHUT_RDWR); /* its thread sees the end, and closes it */
        pthread_mutex_unlock(&s->mutex);
    }
    return NULL;
}

static void set_waiting(lx_serve *s, struct MHD_Connection *c, double since)
{
    const union MHD_ConnectionInfo *info =
        http.get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    peer *p = info ? info->socket_context : NULL;

    if (!p)
        return;
    pthread_mutex_lock(&s->mutex);
    p->waits_since = since;
    pthread_mutex_unlock(&s->mutex);
}

static void begin_peer(lx_serve *s, struct MHD_Connection *c, void **kept)
{
    const union MHD_ConnectionInfo *info =
        http.get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    peer *p = info ? lx_alloc(sizeof *p) : NULL;

    *kept = p;
    if (!p)
        return; /* without memory it has the library's limit only */
    pthread_mutex_lock(&s->mutex);
    *p = (peer){s->peers, info->connect_fd, monotonic()};
    s->peers = p;
    pthread_mutex_unlock(&s->mutex);
}

/* Before the descriptor is closed, so that it is never another's that we shut. */
static void end_peer(lx_serve *s, void **kept)
{
    peer *p = *kept, **at = &s->peers;

    pthread_mutex_lock(&s->mutex);
    while (*at && *at != p)
        at = &(*at)->next;
    if (p && *at)
        *at = p->next;
    pthread_mutex_unlock(&s->mutex);
    lx_free(p);
    *kept = NULL;
}

static void notice_peer(void *context, struct MHD_Connection *c, void **kept,
                        enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        begin_peer(context, c, kept);
    else
        end_peer(context, kept);
}

/* With all signals blocked: they are the main thread's to answer. */
static int start_watch(lx_serve *s, lx_error *err)
{
    sigset_t all, before;
    int failed;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&s->watch, NULL, watch_peers, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->has_watch = !failed;
    return failed ? lx_fail_errno(err, failed, "starting a thread") : LX_OK;
}

/* ---- requests ---------------------------------------------------------------------- */

/* A request from its first line to its last byte. */
typedef struct exchange {
    bool was_seen; /* its head was; what is answered then closes the connection */
    char target[]; /* as it was sent */
} exchange;

static void *begin_exchange(void *context, const char *target, struct MHD_Connection *c)
{
    size_t n = strlen(target) + 1;
    exchange *x = lx_alloc(sizeof *x + n);

    (void)context;
    (void)c;
    if (x) {
        x->was_seen = false;
        memcpy(x->target, target, n);
    }
    return x;
}

static void end_exchange(void *context, struct MHD_Connection *c, void **kept,
                         enum MHD_RequestTerminationCode how)
{
    (void)how;
    set_waiting(context, c, monotonic());
    lx_free(*kept);
    *kept = NULL;
    malloc_trim(
        0); /* a page of a long training takes many times what the server needs at rest */
}

static enum MHD_Result count_host(void *context, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    size_t *n = context;
    (void)kind;
    (void)value;
    *n += strcasecmp(key, "Host") == 0;
    return MHD_YES;
}

static const char *header(struct MHD_Connection *c, const char *name)
{
    return http.lookup_connection_value(c, MHD_HEADER_KIND, name);
}

/* Invariant (1): 0, or the status to refuse with and why. */
static unsigned judge(const char **why, lx_serve *s, struct MHD_Connection *c,
                      const char *method)
{
    const char *length = header(c, "Content-Length");
    size_t n_hosts = 0;

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        *why = "this server only shows: GET and HEAD";
        return MHD_HTTP_METHOD_NOT_ALLOWED;
    }
    http.get_connection_values(c, MHD_HEADER_KIND, count_host, &n_hosts);
    if (n_hosts != 1) {
        *why = "one Host header is wanted";
        return MHD_HTTP_BAD_REQUEST;
    }
    if (!lx_serve_host_is_ours(&s->ours, header(c, "Host"))) {
        *why = "not under this name: lx serve --allow-host NAME allows one";
        return MHD_HTTP_MISDIRECTED_REQUEST;
    }
    if (!lx_serve_origin_is_ours(&s->ours, header(c, "Origin")) ||
        !lx_serve_site_is_ours(header(c, "Sec-Fetch-Site"))) {
        *why = "not for other sites: type the address by hand";
        return MHD_HTTP_FORBIDDEN;
    }
    if (header(c, "Transfer-Encoding") || (length && strcmp(length, "0") != 0)) {
        *why = "a request without a body is wanted";
        return MHD_HTTP_CONTENT_TOO_LARGE;
    }
    return 0;
}

static void handle(lx_serve_reply *reply, lx_serve *s, const char *target,
                   const char *last_event, lx_arena *arena)
{
    const lx_serve_options *o = &s->options;
    lx_serve_request request = {0};
    lx_error err = {0};
    int rc = lx_serve_request_parse(&request, target, strlen(target), arena, &err);

    request.last_event = last_event;
    if (rc == LX_OK)
        rc = o->handle(reply, o->context, &request, arena, &err);
    if (rc == LX_OK && reply->body.failed)
        rc = lx_oom(&err);
    if (rc == LX_OK)
        return;
    if (reply->close)
        reply->close(reply->stream);
    lx_str_release(&reply->body);
    *reply = (lx_serve_reply){.status = lx_serve_status(rc)};
    o->apologise(reply, o->context, &request, err.text);
}

static enum MHD_Result answer(void *context, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *n_upload, void **kept)
{
    lx_serve *s = context;
    exchange *x = *kept;
    const char *why = "";
    lx_serve_reply reply = {0};
    enum MHD_Result sent;
    lx_arena *arena;

    (void)url; /* decoded by rules that are not ours */
    (void)version;
    (void)upload;
    *n_upload = 0;
    set_waiting(s, c, 0);
    if (!x)
        return refuse(c, s, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    if (!x->was_seen) {
        unsigned status = judge(&why, s, c, method);
        x->was_seen = true;
        return status ? refuse(c, s, status, why) : MHD_YES;
    }
    if (!(arena = lx_arena_new()))
        return refuse(c, s, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    handle(&reply, s, x->target, header(c, "Last-Event-ID"), arena);
    sent = send_reply(c, s, &reply);
    lx_arena_free(arena);
    return sent;
}

/* What libmicrohttpd has to say is of clients that went away or broke the protocol. */
static void be_quiet(void *context, const char *fmt, va_list args)
{
    (void)context;
    (void)fmt;
    (void)args;
}

/* ---- its life ---------------------------------------------------------------------- */

static int init_stop(lx_serve *s)
{
    pthread_condattr_t clock;

    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->stopped, &clock);
    pthread_condattr_destroy(&clock);
    return pthread_mutex_init(&s->mutex, NULL);
}

int lx_serve_start(lx_serve **out, const lx_serve_options *options, lx_error *err)
{
    unsigned most =
        options->most_connections ? options->most_connections : LX_SERVE_CONNECTIONS;
    lx_serve *s;
    int fd = -1, rc;

    *out = NULL;
    if ((rc = load_http(err)) < 0)
        return rc;
    if (!(s = lx_calloc(1, sizeof *s)))
        return lx_oom(err);
    s->options = *options;
    if (!s->options.idle)
        s->options.idle = LX_SERVE_IDLE;
    if ((rc = open_socket(&fd, s, err)) < 0) {
        lx_free(s);
        return rc;
    }
    set_names(s);
    init_stop(s);
    s->daemon = http.start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ERROR_LOG,
        0, NULL, NULL, answer, s, MHD_OPTION_EXTERNAL_LOGGER, be_quiet, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, most,
        MHD_OPTION_CONNECTION_TIMEOUT, s->options.idle, MHD_OPTION_NOTIFY_CONNECTION,
        notice_peer, s, MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->is_local ? 0 : most / 2,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LX_SERVE_MEMORY,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, begin_exchange,
        NULL, MHD_OPTION_NOTIFY_COMPLETED, end_exchange, s, MHD_OPTION_END);
    if (!s->daemon) {
        close(fd);
        lx_serve_stop(s);
        return lx_fail(err, LX_EIO, "the web server does not start");
    }
    if ((rc = start_watch(s, err)) < 0) {
        lx_serve_stop(s);
        return rc;
    }
    *out = s;
    return LX_OK;
}

int lx_serve_port(const lx_serve *s)
{
    return s->ours.port;
}

const char *lx_serve_address(const lx_serve *s)
{
    return s->address;
}

bool lx_serve_is_local(const lx_serve *s)
{
    return s->is_local;
}

void lx_serve_stop(lx_serve *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->is_stopping = true;
    pthread_cond_broadcast(&s->stopped);
    pthread_mutex_unlock(&s->mutex);
    if (s->has_watch)
        pthread_join(s->watch, NULL);
    if (s->daemon)
        http.stop_daemon(s->daemon);
    pthread_cond_destroy(&s->stopped);
    pthread_mutex_destroy(&s->mutex);
    lx_free(s);
}
