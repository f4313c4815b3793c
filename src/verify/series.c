#include "src/verify/series.h"

#include <math.h>

#include "src/lora/kinship.h"

static int put(lx_verify_result *r, const char *id, const char *unit, double value,
               size_t n, lx_error *err, const char *text)
{
    int rc;
    lx_evidence *row =
        lx_ledger_add(&r->ledger, id, "Q2", LX_MEASURED, &rc, err, "%s", text);

    if (!row)
        return rc;
    row->unit = unit;
    row->estimate.value = value;
    row->n = n;
    return LX_OK;
}

static int relate_to_last(lx_verify_result *r, const lx_kinship *k, lx_error *err)
{
    int rc;

    if ((rc = put(r, "B9", "cosine", k->cosine, k->n_common, err,
                  fabs(k->cosine) < 0.05 ? "cosine of the update with the last file's: "
                                           "not of one lineage"
                  : k->cosine >= 0.999   ? "cosine of the update with the last file's: "
                                           "the same direction"
                                         : "cosine of the update with the last file's")) <
        0)
        return rc;
    /* `down` hardly moves: what the two have in common of it is the seed they began with */
    return put(r, "B10", "ratio", k->common_down, k->n_common, err,
               k->common_down > 0.9
                   ? "what `down` has in common with the last file's: the "
                     "same start, which says nothing about content"
                   : "what `down` has in common with the last file's");
}

static int relate_to_before(lx_verify_result *r, const lx_kinship *k, lx_error *err)
{
    r->step = k->step;
    return put(r, "B9s", "ratio", k->step, k->n_common, err,
               r->cosine >= 0.99 && k->step <= 0.05
                   ? "step from the file before, in units of this update: settled"
                   : "step from the file before, in units of this update");
}

int lx_series_of(const lx_verify_result *const *results, size_t n, lx_error *err)
{
    lx_lora_file *last = NULL, *before = NULL, *file = NULL;
    lx_kinship k;
    int rc = lx_lora_file_open(&last, results[n - 1]->path, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        /* the session's own: const only towards those who read */
        lx_verify_result *r = (lx_verify_result *)results[i];
        bool is_last = i + 1 == n;
        if ((rc = lx_lora_file_open(&file, results[i]->path, err)) < 0 ||
            (rc = lx_lora_kinship(&k, file, last, err)) < 0)
            break;
        r->cosine = k.cosine;
        if (!is_last && k.n_common)
            rc = relate_to_last(r, &k, err);
        if (rc == LX_OK && before &&
            (rc = lx_lora_kinship(&k, before, file, err)) == LX_OK && k.n_common)
            rc = relate_to_before(r, &k, err);
        lx_lora_file_close(before);
        before = file;
        file = NULL;
    }
    lx_lora_file_close(file);
    lx_lora_file_close(before);
    lx_lora_file_close(last);
    return rc;
}
