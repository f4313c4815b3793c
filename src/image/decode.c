#include "src/image/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "src/image/decode_protocol.h"

enum { WATCHDOG_S = 20, START_S = 5 /* doubled at each try */, MAX_STARTS = 4 };

struct lx_decoder {
    pid_t pid; /* 0: no worker */
    int socket;
    int memory; /* memfd, or -1 */
    uint64_t memory_size;
};

/* Set by lx_decode_is_worker, which only lx's main calls: this binary can be its own worker. */
static atomic_bool is_lx;

bool lx_decode_is_worker(int *status, int argc, char **argv)
{
    atomic_store(&is_lx, true);
    if (argc != 2 || strcmp(argv[1], "__decode") != 0)
        return false;
    *status = lx_decode_serve(LX_DECODE_FD);
    return true;
}

int lx_decoder_new(lx_decoder **out, lx_error *err)
{
    lx_decoder *d = lx_calloc(1, sizeof(*d));

    *out = d;
    if (!d)
        return lx_oom(err);
    d->socket = d->memory = -1;
    return 0;
}

/* Ends the worker for good; *status as waitpid tells it. */
static void stop_worker(lx_decoder *d, int *status, bool kill_it)
{
    *status = 0;
    if (d->pid == 0)
        return;
    if (kill_it)
        kill(d->pid, SIGKILL);
    close(d->socket);
    while (waitpid(d->pid, status, 0) < 0 && errno == EINTR)
        ;
    d->pid = 0;
    d->socket = -1;
}

void lx_decoder_free(lx_decoder *d)
{
    int status;

    if (!d)
        return;
    stop_worker(d, &status, true);
    if (d->memory >= 0)
        close(d->memory);
    lx_free(d);
}

/* In the child, between fork and exec or serving: only calls that are safe there. */
static void become_worker(int socket, const char *program)
{
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is the parent's to answer */
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2); /* libraries complain on stderr about files that the user gets to hear of */
    }
    if (socket != LX_DECODE_FD)
        dup2(socket, LX_DECODE_FD);
    else
        fcntl(socket, F_SETFD, 0);
    close_range(LX_DECODE_FD + 1, ~0U, 0);
    if (program) {
        execl(program, "lx", "__decode", (char *)NULL);
        _exit(127);
    }
    _exit(lx_decode_serve(LX_DECODE_FD));
}

static int make_memory(lx_decoder *d, uint64_t bytes, lx_error *err)
{
    if (d->memory >= 0 && d->memory_size >= bytes)
        return 0;
    if (d->memory < 0 && (d->memory = memfd_create("lx-pixels", MFD_CLOEXEC)) < 0)
        return lx_fail_errno(err, errno, "shared memory for the image decoder");
    if (ftruncate(d->memory, (off_t)bytes) < 0)
        return lx_fail_errno(err, errno, "shared memory of %llu bytes for the image decoder",
                             (unsigned long long)bytes);
    d->memory_size = bytes;
    return 0;
}

static bool send_request(const lx_decoder *d, const lx_decode_request *request, int image)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec body = {(void *)request, sizeof(*request)};
    struct msghdr message = {.msg_iov = &body,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *head;
    const int fds[2] = {image, d->memory};

    memset(&control, 0, sizeof(control));
    head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(head), fds, sizeof(fds));
    return sendmsg(d->socket, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(*request);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 1: an answer; 0: the worker is gone; -1: it takes too long. */
static int receive_answer(const lx_decoder *d, lx_decode_answer *answer, int seconds)
{
    const int64_t end = now_ms() + seconds * 1000;
    struct pollfd p = {d->socket, POLLIN, 0};

    for (;;) {
        int64_t left = end - now_ms();
        int n = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (n > 0)
            break;
        if (n == 0)
            return -1;
        if (errno != EINTR)
            return 0;
    }
    if (recv(d->socket, answer, sizeof(*answer), 0) != (ssize_t)sizeof(*answer))
        return 0;
    answer->text[sizeof(answer->text) - 1] = '\0';
    return 1;
}

/* What to say of an image that the worker did not survive. */
static int fail_by_status(int status, lx_error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return lx_fail(err, LX_ENOTFOUND,
                       "the image decoder could not be started; is LX_HELPER the lx binary?");
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        return lx_fail(err, LX_ELIMIT, "decoding took more than %d s", (int)WATCHDOG_S);
    if (WIFSIGNALED(status))
        return lx_fail(err, LX_EFORMAT,
                       "the image library gave up (signal %d): the file is broken or asks for "
                       "more memory than an image may",
                       WTERMSIG(status));
    return lx_fail(err, LX_EFORMAT, "the image decoder left with status %d",
                   WIFEXITED(status) ? WEXITSTATUS(status) : 0);
}

static int fork_worker(lx_decoder *d, lx_error *err)
{
    const char *program = atomic_load(&is_lx) ? "/proc/self/exe" : getenv("LX_HELPER");
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return lx_fail_errno(err, errno, "socketpair for the image decoder");
    d->pid = fork();
    if (d->pid == 0)
        become_worker(pair[1], program);
    close(pair[1]);
    if (d->pid < 0) {
        d->pid = 0;
        close(pair[0]);
        return lx_fail_errno(err, errno, "fork for the image decoder");
    }
    d->socket = pair[0];
    return 0;
}

/*
 * Until the worker has said that it is ready. One that is a fork of a program with threads may find a
 * lock held for ever by a thread that it has not inherited: another fork has another chance.
 */
static int start_worker(lx_decoder *d, lx_error *err)
{
    lx_decode_answer ready;
    int status, got, rc;

    for (int i = 0; i < MAX_STARTS; i++) {
        if ((rc = fork_worker(d, err)) < 0)
            return rc;
        if ((got = receive_answer(d, &ready, START_S << i)) == 1)
            return 0;
        stop_worker(d, &status, got < 0);
        if (got == 0)
            return fail_by_status(status, err);
    }
    return lx_fail(err, LX_ELIMIT, "the image decoder did not start within %d s",
                   (int)(START_S << (MAX_STARTS - 1)));
}

/*
 * One request and its answer. A worker that has served before may have been ended by others since, or
 * be ended while it works: its image gets a second try with a fresh one. A fresh worker that dies dies
 * of the image.
 */
static int ask(lx_decoder *d, lx_decode_answer *answer, const lx_decode_request *request,
               int image, lx_error *err)
{
    bool is_fresh;
    int status, got, rc;

    do {
        is_fresh = d->pid == 0;
        if (is_fresh && (rc = start_worker(d, err)) < 0)
            return rc;
        got = send_request(d, request, image) ? receive_answer(d, answer, WATCHDOG_S) : 0;
        if (got == 1)
            return answer->code < 0 ? lx_fail(err, answer->code, "%s", answer->text) : 0;
        stop_worker(d, &status, got < 0);
        if (got < 0)
            return lx_fail(err, LX_ELIMIT, "decoding took more than %d s", (int)WATCHDOG_S);
    } while (!is_fresh);
    return fail_by_status(status, err);
}

/* Read, not mapped: a worker gone wrong could shrink the memory under a mapping. */
static int read_memory(uint8_t *out, const lx_decoder *d, size_t n, lx_error *err)
{
    for (size_t got = 0; got < n;) {
        ssize_t k = pread(d->memory, out + got, n - got, (off_t)got);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return lx_fail(err, LX_EINTERNAL, "the decoder's memory is short");
        got += (size_t)k;
    }
    return 0;
}

/* From 3 or 4 channels to what was asked for, in place if it does not grow. */
static int apply_alpha(lx_pixels *p, const lx_decode_options *options, lx_error *err)
{
    const size_t n = (size_t)p->width * (size_t)p->height;
    uint8_t *wider;

    if (options->alpha == LX_ALPHA_KEEP && p->channels == 3) {
        if (!(wider = lx_alloc(n * 4)))
            return lx_oom(err);
        for (size_t i = 0; i < n; i++) {
            memcpy(wider + 4 * i, p->data + 3 * i, 3);
            wider[4 * i + 3] = 255;
        }
        lx_free(p->data);
        p->data = wider;
        p->channels = 4;
    } else if (options->alpha != LX_ALPHA_KEEP && p->channels == 4) {
        for (size_t i = 0; i < n; i++) {
            unsigned a = options->alpha == LX_ALPHA_DROP ? 255 : p->data[4 * i + 3];
            for (size_t c = 0; c < 3; c++)
                p->data[3 * i + c] = (uint8_t)((a * p->data[4 * i + c] +
                                                (255 - a) * options->background[c] + 127) /
                                               255);
        }
        p->channels = 3;
    }
    return 0;
}

int lx_decode(lx_pixels *out, lx_image_header *header, lx_decoder *d, const char *path,
              const lx_decode_options *options, lx_error *err)
{
    lx_decode_request request = {0};
    lx_decode_answer answer = {0};
    size_t n;
    int image = -1, rc;

    *out = (lx_pixels){0};
    if ((rc = lx_image_header_read(&request.header, path, err)) < 0)
        return rc;
    if (header)
        *header = request.header;
    n = (size_t)request.header.width * (size_t)request.header.height;
    request.memory = n * 4;
    if ((image = lx_io_get()->open(path, O_RDONLY, 0)) < 0)
        return lx_fail_errno(err, errno, "open");
    if ((rc = make_memory(d, request.memory, err)) < 0 ||
        (rc = ask(d, &answer, &request, image, err)) < 0)
        goto done;
    if (answer.channels != 3 && answer.channels != 4) {
        rc = lx_fail(err, LX_EINTERNAL, "the decoder answered %d channels", answer.channels);
        goto done;
    }
    *out = (lx_pixels){NULL, request.header.width, request.header.height, answer.channels};
    n *= (size_t)answer.channels;
    if (!(out->data = lx_alloc(n)))
        rc = lx_oom(err);
    else if ((rc = read_memory(out->data, d, n, err)) == 0)
        rc = apply_alpha(out, options, err);
done:
    if (rc < 0)
        lx_pixels_release(out);
    lx_io_get()->close(image);
    return rc;
}

void lx_pixels_release(lx_pixels *pixels)
{
    lx_free(pixels->data);
    *pixels = (lx_pixels){0};
}
