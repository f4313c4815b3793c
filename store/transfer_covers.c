/* Which of two records of a run says more. */
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/transfer.h"

/* One entry of a list, by what scrubbing does not touch: moments, roles and steps, not names and values. */
typedef struct told {
    const char *word; /* a remark's kind, an artifact's role, a curve's key */
    double at, step;
    double n; /* of a curve: how far it goes */
} told;

static told told_by_remark(const cJSON *r)
{
    return (told){.word = r->child->next->valuestring, .at = r->child->valuedouble};
}

static told told_by_artifact(const cJSON *a)
{
    return (told){.word = lx_json_text(a, "role"),
                  .at = lx_json_number(a, "at", 0),
                  .step = lx_json_number(a, "step", 0)};
}

static told told_by_curve(const cJSON *c)
{
    return (told){.word = lx_json_text(c, "key"), .n = lx_json_number(c, "n", 0)};
}

static int compare(const told *a, const told *b)
{
    int order = strcmp(a->word, b->word);
    if (!order)
        order = (a->at > b->at) - (a->at < b->at);
    return order ? order : (a->step > b->step) - (a->step < b->step);
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

int lx_transfer_covers(bool *out, const cJSON *theirs, const cJSON *ours, lx_error *err)
{
    static const struct {
        const char *key;
        told (*told_by)(const cJSON *item);
    } lists[] = {{"remarks", told_by_remark},
                 {"artifacts", told_by_artifact},
                 {"curves", told_by_curve}};
    int rc = LX_OK;

    *out = !cJSON_GetObjectItemCaseSensitive(ours, "end") ||
           cJSON_GetObjectItemCaseSensitive(theirs, "end");
    for (size_t i = 0; i < sizeof lists / sizeof *lists && *out && rc == LX_OK; i++)
        rc = has_all(out, theirs, ours, lists[i].key, lists[i].told_by, err);
    return rc;
}
