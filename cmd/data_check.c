/* lx data check - what is wrong with a dataset, file by file, with what it means and what to do */
#include "cmd/data_check.h"

#include <string.h>

#include "cmd/train_flags.h"
#include "src/base/file.h"
#include "src/base/json.h"

struct check_args {
    bool json, all, fix, in_place;
    int64_t near;
    const char *output, *identifier, *encoding;
};

static const lx_option options[] = {
    LX_FLAG(struct check_args, json, 'j', "json",
            "print one JSON object: every finding, image and bucket"),
    LX_FLAG(struct check_args, all, 'a', "all",
            "every finding and every image, not the first of each kind"),
    LX_INT(
        struct check_args, near, 0, "near", "BITS",
        "how many of 64 bits near duplicates may differ in (6); -1: none are looked for"),
    LX_TEXT(struct check_args, identifier, 0, "identifier", "WORD",
            "the word that is to call what is trained (the first of each folder's name)"),
    LX_FLAG(struct check_args, fix, 0, "fix",
            "mend what can be mended without a choice; says where by one of:"),
    LX_TEXT(struct check_args, output, 'o', "output", "DIR",
            "with --fix: the whole set, mended, into DIR"),
    LX_FLAG(struct check_args, in_place, 0, "in-place",
            "with --fix: over the originals; lx data undo takes it back"),
    LX_TEXT(struct check_args, encoding, 0, "encoding", "NAME",
            "with --fix: what captions that are not UTF-8 are (CP932, GBK, BIG5 ...)"),
    LX_OPTION_END,
};

enum { SHOWN_OF_A_KIND = 5, SHOWN_CROPS = 5 };

/* ---- words -------------------------------------------------------------------------------- */

static const lx_option *option_of(const lx_option *o, const char *word)
{
    for (; o->name; o++) {
        const size_t n = strlen(o->name);
        if (o->letter && word[0] == '-' && word[1] == o->letter && word[2] == '\0')
            return o;
        if (strncmp(word, "--", 2) == 0 && lx_option_name_is(word + 2, o->name, n) &&
            (word[2 + n] == '\0' || word[2 + n] == '='))
            return o;
    }
    return NULL;
}

int lx_data_take_words(lx_data_words *rest, void *args, const lx_option *own, lx_cli *cli,
                       lx_error *err)
{
    lx_globals globals = {0};
    const lx_option_set sets[] = {{own, args}, {lx_global_options, &globals}};
    char **mine = lx_arena_calloc(cli->arena, (size_t)cli->argc + 1, sizeof *mine);
    int n_mine = 0, rc;

    *rest = (lx_data_words){
        0, lx_arena_calloc(cli->arena, (size_t)cli->argc + 1, sizeof *rest->argv)};
    if (!mine || !rest->argv)
        return lx_oom(err);
    for (int i = 0; i < cli->argc; i++) {
        const lx_option *o = option_of(own, cli->argv[i]);
        if (!o && !(o = option_of(lx_global_options, cli->argv[i]))) {
            rest->argv[rest->argc++] = cli->argv[i];
            continue;
        }
        mine[n_mine++] = cli->argv[i];
        if (o->kind != LX_OPTION_FLAG && !strchr(cli->argv[i], '=') && i + 1 < cli->argc)
            mine[n_mine++] = cli->argv[++i];
    }
    rc = lx_option_sets_parse(sets, 2, n_mine, mine, NULL, cli->arena, err);
    if (rc == LX_OK)
        lx_cli_apply_globals(cli, &globals);
    return rc;
}

/* DIR, if it stands first, becomes what it is: train_data_dir or a folder of images. */
int lx_data_check_words(lx_data_check **out, const char **given, lx_check_options *extra,
                        lx_cli *cli, const lx_data_words *words, lx_error *err)
{
    lx_train_config *config = lx_arena_calloc(cli->arena, 1, sizeof *config);
    lx_train_flags *flags = lx_arena_calloc(cli->arena, 1, sizeof *flags);
    const char *dir = words->argc && words->argv[0][0] != '-' ? words->argv[0] : NULL;
    int rc;

    *out = NULL;
    if (given)
        *given = dir;
    if (!config || !flags)
        return lx_oom(err);
    if ((rc = lx_train_flags_parse(config, flags, cli, words->argc - (dir != NULL),
                                   words->argv + (dir != NULL), err)) < 0)
        return rc;
    for (size_t i = 0; i < flags->notes.count && cli->is_verbose; i++)
        lx_message(cli, "note: %s\n", lx_safe(cli, flags->notes.items[i]));
    if (dir && (config->data.train_data_dir || config->data.n_subsets))
        return lx_fail(err, LX_EUSAGE,
                       "\"%s\" and flags that name other folders: give one of them", dir);
    if (dir && (rc = lx_dataset_config_dir(&config->data, dir, cli->arena, err)) < 0)
        return rc;
    if (dir && config->data.n_subsets && config->data.reg_data_dir)
        return lx_fail(err, LX_EUSAGE,
                       "\"%s\" is a folder of images: --reg_data_dir belongs to one that "
                       "holds folders (10_name)",
                       dir);
    if (!config->data.train_data_dir && !config->data.n_subsets)
        return lx_fail(err, LX_EUSAGE, "name the folder, or --dataset_config FILE");
    if (config->data.width < 1 && !config->data.has_dataset_config) {
        config->data.width = config->data.height = 512;
        config->data.enable_bucket = true;
    }
    extra->data = &config->data;
    extra->max_token_length =
        config->max_token_length > 0 ? config->max_token_length : 75;
    return lx_data_check_run(out, extra, err);
}

/* ---- text --------------------------------------------------------------------------------- */

static void show_finding(lx_cli *cli, const lx_check_finding *f)
{
    lx_print(cli, "%s: %s%s%s\n    %s\n", lx_severity_names[f->severity], f->code,
             f->file ? ": " : "", f->file ? lx_safe(cli, f->file) : "",
             lx_safe(cli, f->text));
    if (f->remedy)
        lx_print(cli, "    -> %s%s\n", lx_safe(cli, f->remedy),
                 f->is_fixable ? " (--fix does)" : "");
}

static void show_findings(lx_cli *cli, const lx_data_check *c, bool all)
{
    for (size_t i = 0, end; i < c->n_findings; i = end) {
        const lx_check_finding *f = &c->findings[i];
        for (end = i + 1;
             end < c->n_findings && c->findings[end].severity == f->severity &&
             strcmp(c->findings[end].code, f->code) == 0;
             end++)
            ;
        for (size_t k = i; k < end && (all || k < i + SHOWN_OF_A_KIND); k++)
            show_finding(cli, &c->findings[k]);
        if (!all && end - i > SHOWN_OF_A_KIND)
            lx_print(cli, "    ... and %zu more of %s (--all shows them)\n",
                     end - i - SHOWN_OF_A_KIND, f->code);
    }
}

static void show_captions(lx_cli *cli, const lx_data_check *c)
{
    const lx_dataset *d = c->dataset;
    size_t n = 0, n_read = 0, least = SIZE_MAX, most = 0, over[3] = {0};

    for (size_t i = 0; i < d->n_images; i++) {
        const size_t t = c->images[i].n_tokens;
        if (d->images[i].is_reg)
            continue;
        n++;
        n_read += d->images[i].has_caption_file;
        least = t < least ? t : least;
        most = t > most ? t : most;
        for (size_t k = 0; k < 3; k++)
            over[k] += t > 75 * (k + 1);
    }
    if (!n)
        return;
    lx_print(cli, "captions  %zu of %zu image%s (%s); %zu to %zu tokens", n_read, n,
             lx_plural(n), lx_safe(cli, c->caption_extension), least, most);
    if (over[0])
        lx_print(cli, ", over 75: %zu, over 150: %zu, over 225: %zu", over[0], over[1],
                 over[2]);
    lx_print(cli, "\n");
}

static double share_cropped(const lx_data_check *c, size_t i)
{
    const lx_image *image = &c->dataset->images[i];
    return (double)c->images[i].cropped / ((double)image->width * image->height);
}

/* Mean and most of a bucket's images. */
static void show_bucket(lx_cli *cli, const lx_data_check *c, size_t index)
{
    const lx_dataset *d = c->dataset;
    const lx_bucket *b = &d->buckets[index];
    double sum = 0, most = 0;
    size_t n = 0;

    for (size_t i = 0; i < d->n_images; i++) {
        const double share = share_cropped(c, i);
        if ((size_t)d->images[i].bucket != index ||
            (d->images[i].repeats == 0 && !d->images[i].is_held_out))
            continue;
        n++;
        sum += share;
        most = share > most ? share : most;
    }
    lx_print(
        cli,
        "  %5d x %-5d  %zu image%s, %zu sample%s, cropped by %.1f %% on average, %.1f %% "
        "at most\n",
        b->width, b->height, n, lx_plural(n), b->n_samples, lx_plural(b->n_samples),
        n ? 100 * sum / (double)n : 0, 100 * most);
}

static void show_image(lx_cli *cli, const lx_data_check *c, size_t i)
{
    const lx_image *image = &c->dataset->images[i];
    const lx_bucket *b = &c->dataset->buckets[image->bucket];

    if (image->repeats == 0 && !image->is_held_out)
        return;
    lx_print(cli,
             "  %d x %d -> %d x %d -> %d x %d, %lld pixels (%.1f %%) cropped, %zu tokens "
             " %s\n",
             image->width, image->height, image->resized_w, image->resized_h, b->width,
             b->height, (long long)c->images[i].cropped, 100 * share_cropped(c, i),
             c->images[i].n_tokens, lx_safe(cli, image->path));
}

static void show_buckets(lx_cli *cli, const lx_data_check *c, bool all)
{
    const lx_dataset *d = c->dataset;

    if (!c->is_planned)
        return;
    for (size_t p = 0; p < d->n_parts; p++) {
        const lx_data_part *part = &d->parts[p];
        lx_print(cli, "buckets   of --resolution %d,%d%s\n", part->config->width,
                 part->config->height,
                 part->config->enable_bucket ? " --enable_bucket" : "");
        for (size_t i = part->first_bucket; i < part->first_bucket + part->n_buckets; i++)
            show_bucket(cli, c, i);
    }
    if (!all)
        return;
    lx_print(cli, "images    as stored -> resized -> trained\n");
    for (size_t i = 0; i < d->n_images; i++)
        show_image(cli, c, i);
}

/* As lx plan has it: images x repeats, and what regularisation makes of it. */
static void show_samples(lx_cli *cli, const lx_data_check *c)
{
    const lx_dataset *d = c->dataset;

    for (size_t i = 0; i < d->n_folders; i++) {
        const lx_folder *f = &d->folders[i];
        if (f->n_images)
            lx_print(cli, "folder    %s%s: %zu image%s x %d repeat%s\n",
                     lx_safe(cli, f->path), f->is_reg ? " (regularisation)" : "",
                     f->n_images, lx_plural(f->n_images), f->repeats,
                     lx_plural((size_t)f->repeats));
    }
    if (c->is_planned && d->n_reg_samples)
        lx_print(cli,
                 "epoch     %zu training + %zu regularisation samples (taken again in "
                 "turn until "
                 "as many) = %zu\n",
                 d->n_train_samples, d->n_reg_samples,
                 d->n_train_samples + d->n_reg_samples);
    else if (c->is_planned)
        lx_print(cli, "epoch     %zu sample%s\n", d->n_train_samples, lx_plural(d->n_train_samples));
}

static void show_words(lx_cli *cli, const lx_data_check *c, bool all)
{
    show_findings(cli, c, all);
    if (c->n_findings)
        lx_print(cli, "\n");
    show_samples(cli, c);
    show_captions(cli, c);
    show_buckets(cli, c, all);
    lx_print(cli, "%zu error%s, %zu warning%s, %zu note%s in %zu image%s\n",
             c->counts[LX_SEVERITY_ERROR], lx_plural(c->counts[LX_SEVERITY_ERROR]),
             c->counts[LX_SEVERITY_WARNING], lx_plural(c->counts[LX_SEVERITY_WARNING]),
             c->counts[LX_SEVERITY_NOTE], lx_plural(c->counts[LX_SEVERITY_NOTE]),
             c->dataset->n_images, lx_plural(c->dataset->n_images));
}

/* ---- JSON --------------------------------------------------------------------------------- */

/* File names need not be UTF-8, JSON must be. */
static void add_text(cJSON *object, const char *key, const char *text, lx_cli *cli)
{
    if (!text)
        cJSON_AddNullToObject(object, key);
    else if (lx_utf8_check(text, strlen(text)) == strlen(text))
        cJSON_AddStringToObject(object, key, text);
    else
        cJSON_AddStringToObject(object, key, lx_safe(cli, text));
}

static void add_findings(cJSON *out, const lx_data_check *c, lx_cli *cli)
{
    cJSON *list = cJSON_AddArrayToObject(out, "findings");

    for (size_t i = 0; i < c->n_findings; i++) {
        const lx_check_finding *f = &c->findings[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "severity", lx_severity_names[f->severity]);
        cJSON_AddStringToObject(o, "code", f->code);
        add_text(o, "file", f->file, cli);
        add_text(o, "text", f->text, cli);
        add_text(o, "remedy", f->remedy, cli);
        cJSON_AddBoolToObject(o, "fixable", f->is_fixable);
    }
}

static void add_size(cJSON *object, const char *key, int width, int height)
{
    const int sides[] = {width, height};
    cJSON_AddItemToObject(object, key, cJSON_CreateIntArray(sides, 2));
}

static void add_image(cJSON *list, const lx_data_check *c, size_t i, lx_cli *cli)
{
    const lx_image *image = &c->dataset->images[i];
    const lx_check_image *seen = &c->images[i];
    char hex[LX_HASH_HEX + 1];
    cJSON *o = cJSON_CreateObject();

    cJSON_AddItemToArray(list, o);
    add_text(o, "file", image->path, cli);
    add_text(o, "caption_file", image->has_caption_file ? image->caption_path : NULL,
             cli);
    lx_hash_hex(hex, &seen->hash);
    cJSON_AddStringToObject(o, "sha256", hex);
    add_size(o, "size", image->width, image->height);
    cJSON_AddNumberToObject(o, "tokens", (double)seen->n_tokens);
    cJSON_AddNumberToObject(o, "repeats", image->repeats);
    cJSON_AddBoolToObject(o, "is_reg", image->is_reg);
    if (seen->problem.code == 0 && !seen->looks.is_flat) {
        char bits[17];
        snprintf(bits, sizeof bits, "%016llx", (unsigned long long)seen->looks.bits);
        cJSON_AddStringToObject(o, "phash", bits);
    }
    if (!c->is_planned || (image->repeats == 0 && !image->is_held_out))
        return;
    add_size(o, "bucket", c->dataset->buckets[image->bucket].width,
             c->dataset->buckets[image->bucket].height);
    add_size(o, "resized", image->resized_w, image->resized_h);
    cJSON_AddNumberToObject(o, "cropped_pixels", (double)seen->cropped);
}

static void add_dataset(cJSON *out, const lx_data_check *c, lx_cli *cli)
{
    const lx_dataset *d = c->dataset;
    cJSON *list = cJSON_AddArrayToObject(out, "folders");

    for (size_t i = 0; i < d->n_folders; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        add_text(o, "path", d->folders[i].path, cli);
        cJSON_AddNumberToObject(o, "images", (double)d->folders[i].n_images);
        cJSON_AddNumberToObject(o, "captions", (double)d->folders[i].n_captions);
        cJSON_AddNumberToObject(o, "repeats", d->folders[i].repeats);
        cJSON_AddBoolToObject(o, "is_reg", d->folders[i].is_reg);
    }
    list = cJSON_AddArrayToObject(out, "images");
    for (size_t i = 0; i < d->n_images; i++)
        add_image(list, c, i, cli);
    list = cJSON_AddArrayToObject(out, "buckets");
    for (size_t i = 0; i < d->n_buckets; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        add_size(o, "size", d->buckets[i].width, d->buckets[i].height);
        cJSON_AddNumberToObject(o, "images", (double)d->buckets[i].n_images);
        cJSON_AddNumberToObject(o, "samples", (double)d->buckets[i].n_samples);
    }
    cJSON_AddNumberToObject(out, "train_samples", (double)d->n_train_samples);
    cJSON_AddNumberToObject(out, "reg_samples", (double)d->n_reg_samples);
    add_text(out, "caption_extension", c->caption_extension, cli);
}

static int show_json(lx_cli *cli, const lx_data_check *c, lx_error *err)
{
    cJSON *out = cJSON_CreateObject();
    lx_str text = LX_STR_INIT;
    int rc;

    for (int s = 0; s < 3; s++) {
        static const char *const keys[] = {"errors", "warnings", "notes"};
        cJSON_AddNumberToObject(out, keys[s], (double)c->counts[s]);
    }
    add_findings(out, c, cli);
    add_dataset(out, c, cli);
    if ((rc = lx_json_pretty(&text, out, err)) == LX_OK)
        lx_print(cli, "%s\n", lx_str_text(&text));
    lx_str_release(&text);
    cJSON_Delete(out);
    return rc;
}

/* ---- the command -------------------------------------------------------------------------- */

static int check_args(const struct check_args *a, lx_error *err)
{
    if (a->near < -1 || a->near > LX_PHASH_BITS)
        return lx_fail(err, LX_EUSAGE, "--near goes from -1 to %d", LX_PHASH_BITS);
    if (a->fix && !a->output == !a->in_place)
        return lx_fail(err, LX_EUSAGE,
                       "--fix needs --output DIR or --in-place, one of them");
    if (!a->fix && (a->output || a->in_place || a->encoding))
        return lx_fail(err, LX_EUSAGE,
                       "--output, --in-place and --encoding belong to --fix");
    return LX_OK;
}

static int run(lx_cli *cli, void *unused, lx_error *err)
{
    struct check_args args = {.near = LX_CHECK_NEAR};
    lx_check_options check = {0};
    lx_data_check *found = NULL;
    lx_data_words words;
    int rc;

    (void)unused;
    if ((rc = lx_data_take_words(&words, &args, options, cli, err)) < 0 ||
        (rc = check_args(&args, err)) < 0)
        return rc;
    check.near = (int)args.near;
    check.identifier = args.identifier;
    if ((rc = lx_data_check_words(&found, NULL, &check, cli, &words, err)) < 0)
        return rc;
    if (args.json)
        rc = show_json(cli, found, err);
    else
        show_words(cli, found, args.all);
    if (rc == LX_OK && args.fix) {
        const lx_fix_options fix = {args.output, args.in_place, args.encoding};
        rc = lx_data_fix(cli, found, &fix, err);
    }
    if (rc == LX_OK && found->counts[LX_SEVERITY_ERROR] > 0)
        rc = lx_fail(err, LX_ECHECK, "%zu finding%s would stop a training or spoil it",
                     found->counts[LX_SEVERITY_ERROR],
                     lx_plural(found->counts[LX_SEVERITY_ERROR]));
    lx_data_check_free(found);
    return rc;
}

const lx_command lx_cmd_data_check = {
    .name = "data check",
    .summary = "what is wrong with a dataset, and what to do about it",
    .usage = "DIR [FLAGS OF lx train ...]",
    .help =
        "DIR is a folder of folders as --train_data_dir has them (\"10_iwl 1girl\"), or "
        "one folder of\n"
        "images; or leave it out and give --dataset_config FILE. The flags of `lx train` "
        "are taken as\n"
        "they are (--caption_extension, --reg_data_dir, --resolution, --max_token_length "
        "...), since\n"
        "they decide what is read; without --resolution, buckets of 512 are looked at.\n"
        "\n"
        "Looked for: captions that would not be read, images at the wrong level, broken, "
        "transparent,\n"
        "CMYK, turned, tiny and huge images, the same and nearly the same picture twice "
        "(64 bits of\n"
        "a DCT, as the package imagehash computes them), captions that are empty, cut, "
        "no UTF-8 or begin with a mark,\n"
        "tags in two spellings and tags that are never apart, the identifier's tokens "
        "and where it\n"
        "is missing, pixels that the buckets crop, and what regularisation images come "
        "to.\n"
        "Each finding has its file, what it means and a remedy. Exit status 1 when an "
        "error is found.\n"
        "\n"
        "Examples:\n"
        "  lx data check img --resolution 512 --enable_bucket --caption_extension .txt\n"
        "  lx data check --dataset_config set.toml --json\n"
        "  lx data check img --fix --output img-mended\n",
    .options = options,
    .parses_itself = true,
    .run = run,
};
