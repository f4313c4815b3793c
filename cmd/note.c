/* lx note - write a note beside a run, or read them */
#include <stdio.h>
#include <string.h>

#include "cmd/cli.h"
#include "cmd/run_find.h"
#include "src/query/when.h"
#include "store/query.h"

struct note_args {
    lx_words words;
};

enum { MOST_BYTES = 1 << 20 };

static const lx_option options[] = {
    LX_ARGS(struct note_args, words, "RUN",
            "the run, then the text; - reads it from standard input"),
    LX_OPTION_END,
};

static int read_input(lx_str *text, lx_error *err)
{
    char part[4096];
    size_t n;

    while ((n = fread(part, 1, sizeof part, stdin)) > 0) {
        lx_str_append(text, part, n);
        if (text->len > MOST_BYTES)
            return lx_fail(err, LX_ELIMIT, "a note of more than %d bytes", MOST_BYTES);
    }
    while (text->len &&
           (text->data[text->len - 1] == '\n' || text->data[text->len - 1] == '\r'))
        text->data[--text->len] = '\0';
    return LX_OK;
}

static int gather(lx_str *text, const lx_words *words, lx_error *err)
{
    int rc;

    if (words->count == 2 && strcmp(words->items[1], "-") == 0) {
        if ((rc = read_input(text, err)) < 0)
            return rc;
    } else {
        for (size_t i = 1; i < words->count; i++)
            lx_str_printf(text, "%s%s", i > 1 ? " " : "", words->items[i]);
    }
    if (lx_utf8_check(lx_str_text(text), text->len) != text->len ||
        strlen(lx_str_text(text)) != text->len)
        return lx_fail(err, LX_EFORMAT, "the note is not UTF-8 text");
    return text->len ? lx_str_check(text, err)
                     : lx_fail(err, LX_EUSAGE, "the note is empty");
}

static int show_notes(lx_cli *cli, lx_store *store, const lx_run_row *run, lx_error *err)
{
    lx_remark_row *rows;
    size_t n;
    int rc = lx_query_remarks(&rows, &n, store, run->seq, "note", cli->arena, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        char at[32];
        lx_when_format(at, rows[i].at);
        lx_print(cli, "%s  %s\n", at, lx_safe(cli, rows[i].value));
    }
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct note_args *args = args_;
    bool is_reading = args->words.count == 1;
    lx_str text = LX_STR_INIT;
    lx_store *store = NULL;
    lx_run_row row;
    int rc;

    if (!args->words.count)
        return lx_fail(err, LX_EUSAGE, "a run is wanted, then the text of the note");
    if (!is_reading && (rc = gather(&text, &args->words, err)) < 0)
        goto done;
    if ((rc = is_reading ? lx_store_open(&store, cli->store_path, true, err)
                         : lx_store_open_existing(&store, cli->store_path, err)) < 0 ||
        (rc = lx_run_find(&row, cli, store, args->words.items[0], err)) < 0)
        goto done;
    rc = is_reading ? show_notes(cli, store, &row, err)
                    : lx_run_note(store, row.seq, lx_str_text(&text), err);
done:
    lx_store_close(store);
    lx_str_release(&text);
    return rc;
}

const lx_command lx_cmd_note = {
    .name = "note",
    .summary = "write a note beside a run, or read its notes",
    .usage = "RUN [TEXT...]",
    .help = "A note is added and never edited; lx show tells all of a run. Words that "
            "begin with - go\n"
            "behind --. Without a text the notes of the run are printed.\n"
            "\n"
            "Examples:\n"
            "  lx note 4fa3 the eyes are right, the hair is not\n"
            "  lx note 4fa3 - < remarks.txt\n"
            "  lx note 4fa3\n",
    .options = options,
    .args_size = sizeof(struct note_args),
    .run = run,
};
