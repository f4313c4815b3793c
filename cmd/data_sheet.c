/* lx data sheet - the images of a dataset on one page, to be culled by eye */
#include <string.h>

#include "cmd/data_check.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/marks.h"
#include "src/report/sheet.h"

struct sheet_args {
    int64_t size, near;
    const char *output, *identifier;
};

static const lx_option options[] = {
    LX_TEXT(struct sheet_args, output, 'o', "output", "FILE",
            "the page to make; it must not be there yet"),
    LX_INT(struct sheet_args, size, 0, "size", "N",
           "longer side of a picture in the page, 64 to 1024 (320)"),
    LX_INT(struct sheet_args, near, 0, "near", "BITS", "as lx data check"),
    LX_TEXT(struct sheet_args, identifier, 0, "identifier", "WORD", "as lx data check"),
    LX_OPTION_END,
};

typedef struct sheeting {
    lx_cli *cli;
    const lx_data_check *check;
    const char *from; /* the folder that names are relative to */
    size_t n_from;    /* bytes of a path that stand for it */
} sheeting;

/* ---- the folder that names are relative to -------------------------------------------------- */

/* Bytes of path that end in a slash and lie in all of them. */
static size_t common_folder(const lx_dataset *d)
{
    const char *first = d->images[0].path;
    size_t n = strlen(first);

    for (size_t i = 1; i < d->n_images; i++) {
        size_t k = 0;
        while (k < n && first[k] == d->images[i].path[k])
            k++;
        n = k;
    }
    while (n && first[n - 1] != '/')
        n--;
    return n;
}

/* The folder that was given where all lie in it, else the deepest that has all. */
static int find_folder(sheeting *s, const char *dir, lx_error *err)
{
    const lx_dataset *d = s->check->dataset;
    const size_t n = dir ? strlen(dir) : 0;
    const char *with =
        n && dir[n - 1] != '/' ? lx_arena_printf(s->cli->arena, "%s/", dir) : dir;
    bool is_in = with != NULL;

    for (size_t i = 0; i < d->n_images && is_in; i++)
        is_in = lx_starts_with(d->images[i].path, with);
    s->n_from = is_in ? strlen(with) : common_folder(d);
    while (d->images[0].path[s->n_from] == '/')
        s->n_from++;
    /* without its slash, but for the root */
    s->from = s->n_from ? lx_arena_strndup(s->cli->arena, d->images[0].path,
                                           s->n_from - (s->n_from > 1))
                        : ".";
    return s->from ? LX_OK : lx_oom(err);
}

/* ---- images ------------------------------------------------------------------------------- */

static int fill_image(lx_sheet_image *out, const sheeting *s, size_t i, lx_error *err)
{
    const lx_image *image = &s->check->dataset->images[i];
    const lx_check_image *seen = &s->check->images[i];
    lx_arena *arena = s->cli->arena;
    lx_str name = LX_STR_INIT;

    lx_name_escape(&name, image->path + s->n_from);
    *out = (lx_sheet_image){
        .name = name.failed ? NULL : lx_arena_strdup(arena, lx_str_text(&name)),
        .shown = image->path + s->n_from,
        .caption = image->has_caption_file ? image->caption : NULL,
        .words = image->caption,
        .bytes = seen->thumbnail.len ? seen->thumbnail.data : NULL,
        .n_bytes = seen->thumbnail.len,
        .width = seen->thumbnail_w,
        .height = seen->thumbnail_h,
        .problem = seen->problem.code < 0 ? seen->problem.text : NULL,
        .is_reg = image->is_reg,
    };
    lx_str_release(&name);
    if (s->check->is_planned && (image->repeats || image->is_held_out)) {
        const lx_bucket *b = &s->check->dataset->buckets[image->bucket];
        out->facts = lx_arena_printf(arena, "%d x %d, trained at %d x %d, %zu tokens",
                                     image->width, image->height, b->width, b->height,
                                     seen->n_tokens);
    } else {
        out->facts = lx_arena_printf(arena, "%d x %d, %zu tokens", image->width,
                                     image->height, seen->n_tokens);
    }
    return out->name && out->facts ? LX_OK : lx_oom(err);
}

static lx_sheet_flag flag_of(const lx_check_finding *f, lx_arena *arena)
{
    static const lx_report_tone tones[] = {[LX_SEVERITY_ERROR] = LX_TONE_BAD,
                                           [LX_SEVERITY_WARNING] = LX_TONE_WARN,
                                           [LX_SEVERITY_NOTE] = LX_TONE_PLAIN};
    const char *file = f->image == SIZE_MAX && f->file
                           ? lx_arena_printf(arena, "%s: %s", f->file, f->text)
                           : f->text;

    return (lx_sheet_flag){tones[f->severity], f->code, file ? file : f->text, f->remedy,
                           f->image};
}

/* ---- the page ----------------------------------------------------------------------------- */

/* Marks belong to these images in this folder. */
static const char *id_of(const sheeting *s, const lx_sheet *sheet)
{
    char hex[LX_HASH_HEX + 1];
    lx_sha256 h;
    lx_hash hash;

    lx_sha256_init(&h);
    for (size_t i = 0; i < sheet->n_images; i++)
        lx_sha256_update(&h, sheet->images[i].name, strlen(sheet->images[i].name) + 1);
    hash = lx_sha256_final(&h);
    lx_hash_hex(hex, &hash);
    return lx_arena_strndup(s->cli->arena, hex, 16);
}

static const char *command_of(const sheeting *s)
{
    lx_str text = LX_STR_INIT;
    const char *out;

    lx_str_puts(&text, "lx data move marks.txt --from ");
    lx_escape_shell(&text, s->from);
    lx_str_puts(&text, " --to DIR --mark drop");
    out = text.failed ? NULL : lx_arena_strdup(s->cli->arena, lx_str_text(&text));
    lx_str_release(&text);
    return out;
}

static int fill(lx_sheet *sheet, const sheeting *s, lx_error *err)
{
    const lx_data_check *c = s->check;
    lx_arena *arena = s->cli->arena;
    lx_sheet_image *images = lx_arena_calloc(arena, c->dataset->n_images, sizeof *images);
    lx_sheet_flag *flags = lx_arena_calloc(arena, c->n_findings + 1, sizeof *flags);
    int rc = images && flags ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < c->dataset->n_images && rc == LX_OK; i++)
        rc = fill_image(&images[i], s, i, err);
    for (size_t i = 0; i < c->n_findings && rc == LX_OK; i++)
        flags[i] = flag_of(&c->findings[i], arena);
    if (rc < 0)
        return rc;
    sheet->images = images;
    sheet->n_images = c->dataset->n_images;
    sheet->flags = flags;
    sheet->n_flags = c->n_findings;
    sheet->title = lx_arena_printf(arena, "Images of %s", s->from);
    sheet->id = id_of(s, sheet);
    sheet->command = command_of(s);
    return sheet->title && sheet->id && sheet->command ? LX_OK : lx_oom(err);
}

static int write_sheet(lx_cli *cli, const lx_data_check *check, const char *dir,
                       const struct sheet_args *args, lx_error *err)
{
    sheeting s = {.cli = cli, .check = check};
    lx_sheet sheet = {.side = (int)args->size, .made = "Made by lx " LX_VERSION "."};
    lx_str out = LX_STR_INIT;
    int rc;

    if (check->dataset->n_images == 0)
        return lx_fail(err, LX_ENOTFOUND, "no images: %s",
                       check->n_findings ? check->findings[0].text : "there are none");
    if ((rc = find_folder(&s, dir, err)) == LX_OK &&
        (rc = fill(&sheet, &s, err)) == LX_OK &&
        (rc = lx_sheet_html(&out, &sheet, err)) == LX_OK &&
        (rc = lx_alloc_has_failed() ? lx_oom(err) : LX_OK) == LX_OK &&
        (rc = lx_file_write(args->output, out.data, out.len, err)) == LX_OK)
        lx_data_say(cli, "wrote %s: %zu image%s, %.1f MB\n", lx_safe(cli, args->output),
                    sheet.n_images, lx_plural(sheet.n_images), (double)out.len / 1e6);
    lx_str_release(&out);
    return rc;
}

static int run(lx_cli *cli, void *unused, lx_error *err)
{
    struct sheet_args args = {.size = 320, .near = LX_CHECK_NEAR};
    lx_check_options check = {0};
    lx_data_check *found = NULL;
    lx_data_words words;
    const char *dir;
    int rc;

    (void)unused;
    if ((rc = lx_data_take_words(&words, &args, options, cli, err)) < 0)
        return rc;
    if (!args.output)
        return lx_fail(err, LX_EUSAGE, "-o FILE says where to write the page");
    if (args.size < 64 || args.size > 1024)
        return lx_fail(err, LX_EUSAGE, "--size goes from 64 to 1024");
    if (args.near < -1 || args.near > LX_PHASH_BITS)
        return lx_fail(err, LX_EUSAGE, "--near goes from -1 to %d", LX_PHASH_BITS);
    if (lx_file_exists(args.output))
        return lx_fail(err, LX_EEXISTS, "%s: is there already", args.output);
    check.near = (int)args.near;
    check.identifier = args.identifier;
    check.thumbnail = (int)args.size;
    if ((rc = lx_data_check_words(&found, &dir, &check, cli, &words, err)) == LX_OK)
        rc = write_sheet(cli, found, dir, &args, err);
    lx_data_check_free(found);
    return rc;
}

const lx_command lx_cmd_data_sheet = {
    .name = "data sheet",
    .summary = "all images of a dataset on one page, to be looked through and marked",
    .usage = "DIR -o FILE [FLAGS OF lx train ...]",
    .help = "Writes one page of HTML with every image, its caption and what `lx data "
            "check` finds about it.\n"
            "Nothing is fetched, and nothing is sent: pictures are inside it. In a "
            "browser the arrows go from\n"
            "image to image, k keeps, x drops, m marks for moving, u takes the mark off; "
            "the list of marks is\n"
            "saved or copied, and `lx data move` does what it says. The flags are those "
            "of `lx data check`.\n"
            "\n"
            "Examples:\n"
            "  lx data sheet img -o sheet.html\n"
            "  lx data move marks.txt --from img --to culled --mark drop\n",
    .options = options,
    .parses_itself = true,
    .run = run,
};
