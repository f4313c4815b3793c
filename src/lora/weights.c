#include "src/lora/weights.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/factors.h"
#include "src/lora/spectrum.h"

/* rms and largest |x|; the number of values that are not finite. */
static size_t survey(double *rms, double *largest, const float *x, size_t n)
{
    double square = 0;
    size_t bad = 0;

    for (size_t i = 0; i < n; i++) {
        bad += !isfinite(x[i]);
        square += (double)x[i] * x[i];
        *largest = fabs(x[i]) > *largest ? fabs(x[i]) : *largest;
    }
    *rms = n ? sqrt(square / (double)n) : 0;
    return bad;
}

static void judge_spectrum(lx_module_weights *m, const double *sigma, size_t rank)
{
    double square = 0, sum = 0, entropy = 0;

    for (size_t i = 0; i < rank; i++) {
        square += sigma[i] * sigma[i];
        sum += sigma[i];
        m->n_dead_ranks += !(sigma[i] >= 1e-3 * sigma[0]) || sigma[0] == 0;
    }
    m->frobenius = fabs(m->scale) * sqrt(square);
    m->spectral = fabs(m->scale) * sigma[0];
    m->is_dead = sigma[0] == 0 || m->scale == 0;
    if (m->is_dead)
        return;
    m->stable_rank = square / (sigma[0] * sigma[0]);
    for (size_t i = 0; i < rank; i++)
        if (sigma[i] > 0)
            entropy -= sigma[i] / sum * log(sigma[i] / sum);
    m->effective_rank = exp(entropy);
}

static int weigh_module(lx_module_weights *m, size_t *n_bad, const lx_lora_entry *e,
                        lx_lora_factors *f, lx_error *err)
{
    double *sigma;
    int rc = lx_lora_factors_read(f, e, err);

    if (rc != LX_OK)
        return rc < 0 ? rc : LX_OK;
    m->scale = lx_lora_entry_scale(e);
    *n_bad += survey(&m->up_rms, &m->largest, f->up, f->out * f->rank) +
              survey(&m->down_rms, &m->largest, f->down, f->in * f->rank);
    if (!isfinite(m->up_rms) || !isfinite(m->down_rms))
        return LX_OK;
    if (!(sigma = lx_alloc(f->rank * sizeof *sigma)))
        return lx_oom(err);
    rc = lx_spectrum(sigma, NULL, f->up, f->down, f->out, f->rank, f->in, err);
    if (rc == LX_OK) {
        judge_spectrum(m, sigma, f->rank);
        m->has_spectrum = true;
    }
    lx_free(sigma);
    return rc;
}

/* ---- the file as a whole ------------------------------------------------------- */

static size_t count_subnormal(const lx_tensor_view *t)
{
    const unsigned char *at = t->data;
    size_t n = 0;

    for (size_t i = 0; t->dtype == LX_F16 && i < t->n_elements; i++) {
        unsigned bits = at[2 * i] | (unsigned)at[2 * i + 1] << 8;
        n += (bits & 0x7C00) == 0 && (bits & 0x03FF) != 0;
    }
    return n;
}

static bool reads_text(const char *name)
{
    const char *at = strstr(name, "attn2");

    return at && (strstr(at, "to_k") || strstr(at, "to_v"));
}

/* Votes for a law: a module's `down` within a tenth of its rms. */
static void vote(size_t votes[3], const lx_module_weights *m, const lx_lora_entry *e)
{
    const double in = (double)(e->tensors[LX_ROLE_DOWN]->n_elements / (size_t)e->rank);
    const double uniform = 1 / sqrt(3 * in), normal = 1 / (double)e->rank;

    if (fabs(m->down_rms / uniform - 1) < 0.1)
        votes[LX_INIT_UNIFORM]++;
    else if (fabs(m->down_rms / normal - 1) < 0.1)
        votes[LX_INIT_NORMAL]++;
    else
        votes[LX_INIT_UNKNOWN]++;
}

/* Squares of norms; turned into norms at the end. */
static void add_module(lx_lora_weights *w, const lx_module_weights *m,
                       const lx_lora_entry *e)
{
    double square = m->frobenius * m->frobenius;

    w->frobenius += square;
    if (e->part == LX_LORA_UNET) {
        w->frobenius_unet += square;
        w->frobenius_context += reads_text(e->name) ? square : 0;
    } else if (e->part != LX_LORA_OTHER) {
        w->frobenius_text += square;
    }
    w->scale_min = !w->n_spectra || m->scale < w->scale_min ? m->scale : w->scale_min;
    w->scale_max = !w->n_spectra || m->scale > w->scale_max ? m->scale : w->scale_max;
    w->n_spectra++;
    w->n_dead += m->is_dead;
    w->stable_rank += m->stable_rank;
    w->effective_rank += m->effective_rank;
}

static void settle(lx_lora_weights *w, const size_t votes[3])
{
    const size_t n_alive = w->n_spectra - w->n_dead;

    w->frobenius = sqrt(w->frobenius);
    w->frobenius_unet = sqrt(w->frobenius_unet);
    w->frobenius_context = sqrt(w->frobenius_context);
    w->frobenius_text = sqrt(w->frobenius_text);
    if (n_alive) {
        w->stable_rank /= (double)n_alive;
        w->effective_rank /= (double)n_alive;
    }
    for (int law = LX_INIT_UNIFORM; law <= LX_INIT_NORMAL; law++)
        if (2 * votes[law] > w->n_spectra)
            w->init = (lx_init_law)law;
}

int lx_lora_weigh(lx_lora_weights *w, const lx_lora_file *file, lx_arena *arena,
                  lx_error *err)
{
    size_t votes[3] = {0}, n_f16 = 0, n_subnormal = 0;
    lx_lora_factors f = {0};
    int rc = LX_OK;

    *w = (lx_lora_weights){.n_modules = file->n_modules};
    w->modules = lx_arena_calloc(arena, file->n_modules, sizeof *w->modules);
    if (!w->modules)
        return lx_oom(err);
    for (size_t i = 0; i < file->n_modules && rc == LX_OK; i++) {
        const lx_lora_entry *e = &file->modules[i];
        lx_module_weights *m = &w->modules[i];

        if (!lx_lora_is_plain(e) || e->rank > LX_SPECTRUM_RANK)
            continue;
        rc = weigh_module(m, &w->n_not_finite, e, &f, err);
        w->largest = m->largest > w->largest ? m->largest : w->largest;
        for (int role = LX_ROLE_DOWN; role <= LX_ROLE_UP; role++) {
            n_f16 += e->tensors[role]->dtype == LX_F16 ? e->tensors[role]->n_elements : 0;
            n_subnormal += count_subnormal(e->tensors[role]);
        }
        if (!m->has_spectrum)
            continue;
        vote(votes, m, e);
        add_module(w, m, e);
    }
    lx_lora_factors_release(&f);
    w->share_subnormal = n_f16 ? (double)n_subnormal / (double)n_f16 : 0;
    settle(w, votes);
    return rc;
}

double lx_text_path_share(const lx_lora_weights *w)
{
    double share = w->frobenius_unet > 0 ? w->frobenius_context / w->frobenius_unet : 0;

    return share * share;
}

const char *lx_init_law_name(lx_init_law law)
{
    static const char *const names[] = {
        [LX_INIT_UNKNOWN] = "no law known here",
        [LX_INIT_UNIFORM] = "uniform, as sd-scripts, LyCORIS and PEFT begin",
        [LX_INIT_NORMAL] = "normal, as diffusers and cloneofsimo's trainer begin",
    };
    return names[law];
}
