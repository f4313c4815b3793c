/* Which of two records of a run says more. */
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/transfer.h"

/* One entry of a list, by what scrubbing does not touch: moments and kinds, not keys and values. */
typedef struct told {
    const char *word; /* a remark's kind, a curve's key */
    double at;
    double n; /* of a curve: how far it goes */
} told;

static told told_by_remark(const cJSON *r)
{
    return (told){.word = r->child->next->valuestring, .at = r->child->valuedouble};
}

static told told_by_curve(const cJSON *c)
{
    return (told){.word = lx_json_text(c, "key"), .n = lx_json_number(c, "n", 0)};
}

static int compare(const told *a, const told *b)
{
    int order = strcmp(a->word, b->word);
    return order ? order : (a->at > b->at) - (a->at < b->at);
}

/* The farthest of several curves of one key comes first. */
static int by_order(const void *a, const void *b)
{
    const told *x = a, *y = b;
    int order = compare(x, y);
    return order ? order : (x->n < y->n) - (x->n > y->n);
}

static bool has(const told *sorted, size_t n, const told *mine)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&sorted[middle], mine) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && compare(&sorted[low], mine) == 0 && sorted[low].n >= mine->n;
}

/* By a sorted list: either may have a hundred thousand entries. */
static int has_all(bool *out, const cJSON *theirs, const cJSON *ours, const char *key,
                   told (*told_by)(const cJSON *item), lx_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(theirs, key);
    size_t n = 0;
    told *sorted = lx_calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *sorted);

    if (!sorted)
        return lx_oom(err);
    for (const cJSON *item = list->child; item; item = item->next)
        sorted[n++] = told_by(item);
    qsort(sorted, n, sizeof *sorted, by_order);
    list = cJSON_GetObjectItemCaseSensitive(ours, key);
    *out = true;
    for (const cJSON *item = list->child; item && *out; item = item->next) {
        told mine = told_by(item);
        *out = has(sorted, n, &mine);
    }
    lx_free(sorted);
    return LX_OK;
}

/* ---- files ------------------------------------------------------------------------- */

typedef struct file {
    const char *role, *name, *hash, *tensors;
    double step, at, size;
    bool is_met; /* the other record has it, too */
} file;

static const char *text_or_none(const cJSON *o, const char *key)
{
    const char *text = lx_json_text(o, key);
    return text ? text : "";
}

static int list_files(file **out, size_t *n, const cJSON *record, lx_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(record, "artifacts");

    *n = 0;
    if (!(*out = lx_calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof **out)))
        return lx_oom(err);
    for (const cJSON *a = list->child; a; a = a->next)
        (*out)[(*n)++] = (file){.role = lx_json_text(a, "role"),
                                .name = text_or_none(a, "name"),
                                .hash = text_or_none(a, "sha256"),
                                .tensors = text_or_none(a, "tensors"),
                                .step = lx_json_number(a, "step", -1),
                                .at = lx_json_number(a, "at", 0),
                                .size = lx_json_number(a, "size", 0)};
    return LX_OK;
}

static int by_number(double a, double b)
{
    return (a > b) - (a < b);
}

static int by_role(const file *x, const file *y)
{
    int order = strcmp(x->role, y->role);
    return order ? order : by_number(x->step, y->step);
}

static int by_content(const void *a, const void *b)
{
    const file *x = a, *y = b;
    int order = by_role(x, y);
    if (!order)
        order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->hash, y->hash);
}

static int by_content_and_moment(const void *a, const void *b)
{
    int order = by_content(a, b);
    return order ? order : by_number(((const file *)a)->at, ((const file *)b)->at);
}

static int by_moment(const void *a, const void *b)
{
    const file *x = a, *y = b;
    int order = by_role(x, y);
    if (!order)
        order = by_number(x->at, y->at);
    if (!order)
        order = by_number(x->size, y->size);
    return order ? order : strcmp(x->tensors, y->tensors);
}

/* Pairs those that are alike and have no other yet: one of either side each. */
static void pair(file *x, size_t n_x, file *y, size_t n_y,
                 int (*order)(const void *a, const void *b))
{
    size_t i = 0, k = 0;

    qsort(x, n_x, sizeof *x, order);
    qsort(y, n_y, sizeof *y, order);
    while (i < n_x && k < n_y) {
        int which = x[i].is_met ? -1 : y[k].is_met ? 1 : order(&x[i], &y[k]);
        if (!which)
            x[i].is_met = y[k].is_met = true;
        i += which <= 0;
        k += which >= 0;
    }
}

/* As an arrival knows them again (transfer_in.c). */
static int has_files(bool *out, const cJSON *theirs, const cJSON *ours, lx_error *err)
{
    file *x = NULL, *y = NULL;
    size_t n_x = 0, n_y = 0;
    int rc;

    if ((rc = list_files(&x, &n_x, theirs, err)) == LX_OK &&
        (rc = list_files(&y, &n_y, ours, err)) == LX_OK) {
        pair(x, n_x, y, n_y, by_content_and_moment);
        pair(x, n_x, y, n_y, by_content);
        pair(x, n_x, y, n_y, by_moment);
        *out = true;
        for (size_t i = 0; i < n_y && *out; i++)
            *out = y[i].is_met;
    }
    lx_free(x);
    lx_free(y);
    return rc;
}

/* ---- the whole --------------------------------------------------------------------- */

int lx_transfer_covers(bool *out, const cJSON *theirs, const cJSON *ours, lx_error *err)
{
    static const struct {
        const char *key;
        told (*told_by)(const cJSON *item);
    } lists[] = {{"remarks", told_by_remark}, {"curves", told_by_curve}};
    int rc = LX_OK;

    *out = !cJSON_GetObjectItemCaseSensitive(ours, "end") ||
           cJSON_GetObjectItemCaseSensitive(theirs, "end");
    for (size_t i = 0; i < sizeof lists / sizeof *lists && *out && rc == LX_OK; i++)
        rc = has_all(out, theirs, ours, lists[i].key, lists[i].told_by, err);
    return rc == LX_OK && *out ? has_files(out, theirs, ours, err) : rc;
}
