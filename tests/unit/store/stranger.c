/* Bundles and records that a stranger made to do harm: nothing lands outside, nothing is used before it was verified, nothing
 * takes for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/bundle.h"
#include "store/dataset.h"
#include "store/tar.h"
#include "tests/support/expect.h"

static char folder[64];

typedef struct blob {
    lx_str bytes; /* until the test ends */
    char hex[LX_HASH_HEX + 1];
} blob;

static lx_str kept[64];
static size_t n_kept;

static int new_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-stranger-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    char command[128];
    (void)state;
    while (n_kept)
        lx_str_release(&kept[--n_kept]);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char paths[16][192];
    static int next;
    char *path = paths[next++ % 16];
    snprintf(path, 192, "%s/%s", folder, name);
    return path;
}

/* ---- archives, member by member ------------------------------------------------------------ */

static blob blob_of(const char *text, size_t n)
{
    blob b = {.bytes = LX_STR_INIT};
    lx_hash hash = lx_sha256_of(text, n);
    lx_str_append(&b.bytes, text, n);
    assert_true(n_kept < sizeof kept / sizeof *kept);
    kept[n_kept++] = b.bytes;
    lx_hash_hex(b.hex, &hash);
    return b;
}

/* Whatever the name is: lx itself would not write some. */
static void put_member(lx_str *tar, const char *name, const void *data, size_t n)
{
    static const char zeros[LX_TAR_BLOCK];
    unsigned char head[LX_TAR_BLOCK];
    unsigned sum = 0;

    assert_int_equal(lx_tar_header(head, "x", n, NULL), 0);
    memset(head, 0, 100);
    memcpy(head, name, strlen(name) < 100 ? strlen(name) : 100);
    memset(head + 148, ' ', 8);
    for (int i = 0; i < LX_TAR_BLOCK; i++)
        sum += head[i];
    snprintf((char *)head + 148, 7, "%06o", sum);
    lx_str_append(tar, (const char *)head, sizeof head);
    lx_str_append(tar, data, n);
    lx_str_append(tar, zeros, lx_tar_padding(n));
}

static void put_blob(lx_str *tar, const char *in, const blob *b)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", in, b->hex);
    put_member(tar, name, b->bytes.data, b->bytes.len);
}

static void put_end(lx_str *tar)
{
    static const char zeros[2 * LX_TAR_BLOCK];
    lx_str_append(tar, zeros, sizeof zeros);
}

static int by_hex(const void *a, const void *b)
{
    return strcmp((*(blob *const *)a)->hex, (*(blob *const *)b)->hex);
}

/* A manifest that lists these, in the order of their hashes, with one run of this text. */
static blob manifest_of(blob **objects, size_t n, const char *run)
{
    lx_str text = LX_STR_INIT;
    blob b;

    qsort(objects, n, sizeof *objects, by_hex);
    lx_str_puts(&text, "{\"lx_bundle\":1,\"objects\":[");
    for (size_t i = 0; i < n; i++)
        lx_str_printf(&text, "%s[\"%s\",%zu]", i ? "," : "", objects[i]->hex,
                      objects[i]->bytes.len);
    lx_str_printf(&text, "],\"runs\":[%s]}", run);
    b = blob_of(text.data, text.len);
    lx_str_release(&text);
    return b;
}

#define RUN(texts)                                                                    \
    "{\"id\":\"0123456789abcdef\",\"kind\":\"train\",\"started\":1,\"texts\":{" texts \
    "},\"remarks\":[],\"artifacts\":[],\"curves\":[]}"

/* ---- archives that are not what they say ------------------------------------------------------ */

enum {
    LIE_NONE,
    LIE_MANIFEST,
    LIE_OBJECT,
    LIE_ABSENT,
    LIE_EXTRA,
    LIE_ORDER,
    LIE_TWICE,
    LIE_FIRST,
    N_LIES
};

static void test_store_stranger__members_are_what_the_manifest_says(void **state)
{
    blob a = blob_of("first", 5), b = blob_of("second", 6), other = blob_of("other", 5);
    blob *objects[2] = {&a, &b};
    blob manifest = manifest_of(objects, 2, RUN(""));

    (void)state;
    for (int lie = 0; lie < N_LIES; lie++) {
        lx_str tar = LX_STR_INIT;
        lx_bundle *bundle = NULL;
        lx_error err = {0};
        blob wrong = manifest, swapped = *objects[0];
        int rc;

        memcpy(wrong.hex, other.hex, sizeof wrong.hex);
        swapped.bytes = objects[1]->bytes;
        if (lie == LIE_FIRST)
            put_blob(&tar, "objects/", objects[0]);
        put_blob(&tar, "manifest/", lie == LIE_MANIFEST ? &wrong : &manifest);
        put_blob(&tar, "objects/",
                 lie == LIE_OBJECT  ? &swapped
                 : lie == LIE_ORDER ? objects[1]
                                    : objects[0]);
        if (lie == LIE_TWICE)
            put_blob(&tar, "objects/", objects[0]);
        if (lie != LIE_ABSENT)
            put_blob(&tar, "objects/", objects[lie != LIE_ORDER]);
        if (lie == LIE_EXTRA)
            put_blob(&tar, "objects/", &other);
        put_end(&tar);
        rc = lx_bundle_open_bytes(&bundle, tar.data, tar.len, &err);
        if (rc != (lie ? LX_EFORMAT : LX_OK))
            fail_msg("lie %d: %d %s", lie, rc, err.text);
        lx_bundle_close(bundle);
        lx_str_release(&tar);
    }
}

static void test_store_stranger__names_lead_nowhere(void **state)
{
    static const char *const names[] = {"/etc/passwd",
                                        "../manifest/x",
                                        "manifest/../../x",
                                        "manifest/./x",
                                        "manifest//x",
                                        "manifest/",
                                        "manifest",
                                        "",
                                        "MANIFEST/x",
                                        "manifest/\x1b[2J",
                                        "manifest/a\nb",
                                        "manifest/\xE2\x80\xAE",
                                        "manifest\\..\\x",
                                        "C:/x",
                                        ".git/config",
                                        "a/.GIT/hooks/post-checkout",
                                        "objects/../../../tmp/x"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lx_str tar = LX_STR_INIT;
        lx_bundle *bundle = NULL;
        lx_error err = {0};
        put_member(&tar, names[i], "{}", 2);
        put_end(&tar);
        if (lx_bundle_open_bytes(&bundle, tar.data, tar.len, &err) != LX_EFORMAT)
            fail_msg("\"%s\" was taken", names[i]);
        for (const char *p = err.text; *p; p++)
            if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
                fail_msg("\"%s\" is told with what acts in it", names[i]);
        lx_str_release(&tar);
    }
}

/* ---- sizes that lie --------------------------------------------------------------------------- */

static void test_store_stranger__a_frame_has_the_size_it_says(void **state)
{
    static const int64_t off[] = {0, -1, 1, -512, 512, -100000, 1000000};
    const size_t n = 200000;
    char *plain = calloc(n, 1), *packed = malloc(ZSTD_compressBound(n));
    const char *path = in_folder("lie.lxb");

    (void)state;
    srand(1);
    for (size_t i = 0; i < n / 2; i++)
        plain[i] = (char)rand();
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        ZSTD_CCtx *zstd = ZSTD_createCCtx();
        lx_bundle *bundle = NULL;
        lx_error err = {0};
        uint32_t says;
        size_t got;

        ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, 18);
        got = ZSTD_compress2(zstd, packed, ZSTD_compressBound(n), plain, n);
        ZSTD_freeCCtx(zstd);
        /* Behind the magic and the descriptor: one segment, four bytes of content size. */
        assert_int_equal((unsigned char)packed[4] & 0xE0, 0xA0);
        memcpy(&says, packed + 5, 4);
        assert_int_equal(says, n);
        says = (uint32_t)((int64_t)n + off[i]);
        memcpy(packed + 5, &says, 4);
        lx_assert_ok(lx_file_write(path, packed, got, &err), &err);
        if (lx_bundle_open(&bundle, path, folder, &err) != LX_EFORMAT)
            fail_msg("off by %lld: %s", (long long)off[i], err.text);
        /* What was unpacked is no archive: only the honest one comes as far as that. */
        assert_int_equal(strstr(err.text, "ustar") != NULL, off[i] == 0);
    }
    free(plain);
    free(packed);
}

/* ---- where it is brought to -------------------------------------------------------------------- */

static void write_bundle(const char *path, blob **objects, size_t n, const char *run)
{
    blob manifest = manifest_of(objects, n, run);
    lx_str tar = LX_STR_INIT;
    lx_error err = {0};

    put_blob(&tar, "manifest/", &manifest);
    for (size_t i = 0; i < n; i++)
        put_blob(&tar, "objects/", objects[i]);
    put_end(&tar);
    lx_assert_ok(lx_file_write(path, tar.data, tar.len, &err), &err);
    lx_str_release(&tar);
}

static void bring(const char *path, lx_store *store)
{
    lx_bundle *bundle = NULL;
    lx_arrival how;
    lx_error err = {0};
    int64_t seq;

    lx_assert_ok(lx_bundle_open(&bundle, path, in_folder("scratch"), &err), &err);
    lx_assert_ok(lx_transfer_apply(&how, &seq, store,
                                   cJSON_GetArrayItem(lx_bundle_runs(bundle), 0),
                                   lx_bundle_fetch, bundle, &err),
                 &err);
    lx_bundle_close(bundle);
}

/* Where the object will be, and where its bytes are unpacked, stand links to a file of the user's. */
static void test_store_stranger__links_in_the_store_are_not_followed(void **state)
{
    const size_t n = 300000;
    char *noise = malloc(n), path[256], run[400];
    const char *victim = in_folder("victim");
    lx_str bytes = LX_STR_INIT;
    lx_store *store = NULL;
    lx_error err = {0};
    struct stat st;
    lx_hash hash;
    blob large;

    (void)state;
    srand(2);
    for (size_t i = 0; i < n; i++)
        noise[i] = (char)rand();
    large = blob_of(noise, n);
    snprintf(run, sizeof run, RUN("\"diff\":\"%s\""), large.hex);
    write_bundle(in_folder("a.tar"), (blob *[]){&large}, 1, run);
    lx_assert_ok(lx_file_write(victim, "mine", 4, &err), &err);
    lx_assert_ok(lx_store_open(&store, in_folder("store"), false, &err), &err);
    snprintf(path, sizeof path, "%s/store/objects/%.2s", folder, large.hex);
    lx_assert_ok(lx_make_dirs(path, &err), &err);
    snprintf(path, sizeof path, "%s/store/objects/%.2s/%s", folder, large.hex,
             large.hex + 2);
    assert_int_equal(symlink(victim, path), 0);
    lx_assert_ok(lx_make_dirs(in_folder("scratch"), &err), &err);
    snprintf(path, sizeof path, "%s/scratch/bundle-%ld", folder, (long)getpid());
    assert_int_equal(symlink(victim, path), 0);
    bring(in_folder("a.tar"), store);
    lx_assert_ok(lx_file_read(&bytes, victim, 100, &err), &err);
    assert_string_equal(bytes.data, "mine");
    assert_true(lx_hash_from_hex(&hash, large.hex));
    lx_assert_ok(lx_object_get(&bytes, store, &hash, &err), &err);
    assert_int_equal(bytes.len, n);
    snprintf(path, sizeof path, "%s/store/objects/%.2s/%s", folder, large.hex,
             large.hex + 2);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    lx_str_release(&bytes);
    lx_store_close(store);
    free(noise);
}

/* ---- records ---------------------------------------------------------------------------------- */

static char *again(const char *item, size_t n)
{
    lx_str out = LX_STR_INIT;
    for (size_t i = 0; i < n; i++)
        lx_str_printf(&out, "%s%s", i ? "," : "", item);
    assert_false(out.failed);
    return lx_str_detach(&out);
}

static char *letters(size_t n)
{
    char *text = lx_alloc(n + 1);
    memset(text, 'a', n);
    text[n] = '\0';
    return text;
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static void test_store_stranger__records_have_their_limits(void **state)
{
    static const struct {
        const char *where, *item; /* NULL: a text of so many letters */
        size_t most;
        const char *text; /* %s: the text */
    } rows[] = {
        {"remarks", "[1,\"note\",\"\",null]", 100000, NULL},
        {"artifacts",
         "{\"role\":\"file\",\"sha256\":\"" ZEROS
         "\",\"size\":1,\"step\":1,\"at\":1,\"is_kept\":false}",
         100000, NULL},
        {"curves", "{\"key\":\"k\",\"points\":\"" ZEROS "\",\"n\":1}", 4096, NULL},
        {"name", NULL, 4096, "\"%s\""},
        {"origin", NULL, 4096, "\"%s\""},
        {"kind", NULL, 32, "\"%s\""},
        {"remarks", NULL, 4096, "[[1,\"tag\",\"%s\",null]]"},
        {"remarks", NULL, 16 << 20, "[[1,\"note\",\"\",\"%s\"]]"},
        {"end", NULL, 16 << 20, "{\"ended\":1,\"status\":\"failed\",\"message\":\"%s\"}"},
        {"curves", NULL, 256, "[{\"key\":\"%s\",\"points\":\"" ZEROS "\",\"n\":1}]"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t more = 0; more < 2; more++) {
            cJSON *record = NULL, *value = NULL;
            char *text = rows[i].item ? again(rows[i].item, rows[i].most + more)
                                      : letters(rows[i].most + more);
            lx_str json = LX_STR_INIT;
            lx_error err = {0};
            const char *id;
            int rc;

            if (rows[i].item)
                lx_str_printf(&json, "[%s]", text);
            else {
                const char *at = strstr(rows[i].text, "%s");
                lx_str_append(&json, rows[i].text, (size_t)(at - rows[i].text));
                lx_str_puts(&json, text);
                lx_str_puts(&json, at + 2);
            }
            lx_assert_ok(lx_json_parse(&record, RUN(""), strlen(RUN("")), &err), &err);
            lx_assert_ok(lx_json_parse(&value, json.data, json.len, &err), &err);
            cJSON_DeleteItemFromObject(record, rows[i].where);
            cJSON_AddItemToObject(record, rows[i].where, value);
            rc = lx_transfer_check(&id, record, &err);
            if (rc != (more ? LX_EFORMAT : LX_OK))
                fail_msg("%s of %zu: %d %s", rows[i].where, rows[i].most + more, rc,
                         err.text);
            cJSON_Delete(record);
            lx_str_release(&json);
            lx_free(text);
        }
}

/* ---- work without end --------------------------------------------------------------------------- */

/* Each text names the next one thirty thousand times, and each time all below it would be read again. */
static void test_store_stranger__names_upon_names_are_followed_once(void **state)
{
    enum { LEVELS = 5, TIMES = 30000 };
    blob level[LEVELS], *objects[LEVELS];
    lx_store *store = NULL;
    lx_error err = {0};
    struct timespec from, to;
    char run[400];

    (void)state;
    level[0] = blob_of("the last", 8);
    for (int i = 1; i < LEVELS; i++) {
        lx_str text = LX_STR_INIT;
        for (int k = 0; k < TIMES; k++)
            lx_str_printf(&text, "%s\n", level[i - 1].hex);
        level[i] = blob_of(text.data, text.len);
        lx_str_release(&text);
    }
    for (int i = 0; i < LEVELS; i++)
        objects[i] = &level[i];
    snprintf(run, sizeof run, RUN("\"dataset\":\"%s\""), level[LEVELS - 1].hex);
    write_bundle(in_folder("deep.tar"), objects, LEVELS, run);
    lx_assert_ok(lx_store_open(&store, in_folder("deep"), false, &err), &err);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    bring(in_folder("deep.tar"), store);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    assert_in_range(to.tv_sec - from.tv_sec, 0, 5);
    for (int i = 0; i < LEVELS; i++) {
        lx_hash hash;
        bool is_here = false;
        assert_true(lx_hash_from_hex(&hash, level[i].hex));
        lx_assert_ok(lx_object_exists(&is_here, store, &hash, &err), &err);
        assert_true(is_here);
    }
    lx_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_stranger__members_are_what_the_manifest_says),
        cmocka_unit_test(test_store_stranger__names_lead_nowhere),
        cmocka_unit_test(test_store_stranger__a_frame_has_the_size_it_says),
        cmocka_unit_test(test_store_stranger__links_in_the_store_are_not_followed),
        cmocka_unit_test(test_store_stranger__records_have_their_limits),
        cmocka_unit_test(test_store_stranger__names_upon_names_are_followed_once),
    };
    return cmocka_run_group_tests(tests, new_folder, drop_folder);
}
