#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/import/wandb.h"

/* ---- a writer of the format, by its description ------------------------------------ */

static void put_varint(lx_str *out, uint64_t x)
{
    for (; x >= 0x80; x >>= 7)
        lx_str_putc(out, (char)(x | 0x80));
    lx_str_putc(out, (char)x);
}

static void put_number(lx_str *out, int field, uint64_t x)
{
    put_varint(out, (uint64_t)field << 3);
    put_varint(out, x);
}

static void put_bytes(lx_str *out, int field, const void *bytes, size_t n)
{
    put_varint(out, (uint64_t)field << 3 | 2);
    put_varint(out, n);
    lx_str_append(out, bytes, n);
}

static void put_text(lx_str *out, int field, const char *text)
{
    put_bytes(out, field, text, strlen(text));
}

static void put_inside(lx_str *out, int field, lx_str *inner)
{
    put_bytes(out, field, lx_str_text(inner), inner->len);
    lx_str_release(inner);
}

static void put_item(lx_str *out, int field, const char *key, const char *json)
{
    lx_str item = LX_STR_INIT;
    put_text(&item, 1, key);
    put_text(&item, 16, json);
    put_inside(out, field, &item);
}

static void put_chunk(lx_str *file, int type, const char *data, size_t n)
{
    lx_str chunk = LX_STR_INIT;
    unsigned long crc;

    lx_str_putc(&chunk, (char)type);
    lx_str_append(&chunk, data, n);
    crc = crc32(0, (const unsigned char *)chunk.data, (unsigned)chunk.len);
    for (int i = 0; i < 4; i++)
        lx_str_putc(file, (char)(crc >> (8 * i)));
    lx_str_putc(file, (char)n);
    lx_str_putc(file, (char)(n >> 8));
    lx_str_append(file, chunk.data, chunk.len);
    lx_str_release(&chunk);
}

/* A record in as many chunks as the blocks make of it. */
static void put_record(lx_str *file, lx_str *record)
{
    const char *data = lx_str_text(record);
    size_t left = record->len;
    bool is_first = true;

    do {
        size_t room = 32768 - file->len % 32768, n;
        if (room < 7) {
            while (room-- > 0)
                lx_str_putc(file, 0);
            room = 32768;
        }
        n = left < room - 7 ? left : room - 7;
        put_chunk(file, is_first ? (n == left ? 1 : 2) : (n == left ? 4 : 3), data, n);
        data += n;
        left -= n;
        is_first = false;
    } while (left > 0);
    lx_str_release(record);
}

static void put_run(lx_str *file, const char *note)
{
    lx_str run = LX_STR_INIT, config = LX_STR_INIT, time = LX_STR_INIT,
           record = LX_STR_INIT;

    put_text(&run, 1, "a1b2c3d4");
    put_text(&run, 3, "loras");
    put_item(&config, 1, "network_dim", "4");
    put_item(&config, 1, "name", "\"it\"");
    put_item(&config, 1, "betas", "[0.9, 0.999]");
    put_item(&config, 1, "_wandb", "{\"x\": 1}");
    put_inside(&run, 4, &config);
    put_text(&run, 6, "a group");
    put_text(&run, 8, "brave-sun-7");
    put_text(&run, 9, note);
    put_text(&run, 10, "tag one");
    put_text(&run, 13, "secret-host");
    put_number(&time, 1, 1700000000);
    put_number(&time, 2, 500000000);
    put_inside(&run, 17, &time);
    put_inside(&record, 17, &run);
    put_record(file, &record);
}

static void put_history(lx_str *file, int step, const char *loss)
{
    lx_str row = LX_STR_INIT, record = LX_STR_INIT;
    char text[32];

    put_item(&row, 1, "loss", loss);
    snprintf(text, sizeof text, "%d", step);
    put_item(&row, 1, "_step", text);
    snprintf(text, sizeof text, "%d.5", 1700000000 + step);
    put_item(&row, 1, "_timestamp", text);
    put_item(&row, 1, "image", "{\"_type\":\"image-file\"}");
    put_inside(&record, 2, &row);
    put_record(file, &record);
}

static void put_exit(lx_str *file, int code)
{
    lx_str inner = LX_STR_INIT, record = LX_STR_INIT;
    if (code)
        put_number(&inner, 1, (uint64_t)code);
    put_inside(&record, 18, &inner);
    put_record(file, &record);
}

/* n rows: several blocks' worth from about 400 on. */
static void put_log(lx_str *file, int n)
{
    lx_str_append(file, ":W&B\xe1\xbe\0", 7);
    put_run(file, "a draft of the note");
    put_run(file, "a note"); /* wandb writes all of it again when something changes */
    for (int i = 0; i < n; i++)
        put_history(file, i, i == 1 ? "NaN" : i == 2 ? "-Infinity" : "0.125");
}

static char path[256];

static lx_history *import(const lx_str *file, bool keeps_private)
{
    lx_history *h;
    lx_error err = {0};

    snprintf(path, sizeof path, "/tmp/lx-wandb-%ld.wandb", (long)getpid());
    assert_int_equal(lx_file_write(path, lx_str_text(file), file->len, &err), LX_OK);
    assert_int_equal(lx_history_new(&h, &err), LX_OK);
    h->keeps_private = keeps_private;
    assert_int_equal(lx_import_wandb(h, path, &err), LX_OK);
    unlink(path);
    return h;
}

static const lx_history_curve *loss_of(const lx_history *h)
{
    assert_int_equal(h->count, 1);
    assert_int_equal(h->runs[0]->n_curves, 1); /* no underscored ones, no image */
    assert_string_equal(h->runs[0]->curves[0].key, "loss");
    return &h->runs[0]->curves[0];
}

static void test_import_wandb__a_finished_run(void **state)
{
    lx_str file = LX_STR_INIT, flags = LX_STR_INIT;
    const lx_history_run *run;
    const lx_history_curve *loss;
    lx_history *h;

    (void)state;
    put_log(&file, 2000);
    put_exit(&file, 0);
    h = import(&file, false);
    loss = loss_of(h);
    run = h->runs[0];
    assert_int_equal(loss->n, 2000);
    assert_int_equal(loss->steps[1999], 1999);
    assert_true(loss->values[0] == 0.125 && isnan(loss->values[1]) &&
                loss->values[2] == -INFINITY);
    assert_string_equal(run->origin, "wandb:loras/a1b2c3d4@1700000000");
    assert_string_equal(run->name, "brave-sun-7");
    assert_string_equal(run->group, "a group");
    assert_string_equal(run->status, "finished");
    assert_string_equal(run->tags[0].key, "tag one");
    assert_int_equal(run->n_tags, 1);
    assert_int_equal(run->n_notes, 1);
    assert_string_equal(run->notes[0], "a note");
    assert_int_equal(run->n_facts, 0); /* the host is private */
    assert_true(run->started == 1700000000.5 && run->ended == 1700001999.5);
    assert_int_equal(lx_json_canonical(&flags, run->flags, NULL), LX_OK);
    assert_string_equal(lx_str_text(&flags),
                        "{\"betas\":[0.9,0.999],\"name\":\"it\",\"network_dim\":4}");
    assert_int_equal(h->n_problems, 0);
    lx_history_free(h);
    h = import(&file, true);
    assert_string_equal(h->runs[0]->facts[0].value, "secret-host");
    lx_history_free(h);
    lx_str_release(&flags);
    lx_str_release(&file);
}

/* Cut anywhere: what is whole counts, and nothing is said to be damaged. */
static void test_import_wandb__a_killed_run(void **state)
{
    lx_str file = LX_STR_INIT;
    size_t whole;

    (void)state;
    put_log(&file, 500);
    whole = file.len;
    for (size_t cut = whole; cut > whole - 300; cut--) {
        lx_history *h;
        file.len = cut;
        h = import(&file, false);
        assert_int_equal(h->n_problems, 0);
        assert_string_equal(h->runs[0]->status, "interrupted");
        assert_true(loss_of(h)->n >= 497 && loss_of(h)->n <= 500);
        lx_history_free(h);
    }
    lx_str_release(&file);
}

static void test_import_wandb__a_failed_run(void **state)
{
    lx_str file = LX_STR_INIT;
    lx_history *h;

    (void)state;
    put_log(&file, 3);
    put_exit(&file, 2);
    h = import(&file, false);
    assert_string_equal(h->runs[0]->status, "failed");
    assert_string_equal(h->runs[0]->message, "exit code 2");
    lx_history_free(h);
    lx_str_release(&file);
}

/* A spoiled byte costs a block at most, and is told. */
static void test_import_wandb__damage_in_the_middle(void **state)
{
    lx_str file = LX_STR_INIT;
    lx_history *h;

    (void)state;
    put_log(&file, 2000);
    put_exit(&file, 0);
    file.data[32768 + 5000] ^= 0x10;
    h = import(&file, false);
    assert_int_equal(h->n_problems, 1);
    assert_non_null(strstr(h->problems[0], "damaged in 1 place"));
    assert_string_equal(h->runs[0]->status, "finished");
    assert_true(loss_of(h)->n > 1500 && loss_of(h)->n < 2000);
    lx_history_free(h);
    lx_str_release(&file);
}

static void test_import_wandb__others(void **state)
{
    lx_history *h;
    lx_error err = {0};
    lx_str file = LX_STR_INIT;

    (void)state;
    assert_int_equal(lx_history_new(&h, &err), LX_OK);
    assert_int_equal(lx_import_wandb(h, "/etc/passwd", &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "/etc/passwd: no W&B log"));
    assert_int_equal(h->count, 0);
    lx_history_free(h);
    lx_str_append(&file, ":W&B\xe1\xbe\0", 7);
    h = import(&file, false);
    assert_int_equal(h->count, 0);
    assert_non_null(strstr(h->problems[0], "no run is described"));
    lx_history_free(h);
    lx_str_release(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import_wandb__a_finished_run),
        cmocka_unit_test(test_import_wandb__a_killed_run),
        cmocka_unit_test(test_import_wandb__a_failed_run),
        cmocka_unit_test(test_import_wandb__damage_in_the_middle),
        cmocka_unit_test(test_import_wandb__others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
