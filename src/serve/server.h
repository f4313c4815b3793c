/*
 * serve/server - a web server for one person on one machine, which only shows
 *
 * libmicrohttpd speaks HTTP; what is let in and what goes out with every answer is
 * decided here, before and after the handler that makes the page:
 *
 * (1) Only GET and HEAD without a body (405, 413); only under our own names (421), of our
 *     own pages or by hand (403): see serve/request.
 * (2) A request has at most LX_SERVE_MEMORY bytes and arrives within LX_SERVE_IDLE
 *     seconds, from the beginning of its connection or the end of the request before it
 *     to the end of its head, however busily it sends; and there are at most as many
 *     connections as was said (of one address half as many, where others than this
 *     machine may come); more are refused.
 * (3) Every answer carries a policy under which a browser runs no script and loads
 *     nothing but what this server sends as such, guesses no types, names no referrer,
 *     may not be framed or read by other pages, and keeps no data.
 *
 * A connection is a thread, so a handler may take its time and is called by several at
 * once. An event stream (text/event-stream) is asked twice a second for what is new.
 */
#ifndef LX_SERVE_SERVER_H
#define LX_SERVE_SERVER_H

#include "src/base/str.h"
#include "src/serve/request.h"

enum { LX_SERVE_MEMORY = 16 * 1024, LX_SERVE_IDLE = 10, LX_SERVE_CONNECTIONS = 100 };

/* Events that are new are appended to out (lx_serve_event); negative ends the stream. */
typedef int (*lx_serve_next)(lx_str *out, void *stream);

/* What comes of a request; zeroed before the handler fills it. */
typedef struct lx_serve_reply {
    int status;       /* 0 = 200 */
    const char *type; /* NULL = text/html; charset=utf-8 */
    lx_str body;      /* taken, also after an error */
    bool is_lasting;  /* its address changes with its content: a browser may keep it */
    const char *file_name; /* not NULL: to be saved under this name, not shown */
    lx_serve_next next;    /* not NULL: an event stream; body is its beginning */
    void *stream;
    void (*close)(void *stream);
} lx_serve_reply;

/* Texts of reply may live in the arena, which is the request's. */
typedef int (*lx_serve_handler)(lx_serve_reply *reply, void *context,
                                const lx_serve_request *request, lx_arena *arena,
                                lx_error *err);
/* Tells what went wrong; reply->status is set. */
typedef void (*lx_serve_apology)(lx_serve_reply *reply, void *context,
                                 const lx_serve_request *request, const char *text);

typedef struct lx_serve_options {
    const char *host;         /* a name or an address; NULL = 127.0.0.1 */
    int port;                 /* 0 = any that is free */
    const char *const *names; /* more names under which we may be called */
    size_t n_names;
    unsigned most_connections; /* 0 = LX_SERVE_CONNECTIONS */
    unsigned idle;             /* seconds; 0 = LX_SERVE_IDLE */
    lx_serve_handler handle;
    lx_serve_apology apologise;
    void *context;
} lx_serve_options;

typedef struct lx_serve lx_serve;

/* Listens and answers in threads of its own. The texts of options must outlive it.
 *   LX_ENOTFOUND  no such host       LX_EBUSY  the port is taken
 *   LX_EPERM      not allowed        LX_EIO    anything else the system refuses */
int lx_serve_start(lx_serve **out, const lx_serve_options *options, lx_error *err);
int lx_serve_port(const lx_serve *s);
/* "http://127.0.0.1:8417/" */
const char *lx_serve_address(const lx_serve *s);
/* Is it to be reached from this machine alone? */
bool lx_serve_is_local(const lx_serve *s);
/* Ends the event streams, lets other answers finish. NULL is fine. */
void lx_serve_stop(lx_serve *s);

/* One event: `data` is one line, as JSON is; id NULL = none. */
void lx_serve_event(lx_str *out, const char *name, const char *id, const char *data);

/* The HTTP status that tells of an error code. */
int lx_serve_status(int code);

#endif
