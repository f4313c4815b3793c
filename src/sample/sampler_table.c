/* The samplers by name. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "src/sample/sampler.h"

/* clang-format off */
static const lx_sampler web_ui[] = {
    {"DDIM", "ddim", LX_METHOD_DDIM, LX_DRAWS_NOTHING, LX_SIGMA_DDIM, .starts_at_unit = true},
    {"Euler", "euler", LX_METHOD_EULER, LX_DRAWS_NOTHING, LX_SIGMA_NORMAL, .has_schedules = true},
    {"Euler a", "euler_a", LX_METHOD_EULER_A, LX_DRAWS_FRESH, LX_SIGMA_NORMAL, .has_schedules = true},
    {"Heun", "heun", LX_METHOD_HEUN, LX_DRAWS_NOTHING, LX_SIGMA_NORMAL, .has_schedules = true},
    {"LMS", "lms", LX_METHOD_LMS, LX_DRAWS_NOTHING, LX_SIGMA_NORMAL, .has_schedules = true},
    {"DPM2", "dpm2", LX_METHOD_DPM2, LX_DRAWS_NOTHING, LX_SIGMA_NORMAL, .has_schedules = true, .skips_one = true},
    {"DPM2 a", "dpm2_a", LX_METHOD_DPM2_A, LX_DRAWS_FRESH, LX_SIGMA_NORMAL, .has_schedules = true, .skips_one = true},
    {"DPM++ 2S a", "dpmpp_2s_a", LX_METHOD_DPMPP_2S_A, LX_DRAWS_FRESH, LX_SIGMA_NORMAL, .has_schedules = true},
    {"DPM++ 2M", "dpmpp_2m", LX_METHOD_DPMPP_2M, LX_DRAWS_NOTHING, LX_SIGMA_NORMAL, .has_schedules = true},
    {"DPM++ SDE", "dpmpp_sde", LX_METHOD_DPMPP_SDE, LX_DRAWS_BROWNIAN, LX_SIGMA_NORMAL, .has_schedules = true},
    {"DPM++ 2M SDE", "dpmpp_2m_sde", LX_METHOD_DPMPP_2M_SDE, LX_DRAWS_BROWNIAN, LX_SIGMA_NORMAL, .has_schedules = true},
    {"DPM++ 2S", "dpmsingle", LX_METHOD_DPMPP_2S, LX_DRAWS_NOTHING, LX_SIGMA_NORMAL, .has_schedules = true},
    {"UniPC", "unipc", LX_METHOD_UNIPC, LX_DRAWS_NOTHING, LX_SIGMA_MIDPOINTS, .starts_at_unit = true},
    {"PNDM", "pndm", LX_METHOD_PNDM, LX_DRAWS_NOTHING, LX_SIGMA_LEADING, .starts_at_unit = true},
    {NULL}};

static const lx_sampler peer[] = {
    {"DDIM", "ddim", LX_METHOD_DDIM, LX_DRAWS_NOTHING, LX_SIGMA_LEADING, .clips = true, .starts_at_unit = true},
    {"PNDM", "pndm", LX_METHOD_PNDM, LX_DRAWS_NOTHING, LX_SIGMA_LEADING, .starts_at_unit = true},
    {"LMS", "lms", LX_METHOD_LMS, LX_DRAWS_NOTHING, LX_SIGMA_LINSPACE, .has_schedules = false},
    {"Euler", "euler", LX_METHOD_EULER, LX_DRAWS_NOTHING, LX_SIGMA_LINSPACE, .has_schedules = false},
    {"Euler a", "euler_a", LX_METHOD_EULER_A, LX_DRAWS_FRESH, LX_SIGMA_LINSPACE, .has_schedules = false},
    {"Heun", "heun", LX_METHOD_HEUN, LX_DRAWS_NOTHING, LX_SIGMA_LINSPACE, .clips = true},
    {"DPM2", "dpm_2", LX_METHOD_DPM2, LX_DRAWS_NOTHING, LX_SIGMA_LINSPACE, .has_schedules = false},
    {"DPM2 a", "dpm_2_a", LX_METHOD_DPM2_A, LX_DRAWS_FRESH, LX_SIGMA_LINSPACE, .has_schedules = false},
    {"DPM++ 2M", "dpmsolver++", LX_METHOD_DPMPP_2M, LX_DRAWS_NOTHING, LX_SIGMA_MIDPOINTS, .starts_at_unit = true},
    {"DPM++ 2S", "dpmsingle", LX_METHOD_DPMPP_2S, LX_DRAWS_NOTHING, LX_SIGMA_MIDPOINTS, .starts_at_unit = true},
    {NULL}};
/* clang-format on */

/* Lower case letters and digits; '+' reads as 'p', so that "DPM++ 2M" is "dpmpp_2m". */
static void normalise(char out[LX_SAMPLER_NAME], const char *name)
{
    size_t n = 0;

    for (; *name && n + 1 < LX_SAMPLER_NAME; name++) {
        char c = *name == '+' ? 'p' : (char)tolower((unsigned char)*name);
        if (isalnum((unsigned char)c))
            out[n++] = c;
    }
    out[n] = '\0';
}

static bool take_suffix(char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    if (n <= m || strcmp(name + n - m, suffix) != 0)
        return false;
    name[n - m] = '\0';
    return true;
}

static const lx_sampler *look_up(const lx_sampler *table, const char *key)
{
    /* What others call them: k-diffusion's and sd-scripts' spellings. */
    static const char *const aliases[][2] = {
        {"eulerancestral", "eulera"},
        {"dpm2ancestral", "dpm2a"},
        {"dpmpp2sancestral", "dpmpp2sa"},
        {"dpmsolverpp", "dpmpp2m"},
    };

    for (int pass = 0; pass < 2; pass++) {
        for (const lx_sampler *s = table; s->name; s++) {
            char a[LX_SAMPLER_NAME], b[LX_SAMPLER_NAME];
            normalise(a, s->name);
            normalise(b, s->id);
            if (strcmp(a, key) == 0 || strcmp(b, key) == 0)
                return s;
        }
        for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
            if (strcmp(aliases[i][0], key) == 0) {
                key = aliases[i][1];
                break;
            }
    }
    return NULL;
}

int lx_sampler_find(lx_sampler *out, const char *name, bool is_peer, lx_error *err)
{
    const lx_sampler *table = is_peer ? peer : web_ui, *found;
    lx_sigma_kind schedule = LX_SIGMA_KIND_COUNT;
    char key[LX_SAMPLER_NAME], *k = key;

    normalise(key, name);
    if (is_peer && strcmp(key, "dpmsolver") == 0)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "the sampler dpmsolver fails in sd-scripts too; dpmsolver++ works");
    if (take_suffix(key, "karras"))
        schedule = LX_SIGMA_KARRAS;
    else if (take_suffix(key, "exponential"))
        schedule = LX_SIGMA_EXPONENTIAL;
    else
        take_suffix(key, "normal"); /* goldens and ComfyUI say it; it is the plain one */
    found = look_up(table, k);
    if (!found && *k == 'k') /* k_euler_a */
        found = look_up(table, k + 1);
    if (!found)
        return lx_fail(err, LX_EUSAGE, "there is no sampler \"%s\"; there are %s", name,
                       lx_sampler_names(is_peer));
    *out = *found;
    if (schedule != LX_SIGMA_KIND_COUNT) {
        if (!found->has_schedules)
            return lx_fail(err, LX_EUSAGE, "%s has no schedule of its own choosing",
                           found->name);
        out->schedule = schedule;
    }
    return LX_OK;
}

const char *lx_sampler_text(char text[LX_SAMPLER_NAME], const lx_sampler *sampler)
{
    const char *schedule = lx_sigma_kind_name(sampler->schedule);

    snprintf(text, LX_SAMPLER_NAME, "%s%s%s", sampler->name, *schedule ? " " : "",
             schedule);
    return text;
}

const char *lx_sampler_names(bool is_peer)
{
    return is_peer
               ? "ddim, pndm, lms, euler, euler_a, heun, dpm_2, dpm_2_a, dpmsolver++, "
                 "dpmsingle, k_lms, k_euler, k_euler_a, k_dpm_2, k_dpm_2_a"
               : "DDIM, Euler, Euler a, Heun, LMS, DPM2, DPM2 a, DPM++ 2S a, DPM++ 2M, "
                 "DPM++ SDE, DPM++ 2M SDE, DPM++ 2S (each also with Karras or "
                 "Exponential), UniPC, "
                 "PNDM";
}

bool lx_sampler_asks_twice(const lx_sampler *sampler)
{
    switch (sampler->method) {
    case LX_METHOD_HEUN:
    case LX_METHOD_DPM2:
    case LX_METHOD_DPM2_A:
    case LX_METHOD_DPMPP_2S_A:
    case LX_METHOD_DPMPP_SDE:
        return true;
    default:
        return false;
    }
}

int lx_sampler_sigmas(float *out, int *n_sigmas, const lx_sampler *sampler,
                      const lx_sigma_table *table, int n_steps, lx_error *err)
{
    int n, rc;

    if (n_steps > LX_MAX_STEPS - 1)
        return lx_fail(err, LX_EUSAGE, "%d steps: 1 to %d are possible", n_steps,
                       LX_MAX_STEPS - 1);
    if (sampler->method == LX_METHOD_PNDM && n_steps < 4)
        return lx_fail(err, LX_EUSAGE, "PNDM needs at least 4 steps");
    if ((rc = lx_sigma_schedule(out, n_sigmas, table, sampler->schedule,
                                n_steps + (sampler->skips_one ? 1 : 0), err)) < 0)
        return rc;
    n = *n_sigmas - 1;
    if (sampler->skips_one) {
        out[n - 1] = out[n];
        n--;
    }
    if (sampler->method == LX_METHOD_PNDM)
        out[n] = table->sigmas[0];
    *n_sigmas = n + 1;
    return LX_OK;
}
