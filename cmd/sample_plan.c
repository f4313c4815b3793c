/* Flags, prompt files and pictures' settings -> the list of pictures. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cmd/sample.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/infotext.h"
#include "src/format/picture_text.h"
#include "src/sample/prompt_file.h"

enum { MOST_PICTURES = 10000, MOST_BATCH = 64 };

/* What holds where neither a prompt file nor a flag says otherwise. */
typedef struct defaults {
    lx_picture picture;
    bool has_seed;
} defaults;

/* ---- LoRAs ------------------------------------------------------------------------- */

static int use_of_tag(lx_lora_use *out, const lx_lora_tag *tag,
                      const lx_sample_args *args, lx_cli *cli, lx_error *err)
{
    double ignored;
    int rc;

    *out = (lx_lora_use){.name = tag->name,
                         .text_encoder = tag->text_encoder,
                         .unet = tag->unet,
                         .blocks = tag->blocks};
    if (tag->blocks &&
        (rc = lx_lora_block_weight(&ignored, tag->blocks, LX_UNET, "conv_in", err)) < 0)
        return rc;
    return lx_lora_locate(&out->path, cli->arena, tag->name, args->lora_dir, err);
}

/* "FILE:0.8": the last colon is the strength's when a number stands behind it. */
static int use_of_word(lx_lora_use *out, const char *word, const lx_sample_args *args,
                       lx_cli *cli, lx_error *err)
{
    const char *colon = strrchr(word, ':');
    double strength = 1;
    const char *name = word;

    if (colon && lx_parse_number(&strength, colon + 1, NULL) == 0) {
        if (!(name = lx_arena_strndup(cli->arena, word, (size_t)(colon - word))))
            return lx_oom(err);
    } else {
        strength = 1;
    }
    *out = (lx_lora_use){.name = name, .text_encoder = strength, .unet = strength};
    return lx_lora_locate(&out->path, cli->arena, name, args->lora_dir, err);
}

int lx_picture_read_prompt(lx_picture *p, const lx_sample_args *args, lx_cli *cli,
                           const lx_lora_use *extra, size_t n_extra, lx_error *err)
{
    lx_lora_tag *tags;
    size_t n_tags, n = 0;
    int rc;

    p->settings.prompt = p->prompt;
    p->loras =
        lx_arena_calloc(cli->arena, args->loras.count + n_extra + 1, sizeof *p->loras);
    if (!p->loras)
        return lx_oom(err);
    if (!p->settings.is_peer) {
        if ((rc = lx_prompt_take_tags(&p->settings.prompt, &tags, &n_tags, cli->arena,
                                      p->prompt, err)) < 0 ||
            (rc = lx_prompt_check(p->settings.prompt, err)) < 0)
            return rc;
        p->loras = lx_arena_calloc(cli->arena, args->loras.count + n_extra + n_tags + 1,
                                   sizeof *p->loras);
        if (!p->loras)
            return lx_oom(err);
        for (size_t i = 0; i < n_tags; i++)
            if ((rc = use_of_tag(&p->loras[n++], &tags[i], args, cli, err)) < 0)
                return rc;
    }
    for (size_t i = 0; i < args->loras.count; i++)
        if ((rc = use_of_word(&p->loras[n++], args->loras.items[i], args, cli, err)) <
            0) {
            lx_within(err, "--lora %s", args->loras.items[i]);
            return rc;
        }
    for (size_t i = 0; i < n_extra; i++)
        p->loras[n++] = extra[i];
    p->n_loras = n;
    p->has_other_loras = args->loras.count + n_extra > 0;
    return LX_OK;
}

/* ---- where settings come from ------------------------------------------------------ */

static int find_sampler(lx_sample_settings *s, const char *name, lx_error *err)
{
    return lx_sampler_find(&s->sampler, name, s->is_peer, err);
}

/* New web UIs write the schedule apart: "Sampler: DPM++ 2M, Schedule type: Karras". */
static int sampler_of_info(lx_sample_settings *s, const lx_infotext *info, lx_cli *cli,
                           lx_error *err)
{
    const char *name = lx_infotext_get(info, "Sampler");
    const char *schedule = lx_infotext_get(info, "Schedule type");

    if (!name)
        return LX_OK;
    if (schedule &&
        (strcmp(schedule, "Karras") == 0 || strcmp(schedule, "Exponential") == 0) &&
        !lx_ends_with(name, schedule))
        name = lx_arena_printf(cli->arena, "%s %s", name, schedule);
    return name ? find_sampler(s, name, err) : lx_oom(err);
}

static int number_of_info(double *out, const lx_infotext *info, const char *key,
                          lx_error *err)
{
    const char *text = lx_infotext_get(info, key);

    if (text && lx_parse_number(out, text, err) < 0) {
        lx_within(err, "%s", key);
        return LX_EFORMAT;
    }
    return LX_OK;
}

/* What the picture used that lx does not have is told, since the result will differ. */
static void tell_differences(const lx_infotext *info, const lx_sample_args *args,
                             lx_cli *cli)
{
    const char *embeddings = lx_infotext_get(info, "TI hashes");

    static const char *const unknown[] = {
        "Denoising strength", "Hires upscale",    "Hires upscaler",
        "Variation seed",     "Face restoration", "Tiling",
        "Hypernet",           "Image CFG scale",  "Refiner"};

    if (embeddings && !args->embeddings && !cli->is_quiet)
        lx_message(cli,
                   "note: the picture was made with embeddings (%s); --embeddings says "
                   "where they are\n",
                   lx_safe(cli, embeddings));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown && !cli->is_quiet; i++)
        if (lx_infotext_get(info, unknown[i]))
            lx_message(
                cli,
                "note: the picture was made with \"%s: %s\", which lx does not have\n",
                unknown[i], lx_safe(cli, lx_infotext_get(info, unknown[i])));
}

static bool says(const lx_infotext *info, const char *key, const char *value)
{
    const char *text = lx_infotext_get(info, key);

    return text && strcmp(text, value) == 0;
}

static int read_info(defaults *d, const lx_infotext *info, const lx_sample_args *args,
                     lx_cli *cli, lx_error *err)
{
    lx_sample_settings *s = &d->picture.settings;
    const char *size = lx_infotext_get(info, "Size"), *rng = lx_infotext_get(info, "RNG");
    const char *seed = lx_infotext_get(info, "Seed");
    double steps = s->steps, clip_skip = s->clip_skip, ensd = 0;
    int64_t whole;
    int rc;

    d->picture.prompt = info->prompt;
    s->negative = info->negative;
    if ((rc = sampler_of_info(s, info, cli, err)) < 0 ||
        (rc = number_of_info(&steps, info, "Steps", err)) < 0 ||
        (rc = number_of_info(&s->cfg, info, "CFG scale", err)) < 0 ||
        (rc = number_of_info(&clip_skip, info, "Clip skip", err)) < 0 ||
        (rc = number_of_info(&ensd, info, "ENSD", err)) < 0)
        return rc;
    if (size && sscanf(size, "%dx%d", &s->width, &s->height) != 2)
        return lx_fail(err, LX_EFORMAT, "Size: \"%.40s\"", size);
    if (seed) {
        if (lx_parse_int(&whole, seed, err) < 0)
            return LX_EFORMAT;
        d->picture.seed = (uint64_t)whole;
        d->has_seed = true;
    }
    s->steps = steps >= 1 && steps <= LX_MAX_STEPS ? (int)steps : 0;
    s->clip_skip = clip_skip >= 1 && clip_skip <= 64 ? (int)clip_skip : 0;
    s->ensd = fabs(ensd) < 9e15 ? (int64_t)ensd : 0;
    s->v_parameterization = says(info, "Prediction", "v");
    s->zero_terminal_snr = says(info, "Noise Schedule", "Zero Terminal SNR");
    /* A web UI says nothing when the graphics card drew the noise. */
    if (!rng || strcmp(rng, "NV") == 0 || strcmp(rng, "GPU") == 0)
        s->noise = LX_NOISE_CUDA;
    if (!rng && !cli->is_quiet)
        lx_message(
            cli,
            "note: the picture does not say \"RNG: CPU\", so its noise is drawn as on a "
            "graphics card (--noise a1111-gpu)\n");
    if (rng && strcmp(rng, "lx") == 0)
        s->noise = LX_NOISE_LX;
    tell_differences(info, args, cli);
    return LX_OK;
}

/* What lx writes itself; web UIs say nothing of it. */
static int precision_of_info(lx_precision *out, const lx_infotext *info, lx_error *err)
{
    const char *name = lx_infotext_get(info, "Precision");

    if (name && lx_precision_find(out, name, NULL) < 0)
        return lx_fail(err, LX_EFORMAT, "Precision: \"%.40s\"", name);
    return LX_OK;
}

static int read_picture(defaults *d, lx_sample_plan *plan, const lx_sample_args *args,
                        lx_cli *cli, lx_error *err)
{
    const char *path = args->from;
    lx_str text = LX_STR_INIT;
    lx_infotext info;
    bool is_there;
    int rc = lx_picture_text_read(&text, &is_there, path, err);

    if (rc == LX_OK && !is_there)
        rc = lx_fail(err, LX_EFORMAT, "%s: there are no settings in this picture", path);
    else if (rc == LX_OK && (rc = lx_infotext_parse(&info, cli->arena, lx_str_text(&text),
                                                    err)) == LX_OK) {
        plan->model_from = lx_infotext_get(&info, "Model");
        plan->model_hash_from = lx_infotext_get(&info, "Model hash");
        plan->has_half_vae = lx_infotext_get(&info, "VAE precision") != NULL;
        if ((rc = read_info(d, &info, args, cli, err)) < 0 ||
            (rc = precision_of_info(&plan->precision, &info, err)) < 0)
            lx_within(err, "%s", path);
    }
    lx_str_release(&text);
    return rc;
}

static int in_range(int *out, int64_t x, const char *name, int64_t least, int64_t most,
                    lx_error *err)
{
    if (x < least || x > most)
        return lx_fail(err, LX_EUSAGE, "--%s %lld: %lld to %lld are possible", name,
                       (long long)x, (long long)least, (long long)most);
    *out = (int)x;
    return LX_OK;
}

static int read_flags(defaults *d, const lx_sample_args *a, lx_error *err)
{
    lx_sample_settings *s = &d->picture.settings;
    int rc;

    if (a->prompt)
        d->picture.prompt = a->prompt;
    if (a->negative)
        s->negative = a->negative;
    if (a->has_cfg)
        s->cfg = a->cfg;
    if (a->has_ensd)
        s->ensd = a->ensd;
    if (a->has_v_parameterization)
        s->v_parameterization = a->v_parameterization;
    if (a->has_zero_terminal_snr)
        s->zero_terminal_snr = a->zero_terminal_snr;
    if (a->has_seed && a->seed < -1)
        return lx_fail(err, LX_EUSAGE, "--seed %lld: a whole number from 0 on, or -1 for one that is drawn",
                       (long long)a->seed);
    if (a->has_seed && a->seed < 0) { /* as in web UIs: another one */
        d->has_seed = false;
    } else if (a->has_seed) {
        d->picture.seed = (uint64_t)a->seed;
        d->has_seed = true;
    }
    if ((a->has_width &&
         (rc = in_range(&s->width, a->width, "width", 64, 4096, err)) < 0) ||
        (a->has_height &&
         (rc = in_range(&s->height, a->height, "height", 64, 4096, err)) < 0) ||
        (a->has_steps &&
         (rc = in_range(&s->steps, a->steps, "steps", 1, LX_MAX_STEPS - 1, err)) < 0) ||
        (a->has_clip_skip &&
         (rc = in_range(&s->clip_skip, a->clip_skip, "clip_skip", 1, 64, err)) < 0) ||
        (a->noise && (rc = lx_noise_kind_find(&s->noise, a->noise, err)) < 0) ||
        (a->emphasis && (rc = lx_emphasis_find(&s->emphasis, a->emphasis, err)) < 0) ||
        (a->sampler && (rc = find_sampler(s, a->sampler, err)) < 0))
        return rc;
    return LX_OK;
}

/* The line's own precision, over that of --from's picture. */
static int read_precision(lx_sample_plan *plan, const lx_sample_args *a, lx_error *err)
{
    const char *name = a->mixed_precision ? a->mixed_precision
                       : a->fp16          ? "fp16"
                       : a->bf16          ? "bf16"
                                          : NULL;
    int rc;

    if ((a->mixed_precision != NULL) + a->fp16 + a->bf16 > 1)
        return lx_fail(err, LX_EUSAGE,
                       "--mixed_precision, --fp16 and --bf16: give one of them");
    if (a->half_vae && a->no_half_vae)
        return lx_fail(err, LX_EUSAGE, "--half_vae and --no_half_vae: give one of them");
    if (name && (rc = lx_precision_find(&plan->precision, name, err)) < 0)
        return rc;
    if (a->half_vae && plan->precision == LX_PRECISION_F32)
        return lx_fail(err, LX_EUSAGE,
                       "--half_vae: of which type? give --mixed_precision fp16 or bf16");
    plan->has_half_vae = plan->precision != LX_PRECISION_F32 && !a->no_half_vae &&
                         (a->half_vae || plan->has_half_vae);
    return LX_OK;
}

static int begin_defaults(defaults *d, const lx_sample_args *a, lx_error *err)
{
    *d =
        (defaults){.picture = {.settings = {.negative = "",
                                            .width = 512,
                                            .height = 512,
                                            .steps = a->is_compat ? 30 : 20,
                                            .clip_skip = 1,
                                            .cfg = a->is_compat ? 7.5 : 7,
                                            .noise = LX_NOISE_TORCH,
                                            .emphasis = a->is_compat ? LX_EMPHASIS_PEER
                                                                     : LX_EMPHASIS_WEB_UI,
                                            .is_peer = a->is_compat}}};
    return find_sampler(&d->picture.settings, a->is_compat ? "ddim" : "Euler a", err);
}

/* ---- pictures ---------------------------------------------------------------------- */

static int add_picture(lx_sample_plan *plan, const lx_picture *picture, lx_error *err)
{
    if (plan->n == MOST_PICTURES)
        return lx_fail(err, LX_ELIMIT, "more than %d pictures", MOST_PICTURES);
    if (lx_grow(&plan->pictures, &plan->capacity, plan->n + 1, sizeof *plan->pictures) <
        0)
        return lx_oom(err);
    plan->pictures[plan->n++] = *picture;
    return LX_OK;
}

/* `picture` as often as --images asks, seeds counting up. */
static int add_images(lx_sample_plan *plan, lx_picture *picture, const lx_sample_args *a,
                      lx_cli *cli, lx_error *err)
{
    int rc = lx_sample_check(&picture->settings, err);

    if (rc < 0 || (rc = lx_picture_read_prompt(picture, a, cli, NULL, 0, err)) < 0)
        return rc;
    for (int64_t i = 0; i < a->images && rc == LX_OK; i++) {
        rc = add_picture(plan, picture, err);
        picture->seed++;
    }
    return rc;
}

static int apply_line(lx_picture *p, const lx_prompt_line *line, const lx_sample_args *a,
                      lx_cli *cli, lx_error *err)
{
    lx_sample_settings *s = &p->settings;

    p->prompt = line->prompt;
    if (line->negative)
        s->negative = line->negative;
    if (line->width && !a->has_width)
        s->width = line->width;
    if (line->height && !a->has_height)
        s->height = line->height;
    if (line->steps && !a->has_steps)
        s->steps = line->steps < LX_MAX_STEPS ? line->steps : LX_MAX_STEPS - 1;
    if (line->has_cfg && !a->has_cfg)
        s->cfg = line->cfg;
    if (line->has_seed && !a->has_seed)
        p->seed = line->seed;
    if (line->ignored && !cli->is_quiet)
        lx_message(cli, "note: %s of a prompt is for other models and has no effect\n",
                   lx_safe(cli, line->ignored));
    return line->sampler && !a->sampler ? find_sampler(s, line->sampler, err) : LX_OK;
}

static int add_file(lx_sample_plan *plan, const defaults *d, const lx_sample_args *a,
                    lx_cli *cli, lx_error *err)
{
    lx_prompt_list list;
    int rc = lx_prompt_file_read(&list, cli->arena, a->prompt_file, err);

    for (size_t i = 0; rc == LX_OK && i < list.n; i++) {
        lx_picture picture = d->picture;
        if ((rc = apply_line(&picture, &list.lines[i], a, cli, err)) < 0 ||
            (rc = add_images(plan, &picture, a, cli, err)) < 0)
            lx_within(err, "%s: prompt %zu", a->prompt_file, i + 1);
    }
    lx_prompt_list_release(&list);
    return rc;
}

static int draw_seed(uint64_t *seed, lx_error *err)
{
    uint32_t drawn;

    if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
        return lx_fail_errno(err, errno, "drawing a seed");
    *seed = drawn;
    return LX_OK;
}

static int check_args(lx_sample_args *a, lx_error *err)
{
    int ignored, rc;

    a->images = a->has_images ? a->images : 1;
    a->batch = a->has_batch ? a->batch : 1;
    if ((rc = in_range(&ignored, a->images, "images", 1, MOST_PICTURES, err)) < 0 ||
        (rc = in_range(&ignored, a->batch, "batch", 1, MOST_BATCH, err)) < 0 ||
        (rc = in_range(&ignored, a->preview, "preview", 0, LX_MAX_STEPS, err)) < 0 ||
        (rc = in_range(&ignored, a->threads, "threads", 0, 4096, err)) < 0 ||
        (rc = in_range(&ignored, a->text_encoder_heads, "text_encoder_heads", 0, 4096,
                       err)) < 0)
        return rc;
    if (a->prompt && a->prompt_file)
        return lx_fail(err, LX_EUSAGE,
                       "--prompt and --prompt_file together: which prompt is it?");
    if (a->grids.count && (a->prompt_file || a->images > 1))
        return lx_fail(err, LX_EUSAGE,
                       "a grid is of one prompt and seed; for more seeds, "
                       "--grid seed=1-4");
    return LX_OK;
}

int lx_sample_plan_make(lx_sample_plan *plan, lx_sample_args *a, lx_cli *cli,
                        lx_error *err)
{
    defaults d;
    int rc;

    if ((rc = check_args(a, err)) < 0 || (rc = begin_defaults(&d, a, err)) < 0 ||
        (a->from && (rc = read_picture(&d, plan, a, cli, err)) < 0) ||
        (rc = read_flags(&d, a, err)) < 0 || (rc = read_precision(plan, a, err)) < 0)
        return rc;
    if (!d.picture.prompt && !a->prompt_file)
        return lx_fail(err, LX_EUSAGE,
                       "--prompt TEXT is missing (or --prompt_file, or --from)");
    if (!d.has_seed && (rc = draw_seed(&d.picture.seed, err)) < 0)
        return rc;
    if (a->prompt_file)
        return add_file(plan, &d, a, cli, err);
    if (a->grids.count == 0)
        return add_images(plan, &d.picture, a, cli, err);
    return lx_sample_grid_spread(plan, &d.picture, a, cli, err);
}
