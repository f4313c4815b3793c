/* lx show - all that is recorded of one run */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/cli.h"
#include "cmd/run_find.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/report/plot.h"
#include "store/query.h"

struct show_args {
    bool json, diff;
    lx_words runs;
};

static const lx_option options[] = {
    LX_FLAG(struct show_args, json, 'j', "json", "print one JSON object, curves included"),
    LX_FLAG(struct show_args, diff, 0, "diff", "print the recorded diff of the work tree"),
    LX_ARGS(struct show_args, runs, "RUN", "id, the beginning of one, a name, or a LoRA file"),
    LX_OPTION_END,
};

typedef struct detail {
    lx_run_row row;
    lx_run_texts texts;
    lx_curve *curves;
    size_t n_curves;
    lx_artifact_row *artifacts;
    size_t n_artifacts;
    lx_remark_row *remarks;
    size_t n_remarks;
} detail;

static int read_detail(detail *d, lx_cli *cli, lx_store *store, const char *name, lx_error *err)
{
    lx_arena *arena = cli->arena;
    int rc;

    if ((rc = lx_run_find(&d->row, cli, store, name, err)) < 0 ||
        (rc = lx_query_texts(&d->texts, store, &d->row, arena, err)) < 0 ||
        (rc = lx_query_remarks(&d->remarks, &d->n_remarks, store, d->row.seq, NULL, arena, err)) <
            0 ||
        (rc = lx_query_curves(&d->curves, &d->n_curves, store, &d->row, arena, err)) < 0)
        return rc;
    return lx_query_artifacts(&d->artifacts, &d->n_artifacts, store, &d->row, arena, err);
}

static cJSON *parse(const char *text)
{
    cJSON *value = NULL;
    if (text && lx_json_parse(&value, text, strlen(text), NULL) < 0)
        return NULL;
    return value;
}

/* ---- text -------------------------------------------------------------------------------- */

static void line(lx_cli *cli, const char *name, const char *text)
{
    if (text && *text)
        lx_print(cli, "  %-12s %s\n", name, lx_safe(cli, text));
}

static const char *time_text(lx_arena *arena, double seconds)
{
    time_t t = (time_t)seconds;
    struct tm local;
    char *text = lx_arena_calloc(arena, 1, 32);
    if (text && localtime_r(&t, &local))
        strftime(text, 32, "%Y-%m-%d %H:%M:%S", &local);
    return text;
}

static void show_identity(lx_cli *cli, const detail *d)
{
    const lx_run_row *r = &d->row;
    lx_print(cli, "run %s  %s\n", r->id, lx_safe(cli, r->name));
    line(cli, "kind", strcmp(r->kind, "train") ? r->kind : "");
    line(cli, "status", r->status);
    line(cli, "message", r->message);
    line(cli, "started", time_text(cli->arena, r->started));
    if (r->ended > 0 && isfinite(lx_run_seconds(r, 0)))
        line(cli, "took", lx_arena_printf(cli->arena, "%.1f s", lx_run_seconds(r, 0)));
    line(cli, "parent", r->parent);
    line(cli, "origin", r->origin);
    line(cli, "spec", r->spec);
    line(cli, "seed", r->seed);
    line(cli, "command", d->texts.command_line);
}

/* Group, tags, pin and notes. */
static void show_remarks(lx_cli *cli, const detail *d)
{
    lx_str tags = LX_STR_INIT;
    bool has_note = false;

    line(cli, "group", d->row.group);
    for (size_t i = 0; i < d->n_remarks; i++) {
        const lx_remark_row *r = &d->remarks[i];
        if (strcmp(r->kind, "tag") == 0)
            lx_str_printf(&tags, "%s%s%s%s", tags.len ? ", " : "", r->key, *r->value ? "=" : "",
                          r->value);
    }
    line(cli, "tags", lx_str_text(&tags));
    lx_str_release(&tags);
    line(cli, "pinned", d->row.is_pinned ? "yes: lx gc keeps it" : "");
    line(cli, "trash", d->row.is_trashed ? "yes: lx gc may remove it" : "");
    for (size_t i = 0; i < d->n_remarks; i++)
        if (strcmp(d->remarks[i].kind, "note") == 0) {
            line(cli, has_note ? "" : "notes", d->remarks[i].value);
            has_note = true;
        }
}

/* "key value" pairs of a flat JSON object, wrapped by the terminal. */
static void show_flags(lx_cli *cli, const char *text)
{
    cJSON *root = parse(text);
    const cJSON *item;
    lx_str out = LX_STR_INIT;
    cJSON_ArrayForEach(item, root)
    {
        char *value = cJSON_IsString(item) ? NULL : cJSON_PrintUnformatted(item);
        lx_str_printf(&out, "%s--%s", out.len ? " " : "", item->string ? item->string : "");
        if (!cJSON_IsTrue(item))
            lx_str_printf(&out, " %s", value ? value : item->valuestring);
        cJSON_free(value);
    }
    line(cli, "flags given", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
}

static void show_inputs(lx_cli *cli, const detail *d)
{
    cJSON *data = parse(d->texts.dataset), *base = parse(d->texts.base_model);
    cJSON *git = parse(d->texts.git);
    const cJSON *folder;
    const char *commit = lx_json_text(git, "commit"), *branch = lx_json_text(git, "branch");

    if (base)
        line(cli, "base model",
             lx_arena_printf(cli->arena, "%s  sha256 %.16s", lx_json_text(base, "path"),
                             lx_json_text(base, "sha256") ? lx_json_text(base, "sha256") : "-"));
    if (data)
        line(cli, "images", lx_arena_printf(cli->arena, "%g",
                                            lx_json_number(data, "images", 0)));
    cJSON_ArrayForEach(folder, cJSON_GetObjectItemCaseSensitive(data, "folders"))
        line(cli, lx_json_bool(folder, "is_reg", false) ? "reg folder" : "folder",
             lx_json_text(folder, "name"));
    if (commit)
        line(cli, "git",
             lx_arena_printf(cli->arena, "%.12s on %s%s", commit, branch ? branch : "?",
                             d->texts.diff && *d->texts.diff ? ", with uncommitted changes"
                                                             : ", clean"));
    if (cJSON_GetObjectItemCaseSensitive(git, "diff_cut_at"))
        line(cli, "git", "the differences are longer than 4 MiB; their rest was not recorded");
    if (cJSON_GetObjectItemCaseSensitive(git, "untracked_left_out"))
        line(cli, "git",
             lx_arena_printf(cli->arena,
                             "%g untracked sources were left out: more than 200, or over 256 KiB",
                             lx_json_number(git, "untracked_left_out", 0)));
    line(cli, "git", lx_json_text(git, "problem"));
    cJSON_Delete(data);
    cJSON_Delete(base);
    cJSON_Delete(git);
}

/* ---- a curve as a picture ------------------------------------------------ */

static int plot(lx_cli *cli, const lx_curve *c, lx_error *err)
{
    double *steps = lx_arena_calloc(cli->arena, c->n, sizeof *steps);
    lx_plot_line curve = {c->key, steps, c->values, c->n};
    lx_plot p = {.lines = &curve,
                 .n_lines = 1,
                 .x_label = "step",
                 .width = cli->columns,
                 .height = 8,
                 .has_color = cli->has_color,
                 .is_utf8 = lx_cli_is_utf8()};
    lx_str out = LX_STR_INIT;
    int rc;

    if (!steps)
        return lx_oom(err);
    for (size_t i = 0; i < c->n; i++)
        steps[i] = (double)c->steps[i];
    if ((rc = lx_plot_text(&out, &p, err)) == LX_OK)
        lx_print(cli, "%s", lx_str_text(&out));
    lx_str_release(&out);
    return rc;
}

static const lx_curve *find_curve(const detail *d, const char *key)
{
    for (size_t i = 0; i < d->n_curves; i++)
        if (strcmp(d->curves[i].key, key) == 0 && d->curves[i].n)
            return &d->curves[i];
    return NULL;
}

static int show_curves(lx_cli *cli, const detail *d, lx_error *err)
{
    const lx_curve *loss = find_curve(d, "loss");

    if (!loss) /* sd-scripts' */
        loss = find_curve(d, "loss/average");
    for (size_t i = 0; i < d->n_curves; i++) {
        const lx_curve *c = &d->curves[i];
        if (c->n)
            line(cli, i ? "" : "curves",
                 lx_arena_printf(cli->arena, "%-16s %6zu %-7s last %.6g at step %lld", c->key, c->n,
                                 c->n == 1 ? "point," : "points,", c->values[c->n - 1], (long long)c->steps[c->n - 1]));
    }
    return loss && loss->n > 1 ? plot(cli, loss, err) : LX_OK;
}

/* What runs that make files out of files call them. */
static const struct {
    const char *key, *title;
} source_facts[] = {
    {"merge.sources", "merged from"},
    {"resize.sources", "resized from"},
    {"extract.sources", "extracted from"},
    {"convert.sources", "converted from"},
};

/* "a.safetensors x 0.7 (run 1234...)" for each file that a run made its own of. */
static void show_sources(lx_cli *cli, const detail *d)
{
    const char *text = NULL, *title = "";
    cJSON *list;
    const cJSON *source;

    for (size_t i = 0; i < d->n_remarks; i++)
        for (size_t k = 0; k < sizeof source_facts / sizeof *source_facts; k++)
            if (strcmp(d->remarks[i].kind, "fact") == 0 &&
                strcmp(d->remarks[i].key, source_facts[k].key) == 0) {
                text = d->remarks[i].value;
                title = source_facts[k].title;
            }
    list = text ? parse(text) : NULL;
    cJSON_ArrayForEach(source, list)
    {
        const char *file = lx_json_text(source, "file"), *run = lx_json_text(source, "run");
        const char *sha256 = lx_json_text(source, "sha256");
        const double strength = lx_json_number(source, "strength", NAN);
        line(cli, source == list->child ? title : "",
             lx_arena_printf(cli->arena, "%s%s (%s %.16s)", file ? file : "?",
                             isnan(strength)
                                 ? ""
                                 : lx_arena_printf(cli->arena, " x %g", strength),
                             run ? "run" : "sha256", run ? run : sha256 ? sha256 : "?"));
    }
    cJSON_Delete(list);
}

/* What single images gave in a validation is for lx compare, and may be there hundreds of times. */
static void show_artifacts(lx_cli *cli, const detail *d)
{
    bool is_first = true;

    for (size_t i = 0; i < d->n_artifacts; i++) {
        const lx_artifact_row *a = &d->artifacts[i];
        if (strcmp(a->role, "validation") == 0)
            continue;
        const char *step = a->step < 0 ? ""
                                       : lx_arena_printf(cli->arena, "step %lld, ",
                                                         (long long)a->step);
        line(cli, is_first ? "artifacts" : "",
             lx_arena_printf(cli->arena, "%-8s %s  %s%lld bytes, sha256 %.16s", a->role,
                             a->name, step ? step : "", (long long)a->size, a->object));
        is_first = false;
    }
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void add_parsed(cJSON *root, const char *key, const char *text)
{
    cJSON *value = parse(text);
    if (value)
        cJSON_AddItemToObject(root, key, value);
}

static void add_remarks(cJSON *root, const detail *d)
{
    cJSON *tags = cJSON_AddObjectToObject(root, "tags");
    cJSON *notes = cJSON_AddArrayToObject(root, "notes");
    cJSON *facts = cJSON_AddObjectToObject(root, "facts");

    cJSON_AddStringToObject(root, "group", d->row.group);
    cJSON_AddBoolToObject(root, "is_pinned", d->row.is_pinned);
    for (size_t i = 0; i < d->n_remarks; i++) {
        const lx_remark_row *r = &d->remarks[i];
        if (strcmp(r->kind, "tag") == 0)
            cJSON_AddStringToObject(tags, r->key, r->value);
        else if (strcmp(r->kind, "note") == 0)
            cJSON_AddItemToArray(notes, cJSON_CreateString(r->value));
        else if (strcmp(r->kind, "fact") == 0)
            cJSON_AddStringToObject(facts, r->key, r->value);
    }
}

static void add_curves(cJSON *root, const detail *d)
{
    cJSON *curves = cJSON_AddObjectToObject(root, "curves");
    for (size_t i = 0; i < d->n_curves; i++) {
        const lx_curve *c = &d->curves[i];
        cJSON *o = cJSON_AddObjectToObject(curves, c->key);
        cJSON *steps = cJSON_AddArrayToObject(o, "steps");
        cJSON *values = cJSON_AddArrayToObject(o, "values");
        for (size_t k = 0; k < c->n; k++) {
            cJSON_AddItemToArray(steps, cJSON_CreateNumber((double)c->steps[k]));
            cJSON_AddItemToArray(values, isfinite(c->values[k])
                                             ? cJSON_CreateNumber(c->values[k])
                                             : cJSON_CreateNull());
        }
    }
}

static int show_json(lx_cli *cli, const detail *d, lx_error *err)
{
    cJSON *root = cJSON_CreateObject(), *list;
    lx_str out = LX_STR_INIT;
    int rc;

    cJSON_AddStringToObject(root, "id", d->row.id);
    cJSON_AddStringToObject(root, "name", d->row.name);
    cJSON_AddStringToObject(root, "kind", d->row.kind);
    cJSON_AddStringToObject(root, "status", d->row.status);
    cJSON_AddStringToObject(root, "message", d->row.message);
    cJSON_AddNumberToObject(root, "started", d->row.started);
    if (d->row.ended > 0)
        cJSON_AddNumberToObject(root, "ended", d->row.ended);
    cJSON_AddStringToObject(root, "spec_hash", d->row.spec);
    cJSON_AddStringToObject(root, "seed", d->row.seed);
    cJSON_AddStringToObject(root, "command_line",
                            d->texts.command_line ? d->texts.command_line : "");
    add_parsed(root, "flags_given", d->texts.flags_given);
    add_parsed(root, "flags", d->texts.flags);
    add_parsed(root, "spec", d->texts.spec);
    add_parsed(root, "dataset", d->texts.dataset);
    add_parsed(root, "base_model", d->texts.base_model);
    add_parsed(root, "environment", d->texts.environment);
    add_parsed(root, "git", d->texts.git);
    if (d->texts.diff)
        cJSON_AddStringToObject(root, "diff", d->texts.diff);
    list = cJSON_AddArrayToObject(root, "artifacts");
    for (size_t i = 0; i < d->n_artifacts; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "role", d->artifacts[i].role);
        cJSON_AddStringToObject(o, "name", d->artifacts[i].name);
        cJSON_AddStringToObject(o, "sha256", d->artifacts[i].object);
        cJSON_AddNumberToObject(o, "step", (double)d->artifacts[i].step);
        cJSON_AddNumberToObject(o, "bytes", (double)d->artifacts[i].size);
    }
    add_remarks(root, d);
    add_curves(root, d);
    if ((rc = lx_json_pretty(&out, root, err)) == LX_OK)
        lx_print(cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}

/* ---- the command ------------------------------------------------------------------------- */

static int show_one(lx_cli *cli, const struct show_args *args, lx_store *store, const char *name,
                    lx_error *err)
{
    detail d = {0};
    int rc = read_detail(&d, cli, store, name, err);
    if (rc < 0)
        return rc;
    if (args->json)
        return show_json(cli, &d, err);
    show_identity(cli, &d);
    show_remarks(cli, &d);
    show_flags(cli, d.texts.flags_given);
    show_inputs(cli, &d);
    if ((rc = show_curves(cli, &d, err)) < 0)
        return rc;
    show_sources(cli, &d);
    show_artifacts(cli, &d);
    if (args->diff && (!d.texts.diff || !*d.texts.diff))
        lx_message(cli, "note: no diff is recorded of %.10s: %s\n", d.row.id,
                   d.texts.git ? "its work tree had no changes" : "nothing of git was recorded with it");
    else if (args->diff) {
        lx_str out = LX_STR_INIT;
        lx_escape_terminal(&out, d.texts.diff, strlen(d.texts.diff), false);
        lx_print(cli, "%s", lx_str_text(&out));
        lx_str_release(&out);
    }
    return LX_OK;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct show_args *args = args_;
    lx_store *store = NULL;
    int rc;

    if (!args->runs.count)
        return lx_fail(err, LX_EUSAGE, "which run? lx runs lists them");
    if ((rc = lx_store_open(&store, cli->store_path, true, err)) < 0)
        return rc;
    for (size_t i = 0; i < args->runs.count && rc == LX_OK; i++)
        rc = show_one(cli, args, store, args->runs.items[i], err);
    lx_store_close(store);
    return rc;
}

const lx_command lx_cmd_show = {
    .name = "show",
    .summary = "tell all that is recorded of a run",
    .usage = "RUN|FILE...",
    .help = "Identity, flags, data, base model, git state, curves and files of a run. Of a LoRA file\n"
            "the run is shown that wrote it, found by its bytes or, when its metadata were stripped or\n"
            "changed, by the hash of its tensors.\n"
            "\n"
            "Examples:\n"
            "  lx show 3f2a\n"
            "  lx show downloaded.safetensors\n"
            "  lx show hifumi --json | jq .curves.loss.values[-1]\n",
    .options = options,
    .args_size = sizeof(struct show_args),
    .run = run,
};
