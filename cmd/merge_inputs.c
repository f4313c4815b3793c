/* Which files are merged, and how much of each. */
#include <string.h>

#include "cmd/merge.h"
#include "src/base/file.h"
#include "src/base/str.h"

/* One of the words behind a colon; false: it is none, so it belongs to the path. */
static int take_word(bool *is_taken, lx_merge_input *in, const char *word, lx_error *err)
{
    lx_error ignored;
    int rc = LX_OK;

    *is_taken = true;
    if (strncmp(word, "te=", 3) == 0) {
        if ((rc = lx_parse_number(&in->text_strength, word + 3, err)) < 0)
            lx_within(err, "te=");
        in->has_text = true;
    } else if (strncmp(word, "lbw=", 4) == 0) {
        in->lbw = word + 4;
        rc = lx_block_weights_parse(&in->blocks, word + 4, err);
    } else {
        *is_taken = lx_parse_number(&in->strength, word, &ignored) == LX_OK;
        in->has_strength |= *is_taken;
    }
    return rc;
}

/* Is there a file in front of one of the colons? Then what stands behind was meant as a strength. */
static bool has_file_before_colon(char *path)
{
    bool is_there = false;

    for (char *colon = strchr(path, ':'); colon && !is_there;
         colon = strchr(colon + 1, ':')) {
        *colon = 0;
        is_there = lx_file_exists(path);
        *colon = ':';
    }
    return is_there;
}

static int fail_strength(const char *word, lx_error *err)
{
    return strchr(word, ',')
               ? lx_fail(
                     err, LX_EUSAGE,
                     "the strength \"%s\" is no number: a decimal point is wanted, as "
                     "in 0.5",
                     word)
               : lx_fail(
                     err, LX_EUSAGE,
                     "\"%s\" is neither a strength, as 0.5 is, nor te= or lbw=", word);
}

/* "a.safetensors:0.7:te=0.5:lbw=OUTALL", unless a file of that whole name exists. */
static int split_word(lx_merge_input *in, const char *word, lx_arena *arena,
                      lx_error *err)
{
    char *path = lx_arena_strdup(arena, word), *colon;
    bool is_taken = true;
    int rc = LX_OK;

    if (!path)
        return lx_oom(err);
    in->strength = 1;
    while (rc == LX_OK && !lx_file_exists(path) && (colon = strrchr(path, ':'))) {
        if ((rc = take_word(&is_taken, in, colon + 1, err)) == LX_OK &&
            !is_taken && has_file_before_colon(path))
            rc = fail_strength(colon + 1, err);
        if (rc < 0 || !is_taken)
            break;
        *colon = 0;
    }
    in->path = path;
    in->text_strength = in->has_text ? in->text_strength : in->strength;
    if (rc < 0)
        lx_within(err, "%s", word);
    return rc;
}

static int check_counts(const lx_merge_args *a, size_t n, lx_error *err)
{
    if (a->models.count && a->files.count)
        return lx_fail(err, LX_EUSAGE,
                       "files are given twice: in --models and beside it");
    if (a->ratios.count && a->ratios.count != n)
        return lx_fail(err, LX_EUSAGE, "%zu file%s but %zu --ratios: give one for each", n,
                       lx_plural(n), a->ratios.count);
    if (a->lbws.count && a->lbws.count != n)
        return lx_fail(err, LX_EUSAGE, "%zu file%s but %zu --lbws: give one for each", n,
                       lx_plural(n), a->lbws.count);
    if (!n)
        return lx_fail(err, LX_EUSAGE, "nothing to merge: lx merge A:0.7 B:0.4 -o OUT");
    return LX_OK;
}

/* Which of both was meant cannot be known, unless they say the same. */
static int check_ratio(const lx_merge_input *in, double ratio, const char *word,
                       lx_error *err)
{
    if ((in->has_strength && in->strength != ratio) ||
        (in->has_text && in->text_strength != ratio))
        return lx_fail(err, LX_EUSAGE,
                       "%s: a strength stands behind the file and another in --ratios "
                       "(%g): give one of them",
                       word, ratio);
    return LX_OK;
}

static int check_lbw(const lx_merge_input *in, const char *lbw, const char *word,
                     lx_error *err)
{
    return in->lbw && strcmp(in->lbw, lbw) != 0
               ? lx_fail(err, LX_EUSAGE,
                         "%s: lbw= stands behind the file and another in --lbws (%s): "
                         "give one of them",
                         word, lbw)
               : LX_OK;
}

int lx_merge_read_inputs(lx_merge_job *job, lx_error *err)
{
    const lx_merge_args *a = job->args;
    const lx_words *words = a->models.count ? &a->models : &a->files;
    int rc = check_counts(a, words->count, err);

    if (rc < 0)
        return rc;
    if (!(job->inputs =
              lx_arena_calloc(job->cli->arena, words->count, sizeof *job->inputs)))
        return lx_oom(err);
    for (size_t i = 0; i < words->count; i++) {
        lx_merge_input *in = &job->inputs[job->n++];
        if ((rc = split_word(in, words->items[i], job->cli->arena, err)) < 0)
            return rc;
        if (a->ratios.count) {
            double ratio;
            if ((rc = lx_parse_number(&ratio, a->ratios.items[i], err)) < 0) {
                lx_within(err, "--ratios");
                return rc;
            }
            if ((rc = check_ratio(in, ratio, words->items[i], err)) < 0)
                return rc;
            in->strength = in->text_strength = ratio;
        }
        if (a->lbws.count) {
            if ((rc = check_lbw(in, a->lbws.items[i], words->items[i], err)) < 0)
                return rc;
            in->lbw = a->lbws.items[i];
            if ((rc = lx_block_weights_parse(&in->blocks, in->lbw, err)) < 0) {
                lx_within(err, "--lbws");
                return rc;
            }
        }
    }
    return LX_OK;
}
