#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/run_follow.h"
#include "src/base/file.h"
#include "src/base/io.h"

static char folder[256];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-follow-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[300];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void put(const char *name, const void *bytes, size_t n, const char *mode)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, mode);
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* ---- whole files ------------------------------------------------------------------- */

static size_t make_lora(unsigned char out[256])
{
    static const char header[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}     ";
    size_t n = (sizeof header - 1) / 8 * 8;

    memset(out, 0, 256);
    out[0] = (unsigned char)n;
    memcpy(out + 8, header, n);
    return 8 + n + 4;
}

static int write_down(void *context, const char *path, lx_error *err)
{
    lx_str_printf(context, "%s ", lx_path_base(path));
    return lx_str_check(context, err);
}

static void look(lx_follow_files *files, lx_str *seen, bool is_last, const char *wanted)
{
    lx_error err = {0};

    lx_str_clear(seen);
    assert_int_equal(lx_follow_files_look(files, is_last, &err), LX_OK);
    assert_string_equal(lx_str_text(seen), wanted);
}

static void test_cmd_run_follow__files_when_they_are_complete(void **state)
{
    static const char *const endings[] = {".safetensors", ".pt", NULL};
    unsigned char lora[256];
    size_t n = make_lora(lora);
    lx_follow_files *files;
    lx_str seen = LX_STR_INIT;
    lx_error err = {0};

    (void)state;
    put("old.safetensors", lora, n, "w");
    assert_int_equal(
        lx_follow_files_open(&files, folder, "", endings, write_down, &seen, &err),
        LX_OK);
    look(files, &seen, false, ""); /* what was there is left alone */
    put("new.safetensors", lora, n - 2, "w");
    put("notes.txt", "x", 1, "w");
    put("a.pt", "x", 1, "w");
    look(files, &seen, false, "");      /* seen once */
    look(files, &seen, false, "a.pt "); /* stable; the other is not whole */
    put("new.safetensors", lora + n - 2, 2, "a");
    look(files, &seen, false, "");
    look(files, &seen, false, "new.safetensors ");
    look(files, &seen, false, "");
    put("old.safetensors", lora, n - 1, "w"); /* written again, and cut for ever */
    look(files, &seen, false, "");
    look(files, &seen, false, "");
    put("last.safetensors", lora, n, "w");
    look(files, &seen, true,
         "last.safetensors "); /* nobody writes any more: one look is enough */
    look(files, &seen, true, "");
    lx_follow_files_close(files);
    lx_str_release(&seen);
}

static void test_cmd_run_follow__folders_made_later_and_names(void **state)
{
    static const char *const endings[] = {".safetensors", NULL};
    unsigned char lora[256];
    size_t n = make_lora(lora);
    char later[300];
    lx_follow_files *files;
    lx_str seen = LX_STR_INIT;
    lx_error err = {0};

    (void)state;
    snprintf(later, sizeof later, "%s/later", folder);
    assert_int_equal(
        lx_follow_files_open(&files, later, "mine", endings, write_down, &seen, &err),
        LX_OK);
    look(files, &seen, false, "");
    mkdir(later, 0700);
    put("later/mine-000001.safetensors", lora, n, "w");
    put("later/other.safetensors", lora, n, "w");
    look(files, &seen, true, "mine-000001.safetensors ");
    lx_follow_files_close(files);
    lx_str_release(&seen);
}

/* ---- event files ------------------------------------------------------------------- */

static const char start[] =
    "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32"
    "eced8f9d";
static const char scalar[] =
    "220000000000000078113dfd0900004040fc54d94110012a150a130a0c6c6f73732f6176"
    "6572616765150000003e89b22fc6";

static size_t from_hex(unsigned char *out, const char *hex)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++)
        sscanf(hex + 2 * i, "%2hhx", &out[i]);
    return n;
}

static int count(void *context, const lx_tfevent *e, lx_error *err)
{
    (void)err;
    if (e->kind == LX_TFEVENT_SCALAR)
        ++*(int *)context;
    return LX_OK;
}

static void test_cmd_run_follow__event_files_as_they_grow(void **state)
{
    unsigned char bytes[256];
    size_t first = from_hex(bytes, start), n = first + from_hex(bytes + first, scalar);
    char name[64], path[300];
    lx_follow_events *events;
    lx_error err = {0};
    int seen = 0;

    (void)state;
    put("events.out.tfevents.1.host.1.0", bytes, n, "w"); /* of an earlier training */
    assert_int_equal(lx_follow_events_open(&events, folder, count, &seen, &err), LX_OK);
    lx_follow_events_of(events, (int)getpgrp());
    snprintf(path, sizeof path, "%s/20230101", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/20230101/network_train", folder);
    mkdir(path, 0700);
    snprintf(name, sizeof name, "20230101/network_train/events.out.tfevents.2.host.%ld.0",
             (long)getpid());
    for (size_t i = 0; i < n; i++) { /* byte by byte */
        put(name, bytes + i, 1, "a");
        assert_int_equal(lx_follow_events_look(events, false, &err), LX_OK);
        assert_int_equal(seen, i + 1 == n);
    }
    put("events.out.tfevents.2.host.1.0", bytes, n, "w"); /* process 1 is none of ours */
    assert_int_equal(lx_follow_events_look(events, false, &err), LX_OK);
    assert_int_equal(seen, 1);
    put(name, "spoiled record", 14, "a"); /* nothing after it is believed */
    put(name, bytes + first, n - first, "a");
    assert_int_equal(lx_follow_events_look(events, false, &err), LX_OK);
    assert_int_equal(seen, 1);
    lx_follow_events_close(events);
}

static int failing_open(const char *path, int flags, mode_t mode)
{
    (void)path;
    (void)flags;
    (void)mode;
    errno = EIO;
    return -1;
}

/* At the next look the folder may be readable again; after the last one nobody would know. */
static void test_cmd_run_follow__a_folder_that_cannot_be_read(void **state)
{
    static const char *const endings[] = {".safetensors", NULL};
    lx_io io = lx_io_system;
    lx_follow_files *files;
    lx_follow_events *events;
    lx_str seen = LX_STR_INIT;
    lx_error err = {0};

    (void)state;
    io.open = failing_open;
    lx_io_set(&io);
    assert_int_equal(lx_follow_files_open(&files, folder, "", endings, write_down, &seen, &err), LX_EIO);
    assert_non_null(strstr(err.text, folder));
    assert_int_equal(lx_follow_events_open(&events, folder, (lx_tfevents_sink){0}, NULL, &err), LX_EIO);
    lx_io_set(NULL);
    assert_int_equal(lx_follow_files_open(&files, folder, "", endings, write_down, &seen, &err), LX_OK);
    assert_int_equal(lx_follow_events_open(&events, folder, (lx_tfevents_sink){0}, NULL, &err), LX_OK);
    lx_io_set(&io);
    look(files, &seen, false, "");
    assert_int_equal(lx_follow_events_look(events, false, &err), LX_OK);
    assert_int_equal(lx_follow_files_look(files, true, &err), LX_EIO);
    assert_int_equal(lx_follow_events_look(events, true, &err), LX_EIO);
    lx_io_set(NULL);
    lx_follow_files_close(files);
    lx_follow_events_close(events);
    lx_str_release(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cmd_run_follow__files_when_they_are_complete,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_cmd_run_follow__folders_made_later_and_names,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_cmd_run_follow__event_files_as_they_grow,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_cmd_run_follow__a_folder_that_cannot_be_read,
                                        make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
