#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "src/base/file.h"
#include "src/image/decode.h"
#include "src/image/decode_protocol.h"
#include "tests/support/golden.h"
#include "tests/unit/image/npy.h"

static lx_decoder *decoder;

static int set_up(void **state)
{
    lx_error err;
    return lx_decoder_new(&decoder, &err);
}

static int tear_down(void **state)
{
    lx_decoder_free(decoder);
    return 0;
}

static bool is_lossy(const char *name)
{
    return lx_ends_with(name, ".jpg") || strcmp(name, "lossy.webp") == 0;
}

static void check_array(const char *name, const lx_pixels *got, const char *array)
{
    lx_pixels want = read_npy(array);

    compare_pixels(name, got, &want, is_lossy(name) ? 3 : 0, is_lossy(name) ? 0.6 : 0);
    lx_pixels_release(&want);
}

static void check_image(const cJSON *image)
{
    const char *name = cJSON_GetObjectItem(image, "file")->valuestring;
    const cJSON *size = cJSON_GetObjectItem(image, "pil_size");
    const cJSON *alpha = cJSON_GetObjectItem(image, "load_image_alpha_True");
    lx_decode_options options = {LX_ALPHA_DROP, {0, 0, 0}};
    lx_image_header header;
    lx_pixels pixels;
    lx_error err;
    char path[4096];

    snprintf(path, sizeof(path), "data/images/in/%s", name);
    if (lx_decode(&pixels, &header, decoder, lx_golden_need(path), &options, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    assert_int_equal(header.width, cJSON_GetArrayItem(size, 0)->valueint);
    assert_int_equal(header.height, cJSON_GetArrayItem(size, 1)->valueint);
    check_array(name, &pixels, cJSON_GetObjectItem(image, "load_image")->valuestring);
    lx_pixels_release(&pixels);
    assert_int_equal(header.has_alpha, alpha != NULL);
    if (!alpha)
        return;
    options.alpha = LX_ALPHA_KEEP;
    assert_int_equal(lx_decode(&pixels, NULL, decoder, lx_golden_need(path), &options, &err), 0);
    check_array(name, &pixels, alpha->valuestring);
    lx_pixels_release(&pixels);
}

static void test_image_decode__pixels_are_those_of_the_peer(void **state)
{
    cJSON *golden = lx_golden_json("data/images/images.json");
    const cJSON *image;

    cJSON_ArrayForEach(image, cJSON_GetObjectItem(golden, "images")) check_image(image);
    cJSON_Delete(golden);
}

static void test_image_decode__headers_tell_what_needs_care(void **state)
{
    lx_image_header h;
    lx_error err;

    assert_int_equal(
        lx_image_header_read(&h, lx_golden_need("data/images/in/exif_rot6.jpg"), &err), 0);
    assert_int_equal(h.orientation, 6);
    assert_int_equal(
        lx_image_header_read(&h, lx_golden_need("data/images/in/palette_trns_bytes.png"), &err),
        0);
    assert_true(h.is_palette && h.has_alpha);
    assert_int_equal(lx_image_header_read(&h, lx_golden_need("data/images/in/cmyk.jpg"), &err), 0);
    assert_true(h.is_cmyk && h.channels == 4 && !h.has_alpha);
    assert_int_equal(lx_image_header_read(&h, lx_golden_need("data/images/in/grey16.png"), &err),
                     0);
    assert_true(h.bits == 16 && h.is_grey);
    assert_int_equal(lx_image_header_read(&h, "/nowhere/at/all.png", &err), LX_ENOTFOUND);
    assert_int_equal(lx_image_header_read(&h, "/", &err), LX_EFORMAT);
}

/* What is no file is a bad image, and not a disk that fails. */
static void test_image_decode__sockets_and_circles_are_no_images(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/lx-odd-XXXXXX", link[64];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    lx_image_header h;
    lx_error err;

    assert_true(fd >= 0 && mkdtemp(folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s.png", folder);
    snprintf(link, sizeof link, "%s/self.png", folder);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(symlink("self.png", link), 0);
    assert_int_equal(lx_image_header_read(&h, address.sun_path, &err), LX_EFORMAT);
    assert_string_equal(err.text, "not a regular file");
    assert_int_equal(lx_image_header_read(&h, link, &err), LX_EFORMAT);
    assert_string_equal(err.text, "open: Too many levels of symbolic links");
    close(fd);
    unlink(address.sun_path);
    unlink(link);
    rmdir(folder);
}

static void test_image_decode__alpha_is_composited_on_the_background(void **state)
{
    const char *path = lx_golden_need("data/images/in/rgba.png");
    lx_decode_options keep = {LX_ALPHA_KEEP, {0, 0, 0}};
    lx_decode_options green = {LX_ALPHA_COMPOSITE, {0, 200, 0}};
    lx_pixels a, b;
    lx_error err;

    assert_int_equal(lx_decode(&a, NULL, decoder, path, &keep, &err), 0);
    assert_int_equal(lx_decode(&b, NULL, decoder, path, &green, &err), 0);
    assert_int_equal(b.channels, 3);
    for (int i = 0; i < a.width * a.height; i++)
        for (int c = 0; c < 3; c++) {
            double alpha = a.data[4 * i + 3] / 255.0;
            double want = alpha * a.data[4 * i + c] + (1 - alpha) * green.background[c];
            double off = b.data[3 * i + c] - want;
            assert_true(off <= 0.501 && off >= -0.501);
        }
    lx_pixels_release(&a);
    lx_pixels_release(&b);
}

static void test_image_decode__bad_files_are_errors_and_the_next_image_is_not(void **state)
{
    lx_decode_options options = LX_DECODE_DEFAULT;
    cJSON *manifest = NULL;
    const cJSON *entry;
    lx_str text = LX_STR_INIT;
    lx_error err;
    int n = 0;

    assert_int_equal(lx_file_read(&text, lx_badfile_need("manifest.json"), 1 << 24, &err), 0);
    manifest = cJSON_ParseWithLength(text.data, text.len);
    lx_str_release(&text);
    assert_non_null(manifest);
    cJSON_ArrayForEach(entry, manifest)
    {
        const char *name = cJSON_GetObjectItem(entry, "file")->valuestring;
        const char *expect = cJSON_GetObjectItem(entry, "expect")->valuestring;
        const char *path;
        lx_pixels pixels;
        int rc;
        if (!lx_starts_with(name, "img_") || !(path = lx_badfile(name)))
            continue;
        err.text[0] = '\0';
        rc = lx_decode(&pixels, NULL, decoder, path, &options, &err);
        if ((rc < 0) != (strcmp(expect, "reject") == 0))
            fail_msg("%s: %s is expected, not %d %s", name, expect, rc, err.text);
        if (rc < 0 && (lx_exit_status(rc) != 65 || !err.text[0]))
            fail_msg("%s: %d \"%s\"", name, rc, err.text);
        lx_pixels_release(&pixels);
        n++;
    }
    assert_true(n > 10);
    cJSON_Delete(manifest);
}

static void test_image_decode__cut_files_are_errors(void **state)
{
    static const char *const names[] = {"rgb.png", "photo.jpg", "progressive.jpg",
                                        "lossless.webp", "lossy.webp", "rgb.bmp", "palette.png"};
    lx_decode_options options = LX_DECODE_DEFAULT;
    char path[256] = "/tmp/lx-cut-XXXXXX", golden[256];
    lx_error err;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        lx_str bytes = LX_STR_INIT;
        snprintf(golden, sizeof(golden), "data/images/in/%s", names[i]);
        assert_int_equal(lx_file_read(&bytes, lx_golden_need(golden), 1 << 24, &err), 0);
        for (int part = 0; part < 8; part++) {
            lx_pixels pixels;
            int rc;
            size_t n = bytes.len * (size_t)part / 8;
            assert_int_equal(ftruncate(fd, 0), 0);
            assert_int_equal(pwrite(fd, bytes.data, n, 0), (ssize_t)n);
            rc = lx_decode(&pixels, NULL, decoder, path, &options, &err);
            if (lx_exit_status(rc) != 65)
                fail_msg("%s cut to %zu bytes: %d", names[i], n, rc);
        }
        lx_str_release(&bytes);
    }
    close(fd);
    unlink(path);
}

static void put_number(lx_str *out, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        lx_str_putc(out, (char)(value >> (8 * i)));
}

/* 32 or 64 pixels of 16 bits, one row: every value that a channel can have, in all of them. */
static void decode_bmp16(lx_pixels *out, bool has_six)
{
    const uint32_t n = has_six ? 64 : 32, at = has_six ? 66 : 54;
    char path[] = "/tmp/lx-bmp-XXXXXX";
    lx_str bmp = LX_STR_INIT;
    lx_error err = {0};

    lx_str_puts(&bmp, "BM");
    put_number(&bmp, at + 2 * n, 4);
    put_number(&bmp, 0, 4);
    put_number(&bmp, at, 4);
    put_number(&bmp, 40, 4);
    put_number(&bmp, n, 4);
    put_number(&bmp, 1, 4);
    put_number(&bmp, 1, 2);
    put_number(&bmp, 16, 2);
    put_number(&bmp, has_six ? 3 : 0, 4);
    for (int i = 0; i < 5; i++)
        put_number(&bmp, 0, 4);
    if (has_six) {
        put_number(&bmp, 0xF800, 4);
        put_number(&bmp, 0x7E0, 4);
        put_number(&bmp, 0x1F, 4);
    }
    for (uint32_t i = 0; i < n; i++)
        put_number(&bmp, has_six ? i / 2 << 11 | i << 5 | i / 2 : i << 10 | i << 5 | i, 2);
    close(mkstemp(path));
    assert_int_equal(lx_file_write(path, bmp.data, bmp.len, &err), 0);
    if (lx_decode(out, NULL, decoder, path, &(lx_decode_options)LX_DECODE_DEFAULT, &err) < 0)
        fail_msg("%s", err.text);
    unlink(path);
    lx_str_release(&bmp);
}

/* 1 x 1 pixel of 8 bits with one colour, and another number of colours in the header. */
static int decode_bmp8(uint32_t n_colours, lx_error *err)
{
    char path[] = "/tmp/lx-bmp-XXXXXX";
    lx_str bmp = LX_STR_INIT;
    lx_pixels got = {0};
    int rc;

    lx_str_puts(&bmp, "BM");
    put_number(&bmp, 62, 4);
    put_number(&bmp, 0, 4);
    put_number(&bmp, 58, 4);
    put_number(&bmp, 40, 4);
    put_number(&bmp, 1, 4);
    put_number(&bmp, 1, 4);
    put_number(&bmp, 1, 2);
    put_number(&bmp, 8, 2);
    for (int i = 0; i < 4; i++)
        put_number(&bmp, 0, 4);
    put_number(&bmp, n_colours, 4);
    put_number(&bmp, 0, 4);
    put_number(&bmp, 0xFF8040, 4); /* the palette */
    put_number(&bmp, 0, 4);        /* the pixel */
    close(mkstemp(path));
    assert_int_equal(lx_file_write(path, bmp.data, bmp.len, err), 0);
    if ((rc = lx_decode(&got, NULL, decoder, path, &(lx_decode_options)LX_DECODE_DEFAULT, err)) == 0)
        assert_int_equal(got.data[0], 0xFF);
    lx_pixels_release(&got);
    unlink(path);
    lx_str_release(&bmp);
    return rc;
}

static void test_image_decode__bmp_with_a_palette_of_billions_is_refused(void **state)
{
    lx_error err = {0};

    assert_int_equal(decode_bmp8(1, &err), LX_OK);
    assert_int_equal(decode_bmp8(65536, &err), LX_OK);
    assert_int_equal(decode_bmp8(65537, &err), LX_EFORMAT);
    assert_int_equal(decode_bmp8(UINT32_MAX, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "byte 46"));
}

/* The bytes are Pillow 13's for the same files. */
static void test_image_decode__bmp_of_16_bits_is_widened_as_in_pillow(void **state)
{
    static const uint8_t five[32] = {
        0, 8, 16, 24, 32, 41, 49, 57, 65, 74, 82, 90, 98, 106, 115, 123, 131, 139, 148, 156, 164,
        172, 180, 189, 197, 205, 213, 222, 230, 238, 246, 255};
    static const uint8_t six[64] = {
        0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 76, 80, 85, 89,
        93, 97, 101, 105, 109, 113, 117, 121, 125, 129, 133, 137, 141, 145, 149, 153, 157, 161,
        165, 170, 174, 178, 182, 186, 190, 194, 198, 202, 206, 210, 214, 218, 222, 226, 230, 234,
        238, 242, 246, 250, 255};
    lx_pixels got;

    for (int has_six = 0; has_six < 2; has_six++) {
        decode_bmp16(&got, has_six);
        assert_int_equal(got.width, has_six ? 64 : 32);
        for (int i = 0; i < got.width; i++) {
            const int half = has_six ? i / 2 : i;
            const uint8_t want[3] = {five[half], has_six ? six[i] : five[i], five[half]};
            if (memcmp(got.data + 3 * i, want, 3) != 0)
                fail_msg("%d of %d", i, got.width);
        }
        lx_pixels_release(&got);
    }
}

static void put_chunk(lx_str *out, const char *type, const void *data, size_t n)
{
    const size_t at = out->len;
    uint32_t crc;

    for (int shift = 24; shift >= 0; shift -= 8)
        lx_str_putc(out, (char)(n >> shift & 0xFF));
    lx_str_append(out, type, 4);
    lx_str_append(out, data, n);
    assert_false(out->failed);
    crc = (uint32_t)crc32(0, (const Bytef *)out->data + at + 4, (uInt)(n + 4));
    for (int shift = 24; shift >= 0; shift -= 8)
        lx_str_putc(out, (char)(crc >> shift & 0xFF));
}

/* n texts, each of which 30 MB come out of. */
static void put_packed_texts(lx_str *out, const char *type, int n)
{
    enum { BYTES = 30 << 20 };
    char *plain = lx_alloc(BYTES), *packed;
    uLongf size = compressBound(BYTES);

    packed = lx_alloc(size);
    memset(plain, 'a', BYTES);
    assert_int_equal(
        compress2((Bytef *)packed, &size, (const Bytef *)plain, BYTES, 9), Z_OK);
    for (int i = 0; i < n; i++) {
        const bool is_international = *type == 'i';
        lx_str chunk = LX_STR_INIT;
        lx_str_printf(&chunk, "k%d", i);
        lx_str_append(&chunk, is_international ? "\0\1\0\0" : "\0", is_international ? 5 : 2);
        lx_str_append(&chunk, packed, size);
        put_chunk(out, type, chunk.data, chunk.len);
        lx_str_release(&chunk);
    }
    lx_free(plain);
    lx_free(packed);
}

/* The file with more behind its first n bytes. */
static int decode_with(lx_pixels *pixels, const lx_str *png, size_t n, const lx_str *more,
                       lx_error *err)
{
    lx_decode_options options = LX_DECODE_DEFAULT;
    char path[] = "/tmp/lx-text-XXXXXX";
    int fd = mkstemp(path), rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, png->data, n), (ssize_t)n);
    assert_int_equal(write(fd, more->data, more->len), (ssize_t)more->len);
    assert_int_equal(write(fd, png->data + n, png->len - n), (ssize_t)(png->len - n));
    close(fd);
    rc = lx_decode(pixels, NULL, decoder, path, &options, err);
    unlink(path);
    return rc;
}

/* As many as would take a minute and a few gigabytes, before the data and behind it. */
static void test_image_decode__packed_texts_are_not_unpacked(void **state)
{
    enum { BEHIND_IHDR = 33, IEND = 12 };
    lx_str png = LX_STR_INIT, more = LX_STR_INIT;
    lx_pixels want, got;
    lx_error err = {0};

    assert_int_equal(
        lx_file_read(&png, lx_golden_need("data/images/in/rgb.png"), 1 << 24, &err), 0);
    assert_int_equal(decode_with(&want, &png, BEHIND_IHDR, &more, &err), 0);
    put_packed_texts(&more, "zTXt", 50);
    put_packed_texts(&more, "iTXt", 50);
    for (int i = 0; i < 2; i++) {
        if (decode_with(&got, &png, i ? png.len - IEND : BEHIND_IHDR, &more, &err) < 0)
            fail_msg("%s", err.text);
        compare_pixels("rgb.png with texts", &got, &want, 0, 0);
        lx_pixels_release(&got);
    }
    /* A file that is cut behind them is as bad as one that has none. */
    png.len -= png.len / 2;
    assert_int_equal(decode_with(&got, &png, BEHIND_IHDR, &more, &err), LX_EFORMAT);
    lx_pixels_release(&want);
    lx_str_release(&more);
    lx_str_release(&png);
}

/* Data in two parts is no PNG, whatever parts them. */
static void test_image_decode__a_text_does_not_join_data(void **state)
{
    static const unsigned char ihdr[13] = {0, 0, 0, 8, 0, 0, 0, 8, 8, 0, 0, 0, 0};
    static const unsigned char rows[8 * 9];
    unsigned char data[128];
    uLongf n = sizeof data;
    lx_str png = LX_STR_INIT, more = LX_STR_INIT;
    lx_pixels got;
    lx_error err = {0};

    assert_int_equal(compress2(data, &n, rows, sizeof rows, 9), Z_OK);
    for (int i = 0; i < 2; i++) {
        lx_str_clear(&png);
        lx_str_append(&png, "\x89PNG\r\n\x1a\n", 8);
        put_chunk(&png, "IHDR", ihdr, sizeof ihdr);
        put_chunk(&png, "tEXt", "a\0b", 3);
        put_chunk(&png, "IDAT", data, 4);
        if (i)
            put_chunk(&png, "tEXt", "a\0b", 3);
        put_chunk(&png, "IDAT", data + 4, n - 4);
        put_chunk(&png, "IEND", "", 0);
        assert_int_equal(decode_with(&got, &png, 33, &more, &err), i ? LX_EFORMAT : 0);
        lx_pixels_release(&got);
    }
    lx_str_release(&png);
}

/* The one child this program has. */
static pid_t worker(void)
{
    char path[64];
    int pid = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    if ((f = fopen(path, "r"))) {
        if (fscanf(f, "%d", &pid) != 1)
            pid = 0;
        fclose(f);
    }
    return pid;
}

static void test_image_decode__a_dead_worker_is_replaced(void **state)
{
    const char *path = lx_golden_need("data/images/in/rgb.png");
    lx_decode_options options = LX_DECODE_DEFAULT;
    lx_pixels pixels;
    lx_error err;
    pid_t first;

    assert_int_equal(lx_decode(&pixels, NULL, decoder, path, &options, &err), 0);
    lx_pixels_release(&pixels);
    if (!(first = worker()))
        skip(); /* a kernel without CONFIG_PROC_CHILDREN */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(lx_decode(&pixels, NULL, decoder, path, &options, &err), 0);
        lx_pixels_release(&pixels);
    }
    assert_int_equal(worker(), first); /* one process for many images */
    kill(first, SIGKILL);
    usleep(50000);
    assert_int_equal(lx_decode(&pixels, NULL, decoder, path, &options, &err), 0);
    lx_pixels_release(&pixels);
    assert_int_not_equal(worker(), first);
}

/* LX_HELPER is a script that sleeps the first time, and is this program as a worker the second. */
static void test_image_decode__a_worker_that_does_not_begin_is_started_again(void **state)
{
    char script[] = "/tmp/lx-sleeper-XXXXXX", mark[64], self[4096];
    lx_decode_options options = LX_DECODE_DEFAULT;
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    lx_decoder *fresh = NULL;
    lx_pixels pixels;
    lx_error err;
    int fd = mkstemp(script), rc;

    assert_true(fd >= 0 && n > 0);
    self[n] = '\0';
    snprintf(mark, sizeof mark, "%s.slept", script);
    assert_true(dprintf(fd, "#!/bin/sh\n[ -e '%s' ] && exec '%s' __decode\n: >'%s'\nexec sleep 60\n",
                        mark, self, mark) > 0);
    assert_int_equal(fchmod(fd, 0700), 0);
    close(fd);
    assert_int_equal(setenv("LX_HELPER", script, 1), 0);
    assert_int_equal(lx_decoder_new(&fresh, &err), 0);
    rc = lx_decode(&pixels, NULL, fresh, lx_golden_need("data/images/in/rgb.png"), &options, &err);
    unsetenv("LX_HELPER");
    lx_decoder_free(fresh);
    unlink(script);
    assert_int_equal(unlink(mark), 0);
    if (rc < 0)
        fail_msg("%s", err.text);
    lx_pixels_release(&pixels);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "__decode") == 0)
        return lx_decode_serve(LX_DECODE_FD);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_decode__pixels_are_those_of_the_peer),
        cmocka_unit_test(test_image_decode__headers_tell_what_needs_care),
        cmocka_unit_test(test_image_decode__sockets_and_circles_are_no_images),
        cmocka_unit_test(test_image_decode__alpha_is_composited_on_the_background),
        cmocka_unit_test(test_image_decode__bad_files_are_errors_and_the_next_image_is_not),
        cmocka_unit_test(test_image_decode__cut_files_are_errors),
        cmocka_unit_test(test_image_decode__bmp_of_16_bits_is_widened_as_in_pillow),
        cmocka_unit_test(test_image_decode__bmp_with_a_palette_of_billions_is_refused),
        cmocka_unit_test(test_image_decode__packed_texts_are_not_unpacked),
        cmocka_unit_test(test_image_decode__a_text_does_not_join_data),
        cmocka_unit_test(test_image_decode__a_dead_worker_is_replaced),
        cmocka_unit_test(test_image_decode__a_worker_that_does_not_begin_is_started_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
