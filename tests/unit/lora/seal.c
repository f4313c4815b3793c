/* A file that carries the hashes of its own tensors: the right ones, whole or not at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/lora/lora.h"
#include "src/lora/seal.h"
#include "tests/support/model.h"

enum { N = 300000, TENSORS = 3 };

static char folder[] = "/tmp/lx-seal-XXXXXX", path[64];
static unsigned char bytes[TENSORS * N];
static lx_tensor_view views[TENSORS];
static unsigned char text[2 * N + 5];
static lx_hash hash; /* of the text: in the metadata the second time */
static bool grows;
static int bad_piece = -1;

static int set_up(void **state)
{
    static const char *const names[] = {"c", "a", "b"};

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/out.safetensors", folder);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i * 2654435761u >> 11);
    for (int i = 0; i < TENSORS; i++)
        views[i] = (lx_tensor_view){.name = names[i],
                                    .dtype = LX_F32,
                                    .n_dims = 1,
                                    .shape = {N / 4},
                                    .n_elements = N / 4,
                                    .data = bytes + i * N,
                                    .bytes = N};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

/* The texts of the first asking are kept while the second is made. */
static int metadata(const lx_metadata_entry **entries, size_t *n, void *context,
                    lx_error *err)
{
    static lx_metadata_entry tables[2][2];
    static char texts[2][80];
    static int turn;
    lx_metadata_entry *table = tables[turn ^= 1];

    (void)context;
    (void)err;
    lx_hash_hex(texts[turn], &hash);
    if (grows && hash.bytes[0])
        strcat(texts[turn], "longer");
    table[0] = (lx_metadata_entry){"ss_network_dim", "4"};
    table[1] = (lx_metadata_entry){"lx.merge", texts[turn]};
    *entries = table;
    *n = 2;
    return LX_OK;
}

/* The byte that stands there in the file, behind the header: a, b, c. */
static unsigned char *byte_at(size_t at)
{
    static const int order[] = {1, 2, 0};

    return bytes + (size_t)order[at / N] * N + at % N;
}

enum { PIECES = 5 };
static const size_t ends[PIECES] = {10, N - 3, N + 100, 3 * N - 70, 3 * N};

static int make(void *context, size_t i, lx_error *err)
{
    (void)context;
    for (size_t at = i ? ends[i - 1] : 0; at < ends[i]; at++)
        *byte_at(at) = (unsigned char)(at * 2654435761u >> 13);
    return bad_piece <= (int)i && bad_piece >= 0 ? lx_fail(err, LX_EIO, "piece %zu", i)
                                                 : LX_OK;
}

static int seal(lx_sealed *out, bool wants_hash, lx_error *err)
{
    lx_hash none;
    const lx_seal_text texts[] = {
        {text, sizeof text, &hash}, {"", 0, &none}, {text, 100, &none}};
    const lx_seal s = {.path = path,
                       .tensors = views,
                       .n_tensors = TENSORS,
                       .make = make,
                       .ends = ends,
                       .n_pieces = PIECES,
                       .texts = texts,
                       .n_texts = 3,
                       .metadata = metadata,
                       .wants_hash = wants_hash};

    memset(bytes, 0, sizeof bytes);
    memset(&hash, 0, sizeof hash);
    return lx_lora_seal(out, &s, err);
}

static void test_lora_seal__has_the_bytes_of_the_plain_writer(void **state)
{
    const lx_lora_tensors tensors = {.views = views, .count = TENSORS};
    char model[65], legacy[9], other[80];
    lx_metadata_entry all[4];
    const lx_metadata_entry *given;
    lx_sealed sealed;
    lx_hash a, b;
    lx_error err;
    size_t n;

    (void)state;
    lx_assert_ok(seal(&sealed, true, &err), &err);
    a = lx_sha256_of(text, sizeof text);
    assert_true(lx_hash_equal(&a, &hash));
    lx_assert_ok(metadata(&given, &n, NULL, &err), &err);
    lx_assert_ok(lx_lora_hashes(model, legacy, &tensors, given, n, &err), &err);
    assert_string_equal(sealed.tensors, model);
    assert_string_equal(sealed.legacy, legacy);
    memcpy(all, given, n * sizeof *all);
    all[2] = (lx_metadata_entry){"sshs_model_hash", model};
    all[3] = (lx_metadata_entry){"sshs_legacy_hash", legacy};
    snprintf(other, sizeof other, "%s/plain.safetensors", folder);
    lx_assert_ok(lx_safetensors_write(other, views, TENSORS, all, 4, &err), &err);
    lx_assert_ok(lx_file_hash(&a, path, &err), &err);
    lx_assert_ok(lx_file_hash(&b, other, &err), &err);
    assert_true(lx_hash_equal(&a, &b));
    assert_true(lx_hash_equal(&a, &sealed.file));
    unlink(path);
    lx_assert_ok(seal(&sealed, false, &err), &err);
    lx_assert_ok(lx_file_hash(&a, path, &err), &err);
    assert_true(lx_hash_equal(&a, &b));
    unlink(path);
    unlink(other);
}

static void nothing_is_left(void)
{
    lx_dir dir;

    assert_int_equal(lx_dir_list(&dir, folder, NULL), 0);
    assert_int_equal(dir.count, 0);
    lx_dir_free(&dir);
}

/* The first of those that failed is told, whichever thread was faster. */
static void test_lora_seal__a_failed_piece_leaves_no_file(void **state)
{
    lx_sealed sealed;
    char wanted[20];
    lx_error err;

    (void)state;
    for (bad_piece = 0; bad_piece < PIECES; bad_piece++) {
        assert_int_equal(seal(&sealed, true, &err), LX_EIO);
        snprintf(wanted, sizeof wanted, "piece %d", bad_piece);
        assert_string_equal(err.text, wanted);
        nothing_is_left();
    }
    bad_piece = -1;
    grows = true; /* a text that does not keep its length: our bug, and no damaged file */
    assert_int_equal(seal(&sealed, true, &err), LX_EINTERNAL);
    grows = false;
    nothing_is_left();
}

static int calls_left;

static bool fails(void)
{
    return calls_left-- == 0;
}

static ssize_t failing_write(int fd, const void *data, size_t n)
{
    errno = ENOSPC;
    return fails() ? -1 : lx_io_system.write(fd, data, n);
}

static ssize_t failing_pwrite(int fd, const void *data, size_t n, off_t at)
{
    errno = ENOSPC;
    return fails() ? -1 : lx_io_system.pwrite(fd, data, n, at);
}

static int failing_sync(int fd)
{
    errno = EIO;
    return fails() ? -1 : lx_io_system.sync(fd);
}

static int failing_rename(const char *from, const char *to)
{
    errno = EIO;
    return fails() ? -1 : lx_io_system.rename(from, to);
}

/* Every call in turn; the last sync is the folder's, when the file is there already. */
static void test_lora_seal__a_disk_that_fails_leaves_no_file(void **state)
{
    lx_io io = lx_io_system;
    int n = 0;

    (void)state;
    io.write = failing_write;
    io.pwrite = failing_pwrite;
    io.sync = failing_sync;
    io.rename = failing_rename;
    lx_io_set(&io);
    for (;; n++) {
        lx_sealed sealed;
        lx_error err = {0};
        int rc;
        calls_left = n;
        rc = seal(&sealed, true, &err);
        if (rc == LX_OK)
            break;
        assert_int_equal(rc, LX_EIO);
        assert_non_null(strstr(err.text, folder));
        unlink(path); /* there after the rename only */
        nothing_is_left();
    }
    lx_io_set(NULL);
    assert_true(n >= 5);
    unlink(path);
}

static void test_lora_seal__without_memory_there_is_no_file(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        lx_sealed sealed;
        lx_error err = {0};
        int rc;
        lx_alloc_fail_at(n, false);
        rc = seal(&sealed, true, &err);
        lx_alloc_fail_at(0, false);
        if (rc == LX_OK) {
            assert_true(n > 5);
            break;
        }
        assert_int_equal(rc, LX_ENOMEM);
        nothing_is_left();
    }
    unlink(path);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_seal__has_the_bytes_of_the_plain_writer),
        cmocka_unit_test(test_lora_seal__a_failed_piece_leaves_no_file),
        cmocka_unit_test(test_lora_seal__a_disk_that_fails_leaves_no_file),
        cmocka_unit_test(test_lora_seal__without_memory_there_is_no_file),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
