/* What is written about files that are made out of others, and how. */
#include "cmd/derived.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/str.h"
#include "src/lora/lora.h"

/* ---- the command line -------------------------------------------------------------------- */

int lx_parse_precision(lx_dtype *out, const char *text, const char *flag, lx_error *err)
{
    if (strcmp(text, "float") == 0)
        *out = LX_F32;
    else if (strcmp(text, "fp16") == 0)
        *out = LX_F16;
    else if (strcmp(text, "bf16") == 0)
        *out = LX_BF16;
    else
        return lx_fail(err, LX_EUSAGE, "--%s %s: must be float, fp16 or bf16", flag,
                       text);
    return LX_OK;
}

int lx_parse_share(double *out, const char *text, const char *flag, lx_arena *arena,
                   lx_error *err)
{
    const size_t n = strlen(text);
    const bool is_percent = n && text[n - 1] == '%';
    const char *number = lx_arena_strndup(arena, text, is_percent ? n - 1 : n);
    int rc;

    if (!number)
        return lx_oom(err);
    if ((rc = lx_parse_number(out, number, err)) == LX_OK) {
        *out /= is_percent ? 100 : 1;
        if (!(*out > 0) || *out >= 1)
            rc = lx_fail(err, LX_EUSAGE, "must be more than 0 and less than 100%%");
    }
    if (rc < 0)
        lx_within(err, "--%s %s", flag, text);
    return rc;
}

bool lx_is_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

int lx_check_one_of(const char *a, const char *b, const char *name, const char *other,
                    lx_error *err)
{
    return a && b ? lx_fail(err, LX_EUSAGE, "--%s and --%s: give one of them", name, other)
                  : LX_OK;
}

int lx_take_rank(size_t *out, int64_t a, bool has_a, int64_t b, bool has_b,
                 const char *name, const char *other, lx_error *err)
{
    const int64_t n = has_a ? a : b;

    if (has_a && has_b)
        return lx_fail(err, LX_EUSAGE, "--%s and --%s: give one of them", name, other);
    if ((has_a || has_b) && (n < 1 || n > 1 << 20))
        return lx_fail(err, LX_EUSAGE, "--%s %lld: must be 1 or more",
                       has_a ? name : other, (long long)n);
    *out = has_a || has_b ? (size_t)n : 0;
    return LX_OK;
}

int lx_check_output(const char *output, const char *const *inputs, size_t n,
                    lx_error *err)
{
    if (!output)
        return lx_fail(err, LX_EUSAGE, "no output: add -o OUT.safetensors");
    if (!lx_ends_with(output, ".safetensors"))
        return lx_fail(
            err, LX_EUSAGE,
            "--output %s: lx writes .safetensors, not pickles (.ckpt, .pt, .bin)",
            output);
    for (size_t i = 0; i < n; i++)
        if (inputs[i] && lx_is_same_file(output, inputs[i]))
            return lx_fail(err, LX_EEXISTS,
                           "%s is one of the inputs: choose another output", output);
    return LX_OK;
}

/* ---- telling ------------------------------------------------------------------------------ */

void lx_tell_config_problem(lx_cli *cli, const char *command, const lx_lora_file *file,
                            const char *path)
{
    if (file->config_problem && !cli->is_quiet)
        lx_message(cli, "lx %s: %s: %s\n", command, lx_safe(cli, path),
                   file->config_problem);
}

const char *lx_percent_text(lx_arena *arena, double share)
{
    const char *text =
        isnan(share) ? NULL : lx_arena_printf(arena, "%.4g %%", 100 * share);

    return text ? text : "?";
}

void lx_json_put_double(lx_str *out, const char *key, double x)
{
    char text[32];

    lx_format_double(text, x);
    lx_str_printf(out, ",\"%s\":%s", key, isfinite(x) ? text : "null");
}

/* ---- metadata ---------------------------------------------------------------------------- */

static lx_metadata_entry *find_entry(const lx_metadata_table *t, const char *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->entries[i].key, key) == 0)
            return &t->entries[i];
    return NULL;
}

const char *lx_metadata_find(const lx_metadata_table *t, const char *key)
{
    const lx_metadata_entry *e = find_entry(t, key);

    return e ? e->value : NULL;
}

void lx_metadata_put(lx_metadata_table *t, const char *key, const char *value)
{
    lx_metadata_entry *e = find_entry(t, key);

    if (!value)
        return;
    if (e) {
        e->value = value;
        return;
    }
    if (lx_arena_grow(t->arena, &t->entries, &t->capacity, t->n + 1, sizeof *t->entries) <
        0) {
        t->failed = true;
        return;
    }
    t->entries[t->n++] = (lx_metadata_entry){key, value};
}

void lx_metadata_drop(lx_metadata_table *t, const char *key)
{
    lx_metadata_entry *e = find_entry(t, key);

    if (e)
        *e = t->entries[--t->n];
}

void lx_metadata_take(lx_metadata_table *t, const lx_tensor_file *file)
{
    for (size_t i = 0; i < lx_tensor_file_metadata_count(file); i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(file, i, &key, &value);
        if (strcmp(key, "modelspec.hash_sha256") == 0)
            continue;
        key = lx_arena_strdup(t->arena, key);
        value = lx_arena_strdup(t->arena, value);
        if (key && value)
            lx_metadata_put(t, key, value);
        else
            t->failed = true;
    }
}

/* Also where a value is another one for want of memory: what is written would say it for good. */
int lx_metadata_check(const lx_metadata_table *t, lx_error *err)
{
    return t->failed || lx_alloc_has_failed() ? lx_oom(err) : LX_OK;
}

const char *lx_path_title(const char *path, lx_arena *arena)
{
    const char *base = lx_path_base(path);

    return lx_arena_strndup(arena, base, strlen(base) - strlen(lx_path_ext(base)));
}

const char *lx_now_text(lx_arena *arena)
{
    const time_t now = time(NULL);
    struct tm local;
    char *date = lx_arena_alloc(arena, 32);

    if (date)
        strftime(date, 32, "%Y-%m-%dT%H:%M:%S", localtime_r(&now, &local));
    return date;
}

const char *lx_json_in_arena(const cJSON *value, lx_arena *arena)
{
    lx_str text = LX_STR_INIT;
    const char *out = NULL;

    if (lx_json_canonical(&text, value, NULL) == LX_OK)
        out = lx_arena_strdup(arena, lx_str_text(&text));
    lx_str_release(&text);
    return out;
}

/* ---- the file ---------------------------------------------------------------------------- */

typedef struct lora_to_write {
    lx_metadata_table *table;
    lx_begin_record begin;
    void *context;
} lora_to_write;

/* What was put together beforehand, both times. */
static int same_entries(const lx_metadata_entry **entries, size_t *n, void *context,
                        lx_error *err)
{
    const lx_metadata_table *t = ((lora_to_write *)context)->table;

    *entries = t->entries;
    *n = t->n;
    return lx_metadata_check(t, err);
}

static int begin_record(void *context, lx_error *err)
{
    const lora_to_write *w = context;

    return w->begin(w->context, err);
}

int lx_write_lora(lx_sealed *out, const char *path, const lx_tensor_view *tensors,
                  size_t n, lx_metadata_table *t, lx_begin_record begin, void *context,
                  lx_error *err)
{
    lora_to_write w = {t, begin, context};
    const lx_seal seal = {.path = path,
                          .tensors = tensors,
                          .n_tensors = n,
                          .metadata = same_entries,
                          .beside = begin ? begin_record : NULL,
                          .context = &w,
                          .wants_hash = begin != NULL};

    lx_metadata_drop(t, "sshs_model_hash");
    lx_metadata_drop(t, "sshs_legacy_hash");
    return lx_lora_seal(out, &seal, err);
}
