#include "cmd/report_collect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/report/curve.h"
#include "src/stats/smooth.h"

/* ---- finding, learning ------------------------------------------------------------- */

int lx_report_find(lx_collected *out, lx_collector *c, const char *name, lx_error *err)
{
    int rc;
    if ((rc = lx_query_find(&out->row, c->store, name, c->arena, err)) < 0 ||
        (rc = lx_query_texts(&out->texts, c->store, &out->row, c->arena, err)) < 0)
        return rc;
    return lx_query_remarks(&out->remarks, &out->n_remarks, c->store, out->row.seq, NULL,
                            c->arena, err);
}

static void learn(lx_collector *c, const char *text)
{
    if (text)
        lx_privacy_learn(c->privacy, text, strlen(text));
}

void lx_report_learn(lx_collector *c, const lx_collected *run)
{
    const lx_run_texts *t = &run->texts;
    const char *const texts[] = {run->row.name,  run->row.message, t->command_line,
                                 t->flags_given, t->flags,         t->base_model,
                                 t->environment, t->git,           t->diff};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        learn(c, texts[i]);
    for (size_t i = 0; i < run->n_remarks; i++)
        learn(c, run->remarks[i].value);
}

/* The beginning of a text, cut between code points, and how much is missing. */
static const char *clip(lx_collector *c, const char *text)
{
    size_t n = strlen(text), most = c->options.most_text;
    const char *kept;
    if (!most || n <= most)
        return text;
    while (most && ((unsigned char)text[most] & 0xC0) == 0x80)
        most--;
    kept =
        lx_arena_printf(c->arena, "%.*s ... (%zu more bytes)", (int)most, text, n - most);
    return kept ? kept : "";
}

/* Nothing is left of a text when memory runs out: it is noted. */
static const char *scrubbed(lx_collector *c, const char *text)
{
    const char *kept = lx_privacy_text(c->privacy, text, c->arena);

    c->is_out_of_memory |= text && *text && !*kept;
    return kept;
}

const char *lx_report_text(lx_collector *c, const char *text)
{
    const char *kept = scrubbed(c, text);

    kept = kept ? clip(c, kept) : NULL;
    c->is_out_of_memory |= text && *text && !*kept;
    return kept;
}

/* JSON of the store, scrubbed; NULL when it is not there or damaged. */
static cJSON *parse(lx_collector *c, const char *text)
{
    cJSON *value = NULL;
    int rc = LX_OK;

    text = scrubbed(c, text);
    if (text)
        rc = lx_json_parse(&value, text, strlen(text), NULL);
    c->is_out_of_memory |= rc == LX_ENOMEM;
    return rc < 0 ? NULL : value;
}

/* ---- settings ---------------------------------------------------------------------- */

/* A value as people write it: texts without quotes. In the arena; NULL without memory. */
static const char *value_text(lx_collector *c, const cJSON *value)
{
    lx_str text = LX_STR_INIT;
    const char *kept;
    if (cJSON_IsString(value))
        return lx_arena_strdup(c->arena, clip(c, value->valuestring));
    lx_json_canonical(&text, value, NULL);
    kept = text.failed ? NULL : lx_arena_strdup(c->arena, clip(c, lx_str_text(&text)));
    lx_str_release(&text);
    return kept;
}

/* Members of a flat object; null ones are left out. */
static int take_pairs(lx_report_pairs *out, lx_collector *c, const cJSON *object,
                      lx_error *err)
{
    lx_report_pair *pairs =
        lx_arena_calloc(c->arena, (size_t)cJSON_GetArraySize(object), sizeof *pairs);
    const cJSON *item;
    size_t n = 0;

    if (!pairs)
        return lx_oom(err);
    cJSON_ArrayForEach(item, object)
    {
        if (cJSON_IsNull(item) || !item->string)
            continue;
        pairs[n].key = lx_arena_strdup(c->arena, item->string);
        pairs[n].value = value_text(c, item);
        if (!pairs[n].key || !pairs[n].value)
            return lx_oom(err);
        n++;
    }
    *out = (lx_report_pairs){pairs, n};
    return LX_OK;
}

static int take_settings(lx_report_run *out, lx_collector *c, const lx_run_texts *texts,
                         lx_error *err)
{
    cJSON *given = parse(c, texts->flags_given), *resolved = parse(c, texts->flags);
    int rc = take_pairs(&out->settings, c, given, err);
    if (rc == LX_OK)
        rc = take_pairs(&out->resolved, c, resolved, err);
    cJSON_Delete(given);
    cJSON_Delete(resolved);
    return rc;
}

/* ---- inputs ------------------------------------------------------------------------ */

enum { MOST_INPUTS = 48 };

static void add(lx_collector *c, lx_report_pairs *out, lx_report_pair *room,
                const char *key, const char *value)
{
    const char *kept = value && *value ? lx_arena_strdup(c->arena, value) : NULL;
    c->is_out_of_memory |= value && *value && !kept;
    if (kept && out->count < MOST_INPUTS)
        room[out->count++] = (lx_report_pair){key, kept};
}

static void add_code(lx_collector *c, lx_report_pairs *out, lx_report_pair *room,
                     const cJSON *git, bool is_dirty)
{
    const char *commit = lx_json_text(git, "commit"),
               *branch = lx_json_text(git, "branch");
    if (commit)
        add(c, out, room, "code",
            lx_arena_printf(c->arena, "git commit %s%s%s%s", commit, branch ? " on " : "",
                            branch ? branch : "",
                            is_dirty ? ", with changes that were not committed" : ""));
    add(c, out, room, "code", lx_json_text(git, "problem"));
}

static void add_machine(lx_collector *c, lx_report_pairs *out, lx_report_pair *room,
                        const cJSON *environment)
{
    const cJSON *versions = cJSON_GetObjectItemCaseSensitive(environment, "versions");
    double cores = lx_json_number(environment, "cores", 0);
    double memory = lx_json_number(environment, "memory", 0);
    const char *cpu = lx_json_text(environment, "cpu"),
               *gpu = lx_json_text(environment, "gpu");

    if (cpu)
        add(c, out, room, "processor",
            cores ? lx_arena_printf(c->arena, "%s, %.0f cores", cpu, cores) : cpu);
    add(c, out, room, "graphics card", gpu);
    if (memory > 0)
        add(c, out, room, "memory", lx_arena_printf(c->arena, "%.1f GB", memory / 1e9));
    if (lx_json_text(environment, "system"))
        add(c, out, room, "system",
            lx_arena_printf(c->arena, "%s %s", lx_json_text(environment, "system"),
                            lx_json_text(environment, "kernel")
                                ? lx_json_text(environment, "kernel")
                                : ""));
    add(c, out, room, "lx", lx_json_text(versions, "lx"));
}

static int take_inputs(lx_report_run *out, lx_collector *c, const lx_collected *run,
                       lx_error *err)
{
    lx_report_pair *room = lx_arena_calloc(c->arena, MOST_INPUTS, sizeof *room);
    cJSON *base = parse(c, run->texts.base_model), *git = parse(c, run->texts.git);
    cJSON *environment = parse(c, run->texts.environment);

    out->inputs = (lx_report_pairs){room, 0};
    if (room) {
        add(c, &out->inputs, room, "base model",
            lx_json_text(base, "path") ? lx_path_base(lx_json_text(base, "path")) : NULL);
        add(c, &out->inputs, room, "its SHA-256", lx_json_text(base, "sha256"));
        add(c, &out->inputs, room, "seed", run->row.seed);
        add(c, &out->inputs, room, "experiment", run->row.spec);
        add_code(c, &out->inputs, room, git, run->texts.diff && *run->texts.diff);
        add_machine(c, &out->inputs, room, environment);
        for (size_t i = 0; i < run->n_remarks; i++)
            if (strcmp(run->remarks[i].kind, "fact") == 0)
                add(c, &out->inputs, room, lx_report_text(c, run->remarks[i].key),
                    lx_report_text(c, run->remarks[i].value));
    }
    cJSON_Delete(base);
    cJSON_Delete(git);
    cJSON_Delete(environment);
    return room ? LX_OK : lx_oom(err);
}

/* ---- curves ------------------------------------------------------------------------ */

bool lx_report_shows(const char *curve)
{
    return strcmp(curve, "epoch") != 0; /* stairs that tell nobody anything */
}

static bool has_curve(const lx_report_run *r, const char *key)
{
    for (size_t i = 0; i < r->n_curves; i++)
        if (strcmp(r->curves[i].key, key) == 0)
            return true;
    return false;
}

/* A curve's name, scrubbed but for lx's own, which the rest of a report looks for; no two are the same. NULL without
 * memory. */
static const char *curve_name(const lx_report_run *r, lx_collector *c, const char *key)
{
    static const char *const own[] = {"loss", "loss/current", "loss/average", "loss/validation"};
    const char *clean, *name;

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(key, own[i]) == 0)
            return key;
    name = clean = lx_report_text(c, key);
    for (size_t n = 2; name && has_curve(r, name); n++)
        name = lx_arena_printf(c->arena, "%s (%zu)", clean, n);
    return name;
}

static int take_curves(lx_report_run *out, lx_collector *c, const lx_run_row *row,
                       lx_error *err)
{
    lx_report_curve *curves;
    lx_curve *read;
    size_t n;
    int rc = lx_query_curves(&read, &n, c->store, row, c->arena, err);

    if (rc < 0)
        return rc;
    if (!(curves = lx_arena_calloc(c->arena, n, sizeof *curves)))
        return lx_oom(err);
    out->curves = curves;
    for (size_t i = 0; i < n; i++) {
        double *steps = lx_arena_calloc(c->arena, read[i].n, sizeof *steps);
        const char *name;
        if (!steps)
            return lx_oom(err);
        for (size_t k = 0; k < read[i].n; k++)
            steps[k] = (double)read[i].steps[k];
        if (!lx_report_shows(read[i].key))
            continue;
        if (!(name = curve_name(out, c, read[i].key)))
            return lx_oom(err);
        curves[out->n_curves++] = (lx_report_curve){name, steps, read[i].values, read[i].n};
    }
    return LX_OK;
}

static const lx_report_curve *find_curve(const lx_report_run *r, const char *key)
{
    for (size_t i = 0; i < r->n_curves; i++)
        if (strcmp(r->curves[i].key, key) == 0 && r->curves[i].n)
            return &r->curves[i];
    return NULL;
}

/* The loss at the start, at the end and at its least, all of the smoothed curve: single
 * steps are mostly noise. The first tenth is too short for a least. */
static int judge_loss(lx_report_run *out, double *first, lx_arena *arena, lx_error *err)
{
    const lx_report_curve *loss = find_curve(out, "loss");
    double *smoothed;

    loss = loss ? loss : find_curve(out, "loss/current");
    loss = loss ? loss : find_curve(out, "loss/average");
    if (!loss)
        return LX_OK;
    if (!(smoothed = lx_arena_calloc(arena, loss->n, sizeof *smoothed)))
        return lx_oom(err);
    lx_smooth(smoothed, loss->values, loss->n, lx_curve_weight(loss->n));
    *first = smoothed[loss->n / 25];
    out->loss = smoothed[loss->n - 1];
    for (size_t k = loss->n / 10; k < loss->n; k++)
        if (isfinite(smoothed[k]) && !(smoothed[k] >= out->best_loss)) {
            out->best_loss = smoothed[k];
            out->best_step = (int64_t)loss->steps[k];
        }
    return LX_OK;
}

/* Ends of epochs, where the number of epochs and of steps is known and they divide. */
static int take_epochs(lx_report_run *out, lx_collector *c, int64_t epochs, lx_error *err)
{
    double *ends;
    if (epochs < 2 || epochs > 10000 || out->steps <= 0 || out->steps % epochs ||
        strcmp(out->status, "finished") != 0)
        return LX_OK;
    if (!(ends = lx_arena_calloc(c->arena, (size_t)epochs, sizeof *ends)))
        return lx_oom(err);
    for (int64_t i = 0; i < epochs; i++)
        ends[i] = (double)(out->steps / epochs * (i + 1));
    out->epoch_ends = ends;
    out->n_epochs = (size_t)epochs;
    return LX_OK;
}

/* ---- in plain words ---------------------------------------------------------------- */

enum { MOST_SENTENCES = 8 };

typedef struct prose {
    lx_arena *arena;
    const char **items;
    size_t n;
    bool failed;
} prose;

static void say(prose *p, const char *sentence)
{
    if (!sentence)
        p->failed = true;
    else if (p->n < MOST_SENTENCES)
        p->items[p->n++] = sentence;
}

static void count_images(const lx_report_run *r, int64_t *images, int64_t *captioned)
{
    *images = *captioned = 0;
    for (size_t i = 0; i < r->n_folders; i++)
        if (!r->folders[i].is_reg) {
            *images += r->folders[i].images;
            *captioned += r->folders[i].captioned;
        }
}

static bool has_block_dims(const cJSON *flags)
{
    const cJSON *arg;

    cJSON_ArrayForEach(arg, cJSON_GetObjectItem(flags, "network_args"))
    {
        if (cJSON_IsString(arg) && lx_starts_with(arg->valuestring, "block_dims="))
            return true;
    }
    return false;
}

static void say_training(prose *p, const lx_report_run *r, const cJSON *flags)
{
    const double rank = lx_json_number(flags, "network_dim", 0), alpha = lx_json_number(flags, "network_alpha", 1);
    int64_t images, captioned;
    lx_str s = LX_STR_INIT;

    count_images(r, &images, &captioned);
    if (has_block_dims(flags))
        lx_str_puts(&s, "A LoRA with ranks by block was trained");
    else if (rank > 0) /* an alpha of 0 is the rank */
        lx_str_printf(&s, "A LoRA of rank %g (alpha %g) was trained", rank, alpha != 0 ? alpha : rank);
    else
        lx_str_puts(&s, "A training was recorded");
    if (images)
        lx_str_printf(&s, " on %lld image%s", (long long)images, lx_plural((size_t)images));
    if (r->steps > 0)
        lx_str_printf(&s, " for %lld step%s", (long long)r->steps, lx_plural((size_t)r->steps));
    if (r->n_epochs)
        lx_str_printf(&s, ", %zu epoch%s", r->n_epochs, lx_plural(r->n_epochs));
    lx_str_putc(&s, '.');
    say(p, lx_arena_strdup(p->arena, lx_str_text(&s)));
    p->failed |= s.failed;
    lx_str_release(&s);
    if (images && captioned == images)
        say(p, images == 1 ? "Its caption was read." : "Every image had a caption.");
    else if (images && !captioned)
        say(p, "No image had a caption: each was trained on the words of its folder's "
               "name.");
    else if (images)
        say(p, lx_arena_printf(
                   p->arena,
                   "%lld of %lld images had no caption and were trained on the words of "
                   "their folder's name.",
                   (long long)(images - captioned), (long long)images));
}

static void say_loss(prose *p, const lx_report_run *r, double first)
{
    if (!isfinite(r->loss) || !isfinite(first))
        return;
    if (r->loss < first)
        say(p,
            lx_arena_printf(p->arena,
                            "The smoothed loss fell from %.4g to %.4g; it was least at "
                            "step %lld (%.4g).",
                            first, r->loss, (long long)r->best_step, r->best_loss));
    else
        say(p, lx_arena_printf(p->arena,
                               "The smoothed loss did not fall: it was %.4g at the start "
                               "and %.4g at the end, and least at step %lld (%.4g).",
                               first, r->loss, (long long)r->best_step, r->best_loss));
}

static int take_summary(lx_report_run *out, lx_collector *c, const cJSON *flags,
                        double first, lx_error *err)
{
    prose p = {.arena = c->arena,
               .items = lx_arena_calloc(c->arena, MOST_SENTENCES, sizeof *p.items)};
    const double rank = lx_json_number(flags, "network_dim", 0);

    if (!p.items)
        return lx_oom(err);
    if (rank > 0 || out->n_folders || strcmp(out->kind, "train") == 0)
        say_training(&p, out, flags);
    say_loss(&p, out, first);
    if (strcmp(out->status, "interrupted") == 0)
        say(&p, out->steps >= 0
                    ? lx_arena_printf(c->arena, "It was interrupted after step %lld.",
                                      (long long)out->steps)
                    : "It was interrupted before its first step.");
    else if (strcmp(out->status, "running") == 0)
        say(&p, "It is still running: this is how it stood.");
    out->summary = (lx_report_texts){p.items, p.n};
    return p.failed ? lx_oom(err) : LX_OK;
}

/* ---- a run ------------------------------------------------------------------------- */

static const char *time_text(lx_collector *c, double seconds)
{
    char text[64];
    time_t t = (time_t)seconds;
    struct tm local;
    if (!localtime_r(&t, &local) ||
        !strftime(text, sizeof text, "%e %B %Y, %H:%M", &local))
        return "";
    return lx_arena_strdup(c->arena, text + (text[0] == ' '));
}

static int take_identity(lx_report_run *out, lx_collector *c, const lx_run_row *row,
                         lx_error *err)
{
    *out = (lx_report_run){
        .id = row->id,
        .name = lx_report_text(c, row->name),
        .kind = row->kind,
        .status = row->status,
        .message = lx_report_text(c, row->message),
        .started = time_text(c, row->started),
        .seconds = row->ended > 0 ? lx_run_seconds(row, 0) : (double)NAN,
        .steps = row->last_step,
        .loss = (double)NAN,
        .best_loss = (double)NAN,
    };
    return out->started ? LX_OK : lx_oom(err);
}

static int take_repeat(lx_report_run *out, lx_collector *c, const lx_run_texts *texts,
                       lx_error *err)
{
    const char **lines = lx_arena_calloc(c->arena, 1, sizeof *lines);
    if (!lines)
        return lx_oom(err);
    lines[0] = scrubbed(c, texts->command_line);
    out->repeat = (lx_report_texts){lines, lines[0] && *lines[0]};
    out->diff = scrubbed(c, texts->diff);
    return LX_OK;
}

/* Tags as "key" or "key=value", notes as they are. */
static int take_remarks(lx_report_run *out, lx_collector *c, const lx_collected *run,
                        lx_error *err)
{
    const char **tags = lx_arena_calloc(c->arena, run->n_remarks, sizeof *tags);
    const char **notes = lx_arena_calloc(c->arena, run->n_remarks, sizeof *notes);

    if (!tags || !notes)
        return lx_oom(err);
    for (size_t i = 0; i < run->n_remarks; i++) {
        const lx_remark_row *r = &run->remarks[i];
        const char *value = lx_report_text(c, r->value);
        if (strcmp(r->kind, "note") == 0)
            notes[out->notes.count++] = value;
        else if (strcmp(r->kind, "tag") == 0 &&
                 !(tags[out->tags.count++] = lx_report_text(
                       c, value && *value ? lx_arena_printf(c->arena, "%s=%s", r->key, r->value)
                                          : r->key)))
            return lx_oom(err);
    }
    out->tags.items = tags;
    out->notes.items = notes;
    return LX_OK;
}

int lx_report_collect(lx_report_run *out, lx_collector *c, const lx_collected *run,
                      lx_error *err)
{
    cJSON *flags = NULL; /* as recorded: folders must be found */
    const char *data_dir, *reg_dir;
    double first = (double)NAN;
    int rc;

    if (run->texts.flags)
        c->is_out_of_memory |= lx_json_parse(&flags, run->texts.flags,
                                             strlen(run->texts.flags), NULL) == LX_ENOMEM;
    if ((rc = take_identity(out, c, &run->row, err)) == LX_OK &&
        (rc = take_settings(out, c, &run->texts, err)) == LX_OK &&
        (rc = take_inputs(out, c, run, err)) == LX_OK &&
        (rc = take_curves(out, c, &run->row, err)) == LX_OK &&
        (rc = judge_loss(out, &first, c->arena, err)) == LX_OK &&
        (rc = take_epochs(out, c, lx_json_integer(flags, "max_train_epochs", 0),
                          err)) == LX_OK &&
        (rc = lx_report_data_dir(&data_dir, c, run->row.seq,
                                 lx_json_text(flags, "train_data_dir"), err)) == LX_OK &&
        (rc = lx_report_data_dir(&reg_dir, c, run->row.seq,
                                 lx_json_text(flags, "reg_data_dir"), err)) == LX_OK &&
        (rc = lx_report_collect_data(out, c, run->texts.dataset, data_dir, reg_dir,
                                     err)) == LX_OK &&
        (rc = lx_report_collect_files(out, c, &run->row, err)) == LX_OK &&
        (rc = take_repeat(out, c, &run->texts, err)) == LX_OK &&
        (rc = take_remarks(out, c, run, err)) == LX_OK)
        rc = take_summary(out, c, flags, first, err);
    cJSON_Delete(flags);
    return rc == LX_OK && c->is_out_of_memory ? lx_oom(err) : rc;
}

/* ---- several runs ------------------------------------------------------------------ */

/* Names and places differ between any two runs and say nothing. */
static bool is_beside_the_point(const char *key)
{
    static const char *const keys[] = {"output_name", "output_dir",  "logging_dir",
                                       "log_prefix",  "config_file", "dataset_config",
                                       "name",        "store"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static const char *setting(const lx_report_run *run, const char *key)
{
    const lx_report_pairs *pairs = run->resolved.count ? &run->resolved : &run->settings;
    for (size_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->items[i].key, key) == 0)
            return pairs->items[i].value;
    return NULL;
}

/* Was this key met in a run before `run`? */
static bool is_seen(const lx_report *report, size_t run, const char *key)
{
    for (size_t i = 0; i < run; i++)
        if (setting(&report->runs[i], key))
            return true;
    return false;
}

static int compare_key(lx_report_row *row, bool *differs, const lx_report *report,
                       lx_collector *c, const char *key, lx_error *err)
{
    const char **values = lx_arena_calloc(c->arena, report->n_runs, sizeof *values);
    if (!values)
        return lx_oom(err);
    *differs = false;
    for (size_t i = 0; i < report->n_runs; i++) {
        values[i] = setting(&report->runs[i], key);
        if ((values[i] != NULL) != (values[0] != NULL) ||
            (values[i] && strcmp(values[i], values[0]) != 0))
            *differs = true;
    }
    *row = (lx_report_row){key, values};
    return LX_OK;
}

int lx_report_compare(lx_report *report, lx_collector *c, lx_error *err)
{
    lx_report_row *rows;
    size_t most = 0, n = 0;

    for (size_t i = 0; i < report->n_runs; i++)
        most += report->runs[i].resolved.count + report->runs[i].settings.count;
    if (!(rows = lx_arena_calloc(c->arena, most, sizeof *rows)))
        return lx_oom(err);
    for (size_t i = 0; i < report->n_runs; i++) {
        const lx_report_run *r = &report->runs[i];
        const lx_report_pairs *pairs = r->resolved.count ? &r->resolved : &r->settings;
        for (size_t k = 0; k < pairs->count; k++) {
            bool differs = false;
            if (is_beside_the_point(pairs->items[k].key) ||
                is_seen(report, i, pairs->items[k].key))
                continue;
            if (compare_key(&rows[n], &differs, report, c, pairs->items[k].key, err) < 0)
                return LX_ENOMEM;
            n += differs;
        }
    }
    report->differences = rows;
    report->n_differences = n;
    return LX_OK;
}
