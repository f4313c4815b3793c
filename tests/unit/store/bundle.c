/* Runs on their way from store to store: whole, checked, scrubbed, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "store/bundle.h"
#include "store/dataset.h"
#include "store/tar.h"
#include "tests/support/golden.h"
#include "tests/support/expect.h"

static char folder[64];

static int new_folder(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-bundle");
    setenv("HOME", "/home/wren", 1);
    setenv("USER", "wren", 1);
    return 0;
}

static int drop_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char paths[32][128];
    static int next;
    char *path = paths[next++ % 32];
    snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

static lx_store *open_store(const char *name)
{
    lx_store *store = NULL;
    lx_error err = {0};
    lx_assert_ok(lx_store_open(&store, in_folder(name), false, &err), &err);
    return store;
}

/* A run of a user called wren, whose captions, paths and LoRA say so. */
static int64_t record(lx_store *store)
{
    static const char lora[] =
        "\x68\0\0\0\0\0\0\0"
        "{\"__metadata__\":{\"ss_training_comment\":\"by wren\"},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}"
        "  xyz";
    lx_store_image image = {.name = "1.png", .caption = "iwl, by wren", .bytes = 3};
    lx_store_folder data = {.name = "2_iwl",
                            .class_tokens = "iwl",
                            .repeats = 2,
                            .images = &image,
                            .n_images = 1};
    char *dataset = NULL, spec[256], hex[65];
    lx_run *run = NULL;
    lx_error err = {0};
    lx_hash root;
    int64_t seq;

    lx_assert_ok(lx_store_dataset_put(&dataset, store, &data, 1, &err), &err);
    root = lx_sha256_of(dataset, strlen(dataset));
    lx_hash_hex(hex, &root);
    snprintf(spec, sizeof spec, "{\"dataset\":\"%s\",\"flags\":{}}", hex);
    const lx_run_start start = {
        .name = "wren-test",
        .kind = "train",
        .is_historic = true,
        .command_line = "lx train --output_dir /home/wren/out",
        .flags = "{\"network_dim\":4,\"output_dir\":\"/home/wren/out\"}",
        .dataset = dataset,
        .spec = spec,
        .started = 1.7e9};
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    seq = lx_run_seq(run);
    for (int i = 1; i <= 5000; i++)
        lx_assert_ok(lx_run_log(run, "loss", i, i == 3 ? (double)NAN : 1.0 / i, &err),
                     &err);
    lx_assert_ok(lx_run_log(run, "lr/unet", -1, -0.0, &err), &err);
    lx_assert_ok(
        lx_run_artifact(run, "lora", "a.safetensors", lora, sizeof lora - 1, 5000, &err),
        &err);
    lx_assert_ok(lx_run_artifact(run, "sample", "b.png", "\x89PNG\0wren", 9, 10, &err),
                 &err);
    lx_assert_ok(lx_run_end_at(run, "finished", NULL, 1.7e9 + 60, &err), &err);
    lx_assert_ok(lx_run_note(store, seq, "first note by wren", &err), &err);
    lx_assert_ok(lx_run_tag(store, seq, "good", NULL, &err), &err);
    lx_assert_ok(lx_run_pin(store, seq, true, &err), &err);
    lx_free(dataset);
    return seq;
}

static void export_to(const char *path, lx_store *store, bool keeps_private,
                      size_t n_left)
{
    lx_arena *arena = lx_arena_new();
    lx_privacy *privacy = NULL;
    lx_transfer *t = NULL;
    lx_run_list runs;
    lx_error err = {0};
    size_t n;

    lx_assert_ok(lx_privacy_new(&privacy, keeps_private, &err), &err);
    lx_assert_ok(lx_transfer_new(&t, store, privacy, arena, &err), &err);
    lx_assert_ok(lx_query_runs(&runs, store, NULL, arena, &err), &err);
    for (size_t i = 0; i < runs.count; i++)
        lx_assert_ok(lx_transfer_learn(t, &runs.rows[i], &err), &err);
    for (size_t i = 0; i < runs.count; i++)
        lx_assert_ok(lx_transfer_add(t, &runs.rows[i], &err), &err);
    lx_transfer_left(t, &n);
    assert_int_equal(n, n_left);
    assert_int_equal(lx_transfer_has_new_spec(t), !keeps_private);
    lx_assert_ok(lx_bundle_write(path, t, privacy, arena, &err), &err);
    lx_transfer_free(t);
    lx_privacy_free(privacy);
    lx_arena_free(arena);
}

static lx_arrival import_from(const char *path, lx_store *store)
{
    lx_bundle *bundle = NULL;
    lx_arrival how = LX_ARRIVED_KNOWN;
    const cJSON *run;
    lx_error err = {0};
    int64_t seq;

    lx_assert_ok(lx_bundle_open(&bundle, path, in_folder("scratch"), &err), &err);
    cJSON_ArrayForEach(run, lx_bundle_runs(bundle)) lx_assert_ok(
        lx_transfer_apply(&how, &seq, store, run, lx_bundle_fetch, bundle, &err), &err);
    lx_bundle_close(bundle);
    return how;
}

static void tell(void *context, const char *line)
{
    (void)context;
    print_error("%s\n", line);
}

static void assert_sound(lx_store *store)
{
    lx_check_report report;
    lx_error err = {0};
    lx_assert_ok(lx_store_check(&report, store, tell, NULL, &err), &err);
    assert_int_equal(report.n_problems, 0);
}

static lx_str unpacked(const char *path)
{
    lx_str packed = LX_STR_INIT, out = LX_STR_INIT;
    lx_error err = {0};
    size_t n;
    char *raw;

    lx_assert_ok(lx_file_read(&packed, path, 1 << 30, &err), &err);
    n = (size_t)ZSTD_getFrameContentSize(packed.data, packed.len);
    raw = malloc(n);
    assert_int_equal(ZSTD_decompress(raw, n, packed.data, packed.len), n);
    lx_str_append(&out, raw, n);
    free(raw);
    lx_str_release(&packed);
    return out;
}

/* ---- round trips ------------------------------------------------------------------- */

static void test_store_bundle__another_store_has_all_of_it(void **state)
{
    lx_store *a = open_store("a"), *b = open_store("b");
    lx_arena *arena = lx_arena_new();
    const char *path = in_folder("a.lxb");
    lx_run_row row;
    lx_curve loss, rate;
    lx_remark_row *remarks;
    lx_artifact_row *artifacts;
    lx_run_texts texts;
    lx_error err = {0};
    size_t n;

    record(a);
    export_to(path, a, true, 0);
    assert_int_equal(import_from(path, b), LX_ARRIVED_NEW);
    assert_sound(b);
    lx_assert_ok(lx_query_find(&row, b, "wren-test", arena, &err), &err);
    assert_string_equal(row.status, "finished");
    assert_true(row.started == 1.7e9 && row.ended == 1.7e9 + 60);
    assert_false(row.is_pinned); /* pins stay at home */
    lx_assert_ok(lx_query_curve(&loss, b, row.seq, "loss", 0, arena, &err), &err);
    assert_int_equal(loss.n, 5000);
    assert_true(isnan(loss.values[2]) && loss.values[4999] == 1.0 / 5000);
    lx_assert_ok(lx_query_curve(&rate, b, row.seq, "lr/unet", 0, arena, &err), &err);
    assert_true(rate.n == 1 && rate.steps[0] == -1 && signbit(rate.values[0]));
    lx_assert_ok(lx_query_remarks(&remarks, &n, b, row.seq, NULL, arena, &err), &err);
    assert_int_equal(n, 2);
    lx_assert_ok(lx_query_artifacts(&artifacts, &n, b, &row, arena, &err), &err);
    assert_int_equal(n, 2);
    lx_assert_ok(lx_query_texts(&texts, b, &row, arena, &err), &err);
    assert_string_equal(texts.command_line, "lx train --output_dir /home/wren/out");
    lx_arena_free(arena);
    lx_store_close(a);
    lx_store_close(b);
}

static void test_store_bundle__twice_is_once_and_more_is_added(void **state)
{
    lx_store *a = open_store("a"), *b = open_store("b");
    const char *path = in_folder("a.lxb");
    lx_arena *arena = lx_arena_new();
    lx_remark_row *remarks;
    lx_run_list runs;
    lx_error err = {0};
    int64_t seq = record(a);
    size_t n;

    export_to(path, a, true, 0);
    assert_int_equal(import_from(path, b), LX_ARRIVED_NEW);
    assert_int_equal(import_from(path, b), LX_ARRIVED_KNOWN);
    assert_int_equal(import_from(path, a), LX_ARRIVED_KNOWN);
    lx_assert_ok(lx_run_note(a, seq, "a second note", &err), &err);
    export_to(path, a, true, 0);
    assert_int_equal(import_from(path, b), LX_ARRIVED_EXTENDED);
    lx_assert_ok(lx_query_runs(&runs, b, NULL, arena, &err), &err);
    assert_int_equal(runs.count, 1);
    lx_assert_ok(lx_query_remarks(&remarks, &n, b, runs.rows[0].seq, "note", arena, &err),
                 &err);
    assert_int_equal(n, 2);
    assert_sound(b);
    lx_arena_free(arena);
    lx_store_close(a);
    lx_store_close(b);
}

/* The newest name wins in both stores, whichever heard of it first. */
static void test_store_bundle__remarks_of_two_stores_end_equal(void **state)
{
    lx_store *a = open_store("a"), *b = open_store("b");
    const char *from_a = in_folder("a.lxb"), *from_b = in_folder("b.lxb");
    lx_arena *arena = lx_arena_new();
    lx_run_row row_a, row_b;
    lx_error err = {0};
    int64_t seq = record(a);

    export_to(from_a, a, true, 0);
    import_from(from_a, b);
    lx_assert_ok(lx_query_find(&row_b, b, "wren-test", arena, &err), &err);
    lx_assert_ok(lx_run_name(a, seq, "earlier", &err), &err);
    usleep(2000);
    lx_assert_ok(lx_run_name(b, row_b.seq, "later", &err), &err);
    export_to(from_a, a, true, 0);
    export_to(from_b, b, true, 0);
    assert_int_equal(import_from(from_b, a), LX_ARRIVED_EXTENDED);
    assert_int_equal(import_from(from_a, b), LX_ARRIVED_EXTENDED);
    lx_assert_ok(lx_query_run(&row_a, a, seq, arena, &err), &err);
    lx_assert_ok(lx_query_run(&row_b, b, row_b.seq, arena, &err), &err);
    assert_string_equal(row_a.name, "later");
    assert_string_equal(row_b.name, "later");
    assert_sound(a);
    assert_sound(b);
    lx_arena_free(arena);
    lx_store_close(a);
    lx_store_close(b);
}

/* ---- privacy ----------------------------------------------------------------------- */

static void test_store_bundle__scrubbed_hashes_stay_consistent(void **state)
{
    lx_store *a = open_store("a"), *b = open_store("b");
    const char *path = in_folder("a.lxb");
    lx_arena *arena = lx_arena_new();
    lx_run_texts texts;
    lx_run_row row;
    lx_artifact_row *artifacts;
    lx_error err = {0};
    lx_str bytes = LX_STR_INIT, tar;
    lx_hash hash;
    char hex[65];
    size_t n, n_names = 0;

    record(a);
    export_to(path, a, false, 1); /* the picture is told, not changed */
    tar = unpacked(path);
    for (size_t i = 0; i + 4 <= tar.len; i++)
        n_names += memcmp(tar.data + i, "wren", 4) == 0;
    assert_int_equal(n_names, 1);
    lx_str_release(&tar);

    assert_int_equal(import_from(path, b), LX_ARRIVED_NEW);
    assert_sound(b);
    lx_assert_ok(lx_query_find(&row, b, "user-test", arena, &err), &err);
    lx_assert_ok(lx_query_texts(&texts, b, &row, arena, &err), &err);
    assert_string_equal(texts.command_line, "lx train --output_dir ~/out");
    /* The spec names the dataset as it is now, and the dataset its folder. */
    hash = lx_sha256_of(texts.dataset, strlen(texts.dataset));
    lx_hash_hex(hex, &hash);
    assert_non_null(strstr(texts.spec, hex));
    lx_assert_ok(lx_query_artifacts(&artifacts, &n, b, &row, arena, &err), &err);
    assert_true(lx_hash_from_hex(&hash, artifacts[0].object));
    lx_assert_ok(lx_object_get(&bytes, b, &hash, &err), &err);
    assert_int_equal(bytes.data[0], bytes.len - 8 - 3); /* the header's new length */
    assert_int_equal(bytes.data[0] % 8, 0);
    assert_memory_equal(bytes.data + bytes.len - 3, "xyz", 3);
    assert_non_null(strstr(bytes.data + 8, "by user"));
    /* Back home it is the same run, and nothing is added. */
    assert_int_equal(import_from(path, a), LX_ARRIVED_KNOWN);
    lx_str_release(&bytes);
    lx_arena_free(arena);
    lx_store_close(a);
    lx_store_close(b);
}

/* ---- damage ------------------------------------------------------------------------ */

static int open_bytes(const void *data, size_t n, lx_error *err)
{
    lx_bundle *bundle = NULL;
    int rc = lx_bundle_open_bytes(&bundle, data, n, err);
    lx_bundle_close(bundle);
    return rc;
}

static void test_store_bundle__no_changed_byte_goes_unnoticed(void **state)
{
    lx_store *a = open_store("a");
    const char *path = in_folder("a.lxb");
    lx_str tar;
    size_t n_passed = 0, stride;

    record(a);
    export_to(path, a, true, 0);
    tar = unpacked(path);
    assert_int_equal(open_bytes(tar.data, tar.len, NULL), 0);
    stride = tar.len / 3000 + 1;
    for (size_t i = 0; i < tar.len; i += stride) {
        lx_error err = {0};
        tar.data[i] ^= 1;
        if (open_bytes(tar.data, tar.len, &err) == 0) {
            print_error("byte %zu of %zu\n", i, tar.len);
            n_passed++;
        } else if (lx_exit_status(err.code) != 65) {
            fail_msg("byte %zu: %s", i, err.text);
        }
        tar.data[i] ^= 1;
    }
    for (size_t n = 0; n < tar.len; n += stride * 7)
        assert_true(open_bytes(tar.data, n, NULL) < 0);
    assert_int_equal(n_passed, 0);
    lx_str_release(&tar);
    lx_store_close(a);
}

static void test_store_bundle__bad_files_get_their_verdicts(void **state)
{
    lx_str text;
    lx_error err = {0};
    cJSON *manifest = NULL, *item;
    int n = 0;

    lx_assert_ok(lx_file_read(&text, lx_badfile_need("manifest.json"), 1 << 20, &err),
                 &err);
    lx_assert_ok(lx_json_parse(&manifest, text.data, text.len, &err), &err);
    cJSON_ArrayForEach(item, manifest)
    {
        const char *path = lx_badfile(lx_json_text(item, "file"));
        lx_bundle *bundle = NULL;
        int rc;
        if (strcmp(lx_json_text(item, "kind"), "bundle") != 0 || !path)
            continue;
        rc = lx_bundle_open(&bundle, path, folder, &err);
        lx_bundle_close(bundle);
        if (lx_exit_status(rc) != 65 || strchr(err.text, '\x1b'))
            fail_msg("%s (%s): %d, %s", path, lx_json_text(item, "why"), rc, err.text);
        n++;
    }
    assert_true(n >= 11);
    cJSON_Delete(manifest);
    lx_str_release(&text);
}

static void write_packed(const char *path, const void *data, size_t n, bool says_size)
{
    char *out = malloc(ZSTD_compressBound(n));
    lx_error err = {0};
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    size_t got;
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, says_size);
    got = ZSTD_compress2(zstd, out, ZSTD_compressBound(n), data, n);
    lx_assert_ok(lx_file_write(path, out, got, &err), &err);
    ZSTD_freeCCtx(zstd);
    free(out);
}

static void test_store_bundle__bombs_are_refused_before_they_unpack(void **state)
{
    const char *path = in_folder("bomb.lxb");
    size_t n = 64 << 20;
    char *zeros = calloc(n, 1);
    lx_bundle *bundle = NULL;

    write_packed(path, zeros, n, true);
    assert_int_equal(lx_bundle_open(&bundle, path, folder, NULL), LX_ELIMIT);
    write_packed(path, zeros, 1024, false);
    assert_int_equal(lx_bundle_open(&bundle, path, folder, NULL), LX_EFORMAT);
    free(zeros);
}

static void test_store_bundle__a_newer_version_is_named(void **state)
{
    static const char manifest[] = "{\"lx_bundle\":2,\"objects\":[],\"runs\":[]}";
    unsigned char tar[4 * LX_TAR_BLOCK] = {0};
    char name[100], hex[65];
    lx_hash hash = lx_sha256_of(manifest, sizeof manifest - 1);
    lx_error err = {0};

    lx_hash_hex(hex, &hash);
    snprintf(name, sizeof name, "manifest/%s", hex);
    assert_int_equal(lx_tar_header(tar, name, sizeof manifest - 1, NULL), 0);
    memcpy(tar + LX_TAR_BLOCK, manifest, sizeof manifest - 1);
    assert_int_equal(open_bytes(tar, sizeof tar, &err), LX_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "version 2"));
}

/* ---- archives that are no bundles --------------------------------------------------- */

/* Appends a member under the hash of its bytes, or under `name`. */
static void add_member(lx_str *tar, const char *place, const char *name,
                       const char *bytes)
{
    static const char zeros[LX_TAR_BLOCK];
    unsigned char header[LX_TAR_BLOCK];
    size_t n = strlen(bytes);
    lx_hash hash = lx_sha256_of(bytes, n);
    char path[LX_TAR_NAME], hex[65];

    lx_hash_hex(hex, &hash);
    snprintf(path, sizeof path, "%s/%s", place, name ? name : hex);
    assert_int_equal(lx_tar_header(header, path, n, NULL), LX_OK);
    lx_str_append(tar, (const char *)header, sizeof header);
    lx_str_append(tar, bytes, n);
    lx_str_append(tar, zeros, lx_tar_padding(n));
}

/* An archive of this manifest and these objects, "" = none: what is told of it. */
static void check_archive(const char *manifest, const char *const objects[3],
                          const char *problem)
{
    static const char end[2 * LX_TAR_BLOCK];
    lx_str tar = LX_STR_INIT;
    lx_error err = {0};

    add_member(&tar, "manifest", NULL, manifest);
    for (int i = 0; i < 3 && objects[i]; i++)
        add_member(&tar, "objects", NULL, objects[i]);
    lx_str_append(&tar, end, sizeof end);
    if (lx_exit_status(open_bytes(tar.data, tar.len, &err)) != (problem ? 65 : 0) ||
        (problem && !strstr(err.text, problem)))
        fail_msg("%s: \"%s\" and not \"%s\"", manifest, err.text, problem);
    lx_str_release(&tar);
}

/* SHA-256 of "a", "b" and "c"; c's is the least, then b's. */
#define A "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define B "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
#define C "2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"

static void test_store_bundle__manifests_are_checked_whole(void **state)
{
    static const struct {
        const char *manifest;
        const char *objects[3];
        const char *problem;
    } cases[] = {
        {"{\"lx_bundle\":1,\"objects\":[],\"runs\":[]}", {0}, NULL},
        {"{\"lx_bundle\":1,\"objects\":[[\"" C "\",1],[\"" B "\",1]],\"runs\":[]}",
         {"c", "b"},
         NULL},
        {"{", {0}, "manifest"},
        {"[]", {0}, "not of a bundle"},
        {"{\"lx_bundle\":\"1\"}", {0}, "not of a bundle"},
        {"{\"lx_bundle\":0,\"objects\":[],\"runs\":[]}", {0}, "not of a bundle"},
        {"{\"lx_bundle\":1,\"objects\":[]}", {0}, "lists no runs"},
        {"{\"lx_bundle\":1,\"objects\":[],\"runs\":[{},{}]}", {0}, "16 hex digits"},
        {"{\"lx_bundle\":1,\"runs\":[]}", {0}, "lists no objects"},
        {"{\"lx_bundle\":1,\"objects\":[[]],\"runs\":[]}", {0}, "without a hash"},
        {"{\"lx_bundle\":1,\"objects\":[[\"ab\"]],\"runs\":[]}", {0}, "without a hash"},
        {"{\"lx_bundle\":1,\"objects\":[[\"" A "\",1]],\"runs\":[]}", {0}, "not there"},
        {"{\"lx_bundle\":1,\"objects\":[[\"" A "\",1]],\"runs\":[]}",
         {"b"},
         "not the one that is listed"},
        {"{\"lx_bundle\":1,\"objects\":[[\"" B "\",1],[\"" C "\",1]],\"runs\":[]}",
         {"b", "c"},
         "out of order"},
        {"{\"lx_bundle\":1,\"objects\":[[\"" B "\",1],[\"" B "\",1]],\"runs\":[]}",
         {"b", "b"},
         "out of order"},
        {"{\"lx_bundle\":1,\"objects\":[],\"runs\":[]}", {"a"}, "not listed"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_archive(cases[i].manifest, cases[i].objects, cases[i].problem);
}

static void test_store_bundle__members_stand_in_their_places(void **state)
{
    static const char end[2 * LX_TAR_BLOCK], sound[] = "{\"lx_bundle\":1,\"objects\":[],"
                                                       "\"runs\":[]}";
    static const struct {
        const char *folder, *name, *bytes, *problem;
    } first[] = {{"objects", NULL, "a", "not the first member"},
                 {"other", NULL, sound, "has no place"},
                 {"manifest", "0123", sound, "has no place"},
                 {"manifest", A, sound, "hash to another name"}};
    lx_error err = {0};

    (void)state;
    assert_int_equal(open_bytes(end, sizeof end, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "without members"));
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        lx_str tar = LX_STR_INIT;
        add_member(&tar, first[i].folder, first[i].name, first[i].bytes);
        lx_str_append(&tar, end, sizeof end);
        assert_int_equal(open_bytes(tar.data, tar.len, &err), LX_EFORMAT);
        if (!strstr(err.text, first[i].problem))
            fail_msg("\"%s\" and not \"%s\"", err.text, first[i].problem);
        lx_str_release(&tar);
    }
}

static int open_packed(const char *path, const void *data, size_t n, lx_error *err)
{
    lx_bundle *bundle = NULL;
    int rc;

    lx_assert_ok(lx_file_write(path, data, n, err), err);
    rc = lx_bundle_open(&bundle, path, folder, err);
    lx_bundle_close(bundle);
    return rc;
}

/* Where the first block of a frame begins: behind magic, descriptor, window and size (RFC 8878, 3.1.1.1). */
static size_t first_block(const lx_str *frame)
{
    static const size_t sizes[] = {0, 2, 4, 8};
    const unsigned descriptor = (unsigned char)frame->data[4], is_single = descriptor >> 5 & 1;
    const size_t size = descriptor >> 6 ? sizes[descriptor >> 6] : is_single;

    return 5 + !is_single + size;
}

static void test_store_bundle__compressed_data_are_whole(void **state)
{
    lx_store *a = open_store("a");
    const char *path = in_folder("a.lxb"), *other = in_folder("other.lxb");
    unsigned char header[LX_TAR_BLOCK];
    lx_str packed = LX_STR_INIT;
    lx_error err = {0};
    char was;

    record(a);
    export_to(path, a, true, 0);
    lx_assert_ok(lx_file_read(&packed, path, 1 << 24, &err), &err);
    assert_int_equal(open_packed(other, packed.data, packed.len, &err), LX_OK);
    was = packed.data[first_block(&packed)];
    assert_int_equal(open_packed(other, packed.data, packed.len - 9, &err), LX_EFORMAT);
    packed.data[packed.len / 2] ^= 1;
    assert_int_equal(open_packed(other, packed.data, packed.len, &err), LX_EFORMAT);
    packed.data[packed.len / 2] ^= 1;
    packed.data[first_block(&packed)] |= 6; /* no type of a block */
    assert_int_equal(open_packed(other, packed.data, packed.len, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "the compressed data are damaged"));
    packed.data[first_block(&packed)] = was;
    lx_str_putc(&packed, 'x');
    assert_int_equal(open_packed(other, packed.data, packed.len, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "behind the compressed data"));
    assert_int_equal(open_packed(other, "neither", 7, &err), LX_EFORMAT);
    assert_int_equal(
        lx_bundle_open(&(lx_bundle *){NULL}, in_folder("none"), folder, &err),
        LX_ENOTFOUND);
    assert_true(lx_bundle_is(packed.data, 4, "x"));
    assert_true(lx_bundle_is("abcd", 4, "x.lxb") && lx_bundle_is("abcd", 4, "x.tar"));
    assert_false(lx_bundle_is("abcd", 4, "x") || lx_bundle_is("", 0, "x"));
    assert_int_equal(lx_tar_header(header, "a", 0, &err), LX_OK);
    assert_true(lx_bundle_is(header, sizeof header, "x"));
    lx_str_release(&packed);
    lx_store_close(a);
}

/* The size in the head of a frame is less than what is in it. */
static void test_store_bundle__a_frame_ends_where_it_said(void **state)
{
    const size_t n = 1 << 20;
    char *plain = calloc(n, 1), *packed = malloc(ZSTD_compressBound(n));
    static const unsigned char huge[] = {0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0,
                                         0,    0,    32,   0,    0,    0};
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    const uint32_t says = 200000;
    lx_error err = {0};
    size_t got;
    (void)state;

    srand(1);
    for (size_t i = 0; i < n / 4; i++)
        plain[i] = (char)rand();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, 10); /* so that its blocks are small */
    got = ZSTD_compress2(zstd, packed, ZSTD_compressBound(n), plain, n);
    assert_int_equal((unsigned char)packed[4] & 0xE0, 0x80);
    memcpy(packed + 6, &says, 4);
    assert_int_equal(open_packed(in_folder("a.lxb"), packed, got, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "larger than they say"));
    assert_int_equal(open_packed(in_folder("a.lxb"), huge, sizeof huge, &err), LX_ELIMIT);
    assert_non_null(strstr(err.text, "64 GiB"));
    ZSTD_freeCCtx(zstd);
    free(packed);
    free(plain);
}

/* Told by its header, before a byte of it is read: the pages are not even there. */
static void test_store_bundle__a_manifest_of_more_than_a_gigabyte(void **state)
{
    const size_t n = (1UL << 30) + 4 * LX_TAR_BLOCK;
    unsigned char *tar = mmap(NULL, n, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    lx_error err = {0};
    (void)state;

    assert_true(tar != MAP_FAILED);
    assert_int_equal(lx_tar_header(tar, "manifest/x", (1UL << 30) + 1, &err), LX_OK);
    assert_int_equal(open_bytes(tar, n, &err), LX_ELIMIT);
    assert_non_null(strstr(err.text, "the most is 1 GiB"));
    munmap(tar, n);
}

/* ---- the disk on which it is unpacked ------------------------------------------------------- */

static int n_writes,
    disk_says; /* what its second write says: -1 and an error, or how many bytes */

static ssize_t bad_write(int fd, const void *data, size_t n)
{
    if (++n_writes != 2)
        return lx_io_system.write(fd, data, n < 100 ? n : n / 2);
    if (disk_says == 0)
        return 0;
    errno = disk_says;
    return -1;
}

static void test_store_bundle__the_disk_takes_it_in_pieces_or_not(void **state)
{
    static const struct {
        int says, code;
    } cases[] = {{EINTR, LX_OK}, {0, LX_EIO}, {ENOSPC, LX_EIO}};
    lx_store *a = open_store("a");
    const char *path = in_folder("a.lxb");
    lx_io io = lx_io_system;
    (void)state;

    record(a);
    export_to(path, a, true, 0);
    io.write = bad_write;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_bundle *bundle;
        lx_error err = {0};
        int rc;

        n_writes = 0;
        disk_says = cases[i].says;
        lx_io_set(&io);
        rc = lx_bundle_open(&bundle, path, folder, &err);
        lx_io_set(NULL);
        if (rc != cases[i].code)
            fail_msg("%d: %d %s", disk_says, rc, err.text);
        lx_bundle_close(bundle);
    }
    lx_store_close(a);
}

static void test_store_bundle__no_memory_for_one(void **state)
{
    lx_bundle *bundle;
    lx_error err = {0};
    (void)state;

    for (int is_file = 0; is_file < 2; is_file++) {
        lx_alloc_fail_at(1, false);
        assert_int_equal(is_file ? lx_bundle_open(&bundle, "a.lxb", folder, &err)
                                 : lx_bundle_open_bytes(&bundle, "", 0, &err),
                         LX_ENOMEM);
        lx_alloc_fail_at(0, false);
        assert_null(bundle);
    }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, new_folder, drop_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_store_bundle__another_store_has_all_of_it),
        IN_FOLDER(test_store_bundle__twice_is_once_and_more_is_added),
        IN_FOLDER(test_store_bundle__remarks_of_two_stores_end_equal),
        IN_FOLDER(test_store_bundle__scrubbed_hashes_stay_consistent),
        IN_FOLDER(test_store_bundle__no_changed_byte_goes_unnoticed),
        IN_FOLDER(test_store_bundle__bad_files_get_their_verdicts),
        IN_FOLDER(test_store_bundle__bombs_are_refused_before_they_unpack),
        IN_FOLDER(test_store_bundle__a_newer_version_is_named),
        IN_FOLDER(test_store_bundle__manifests_are_checked_whole),
        IN_FOLDER(test_store_bundle__members_stand_in_their_places),
        IN_FOLDER(test_store_bundle__compressed_data_are_whole),
        IN_FOLDER(test_store_bundle__a_frame_ends_where_it_said),
        IN_FOLDER(test_store_bundle__a_manifest_of_more_than_a_gigabyte),
        IN_FOLDER(test_store_bundle__the_disk_takes_it_in_pieces_or_not),
        IN_FOLDER(test_store_bundle__no_memory_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
