#include "src/lora/weights.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/factors.h"
#include "src/lora/base.h"
#include "src/lora/delta.h"
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

/* up [out, rank] times down [rank, in], as floats. Not finite: nothing is said of the spectrum. */
static int weigh_factors(lx_module_weights *m, const float *up, const float *down,
                         size_t out, size_t rank, size_t in, lx_error *err)
{
    double *sigma = lx_alloc(rank * sizeof *sigma);
    int rc;

    if (!sigma)
        return lx_oom(err);
    rc = lx_spectrum(sigma, NULL, up, down, out, rank, in, err);
    if (rc == LX_OK) {
        judge_spectrum(m, sigma, rank);
        m->has_spectrum = true;
    }
    lx_free(sigma);
    return rc;
}

static int weigh_lora(lx_module_weights *m, size_t *n_bad, const lx_lora_entry *e,
                      lx_lora_factors *f, lx_error *err)
{
    int rc = lx_lora_factors_read(f, e, err);

    if (rc != LX_OK)
        return rc < 0 ? rc : LX_OK;
    m->scale = lx_lora_entry_scale(e);
    *n_bad += survey(&m->up_rms, &m->largest, f->up, f->out * f->rank) +
              survey(&m->down_rms, &m->largest, f->down, f->in * f->rank);
    if (!isfinite(m->up_rms) || !isfinite(m->down_rms))
        return LX_OK;
    return weigh_factors(m, f->up, f->down, f->out, f->rank, f->in, err);
}

/* Tucker, LoHa, LoKr: the exact factors of lora/delta, the scale in them. */
static int weigh_by_factors(lx_module_weights *m, const lx_lora_entry *e,
                            const lx_delta_shape *shape, lx_error *err)
{
    const size_t n_up = shape->out * shape->rank, n_down = shape->rank * shape->in;
    double *up = lx_alloc(n_up * sizeof *up), *down = lx_alloc(n_down * sizeof *down);
    float *both = lx_alloc((n_up + n_down) * sizeof *both);
    int rc = LX_OK;

    if (!up || !down || !both)
        rc = lx_oom(err);
    else if ((rc = lx_delta_factors(up, down, e, shape, NULL)) == LX_OK) {
        for (size_t i = 0; i < n_up; i++)
            both[i] = (float)up[i];
        for (size_t i = 0; i < n_down; i++)
            both[n_up + i] = (float)down[i];
        m->scale = 1; /* it is in the factors */
        rc = weigh_factors(m, both, both + n_up, shape->out, shape->rank, shape->in, err);
        m->scale = lx_lora_entry_scale(e);
    } else if (rc != LX_ENOMEM) {
        rc = LX_OK; /* values that are not finite: counted elsewhere */
    }
    lx_free(up);
    lx_free(down);
    lx_free(both);
    return rc;
}

static int weigh_module(lx_module_weights *m, size_t *n_bad, const lx_lora_entry *e,
                        lx_lora_factors *f, lx_error *err)
{
    lx_delta_shape shape;

    if (e->kind == LX_KIND_LORA)
        return e->rank <= LX_SPECTRUM_RANK ? weigh_lora(m, n_bad, e, f, err) : LX_OK;
    if (e->has_dora || lx_delta_needs_base(e) || lx_delta_shape_of(&shape, e, NULL) < 0 ||
        !shape.rank || shape.rank > LX_SPECTRUM_RANK)
        return LX_OK;
    return weigh_by_factors(m, e, &shape, err);
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

/* cloneofsimo's names are numbers; there the width tells: the text's is no width of SD's UNets. */
static bool reads_text(const lx_lora_entry *e)
{
    const char *at = strstr(e->name, "attn2");
    const int64_t in = lx_lora_in_features(e);

    if (strchr(e->name, ':'))
        return in == 768 || in == 1024 || in == 2048;
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
        w->frobenius_context += reads_text(e) ? square : 0;
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

        if (e->problem || (e->kind == LX_KIND_LORA && !lx_lora_is_plain(e)))
            continue;
        rc = weigh_module(m, &w->n_not_finite, e, &f, err);
        w->largest = m->largest > w->largest ? m->largest : w->largest;
        for (int role = LX_ROLE_DOWN; role <= LX_ROLE_UP && e->kind == LX_KIND_LORA;
             role++) {
            n_f16 += e->tensors[role]->dtype == LX_F16 ? e->tensors[role]->n_elements : 0;
            n_subnormal += count_subnormal(e->tensors[role]);
        }
        if (!m->has_spectrum)
            continue;
        if (e->kind == LX_KIND_LORA)
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
