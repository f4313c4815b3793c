/* The worker's side of image/decode. Whatever happens here, only one image is lost. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/proc.h"
#include "src/base/sandbox.h"
#include "src/image/bmp.h"
#include "src/image/decode.h"
#include "src/image/decode_protocol.h"
#include "src/image/png_text.h"
#include "src/image/vips_late.h"

enum { CPU_S = 20, ROWS = 64 };

static const lx_vips *vips; /* NULL: it could not be loaded, and why */
static lx_error vips_missing;

/* RLIMIT_AS counts all that is mapped; a worker that was forked starts with its parent's. */
static void limit_memory(void)
{
#ifndef __SANITIZE_ADDRESS__
    /* What an image may cost: the largest one, its pixels twice in 16 bits, and the library. */
    const uint64_t memory_limit = (uint64_t)2 << 30;
    unsigned long pages = 0;
    char text[256];

    if (lx_proc_read(text, sizeof text, "/proc/self/statm") < 0 ||
        sscanf(text, "%lu", &pages) != 1)
        pages = 0;
    uint64_t all = pages * (uint64_t)sysconf(_SC_PAGESIZE) + memory_limit;
    setrlimit(RLIMIT_AS, &(struct rlimit){all, all});
#endif
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

/* Processor time is counted for the life of the process: the limit moves along. */
static void limit_time(void)
{
    struct rlimit limit;
    struct rusage used;

    if (getrusage(RUSAGE_SELF, &used) < 0 || getrlimit(RLIMIT_CPU, &limit) < 0)
        return;
    limit.rlim_cur = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + CPU_S + 1;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_cur < limit.rlim_max)
        setrlimit(RLIMIT_CPU, &limit);
}

/* a * b / 255, rounded, as Pillow has it. */
static int scaled(int a, int b)
{
    int t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

/* One sample to 8 bits. 16-bit grey saturates, for Pillow clips it; all else keeps the high byte. */
static int sample(const void *row, int i, VipsBandFormat format, bool saturates)
{
    if (format == VIPS_FORMAT_UCHAR)
        return ((const uint8_t *)row)[i];
    int v = ((const uint16_t *)row)[i];
    return saturates ? (v > 255 ? 255 : v) : v >> 8;
}

static void convert_row(uint8_t *out, const void *row, const VipsImage *image,
                        const lx_image_header *h, bool has_alpha)
{
    const int bands = image->Bands, n_colours = bands - has_alpha;
    const bool saturates = h->bits == 16 && h->is_grey && h->channels == 1;

    for (int x = 0; x < image->Xsize; x++) {
        int v[4] = {0, 0, 0, 255};
        for (int c = 0; c < n_colours; c++)
            v[c] = sample(row, x * bands + c, image->BandFmt, saturates);
        if (n_colours == 1) {
            v[1] = v[2] = v[0];
        } else if (n_colours == 4) {
            int white = 255 - v[3];
            for (int c = 0; c < 3; c++) {
                int left = white - scaled(v[c], white);
                v[c] = left < 0 ? 0 : left;
            }
        }
        for (int c = 0; c < 3; c++)
            *out++ = (uint8_t)v[c];
        if (has_alpha)
            *out++ = (uint8_t)sample(row, x * bands + bands - 1, image->BandFmt, false);
    }
}

static int fail_vips(lx_error *err)
{
    char text[300];
    size_t n;

    snprintf(text, sizeof(text), "%s", vips->vips_error_buffer());
    vips->vips_error_clear();
    for (n = 0; text[n] && text[n] != '\n'; n++)
        ;
    text[n] = '\0';
    return lx_fail(err, LX_EFORMAT, "%s", n ? text : "the image cannot be decoded");
}

/* *bytes are those that the image is read from where they are not the file's; the caller's to free after the image. */
static int load(VipsImage **out, uint8_t **bytes, int fd, lx_image_kind kind,
                lx_error *err)
{
    VipsSource *source;
    size_t n;
    int failed;

    if (kind == LX_IMAGE_PNG && lx_png_without_text(bytes, &n, fd))
        source = vips->vips_source_new_from_memory(*bytes, n);
    else
        source = vips->vips_source_new_from_descriptor(fd);
    if (!source)
        return fail_vips(err);
    switch (kind) {
    case LX_IMAGE_PNG:
        failed = vips->vips_pngload_source(source, out, "access", VIPS_ACCESS_SEQUENTIAL,
                                           "fail_on", VIPS_FAIL_ON_TRUNCATED, NULL);
        break;
    case LX_IMAGE_JPEG:
        failed = vips->vips_jpegload_source(source, out, "access", VIPS_ACCESS_SEQUENTIAL,
                                            "fail_on", VIPS_FAIL_ON_TRUNCATED, NULL);
        break;
    default:
        failed = vips->vips_webpload_source(source, out, "access", VIPS_ACCESS_SEQUENTIAL,
                                            "fail_on", VIPS_FAIL_ON_TRUNCATED, NULL);
    }
    vips->g_object_unref(source); /* the image holds it */
    return failed ? fail_vips(err) : 0;
}

static int check_image(const VipsImage *image, const lx_image_header *h, lx_error *err)
{
    if (image->Xsize != h->width || image->Ysize != h->height)
        return lx_fail(err, LX_EFORMAT,
                       "the header says %d x %d pixels, the image has %d x %d", h->width,
                       h->height, image->Xsize, image->Ysize);
    if (image->BandFmt != VIPS_FORMAT_UCHAR && image->BandFmt != VIPS_FORMAT_USHORT)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "the image's samples are neither 8 nor 16 bits");
    if (image->Bands < 1 || image->Bands > 4)
        return lx_fail(err, LX_EUNSUPPORTED, "the image has %d channels", image->Bands);
    return 0;
}

/* As VIPS_REGION_ADDR, which calls into the library; strips begin at the left edge. */
static const void *row_of(const VipsRegion *region, int y)
{
    return region->data + (size_t)(y - region->valid.top) * (size_t)region->bpl;
}

static int decode_with_vips(uint8_t *out, int *channels, int fd, const lx_image_header *h,
                            lx_error *err)
{
    VipsImage *image = NULL;
    VipsRegion *region = NULL;
    uint8_t *bytes = NULL;
    bool has_alpha;
    int rc;

    if (!vips)
        return lx_fail(err, vips_missing.code, "%s", vips_missing.text);
    if ((rc = load(&image, &bytes, fd, h->kind, err)) < 0 ||
        (rc = check_image(image, h, err)) < 0)
        goto done;
    has_alpha = !h->is_cmyk && (image->Bands == 2 || image->Bands == 4);
    *channels = has_alpha ? 4 : 3;
    region = vips->vips_region_new(image);
    for (int y = 0; y < h->height; y += ROWS) {
        int n = h->height - y < ROWS ? h->height - y : ROWS;
        VipsRect strip = {0, y, h->width, n};
        if (!region || vips->vips_region_prepare(region, &strip)) {
            rc = fail_vips(err);
            goto done;
        }
        for (int i = 0; i < n; i++) {
            convert_row(out, row_of(region, y + i), image, h, has_alpha);
            out += (size_t)h->width * (size_t)*channels;
        }
    }
done:
    if (region)
        vips->g_object_unref(region);
    if (image)
        vips->g_object_unref(image);
    lx_free(bytes);
    return rc;
}

static int decode(int *channels, int fd, int memory, const lx_decode_request *request,
                  lx_error *err)
{
    const lx_image_header *h = &request->header;
    uint8_t *out =
        mmap(NULL, request->memory, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    int rc;

    if (out == MAP_FAILED)
        return lx_fail_errno(err, errno, "mapping the decoder's memory");
    if (h->kind == LX_IMAGE_BMP) {
        *channels = h->has_alpha ? 4 : 3;
        rc = lx_bmp_decode(out, fd, h, err);
    } else {
        rc = decode_with_vips(out, channels, fd, h, err);
    }
    munmap(out, request->memory);
    return rc;
}

/* A request with its two descriptors; false when the parent is gone. */
static bool receive(int socket, lx_decode_request *request, int fds[2])
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec body = {request, sizeof(*request)};
    struct msghdr message = {.msg_iov = &body,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *head;
    ssize_t n;

    while ((n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (n != (ssize_t)sizeof(*request) || !(head = CMSG_FIRSTHDR(&message)) ||
        head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(2 * sizeof(int)))
        return false;
    memcpy(fds, CMSG_DATA(head), 2 * sizeof(int));
    return true;
}

static bool answer_with(int socket, const lx_decode_answer *answer)
{
    return send(socket, answer, sizeof *answer, MSG_NOSIGNAL) == (ssize_t)sizeof *answer;
}

int lx_decode_serve(int socket)
{
    const lx_decode_answer ready = {0};
    lx_decode_request request;
    lx_sandbox_state sandbox;
    int fds[2];

    setenv("VIPS_BLOCK_UNTRUSTED", "1", 1);
    setenv("VIPS_CONCURRENCY", "1", 1);
    if (lx_vips_load(&vips, &vips_missing) == LX_OK)
        vips->vips_cache_set_max(0);
    limit_memory();
    /* The image comes as a descriptor; nothing else is needed any more. */
    lx_sandbox_enter(&sandbox, &(lx_sandbox){.has_no_files = true}, NULL);
    if (!answer_with(socket, &ready))
        return 0;
    while (receive(socket, &request, fds)) {
        lx_decode_answer answer = {0};
        lx_error err = {0};
        limit_time();
        answer.code = decode(&answer.channels, fds[0], fds[1], &request, &err);
        snprintf(answer.text, sizeof(answer.text), "%.*s", (int)sizeof(answer.text) - 1,
                 err.text);
        close(fds[0]);
        close(fds[1]);
        if (!answer_with(socket, &answer))
            break;
    }
    if (vips)
        vips->vips_shutdown();
    return 0;
}
