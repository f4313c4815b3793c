/* lx fsck --repair-from when memory runs out: an error and no crash, nothing sound is lost, and the next try
 * ends well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/cli.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/store.h"

extern const lx_command lx_cmd_fsck, lx_cmd_export;

static char folder[64], bundle[96], db[96];
static lx_cli cli;
static lx_str sound = LX_STR_INIT; /* the database as it should be */

static int run(const lx_command *command, int n, char **words, lx_error *err)
{
    void *args = calloc(1, command->args_size);
    int rc;

    *err = (lx_error){0};
    cli.arena = lx_arena_new();
    rc = lx_options_parse(args, command->options, n, words, cli.arena, err);
    if (rc == LX_OK)
        rc = command->run(&cli, args, err);
    lx_arena_free(cli.arena);
    free(args);
    return rc;
}

static int set_up(void **state)
{
    const lx_run_start start = {.name = "a", .kind = "train", .flags = "{\"x\":1}"};
    char *words[] = {"--no-scrub", "-o", bundle, "a"};
    lx_store *store;
    lx_error err;
    lx_run *r;

    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-fsck-XXXXXX");
    if (!mkdtemp(folder) || lx_store_open(&store, folder, false, NULL) < 0 ||
        lx_run_begin(&r, store, &start, NULL) < 0)
        return -1;
    for (int i = 1; i <= 9000; i++)
        lx_run_log(r, "loss", i, 1.0 / i, NULL);
    lx_run_end(r, "finished", NULL, NULL);
    lx_store_close(store);
    snprintf(bundle, sizeof bundle, "%s/runs.lxb", folder);
    snprintf(db, sizeof db, "%s/store.db", folder);
    cli = (lx_cli){.out = fopen("/dev/null", "w"),
                   .err = fopen("/dev/null", "w"),
                   .store_path = folder,
                   .is_quiet = true,
                   .columns = 80};
    if (run(&lx_cmd_export, 4, words, &err) < 0)
        return -1;
    return lx_file_read(&sound, db, 64 << 20, NULL);
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    fclose(cli.out);
    fclose(cli.err);
    lx_str_release(&sound);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* The sound database with `n` bytes of nonsense at `at`. */
static void damage(size_t at, size_t n)
{
    static const char *const beside[] = {"store.db-wal", "store.db-shm"};
    char *bytes = malloc(sound.len), path[128];
    FILE *f = fopen(db, "w");

    memcpy(bytes, sound.data, sound.len);
    memset(bytes + at, 0xa5, n);
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, sound.len, f), sound.len);
    fclose(f);
    free(bytes);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, beside[i]);
        unlink(path);
    }
}

/* Each allocation where there are few, then ever fewer of them: one in `share`. */
static void fail_each(size_t at, size_t n_bytes, size_t share)
{
    char *words[] = {"--repair-from", bundle};
    lx_error err;

    for (size_t n = 1;; n += 1 + n / share) {
        int rc;
        damage(at, n_bytes);
        lx_alloc_fail_at(n, true);
        rc = run(&lx_cmd_fsck, 2, words, &err);
        lx_alloc_fail_at(0, false);
        if (rc != LX_OK && rc != LX_ENOMEM && rc != LX_ECHECK)
            fail_msg("allocation %zu: %d %s", n, rc, err.text);
        if (run(&lx_cmd_fsck, 2, words, &err) != LX_OK)
            fail_msg("after allocation %zu: %s", n, err.text);
        if (rc == LX_OK && n > 3000)
            break;
    }
}

/* Where a chunk's bytes lie: they begin with zstd's magic number. */
static size_t find_chunk(void)
{
    static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    for (size_t i = sound.len - 4; i > 4096; i--)
        if (memcmp(sound.data + i, magic, 4) == 0)
            return i;
    fail_msg("no chunk in the database");
    return 0;
}

static void test_cmd_fsck__a_chunk_comes_back_whenever_memory_runs_out(void **state)
{
    (void)state;
    fail_each(find_chunk(), 16, 6);
}

static void test_cmd_fsck__pages_come_back_whenever_memory_runs_out(void **state)
{
    (void)state;
    fail_each(find_chunk() / 4096 * 4096, 4096, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmd_fsck__a_chunk_comes_back_whenever_memory_runs_out),
        cmocka_unit_test(test_cmd_fsck__pages_come_back_whenever_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
