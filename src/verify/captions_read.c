#include "src/verify/captions_read.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "src/base/unicode.h"
#include "src/data/facts.h"
#include "src/data/scan.h"

enum { MOST_TAGS = 4000 }; /* pairs are compared; more would take minutes */

typedef struct tag_count {
    const char *text;
    size_t n;
    double count;
} tag_count;

typedef struct tag_counts {
    tag_count items[MOST_TAGS];
    size_t n;
} tag_counts;

static tag_count *find(tag_counts *list, const char *text, size_t n)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].n == n && memcmp(list->items[i].text, text, n) == 0)
            return &list->items[i];
    return NULL;
}

/* Over all folders, tags stripped (trainers before March 2023 did not). false: too many.
 */
static bool count_tags(tag_counts *out, const cJSON *frequency, const cJSON *left_out)
{
    const cJSON *folder, *tag;

    out->n = 0;
    cJSON_ArrayForEach(folder, frequency)
    {
        if (folder->string && cJSON_GetObjectItemCaseSensitive(left_out, folder->string))
            continue;
        cJSON_ArrayForEach(tag, folder)
        {
            const char *text = tag->string ? tag->string : "";
            size_t n = strlen(text);
            tag_count *known;
            lx_unicode_strip(&text, &n);
            if (!n || !cJSON_IsNumber(tag))
                continue;
            known = find(out, text, n);
            if (known)
                known->count += tag->valuedouble;
            else if (out->n == MOST_TAGS)
                return false;
            else
                out->items[out->n++] = (tag_count){text, n, tag->valuedouble};
        }
    }
    return true;
}

/* Jaccard over tags; *is_equal: counts too. */
static double likeness(bool *is_equal, tag_counts *a, tag_counts *b)
{
    size_t both = 0;

    *is_equal = a->n == b->n;
    for (size_t i = 0; i < a->n; i++) {
        const tag_count *other = find(b, a->items[i].text, a->items[i].n);
        both += other != NULL;
        *is_equal = *is_equal && other && other->count == a->items[i].count;
    }
    return a->n + b->n ? (double)both / (double)(a->n + b->n - both) : 1;
}

/* One ending tried. */
typedef struct trial {
    size_t n_files;
    bool is_equal;
    double likeness;
} trial;

static int try_ending(trial *out, const char *ending, const char *folder,
                      const lx_dataset_config *given, tag_counts *theirs,
                      tag_counts *ours, lx_error *err)
{
    lx_dataset_config config = *given;
    lx_arena *arena = lx_arena_new();
    lx_dataset *d = NULL;
    lx_dataset_facts facts;
    cJSON *frequency = NULL;
    int rc;

    *out = (trial){.likeness = NAN};
    if (!arena)
        return lx_oom(err);
    config.caption_extension = ending;
    config.caption_extension_given = true;
    if ((rc = lx_verify_scan(&d, folder, &config, false, err)) < 0)
        goto done;
    for (size_t i = 0; i < d->n_folders; i++)
        out->n_files += d->folders[i].n_captions;
    if (!theirs || (rc = lx_dataset_facts_of(&facts, d, arena, err)) < 0 ||
        (rc = lx_json_parse(&frequency, facts.tag_frequency, strlen(facts.tag_frequency),
                            err)) < 0)
        goto done;
    if (count_tags(ours, frequency, NULL))
        out->likeness = likeness(&out->is_equal, theirs, ours);
done:
    cJSON_Delete(frequency);
    lx_dataset_free(d);
    lx_arena_free(arena);
    return rc;
}

static int try_all(lx_captions_read *out, const char *folder,
                   const lx_dataset_config *config, tag_counts *theirs, tag_counts *ours,
                   lx_error *err)
{
    for (int i = 0; i < LX_N_CAPTION_ENDINGS; i++) {
        const char *ending = lx_scan__caption_endings[i];
        trial t;
        int rc = try_ending(&t, ending, folder, config, theirs, ours, err);

        if (rc < 0)
            return rc;
        if (t.n_files > out->n_files) {
            out->n_files = t.n_files;
            out->to_use = out->most = ending;
        }
        if (t.is_equal && !(out->ending && *out->ending))
            out->ending = t.n_files ? ending : "";
        if (!isnan(t.likeness) && !(t.likeness <= out->likeness))
            out->likeness = t.likeness;
        if (t.is_equal && t.n_files) { /* this very one */
            out->n_files = t.n_files;
            out->to_use = out->most = ending;
            return LX_OK;
        }
    }
    return LX_OK;
}

int lx_captions_read_of(lx_captions_read *out, const lx_tensor_file *lora,
                        const char *folder, const lx_dataset_config *config,
                        const char *given, lx_arena *arena, lx_error *err)
{
    const char *text = lx_tensor_file_metadata(lora, "ss_tag_frequency");
    const char *reg_text = lx_tensor_file_metadata(lora, "ss_reg_dataset_dirs");
    tag_counts *theirs = lx_alloc(2 * sizeof *theirs);
    cJSON *frequency = NULL, *reg = NULL;
    bool is_told = false;
    int rc;

    *out = (lx_captions_read){.likeness = NAN};
    if (!theirs)
        return lx_oom(err);
    if (reg_text)
        lx_json_parse(&reg, reg_text, strlen(reg_text), NULL);
    if (text && lx_json_parse(&frequency, text, strlen(text), NULL) == LX_OK)
        is_told = count_tags(theirs, frequency, reg) && theirs->n > 0;
    rc = try_all(out, folder, config, is_told ? theirs : NULL, theirs + 1, err);
    if (given)
        out->to_use = given;
    if (!out->to_use)
        out->to_use = ".caption";
    if (rc == LX_OK && !(out->to_use = lx_arena_strdup(arena, out->to_use)))
        rc = lx_oom(err);
    cJSON_Delete(frequency);
    cJSON_Delete(reg);
    lx_free(theirs);
    return rc;
}
