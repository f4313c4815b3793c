#include "cmd/inspect_table.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/lora/counts.h"
#include "src/lora/glance.h"
#include "src/lora/hash.h"
#include "src/query/when.h"

/* ---- fields -------------------------------------------------------------- */

typedef enum field_id {
    F_FILE,
    F_NAME,
    F_FOLDER,
    F_WHAT,
    F_BASE,
    F_FAMILY,
    F_TRAINER,
    F_RANK,
    F_RANK_MIN,
    F_ALPHA,
    F_MODULES,
    F_UNET,
    F_TE,
    F_DTYPE,
    F_SIZE,
    F_CAPTIONS,
    F_RULE,
    F_STRENGTH,
    F_PROOF,
    F_IMAGES,
    F_TAGS,
    F_TOP,
    F_DATE,
    F_TITLE,
    F_UNKNOWN,
    F_PROBLEM,
    F_SHA256,
    F_TENSORS,
    F_KEY /* a key of the metadata */
} field_id;

const lx_inspect_field lx_inspect_fields[] = {
    {"file", "path as it was given or found", F_FILE, LX_FIELD_TEXT, NULL},
    {"name", "the last part of the path", F_NAME, LX_FIELD_TEXT, NULL},
    {"folder", "the path before it", F_FOLDER, LX_FIELD_TEXT, NULL},
    {"what", "LoRA, LoHa, LoKr, ...; checkpoint, training state, textual inversion; broken", F_WHAT,
     LX_FIELD_TEXT, NULL},
    {"base", "the model it is for, by shapes", F_BASE, LX_FIELD_TEXT, NULL},
    {"family", "spelling of its names: kohya, diffusers, PEFT, ...", F_FAMILY,
     LX_FIELD_TEXT, NULL},
    {"trainer", "the program that wrote it, where that is known", F_TRAINER,
     LX_FIELD_TEXT, NULL},
    {"rank", "the largest", F_RANK, LX_FIELD_NUMBER, NULL},
    {"rank_min", "the least", F_RANK_MIN, LX_FIELD_NUMBER, NULL},
    {"alpha", "of the first module that has one", F_ALPHA, LX_FIELD_NUMBER, NULL},
    {"modules", "adapted layers", F_MODULES, LX_FIELD_NUMBER, NULL},
    {"unet", "modules in the UNet or transformer", F_UNET, LX_FIELD_NUMBER, NULL},
    {"te", "modules in text encoders", F_TE, LX_FIELD_NUMBER, NULL},
    {"dtype", "of the weights", F_DTYPE, LX_FIELD_TEXT, NULL},
    {"size", "bytes of the file", F_SIZE, LX_FIELD_NUMBER, NULL},
    {"captions", "were they read in training?", F_CAPTIONS, LX_FIELD_TEXT, NULL},
    {"rule", "by which rule that is known (docs/guide/captions.md)", F_RULE,
     LX_FIELD_TEXT, NULL},
    {"strength", "proves, suggests, silent", F_STRENGTH, LX_FIELD_TEXT, NULL},
    {"proof", "the verdict as a sentence", F_PROOF, LX_FIELD_TEXT, NULL},
    {"images", "training images, repeats not counted", F_IMAGES, LX_FIELD_NUMBER, NULL},
    {"tags", "distinct tags", F_TAGS, LX_FIELD_NUMBER, NULL},
    {"top", "the most frequent tags", F_TOP, LX_FIELD_TEXT, NULL},
    {"date", "when the training ended", F_DATE, LX_FIELD_TIME, NULL},
    {"title", "ss_output_name or modelspec.title", F_TITLE, LX_FIELD_TEXT, NULL},
    {"unknown", "tensors that are not understood", F_UNKNOWN, LX_FIELD_NUMBER, NULL},
    {"problem", "what is wrong with it", F_PROBLEM, LX_FIELD_TEXT, NULL},
    {"sha256", "of the file; all of it is read", F_SHA256, LX_FIELD_ID, NULL},
    {"tensors", "SHA-256 of the tensors (AutoV3); all of it is read", F_TENSORS,
     LX_FIELD_ID, NULL},
    {"steps", "ss_steps", F_KEY, LX_FIELD_NUMBER, "ss_steps"},
    {"epoch", "ss_epoch", F_KEY, LX_FIELD_NUMBER, "ss_epoch"},
    {"epochs", "ss_num_epochs", F_KEY, LX_FIELD_NUMBER, "ss_num_epochs"},
    {"lr", "ss_learning_rate", F_KEY, LX_FIELD_ANY, "ss_learning_rate"},
    {"unet_lr", "ss_unet_lr", F_KEY, LX_FIELD_ANY, "ss_unet_lr"},
    {"te_lr", "ss_text_encoder_lr", F_KEY, LX_FIELD_ANY, "ss_text_encoder_lr"},
    {"optimizer", "ss_optimizer", F_KEY, LX_FIELD_TEXT, "ss_optimizer"},
    {"scheduler", "ss_lr_scheduler", F_KEY, LX_FIELD_TEXT, "ss_lr_scheduler"},
    {"batch", "ss_total_batch_size", F_KEY, LX_FIELD_NUMBER, "ss_total_batch_size"},
    {"resolution", "ss_resolution", F_KEY, LX_FIELD_TEXT, "ss_resolution"},
    {"clip_skip", "ss_clip_skip", F_KEY, LX_FIELD_ANY, "ss_clip_skip"},
    {"seed", "ss_seed", F_KEY, LX_FIELD_ANY, "ss_seed"},
    {"model", "ss_sd_model_name", F_KEY, LX_FIELD_TEXT, "ss_sd_model_name"},
    {"model_hash", "ss_sd_model_hash", F_KEY, LX_FIELD_ID, "ss_sd_model_hash"},
    {"session", "ss_session_id: equal in files of one training", F_KEY, LX_FIELD_TEXT,
     "ss_session_id"},
    {"module", "ss_network_module", F_KEY, LX_FIELD_TEXT, "ss_network_module"},
    {"comment", "ss_training_comment", F_KEY, LX_FIELD_TEXT, "ss_training_comment"},
    {"license", "modelspec.license", F_KEY, LX_FIELD_TEXT, "modelspec.license"},
    {NULL, NULL, F_KEY, LX_FIELD_ANY, NULL},
};

typedef struct table_column {
    const char *title;
    field_id id;
    lx_field_type type;
    const char *key;
} table_column;

typedef struct table_row {
    lx_cell *cells; /* by column; NULL of a file that could not be read */
    const char *problem;
    int code;
    bool is_lora;
    lx_caption_verdict captions;
} table_row;

/* What a thread needs for itself. */
typedef struct reader {
    struct lx_inspect_table *table;
    lx_header_cache *cache;
    lx_arena *scratch, *kept;
    size_t *later; /* files that wait for another thread; room for all */
    size_t n_later;
    pthread_t thread;
    int rc;
} reader;

enum { MOST_READERS = 8 };

struct lx_inspect_table {
    const char *const *paths;
    size_t n;
    lx_arena *arena;
    table_column *columns;
    size_t n_columns, capacity;
    lx_filter *filter;
    int *sort; /* columns; ~column falls */
    size_t n_sort;
    table_row *rows;
    size_t *chosen;
    size_t n_chosen;
    reader readers[MOST_READERS];
    size_t n_readers;
    _Atomic size_t next;
};

int lx_inspect_table_new(lx_inspect_table **out, const char *const *paths, size_t n,
                         lx_error *err)
{
    lx_inspect_table *t = lx_calloc(1, sizeof *t);

    *out = NULL;
    if (!t || !(t->arena = lx_arena_new())) {
        lx_free(t);
        return lx_oom(err);
    }
    t->paths = paths;
    t->n = n;
    *out = t;
    return LX_OK;
}

void lx_inspect_table_free(lx_inspect_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < MOST_READERS; i++) {
        lx_header_cache_free(t->readers[i].cache);
        lx_arena_free(t->readers[i].scratch);
        lx_arena_free(t->readers[i].kept);
    }
    lx_arena_free(t->arena);
    lx_free(t);
}

/* ---- columns ------------------------------------------------------------- */

static bool is_metadata_key(const char *name)
{
    return lx_starts_with(name, "ss_") || lx_starts_with(name, "sshs_") ||
           lx_starts_with(name, "ot_") || strchr(name, '.');
}

static int fail_unknown(const char *name, lx_error *err)
{
    const char *nearest = "";
    int best = 4;

    for (const lx_inspect_field *f = lx_inspect_fields; f->name; f++) {
        int distance = lx_name_distance(f->name, name);
        if (distance < best) {
            best = distance;
            nearest = f->name;
        }
    }
    return lx_fail(err, LX_EUSAGE,
                   "no field \"%s\"%s%s%s (lx inspect --fields lists them; keys of the "
                   "metadata as they stand: ss_%s)",
                   name, *nearest ? "; did you mean " : "", nearest, *nearest ? "?" : "",
                   name);
}

static int add_column(int *out, lx_inspect_table *t, const table_column *c, lx_error *err)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].title, c->title) == 0) {
            *out = (int)i;
            return LX_OK;
        }
    if (lx_arena_grow(t->arena, &t->columns, &t->capacity, t->n_columns + 1,
                      sizeof *t->columns) < 0)
        return lx_oom(err);
    *out = (int)t->n_columns;
    t->columns[t->n_columns++] = *c;
    return LX_OK;
}

static int find_column(int *out, lx_inspect_table *t, const char *name, lx_error *err)
{
    table_column c = {.title = lx_arena_strdup(t->arena, name)};

    if (!c.title)
        return lx_oom(err);
    for (size_t i = 0; lx_inspect_fields[i].name; i++)
        if (lx_option_name_is(lx_inspect_fields[i].name, name, strlen(name)) &&
            strlen(lx_inspect_fields[i].name) == strlen(name)) {
            c.title = lx_inspect_fields[i].name;
            c.id = (field_id)lx_inspect_fields[i].id;
            c.type = lx_inspect_fields[i].type;
            c.key = lx_inspect_fields[i].key;
            return add_column(out, t, &c, err);
        }
    if (!is_metadata_key(name))
        return fail_unknown(name, err);
    c.id = F_KEY;
    c.type = LX_FIELD_ANY;
    c.key = c.title;
    return add_column(out, t, &c, err);
}

static int bind(int *column, lx_field_type *type, void *context, const char *name,
                const char *part, lx_error *err)
{
    lx_inspect_table *t = context;
    int rc;

    if (part)
        return lx_fail(err, LX_EUSAGE, "files have no curves: %s(%s)", part, name);
    if ((rc = find_column(column, t, name, err)) == LX_OK)
        *type = t->columns[*column].type;
    return rc;
}

int lx_inspect_table_ask(int **columns, size_t *n, lx_inspect_table *t,
                         const char *fields, lx_error *err)
{
    size_t most = 1;
    int rc = LX_OK;

    for (const char *p = fields; *p; p++)
        most += *p == ',';
    *n = 0;
    if (!(*columns = lx_arena_calloc(t->arena, most, sizeof **columns)))
        return lx_oom(err);
    while (*fields && rc == LX_OK) {
        size_t length = strcspn(fields, ",");
        bool falls = *fields == '-';
        char *name = lx_arena_strndup(t->arena, fields + falls, length - falls);
        int column;
        if (!name)
            return lx_oom(err);
        if (*name && (rc = find_column(&column, t, name, err)) == LX_OK)
            (*columns)[(*n)++] = falls ? ~column : column;
        fields += length + (fields[length] == ',');
    }
    return rc;
}

int lx_inspect_table_choose(lx_inspect_table *t, const char *query, const char *sort,
                            lx_error *err)
{
    lx_filter_host host = {bind, t, (double)time(NULL)};
    int rc;

    if (query && (rc = lx_filter_parse(&t->filter, query, strlen(query), &host, t->arena,
                                       err)) < 0) {
        lx_within(err, "--where");
        return rc;
    }
    if (sort && (rc = lx_inspect_table_ask(&t->sort, &t->n_sort, t, sort, err)) < 0) {
        lx_within(err, "--sort");
        return rc;
    }
    return LX_OK;
}

/* ---- cells --------------------------------------------------------------- */

typedef struct source {
    const char *path;
    const lx_tensor_file *file;
    const lx_glance *glance;
    lx_arena *scratch, *kept;
    int rc; /* of reading more than the header */
    lx_error *err;
} source;

static lx_cell kept_text(const source *s, const char *text)
{
    const char *copy = text && *text ? lx_arena_strdup(s->kept, text) : NULL;
    return lx_cell_text(copy);
}

static lx_cell count_cell(size_t n)
{
    return lx_cell_number((double)n);
}

static lx_cell key_cell(const source *s, const char *key)
{
    const char *text = lx_tensor_file_metadata(s->file, key);
    return !text || strcmp(text, "None") == 0 ? lx_cell_text(NULL) : kept_text(s, text);
}

static lx_cell dtype_cell(const source *s)
{
    char text[128] = "";
    size_t at = 0;

    for (int d = 0; d < LX_DTYPE_COUNT; d++)
        if (s->glance->summary.n_dtypes[d] && at + 24 < sizeof text)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? "+" : "",
                                   lx_dtype_name((lx_dtype)d));
    return kept_text(s, text);
}

/* ranks and alphas over all parts; NaN without any */
static double over_parts(const lx_lora_summary *s, field_id id)
{
    double value = (double)NAN;

    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        const lx_part_summary *part = &s->parts[p];
        if (!part->n_modules)
            continue;
        if (id == F_ALPHA && part->n_without_alpha < part->n_modules && isnan(value))
            value = part->alpha_min;
        else if (id == F_RANK && part->rank_max > 0 && !((double)part->rank_max <= value))
            value = (double)part->rank_max;
        else if (id == F_RANK_MIN && part->rank_min > 0 &&
                 !((double)part->rank_min >= value))
            value = (double)part->rank_min;
    }
    return value;
}

static size_t text_modules(const lx_lora_summary *s)
{
    return s->parts[LX_LORA_TEXT_ENCODER].n_modules +
           s->parts[LX_LORA_TEXT_ENCODER_2].n_modules +
           s->parts[LX_LORA_TEXT_ENCODER_3].n_modules;
}

static lx_cell images_cell(const source *s)
{
    lx_counts dirs;
    double n = 0;

    if (lx_counts_parse(&dirs, lx_tensor_file_metadata(s->file, "ss_dataset_dirs"),
                        s->scratch, NULL) < 0 ||
        !dirs.n_groups)
        return lx_cell_text(NULL);
    for (size_t i = 0; i < dirs.n_groups; i++)
        n += lx_counted_get(&dirs.groups[i], "img_count", 0);
    return lx_cell_number(n);
}

static int more_frequent(const void *a, const void *b)
{
    const lx_tag_count *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->tag, y->tag);
}

static lx_cell tags_cell(const source *s, field_id id)
{
    lx_tag_list tags;
    lx_str top = LX_STR_INIT;
    lx_cell cell;

    if (lx_lora_tags(&tags, s->file, s->scratch, NULL) < 0 || !tags.count)
        return lx_cell_text(NULL);
    if (id == F_TAGS)
        return count_cell(tags.count);
    qsort(tags.tags, tags.count, sizeof *tags.tags, more_frequent);
    for (size_t i = 0; i < tags.count && i < 8; i++)
        lx_str_printf(&top, "%s%s", i ? ", " : "", tags.tags[i].tag);
    cell = kept_text(s, lx_str_text(&top));
    lx_str_release(&top);
    return cell;
}

static lx_cell date_cell(const source *s)
{
    const char *text = lx_tensor_file_metadata(s->file, "ss_training_finished_at");
    double from, to, seconds = text ? lx_text_number(text) : (double)NAN;

    if (isnan(seconds) && (text = lx_tensor_file_metadata(s->file, "modelspec.date")) &&
        lx_when_parse(&from, &to, text, 0, false))
        seconds = from;
    return lx_cell_number(seconds);
}

static lx_cell hash_cell(source *s, field_id id)
{
    char hex[LX_HASH_HEX + 1];
    lx_hash hash;
    bool has = true;
    int rc = id == F_SHA256 ? lx_file_hash(&hash, s->path, s->err)
                            : lx_lora_tensor_hash_if(&has, &hash, s->path, s->err);

    if (rc < 0)
        s->rc = rc;
    if (rc < 0 || !has)
        return lx_cell_text(NULL);
    lx_hash_hex(hex, &hash);
    return kept_text(s, hex);
}

static lx_cell problem_cell(const source *s)
{
    const lx_glance *g = s->glance;

    if (!g->problem && g->summary.base_note)
        return kept_text(s, g->summary.base_note);
    return kept_text(s, g->problem);
}

static const char *captions_name(const lx_glance *g)
{
    return g->summary.n_modules ? lx_caption_verdict_name(g->summary.verdict.captions)
                                : NULL;
}

static lx_cell title_cell(const source *s)
{
    lx_cell cell = key_cell(s, "ss_output_name");
    return cell.kind == LX_CELL_NONE ? key_cell(s, "modelspec.title") : cell;
}

static lx_cell path_cell(const source *s, field_id id)
{
    const char *base = lx_path_base(s->path);
    char *folder;

    if (id == F_FILE)
        return lx_cell_text(s->path);
    if (id == F_NAME)
        return lx_cell_text(base);
    folder = lx_arena_strndup(s->kept, s->path, (size_t)(base - s->path));
    return lx_cell_text(folder && *folder ? folder : NULL);
}

static lx_cell cell_of(source *s, const table_column *c)
{
    const lx_glance *g = s->glance;
    const lx_lora_summary *m = &g->summary;
    const bool is_lora = m->n_modules > 0;

    switch (c->id) {
    case F_FILE:
    case F_NAME:
    case F_FOLDER:
        return path_cell(s, c->id);
    case F_WHAT:
        return kept_text(s, g->what);
    case F_BASE:
        return kept_text(s, g->model                                ? g->model
                            : strcmp(m->base, "unknown") || is_lora ? m->base
                                                                    : NULL);
    case F_FAMILY:
        return is_lora ? kept_text(s, g->family) : lx_cell_text(NULL);
    case F_TRAINER:
        return kept_text(s, g->trainer);
    case F_RANK:
    case F_RANK_MIN:
    case F_ALPHA:
        return lx_cell_number(over_parts(m, c->id));
    case F_MODULES:
        return is_lora ? count_cell(m->n_modules) : lx_cell_text(NULL);
    case F_UNET:
        return is_lora ? count_cell(m->n_modules - text_modules(m)) : lx_cell_text(NULL);
    case F_TE:
        return is_lora ? count_cell(text_modules(m)) : lx_cell_text(NULL);
    case F_DTYPE:
        return dtype_cell(s);
    case F_SIZE:
        return count_cell(g->file_bytes);
    case F_CAPTIONS:
        return lx_cell_text(captions_name(g));
    case F_RULE:
        return lx_cell_text(is_lora ? m->verdict.rule : NULL);
    case F_STRENGTH:
        return lx_cell_text(is_lora ? m->verdict.strength : NULL);
    case F_PROOF:
        return is_lora ? kept_text(s, m->verdict.text) : lx_cell_text(NULL);
    case F_IMAGES:
        return images_cell(s);
    case F_TAGS:
    case F_TOP:
        return tags_cell(s, c->id);
    case F_DATE:
        return date_cell(s);
    case F_TITLE:
        return title_cell(s);
    case F_UNKNOWN:
        return g->model ? lx_cell_text(NULL) : count_cell(g->n_unknown);
    case F_PROBLEM:
        return problem_cell(s);
    case F_SHA256:
    case F_TENSORS:
        return hash_cell(s, c->id);
    case F_KEY:
        return key_cell(s, c->key);
    }
    return lx_cell_text(NULL);
}

/* ---- reading ------------------------------------------------------------- */

static int fill(table_row *row, reader *r, const char *path, lx_tensor_file *file,
                lx_error *err)
{
    const lx_inspect_table *t = r->table;
    lx_glance glance;
    source s = {path, file, &glance, r->scratch, r->kept, LX_OK, err};
    int rc = lx_glance_of(&glance, file, path, r->scratch, err);

    if (rc < 0)
        return rc;
    if (!(row->cells = lx_arena_calloc(r->kept, t->n_columns, sizeof *row->cells)))
        return lx_oom(err);
    for (size_t c = 0; c < t->n_columns; c++)
        row->cells[c] = cell_of(&s, &t->columns[c]);
    if (s.rc < 0)
        return s.rc;
    row->is_lora = glance.summary.n_modules > 0;
    row->captions = glance.summary.verdict.captions;
    return LX_OK;
}

/* A file that cannot be read is known by its name, and by what is wrong. */
static int fill_broken(table_row *row, reader *r, const char *path,
                       const lx_error *problem)
{
    const lx_inspect_table *t = r->table;
    source s = {.path = path, .kept = r->kept};
    const char *text = problem->text;
    const size_t n = strlen(path);

    if (strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0)
        text += n + 2; /* the row has it */
    row->code = problem->code;
    row->problem = lx_arena_strdup(r->kept, text);
    row->cells = lx_arena_calloc(r->kept, t->n_columns, sizeof *row->cells);
    if (!row->problem || !row->cells)
        return LX_ENOMEM;
    for (size_t c = 0; c < t->n_columns; c++) {
        field_id id = t->columns[c].id;
        row->cells[c] = id <= F_FOLDER    ? path_cell(&s, id)
                        : id == F_WHAT    ? lx_cell_text("broken")
                        : id == F_PROBLEM ? lx_cell_text(row->problem)
                                          : lx_cell_text(NULL);
    }
    return LX_OK;
}

/* LX_EBUSY: not now. */
static int read_file(reader *r, size_t i)
{
    lx_inspect_table *t = r->table;
    lx_tensor_file *file = NULL;
    lx_error problem;
    int rc;

    lx_arena_reset(r->scratch);
    rc = lx_tensor_file_open_header(&file, r->cache, t->paths[i], &problem);
    if (rc == LX_OK)
        rc = fill(&t->rows[i], r, t->paths[i], file, &problem);
    lx_tensor_file_close(file);
    return rc < 0 && rc != LX_ENOMEM && rc != LX_EBUSY
               ? fill_broken(&t->rows[i], r, t->paths[i], &problem)
               : rc;
}

/* Files of a kind that another thread meets for the first time, too, come last: two would do the same. */
static void *read_files(void *reader_)
{
    reader *r = reader_;
    lx_inspect_table *t = r->table;
    size_t i;

    lx_header_cache_defer(r->cache, r->later != NULL);
    while (r->rc == LX_OK && (i = atomic_fetch_add(&t->next, 1)) < t->n)
        if ((r->rc = read_file(r, i)) == LX_EBUSY) {
            r->later[r->n_later++] = i;
            r->rc = LX_OK;
        }
    lx_header_cache_defer(r->cache, false);
    for (size_t k = 0; k < r->n_later && r->rc == LX_OK; k++)
        r->rc = read_file(r, r->later[k]);
    return NULL;
}

static int prepare(lx_inspect_table *t, lx_error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = t->n / 8 + 1;

    wanted = cores > 0 && wanted > (size_t)cores ? (size_t)cores : wanted;
    t->n_readers = wanted > MOST_READERS ? MOST_READERS : wanted;
    t->rows = lx_arena_calloc(t->arena, t->n, sizeof *t->rows);
    t->chosen = lx_arena_calloc(t->arena, t->n, sizeof *t->chosen);
    if (!t->rows || !t->chosen)
        return lx_oom(err);
    for (size_t i = 0; i < t->n_readers; i++) {
        reader *r = &t->readers[i];
        r->table = t;
        if (lx_header_cache_new(&r->cache, i ? t->readers[0].cache : NULL, err) < 0 ||
            !(r->scratch = lx_arena_new()) || !(r->kept = lx_arena_new()) ||
            (t->n_readers > 1 &&
             !(r->later = lx_arena_calloc(r->kept, t->n, sizeof *r->later))))
            return lx_oom(err);
    }
    return LX_OK;
}

static int by_fields(const void *a_, const void *b_, void *table)
{
    const lx_inspect_table *t = table;
    const size_t a = *(const size_t *)a_, b = *(const size_t *)b_;

    for (size_t i = 0; i < t->n_sort; i++) {
        const bool falls = t->sort[i] < 0;
        const int column = falls ? ~t->sort[i] : t->sort[i];
        const lx_cell *x = &t->rows[a].cells[column], *y = &t->rows[b].cells[column];
        int order = lx_cell_compare(x, y);
        /* what has no value is last either way */
        if (falls && x->kind != LX_CELL_NONE && y->kind != LX_CELL_NONE)
            order = -order;
        if (order)
            return order;
    }
    return a < b ? -1 : a > b;
}

int lx_inspect_table_read(lx_inspect_table *t, lx_error *err)
{
    size_t n_started = 1;
    int rc = prepare(t, err);

    if (rc < 0)
        return rc;
    /* A thread that cannot be started leaves its files to the others. */
    for (size_t i = 1; i < t->n_readers; i++, n_started++)
        if (pthread_create(&t->readers[i].thread, NULL, read_files, &t->readers[i]))
            break;
    read_files(&t->readers[0]);
    for (size_t i = 1; i < n_started; i++)
        pthread_join(t->readers[i].thread, NULL);
    for (size_t i = 0; i < n_started; i++)
        if (t->readers[i].rc < 0)
            return lx_oom(err);
    for (size_t i = 0; i < t->n; i++)
        if (!t->filter || lx_filter_matches(t->filter, t->rows[i].cells))
            t->chosen[t->n_chosen++] = i;
    if (t->n_sort)
        qsort_r(t->chosen, t->n_chosen, sizeof *t->chosen, by_fields, t);
    return LX_OK;
}

/* ---- looking ------------------------------------------------------------- */

size_t lx_inspect_table_count(const lx_inspect_table *t)
{
    return t->n_chosen;
}

static const table_row *row_of(const lx_inspect_table *t, size_t row)
{
    return &t->rows[t->chosen[row]];
}

const char *lx_inspect_table_path(const lx_inspect_table *t, size_t row)
{
    return t->paths[t->chosen[row]];
}

const char *lx_inspect_table_problem(const lx_inspect_table *t, size_t row)
{
    return row_of(t, row)->problem;
}

int lx_inspect_table_code(const lx_inspect_table *t, size_t row)
{
    return row_of(t, row)->code;
}

const lx_cell *lx_inspect_table_cell(const lx_inspect_table *t, size_t row, int column)
{
    return &row_of(t, row)->cells[column];
}

const char *lx_inspect_table_title(const lx_inspect_table *t, int column)
{
    return t->columns[column].title;
}

lx_field_type lx_inspect_table_type(const lx_inspect_table *t, int column)
{
    return t->columns[column].type;
}

bool lx_inspect_table_is_number(const lx_inspect_table *t, int column)
{
    if (t->columns[column].type == LX_FIELD_NUMBER)
        return true;
    if (t->columns[column].type != LX_FIELD_ANY)
        return false;
    for (size_t i = 0; i < t->n_chosen; i++) {
        const lx_cell *cell = lx_inspect_table_cell(t, i, column);
        if (cell->kind == LX_CELL_TEXT && isnan(cell->number))
            return false;
    }
    return true;
}

/* n / 10^decimals and a unit. printf takes ten times as long, and a folder has thousands of numbers. */
static const char *digits_text(bool is_negative, uint64_t n, int decimals,
                               const char *unit, lx_arena *arena)
{
    char room[32], *const end = room + sizeof room, *p = end - strlen(unit);

    memcpy(p, unit, strlen(unit));
    for (int i = 0; n || i <= decimals; i++, n /= 10) {
        if (i && i == decimals)
            *--p = '.';
        *--p = (char)('0' + n % 10);
    }
    if (is_negative)
        *--p = '-';
    return lx_arena_strndup(arena, p, (size_t)(end - p));
}

/* "12.3 MB": the digits that printf has of the quotient, which is not near a tie. */
static const char *size_text(double bytes, lx_arena *arena)
{
    const int decimals = bytes < 1e9 ? 1 : 2;
    const char *unit = bytes < 1e6 ? " kB" : bytes < 1e9 ? " MB" : " GB";
    const uint64_t step = bytes < 1e6 ? 100 : bytes < 1e9 ? 100000 : 10000000;
    const uint64_t n = bytes < 1e18 ? (uint64_t)bytes : 0;

    if (n % step == step / 2 || bytes >= 1e18)
        return lx_arena_printf(arena, "%.*f%s", decimals,
                               bytes / (bytes < 1e6   ? 1e3
                                        : bytes < 1e9 ? 1e6
                                                      : 1e9),
                               unit);
    return digits_text(false, (n + step / 2) / step, decimals, unit, arena);
}

const char *lx_inspect_table_text(const lx_inspect_table *t, size_t row, int column,
                                  bool is_exact, lx_arena *arena)
{
    const lx_cell *cell = lx_inspect_table_cell(t, row, column);
    const table_column *c = &t->columns[column];
    lx_str text = LX_STR_INIT;
    char when[32];
    const char *copy;

    if (cell->kind == LX_CELL_NONE)
        return NULL;
    if (c->type == LX_FIELD_TIME) {
        is_exact ? lx_when_format_iso(when, cell->number)
                 : lx_when_format(when, cell->number);
        return lx_arena_strdup(arena, when);
    }
    if (c->id == F_SIZE && !is_exact)
        return size_text(cell->number, arena);
    if (!is_exact && c->type == LX_FIELD_ID && cell->kind == LX_CELL_TEXT)
        return lx_arena_strndup(arena, cell->text, strnlen(cell->text, 12));
    if (cell->kind == LX_CELL_TEXT)
        return cell->text; /* the table's, which outlives what is shown of it */
    if (cell->kind == LX_CELL_NUMBER && fabs(cell->number) < 1e6 &&
        cell->number == floor(cell->number)) /* the same digits, sooner */
        return digits_text(cell->number < 0, (uint64_t)fabs(cell->number), 0, "", arena);
    if (cell->kind == LX_CELL_NUMBER && !is_exact)
        lx_str_printf(&text, "%.6g", cell->number);
    else
        lx_cell_put(&text, cell, false);
    copy = text.failed ? NULL : lx_arena_strdup(arena, lx_str_text(&text));
    lx_str_release(&text);
    return copy;
}

void lx_inspect_table_census(lx_inspect_census *out, const lx_inspect_table *t)
{
    *out = (lx_inspect_census){.n_files = t->n_chosen};
    for (size_t i = 0; i < t->n_chosen; i++) {
        const table_row *row = row_of(t, i);
        out->n_broken += row->code < 0;
        if (row->code < 0 || !row->is_lora)
            continue;
        out->n_loras++;
        switch (row->captions) {
        case LX_CAPTIONS_READ:
            out->n_read++;
            break;
        case LX_CAPTIONS_UNKNOWN:
            out->n_silent++;
            break;
        case LX_CAPTIONS_PARTLY:
            out->n_partly++;
            break;
        default:
            out->n_unread++;
        }
    }
}
