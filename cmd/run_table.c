#include "cmd/run_table.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/run_field.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/query/when.h"

typedef struct field_column {
    lx_run_column shown;
    lx_run_field field;
    const char *key; /* of a flag or a curve */
    const char
        *own_key; /* the short name itself: a script's flag may be called dim; or NULL */
    lx_cell *cells; /* by the run's place in `all`; NULL = not read */
} field_column;

struct lx_run_table {
    lx_store *store;
    lx_arena *arena;
    lx_run_list all;  /* newest first */
    size_t *by_seq;   /* places in `all`, so that seq rises */
    size_t *selected; /* places in `all` */
    size_t n_selected;
    field_column *columns;
    size_t n_columns, capacity;
    const char **flag_keys, **series_keys; /* of all runs; read when a name asks for it */
    size_t n_flag_keys, n_series_keys;
    bool has_keys, is_out_of_memory;
    double now;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int compare_seqs(const void *a, const void *b, void *context)
{
    const lx_run_row *rows = context;
    const int64_t x = rows[*(const size_t *)a].seq, y = rows[*(const size_t *)b].seq;

    return (x > y) - (x < y);
}

int lx_run_table_open(lx_run_table **out, lx_store *store, const lx_run_filter *filter,
                      lx_arena *arena, lx_error *err)
{
    lx_run_table *t = lx_arena_calloc(arena, 1, sizeof *t);
    int rc;

    if (!t)
        return lx_oom(err);
    t->store = store;
    t->arena = arena;
    t->now = now();
    if ((rc = lx_query_runs(&t->all, store, filter, arena, err)) < 0)
        return rc;
    t->selected = lx_arena_calloc(arena, t->all.count + 1, sizeof *t->selected);
    t->by_seq = lx_arena_calloc(arena, t->all.count + 1, sizeof *t->by_seq);
    if (!t->selected || !t->by_seq)
        return lx_oom(err);
    for (size_t i = 0; i < t->all.count; i++)
        t->selected[t->n_selected++] = t->by_seq[i] = i;
    qsort_r(t->by_seq, t->all.count, sizeof *t->by_seq, compare_seqs, t->all.rows);
    *out = t;
    return LX_OK;
}

/* ---- fields -------------------------------------------------------------- */

static int find_keys(lx_run_table *t, lx_error *err)
{
    int rc;

    if (t->has_keys)
        return LX_OK;
    if ((rc = lx_query_flag_keys(&t->flag_keys, &t->n_flag_keys, t->store, false,
                                 t->arena, err)) < 0 ||
        (rc = lx_query_series_keys(&t->series_keys, &t->n_series_keys, t->store, t->arena,
                                   err)) < 0)
        return rc;
    t->has_keys = true;
    return LX_OK;
}

static const char *find_key(const char *const *keys, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (lx_option_name_is(keys[i], name, strlen(name)))
            return keys[i];
    return NULL;
}

static int fail_unknown(const char *name, lx_error *err)
{
    const char *nearest = lx_run_field_nearest(name);

    return nearest ? lx_fail(err, LX_EUSAGE, "no run has a \"%s\"; did you mean %s?",
                             name, nearest)
                   : lx_fail(err, LX_EUSAGE,
                             "no run has a \"%s\": fields are those of lx runs "
                             "--fields, flags of a "
                             "training and names of curves",
                             name);
}

/* Our own names first, then flags, then curves; a part can only be of a curve. */
static int resolve(field_column *c, lx_run_table *t, const char *name, const char *part,
                   lx_error *err)
{
    const lx_run_field_name *own = lx_run_field_names;
    int rc;

    c->shown.type = LX_FIELD_NUMBER;
    while (own->name && !lx_option_name_is(own->name, name, strlen(name)))
        own++;
    if (!part && own->name) {
        c->field = own->field;
        c->shown.type = own->type;
        return LX_OK;
    }
    if (!part && (c->key = lx_run_flag_name(name))) {
        c->field = LX_RUN_FLAG;
        c->shown.type = lx_run_flag_type(c->key);
        c->own_key = lx_option_name_is(c->key, name, strlen(name)) ? NULL : name;
        return LX_OK;
    }
    if ((rc = find_keys(t, err)) < 0)
        return rc;
    c->field = part && strcmp(part, "min") == 0 ? LX_RUN_MIN : LX_RUN_LAST;
    if ((c->key = find_key(t->series_keys, t->n_series_keys, name)))
        return LX_OK;
    if (part)
        return lx_fail(err, LX_EUSAGE, "no run has a curve \"%s\"", name);
    c->field = LX_RUN_FLAG;
    c->shown.type = LX_FIELD_SWITCH; /* of a script: it may be one */
    if ((c->key = find_key(t->flag_keys, t->n_flag_keys, name)))
        return LX_OK;
    return fail_unknown(name, err);
}

static int add_column(int *out, lx_run_table *t, const field_column *c, lx_error *err)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].field == c->field &&
            (c->key == t->columns[i].key ||
             (c->key && t->columns[i].key && strcmp(c->key, t->columns[i].key) == 0))) {
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

static int bind(int *out, lx_field_type *type, void *context, const char *name,
                const char *part, lx_error *err)
{
    field_column c = {.shown.title = name};
    int rc = resolve(&c, context, name, part, err);

    *type = c.shown.type;
    return rc < 0 ? rc : add_column(out, context, &c, err);
}

int lx_run_table_add(int *out, lx_run_table *t, const char *field, lx_error *err)
{
    const char *name, *part;
    field_column c = {0};
    int rc;

    if ((rc = lx_field_parse(&name, &part, field, t->arena, err)) < 0 ||
        (rc = resolve(&c, t, name, part, err)) < 0)
        return rc;
    if (!(c.shown.title = lx_arena_strdup(t->arena, field)))
        return lx_oom(err);
    return add_column(out, t, &c, err);
}

/* ---- reading columns ----------------------------------------------------- */

static lx_cell fact(const lx_run_table *t, const lx_run_row *r, lx_run_field field)
{
    switch (field) {
    case LX_RUN_ID:
        return lx_cell_text(r->id);
    case LX_RUN_NAME:
        return lx_cell_text(*r->name ? r->name : NULL);
    case LX_RUN_STATUS:
        return lx_cell_text(r->status);
    case LX_RUN_KIND:
        return lx_cell_text(r->kind);
    case LX_RUN_GROUP:
        return lx_cell_text(*r->group ? r->group : NULL);
    case LX_RUN_STARTED:
        return lx_cell_number(r->started);
    case LX_RUN_ENDED:
        return lx_cell_number(r->ended > 0 ? r->ended : (double)NAN);
    case LX_RUN_DURATION:
        return lx_cell_number(lx_run_seconds(r, t->now));
    case LX_RUN_STEPS:
        return lx_cell_number(r->last_step < 0 ? (double)NAN : (double)r->last_step);
    case LX_RUN_POINTS:
        return lx_cell_number((double)r->n_points);
    case LX_RUN_LOSS:
        return lx_cell_number(r->loss);
    case LX_RUN_SEED:
        return lx_cell_text(*r->seed ? r->seed : NULL);
    case LX_RUN_SPEC:
        return lx_cell_text(*r->spec ? r->spec : NULL);
    case LX_RUN_MESSAGE:
        return lx_cell_text(*r->message ? r->message : NULL);
    case LX_RUN_PARENT:
        return lx_cell_text(*r->parent ? r->parent : NULL);
    case LX_RUN_ORIGIN:
        return lx_cell_text(*r->origin ? r->origin : NULL);
    case LX_RUN_PINNED:
        return lx_cell_number(r->is_pinned);
    default:
        return (lx_cell){.kind = LX_CELL_NONE};
    }
}

/* The place of a run in `all`; count when it is not there. */
static size_t place_of(const lx_run_table *t, int64_t seq)
{
    size_t low = 0, high = t->all.count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->all.rows[t->by_seq[middle]].seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->all.count && t->all.rows[t->by_seq[low]].seq == seq ? t->by_seq[low]
                                                                        : t->all.count;
}

/* Few runs of many: one query each is quicker than one over all. */
static bool are_few(const lx_run_table *t)
{
    return t->n_selected <= 40 || t->n_selected * 20 < t->all.count;
}

/* SQLite's text of a number is "5.0e-05": such are numbers again, while what was recorded
 * as a text, "007" or "1.10", is shown as it stands. */
static lx_cell flag_cell(const lx_flag_row *row)
{
    return !row->is_text && !isnan(row->number) && strpbrk(row->text, ".eE")
               ? lx_cell_number(row->number)
               : (lx_cell){
                     .kind = LX_CELL_TEXT, .number = row->number, .text = row->text};
}

static void put_flags(lx_run_table *t, field_column *c, const lx_flag_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = place_of(t, rows[i].run);
        if (at < t->all.count)
            c->cells[at] = flag_cell(&rows[i]);
    }
}

static int read_key(lx_run_table *t, field_column *c, const char *key, lx_error *err)
{
    lx_flag_row *rows;
    size_t n;
    int rc = LX_OK;

    if (!are_few(t)) {
        if ((rc = lx_query_flags(&rows, &n, t->store, 0, key, t->arena, err)) == LX_OK)
            put_flags(t, c, rows, n);
        return rc;
    }
    for (size_t i = 0; i < t->n_selected && rc == LX_OK; i++) {
        int64_t seq = t->all.rows[t->selected[i]].seq;
        if ((rc = lx_query_flags(&rows, &n, t->store, seq, key, t->arena, err)) == LX_OK)
            put_flags(t, c, rows, n);
    }
    return rc;
}

static int read_flag(lx_run_table *t, field_column *c, lx_error *err)
{
    int rc = c->own_key ? read_key(t, c, c->own_key, err) : LX_OK;
    return rc < 0 ? rc : read_key(t, c, c->key, err);
}

static int read_series(lx_run_table *t, field_column *c, const char *key, bool is_min,
                       lx_error *err)
{
    lx_series_row *rows;
    size_t n;
    int rc = lx_query_series(&rows, &n, t->store, 0, key, t->arena, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        size_t at = place_of(t, rows[i].run);
        if (at < t->all.count)
            c->cells[at] =
                lx_cell_number(is_min ? rows[i].min_value : rows[i].last_value);
    }
    return rc;
}

static int add_word(lx_run_table *t, lx_cell *cell, const char *word, lx_error *err)
{
    const char **words = lx_arena_calloc(t->arena, cell->n_words + 1u, sizeof *words);

    if (!words)
        return lx_oom(err);
    if (cell->n_words)
        memcpy(words, cell->words, cell->n_words * sizeof *words);
    words[cell->n_words] = word;
    *cell =
        (lx_cell){.kind = LX_CELL_WORDS, .n_words = cell->n_words + 1, .words = words};
    return LX_OK;
}

static int put_remarks(lx_run_table *t, field_column *c, bool are_tags,
                       const lx_remark_row *rows, size_t n, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        size_t at = place_of(t, rows[i].run);
        const char *word = rows[i].value;
        if (are_tags)
            word = *rows[i].value
                       ? lx_arena_printf(t->arena, "%s=%s", rows[i].key, rows[i].value)
                       : rows[i].key;
        if (!word)
            return lx_oom(err);
        if (at < t->all.count)
            rc = add_word(t, &c->cells[at], word, err);
    }
    return rc;
}

static int read_remarks(lx_run_table *t, field_column *c, const char *kind, lx_error *err)
{
    bool few = are_few(t), are_tags = strcmp(kind, "tag") == 0;
    lx_remark_row *rows;
    size_t n;
    int rc = LX_OK;

    for (size_t i = 0; i < (few ? t->n_selected : 1) && rc == LX_OK; i++) {
        int64_t seq = few ? t->all.rows[t->selected[i]].seq : 0;
        if ((rc = lx_query_remarks(&rows, &n, t->store, seq, kind, t->arena, err)) ==
            LX_OK)
            rc = put_remarks(t, c, are_tags, rows, n, err);
    }
    return rc;
}

/* Words of one object: folders of a dataset, path and hashes of a base model. Of one that is
 * lost or damaged: none. */
static int words_of(lx_cell *out, lx_run_table *t, lx_run_field field,
                    const lx_hash *hash, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    cJSON *root = NULL;
    const cJSON *folder;
    lx_error problem;
    int rc = lx_object_get(&text, t->store, hash, &problem);

    *out = (lx_cell){.kind = LX_CELL_NONE};
    if (rc == LX_EIO || rc == LX_ENOMEM)
        return lx_fail_as(err, rc, &problem);
    if (rc == LX_OK)
        lx_json_parse(&root, text.data, text.len, NULL);
    rc = LX_OK;
    if (field == LX_RUN_DATASET) {
        cJSON_ArrayForEach(folder, cJSON_GetObjectItemCaseSensitive(root, "folders"))
        {
            const char *name = lx_json_text(folder, "name");
            if (name && rc == LX_OK && (name = lx_arena_strdup(t->arena, name)))
                rc = add_word(t, out, name, err);
        }
    } else {
        static const char *const keys[] = {"path", "sha256", "model_hash"};
        for (size_t i = 0; i < 3 && rc == LX_OK; i++) {
            const char *word = lx_json_text(root, keys[i]);
            if (word && (word = lx_arena_strdup(t->arena, word)))
                rc = add_word(t, out, word, err);
        }
    }
    cJSON_Delete(root);
    lx_str_release(&text);
    return rc;
}

/* Many runs share one dataset or base: each object is read once. */
typedef struct known {
    lx_hash hash;
    lx_cell cell;
} known;

static int read_inputs(lx_run_table *t, field_column *c, lx_error *err)
{
    lx_input_row *rows;
    size_t n, n_known = 0;
    known *cache;
    int rc = lx_query_inputs(&rows, &n, t->store, t->arena, err);

    if (rc < 0)
        return rc;
    if (!(cache = lx_arena_calloc(t->arena, n + 1, sizeof *cache)))
        return lx_oom(err);
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        bool is_data = c->field == LX_RUN_DATASET;
        const lx_hash *hash = is_data ? &rows[i].dataset : &rows[i].base_model;
        size_t at = place_of(t, rows[i].run), k = 0;
        if (at == t->all.count ||
            !(is_data ? rows[i].has_dataset : rows[i].has_base_model))
            continue;
        while (k < n_known && memcmp(&cache[k].hash, hash, sizeof *hash) != 0)
            k++;
        if (k == n_known) {
            cache[n_known].hash = *hash;
            if ((rc = words_of(&cache[n_known++].cell, t, c->field, hash, err)) < 0)
                return rc;
        }
        c->cells[at] = cache[k].cell;
    }
    return rc;
}

static bool has_word(const lx_cell *cell, const char *word)
{
    for (unsigned i = 0; cell->kind == LX_CELL_WORDS && i < cell->n_words; i++)
        if (strcmp(cell->words[i], word) == 0)
            return true;
    return false;
}

/* What a flag says of the same thing, behind what the objects say: runs of other trainers
 * have no objects. */
static int add_flag_words(lx_run_table *t, field_column *c, const char *flag,
                          lx_error *err)
{
    field_column other = {.field = LX_RUN_FLAG, .key = flag};
    int rc;

    if (!(other.cells = lx_arena_calloc(t->arena, t->all.count + 1, sizeof *other.cells)))
        return lx_oom(err);
    rc = read_flag(t, &other, err);
    for (size_t i = 0; i < t->all.count && rc == LX_OK; i++)
        if (other.cells[i].kind == LX_CELL_TEXT &&
            !has_word(&c->cells[i], other.cells[i].text))
            rc = add_word(t, &c->cells[i], other.cells[i].text, err);
    return rc;
}

static int read_min_loss(lx_run_table *t, field_column *c, lx_error *err)
{
    int rc = read_series(t, c, "loss", true, err);
    return rc < 0 ? rc : read_series(t, c, "loss/average", true, err);
}

static int read_column(lx_run_table *t, field_column *c, lx_error *err)
{
    int rc;

    if (!(c->cells = lx_arena_calloc(t->arena, t->all.count + 1, sizeof *c->cells)))
        return lx_oom(err);
    switch (c->field) {
    case LX_RUN_FLAG:
        return read_flag(t, c, err);
    case LX_RUN_LAST:
    case LX_RUN_MIN:
        return read_series(t, c, c->key, c->field == LX_RUN_MIN, err);
    case LX_RUN_MIN_LOSS:
        return read_min_loss(t, c, err);
    case LX_RUN_TAG:
    case LX_RUN_NOTE:
        return read_remarks(t, c, c->field == LX_RUN_TAG ? "tag" : "note", err);
    case LX_RUN_DATASET:
        rc = read_inputs(t, c, err);
        return rc < 0 ? rc : add_flag_words(t, c, "train_data_dir", err);
    case LX_RUN_BASE:
        rc = read_inputs(t, c, err);
        return rc < 0 ? rc : add_flag_words(t, c, "pretrained_model_name_or_path", err);
    default:
        for (size_t i = 0; i < t->all.count; i++)
            c->cells[i] = fact(t, &t->all.rows[i], c->field);
        return LX_OK;
    }
}

static void judge_column(const lx_run_table *t, field_column *c)
{
    bool has_number = false;

    c->shown.is_number = c->shown.type != LX_FIELD_ID && c->shown.type != LX_FIELD_TEXT &&
                         c->shown.type != LX_FIELD_TIME;
    for (size_t i = 0; i < t->n_selected && c->shown.is_number; i++) {
        const lx_cell *cell = &c->cells[t->selected[i]];
        if (cell->kind == LX_CELL_NUMBER ||
            (cell->kind == LX_CELL_TEXT && !isnan(cell->number)))
            has_number = true;
        else if (cell->kind != LX_CELL_NONE)
            c->shown.is_number = false;
    }
    c->shown.is_number = c->shown.is_number && has_number;
}

int lx_run_table_load(lx_run_table *t, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < t->n_columns && rc == LX_OK; i++) {
        if (!t->columns[i].cells)
            rc = read_column(t, &t->columns[i], err);
        if (rc == LX_OK)
            judge_column(t, &t->columns[i]);
    }
    return rc;
}

/* ---- selecting and sorting ----------------------------------------------- */

static int keep_matches(lx_run_table *t, const char *query, lx_error *err)
{
    const lx_filter_host host = {.bind = bind, .context = t, .now = t->now};
    lx_filter *filter;
    lx_cell *row;
    size_t n = 0;
    int rc = lx_filter_parse(&filter, query, strlen(query), &host, t->arena, err);

    if (rc < 0 || (rc = lx_run_table_load(t, err)) < 0)
        return rc;
    if (!(row = lx_arena_calloc(t->arena, t->n_columns + 1, sizeof *row)))
        return lx_oom(err);
    for (size_t i = 0; i < t->n_selected; i++) {
        for (size_t c = 0; c < t->n_columns; c++)
            row[c] = t->columns[c].cells[t->selected[i]];
        if (lx_filter_matches(filter, row))
            t->selected[n++] = t->selected[i];
    }
    t->n_selected = n;
    return LX_OK;
}

typedef struct order {
    const lx_run_table *table;
    int columns[16];
    bool falls[16];
    size_t n;
} order;

static int compare_rows(const void *a, const void *b, void *context)
{
    const order *o = context;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;

    for (size_t i = 0; i < o->n; i++) {
        const lx_cell *cells = o->table->columns[o->columns[i]].cells;
        bool has_x = cells[x].kind != LX_CELL_NONE, has_y = cells[y].kind != LX_CELL_NONE;
        int by = lx_cell_compare(&cells[x], &cells[y]);
        if (has_x != has_y) /* without a value is last, whichever way */
            return has_x ? -1 : 1;
        if (by)
            return o->falls[i] ? -by : by;
    }
    return (x > y) - (x < y);
}

static int read_order(order *o, lx_run_table *t, const char *sort, lx_error *err)
{
    int rc = LX_OK;

    while (*sort && rc == LX_OK) {
        size_t n = strcspn(sort, ",");
        bool falls = *sort == '-';
        const char *field = lx_arena_strndup(t->arena, sort + falls, n - falls);
        if (!field)
            return lx_oom(err);
        if (o->n == sizeof o->columns / sizeof *o->columns)
            return lx_fail(err, LX_EUSAGE, "--sort takes at most %zu fields", o->n);
        o->falls[o->n] = falls;
        rc = lx_run_table_add(&o->columns[o->n++], t, field, err);
        sort += n + (sort[n] == ',');
    }
    if (rc < 0)
        lx_within(err, "--sort");
    return rc;
}

int lx_run_table_select(lx_run_table *t, const char *query, const char *sort,
                        int64_t limit, lx_error *err)
{
    order o = {.table = t};
    int rc = query && *query ? keep_matches(t, query, err) : LX_OK;

    if (rc == LX_OK && sort && *sort) {
        if ((rc = read_order(&o, t, sort, err)) < 0 ||
            (rc = lx_run_table_load(t, err)) < 0)
            return rc;
        qsort_r(t->selected, t->n_selected, sizeof *t->selected, compare_rows, &o);
    }
    if (limit > 0 && t->n_selected > (size_t)limit)
        t->n_selected = (size_t)limit;
    return rc;
}

/* ---- what the caller sees ------------------------------------------------ */

size_t lx_run_table_count(const lx_run_table *t)
{
    return t->n_selected;
}

const lx_run_row *lx_run_table_row(const lx_run_table *t, size_t i)
{
    return &t->all.rows[t->selected[i]];
}

const lx_run_column *lx_run_table_column(const lx_run_table *t, int column)
{
    return &t->columns[column].shown;
}

const lx_cell *lx_run_table_cell(const lx_run_table *t, size_t row, int column)
{
    return &t->columns[column].cells[t->selected[row]];
}

static void put_text(lx_str *out, const field_column *c, const lx_cell *cell,
                     bool is_short)
{
    char text[32];

    if (c->shown.type == LX_FIELD_TIME && is_short) {
        lx_when_format(text, cell->number);
        lx_str_puts(out, text);
    } else if (c->shown.type == LX_FIELD_DURATION && is_short) {
        lx_duration_format(text, cell->number);
        lx_str_puts(out, text);
    } else if (c->field == LX_RUN_ID && is_short) {
        lx_str_printf(out, "%.10s", cell->text);
    } else if (c->field == LX_RUN_SPEC && is_short) {
        lx_str_printf(out, "%.12s", cell->text);
    } else if (c->field == LX_RUN_BASE && is_short) { /* its words: path, hashes, path */
        lx_str_puts(out, lx_path_base(cell->words[0]));
    } else {
        lx_cell_put(out, cell, is_short);
    }
}

const char *lx_run_table_text(lx_run_table *t, size_t row, int column, bool is_short)
{
    const lx_cell *cell = lx_run_table_cell(t, row, column);
    lx_str text = LX_STR_INIT;
    const char *copy;

    if (cell->kind == LX_CELL_NONE || (cell->kind == LX_CELL_WORDS && !cell->n_words))
        return NULL;
    if (cell->kind == LX_CELL_TEXT && !is_short) /* it is there already */
        return cell->text;
    put_text(&text, &t->columns[column], cell, is_short);
    copy = lx_arena_strdup(t->arena, lx_str_text(&text));
    t->is_out_of_memory |= text.failed || !copy;
    lx_str_release(&text);
    return copy ? copy : "?";
}

int lx_run_table_check(const lx_run_table *t, lx_error *err)
{
    return t->is_out_of_memory ? lx_oom(err) : LX_OK;
}

int lx_run_table_has_any(bool *out, lx_run_table *t, const char *field, lx_error *err)
{
    int column, rc = lx_run_table_add(&column, t, field, err);

    *out = false;
    if (rc < 0 || (rc = lx_run_table_load(t, err)) < 0)
        return rc;
    for (size_t i = 0; i < t->n_selected && !*out; i++)
        *out = lx_run_table_cell(t, i, column)->kind != LX_CELL_NONE;
    return LX_OK;
}

bool lx_run_table_has_kinds(const lx_run_table *t)
{
    for (size_t i = 1; i < t->n_selected; i++)
        if (strcmp(lx_run_table_row(t, i)->kind, lx_run_table_row(t, 0)->kind) != 0)
            return true;
    return false;
}

/* ---- what differs -------------------------------------------------------- */

typedef struct varied {
    const char *key;
    int weight;
} varied;

static int by_weight(const void *a, const void *b)
{
    const varied *x = a, *y = b;
    return x->weight != y->weight ? x->weight - y->weight : strcmp(x->key, y->key);
}

enum { FEW_RUNS = 200, ENOUGH_KEYS = 8 };

static int by_key(const void *a, const void *b)
{
    const lx_flag_row *x = a, *y = b;
    return strcmp(x->key, y->key);
}

/* All flags of the selected runs in one array, by key; *n_flagged is how many runs have
 * any. */
static int gather_flags(lx_flag_row **out, size_t *n, size_t *n_flagged,
                        const lx_run_table *t, lx_error *err)
{
    size_t capacity = 0, count;
    lx_flag_row *rows;
    int rc = LX_OK;

    *out = NULL;
    *n = *n_flagged = 0;
    for (size_t i = 0; i < t->n_selected && rc == LX_OK; i++) {
        int64_t seq = t->all.rows[t->selected[i]].seq;
        if ((rc = lx_query_flags(&rows, &count, t->store, seq, NULL, t->arena, err)) <
                0 ||
            !count)
            continue;
        if (*n + count > capacity) {
            lx_flag_row *more = lx_arena_calloc(t->arena, 2 * (*n + count), sizeof *more);
            if (!more)
                return lx_oom(err);
            if (*n)
                memcpy(more, *out, *n * sizeof *more);
            *out = more;
            capacity = 2 * (*n + count);
        }
        memcpy(*out + *n, rows, count * sizeof *rows);
        *n += count;
        (*n_flagged)++;
    }
    if (rc == LX_OK && *n)
        qsort(*out, *n, sizeof **out, by_key);
    return rc;
}

/* A run without any flags (of a script) does not make every flag differ; one that has
 * flags but not this one does. */
static int vary_few(varied **out, size_t *n_found, const lx_run_table *t, lx_error *err)
{
    lx_flag_row *rows;
    varied *found;
    size_t n, n_flagged;
    int rc = gather_flags(&rows, &n, &n_flagged, t, err);

    if (rc == LX_OK && !(*out = found = lx_arena_calloc(t->arena, n + 1, sizeof *found)))
        rc = lx_oom(err);

    for (size_t i = 0, end; rc == LX_OK && i < n; i = end) {
        bool differs = false;
        for (end = i; end < n && strcmp(rows[end].key, rows[i].key) == 0; end++)
            differs = differs || strcmp(rows[end].text, rows[i].text) != 0;
        if (differs || end - i != n_flagged)
            found[(*n_found)++] = (varied){rows[i].key, lx_run_flag_weight(rows[i].key)};
    }
    return rc;
}

/* "1.10" and "1.1" are two names. */
static bool is_other(const lx_cell *a, const lx_cell *b)
{
    return a->kind == LX_CELL_TEXT && b->kind == LX_CELL_TEXT
               ? strcmp(a->text, b->text) != 0
               : !lx_cell_equal(a, b);
}

static bool differs(const lx_run_table *t, const field_column *c)
{
    const lx_cell *first = NULL;

    for (size_t i = 0; i < t->n_selected; i++) {
        const lx_cell *cell = &c->cells[t->selected[i]];
        if (cell->kind != LX_CELL_NONE && first && is_other(first, cell))
            return true;
        first = cell->kind != LX_CELL_NONE ? cell : first;
    }
    return false;
}

/* A stranger's flag may have a name that no query could ask for. */
static bool can_be_asked(const lx_run_table *t, const char *key)
{
    const char *name, *part;
    return lx_field_parse(&name, &part, lx_run_flag_short(key), t->arena, NULL) ==
               LX_OK &&
           !part;
}

/* Of very many runs only as many as anyone could read, the telling ones first. */
static int vary_many(varied **out, size_t *n_found, lx_run_table *t, lx_error *err)
{
    const char **keys;
    varied *candidates, *found;
    size_t n;
    int rc = lx_query_flag_keys(&keys, &n, t->store, true, t->arena, err);

    if (rc < 0)
        return rc;
    candidates = lx_arena_calloc(t->arena, n + 1, sizeof *candidates);
    *out = found = lx_arena_calloc(t->arena, n + 1, sizeof *found);
    if (!candidates || !found)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        candidates[i] = (varied){keys[i], lx_run_flag_weight(keys[i])};
    if (n)
        qsort(candidates, n, sizeof *candidates, by_weight);
    for (size_t i = 0; i < n && *n_found < ENOUGH_KEYS && rc == LX_OK; i++) {
        const char *name = lx_run_flag_short(candidates[i].key);
        int at;
        if (candidates[i].weight == INT_MAX)
            break;
        if (!can_be_asked(t, candidates[i].key))
            continue;
        if ((rc = lx_run_table_add(&at, t, name, err)) ==
                LX_OK && /* it will be shown: kept */
            (rc = lx_run_table_load(t, err)) == LX_OK &&
            differs(t, &t->columns[at]))
            found[(*n_found)++] = candidates[i];
    }
    return rc;
}

/* Rates of the parts that nobody set are the learning rate again: no columns of their own. */
static int repeats_rate(bool *out, lx_run_table *t, const char *key, lx_error *err)
{
    int rate, own, rc;

    *out = false;
    if (strcmp(key, "unet_lr") != 0 && strcmp(key, "text_encoder_lr") != 0)
        return LX_OK;
    if ((rc = lx_run_table_add(&rate, t, lx_run_flag_short("learning_rate"), err)) < 0 ||
        (rc = lx_run_table_add(&own, t, lx_run_flag_short(key), err)) < 0 ||
        (rc = lx_run_table_load(t, err)) < 0)
        return rc;
    *out = true;
    for (size_t i = 0; i < t->n_selected && *out; i++) {
        const lx_cell *cell = lx_run_table_cell(t, i, own);
        *out = cell->kind == LX_CELL_NONE ||
               lx_cell_equal(lx_run_table_cell(t, i, rate), cell);
    }
    return LX_OK;
}

int lx_run_table_varied(lx_words *out, lx_run_table *t, lx_error *err)
{
    varied *found = NULL;
    size_t n = 0;
    bool is_repeated;
    int rc;

    *out = (lx_words){NULL, 0};
    if (t->n_selected < 2)
        return LX_OK;
    rc = t->n_selected > FEW_RUNS ? vary_many(&found, &n, t, err)
                                  : vary_few(&found, &n, t, err);
    if (rc < 0)
        return rc;
    if (!(out->items = lx_arena_calloc(t->arena, n + 1, sizeof *out->items)))
        return lx_oom(err);
    if (n)
        qsort(found, n, sizeof *found, by_weight);
    for (size_t i = 0; i < n && found[i].weight != INT_MAX; i++) {
        if ((rc = repeats_rate(&is_repeated, t, found[i].key, err)) < 0)
            return rc;
        if (!is_repeated && can_be_asked(t, found[i].key))
            out->items[out->count++] = found[i].key;
    }
    return LX_OK;
}
