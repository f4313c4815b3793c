/* lx data move - what the list of a contact sheet says: images, with all that belongs to them */
#include <string.h>

#include "cmd/data.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/marks.h"
#include "src/data/scan.h"

struct move_args {
    bool write;
    const char *from, *to, *mark;
    lx_words lists;
};

static const lx_option options[] = {
    LX_TEXT(struct move_args, to, 0, "to", "DIR", "where to; made when it is not there"),
    LX_TEXT(struct move_args, from, 0, "from", "DIR",
            "the folder that the names are relative to (the working folder)"),
    LX_TEXT(struct move_args, mark, 0, "mark", "MARK",
            "those marked drop, or those marked move; needed when there are both"),
    LX_FLAG(struct move_args, write, 'w', "write",
            "do it; without, only what would be moved is shown"),
    LX_ARGS(struct move_args, lists, "LIST",
            "the list that a contact sheet saved, or - for standard input"),
    LX_OPTION_END,
};

enum { LIST_BYTES = 64 << 20, MOST_SHOWN = 40 };

typedef struct pair {
    const char *from, *to;
} pair;

typedef struct moving {
    lx_cli *cli;
    const struct move_args *args;
    const char *mark;
    lx_marks marks; /* those that are moved */
    pair *pairs;
    size_t count, capacity, n_images;
    const char *folder; /* the one in dir: images of one folder follow each other */
    lx_dir dir;
} moving;

/* ---- the list ----------------------------------------------------------------------------- */

static int read_input(lx_str *out, const char *path, lx_error *err)
{
    char part[4096];
    size_t got;

    if (strcmp(path, "-") != 0)
        return lx_file_read(out, path, LIST_BYTES, err);
    while ((got = fread(part, 1, sizeof part, stdin)) > 0 && out->len <= LIST_BYTES)
        lx_str_append(out, part, got);
    if (ferror(stdin))
        return lx_fail(err, LX_EIO, "standard input cannot be read");
    if (out->len > LIST_BYTES)
        return lx_fail(err, LX_ELIMIT, "standard input has more than %d bytes",
                       LIST_BYTES);
    return lx_str_check(out, err);
}

/* The mark that is meant, where only one of the two is there. */
static int choose_mark(moving *m, const lx_marks *all, lx_error *err)
{
    size_t n_drop = 0, n_move = 0;

    for (size_t i = 0; i < all->count; i++) {
        n_drop += strcmp(all->items[i].mark, "drop") == 0;
        n_move += strcmp(all->items[i].mark, "move") == 0;
    }
    if (!m->args->mark && n_drop && n_move)
        return lx_fail(
            err, LX_EUSAGE,
            "%zu marked drop and %zu marked move: --mark says which of them go", n_drop,
            n_move);
    m->mark = m->args->mark ? m->args->mark : n_move ? "move" : "drop";
    if (strcmp(m->mark, "drop") != 0 && strcmp(m->mark, "move") != 0)
        return lx_fail(err, LX_EUSAGE, "--mark is drop or move, not '%s'", m->mark);
    return LX_OK;
}

static int read_list(moving *m, const char *path, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    lx_marks all;
    int rc;

    if ((rc = read_input(&text, path, err)) == LX_OK &&
        (rc = lx_marks_parse(&all, lx_str_text(&text), text.len, m->cli->arena, err)) < 0)
        lx_within(err, "%s", path);
    lx_str_release(&text);
    if (rc < 0 || (rc = choose_mark(m, &all, err)) < 0)
        return rc;
    m->marks = (lx_marks){all.items, 0};
    for (size_t i = 0; i < all.count; i++)
        if (strcmp(all.items[i].mark, m->mark) == 0)
            m->marks.items[m->marks.count++] = all.items[i];
    return LX_OK;
}

/* ---- what belongs to an image -------------------------------------------------------------- */

static int add_pair(moving *m, const char *from, lx_error *err)
{
    lx_arena *arena = m->cli->arena;
    const char *to =
        lx_arena_printf(arena, lx_ends_with(m->args->to, "/") ? "%s%s" : "%s/%s",
                        m->args->to, lx_path_base(from));

    if (!to || lx_grow(&m->pairs, &m->capacity, m->count + 1, sizeof *m->pairs) < 0)
        return lx_oom(err);
    m->pairs[m->count++] = (pair){from, to};
    return LX_OK;
}

/* "a.npz", and "a_0512x0768_sd.npz" as sd-scripts names what it keeps of a.png */
static bool is_latents(const char *rest)
{
    size_t n;

    if (strcmp(rest, ".npz") == 0)
        return true;
    if (*rest++ != '_' || !(n = strspn(rest, "0123456789")) || rest[n] != 'x')
        return false;
    rest += n + 1;
    n = strspn(rest, "0123456789");
    return n && (rest[n] == '_' || rest[n] == '.') && lx_ends_with(rest, ".npz");
}

static bool belongs(const char *name, const char *image)
{
    const size_t stem = strlen(image) - strlen(lx_path_ext(image));

    if (strncmp(name, image, stem) != 0)
        return false;
    for (int i = 0; i < LX_N_CAPTION_ENDINGS; i++)
        if (strcmp(name + stem, lx_scan__caption_endings[i]) == 0)
            return true;
    return is_latents(name + stem);
}

static bool is_moved(const moving *m, const char *path)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->pairs[i].from, path) == 0)
            return true;
    return false;
}

/* Another image of the folder has the same stem, and stays: what belongs to both stays with it. */
static bool is_shared(const moving *m, const char *image)
{
    const size_t stem = strlen(image) - strlen(lx_path_ext(image));
    bool found = false;

    for (size_t i = 0; i < m->dir.count && !found; i++) {
        const char *name = m->dir.names[i], *path;
        if (!lx_scan__is_image_name(name) || strcmp(name, image) == 0 ||
            strlen(name) - strlen(lx_path_ext(name)) != stem ||
            strncmp(name, image, stem) != 0)
            continue;
        path = lx_arena_printf(m->cli->arena, "%s/%s", m->folder, name);
        found = !path || !is_moved(m, path);
    }
    return found;
}

static int open_folder(moving *m, const char *path, lx_error *err)
{
    const char *name = lx_path_base(path);
    const char *folder = lx_arena_strndup(m->cli->arena, path, (size_t)(name - path) - 1);

    if (!folder)
        return lx_oom(err);
    if (m->folder && strcmp(m->folder, folder) == 0)
        return LX_OK;
    lx_dir_free(&m->dir);
    m->folder = folder;
    return lx_dir_list(&m->dir, folder, err);
}

static int add_companions(moving *m, const char *path, lx_error *err)
{
    const char *image = lx_path_base(path);
    int rc = open_folder(m, path, err);

    if (rc < 0)
        return rc;
    if (is_shared(m, image)) {
        lx_data_say(m->cli, "%s: its caption stays, since another image has it too\n",
                    lx_safe(m->cli, path));
        return LX_OK;
    }
    for (size_t i = 0; i < m->dir.count && rc == LX_OK; i++) {
        const char *from;
        if (!belongs(m->dir.names[i], image))
            continue;
        from = lx_arena_printf(m->cli->arena, "%s/%s", m->folder, m->dir.names[i]);
        if (!from)
            rc = lx_oom(err);
        else if (!is_moved(m, from))
            rc = add_pair(m, from, err);
    }
    return rc;
}

/* Images first: whether a caption goes along depends on all of them. */
static int add_all(moving *m, lx_error *err)
{
    const char *root = m->args->from ? m->args->from : ".";
    int rc = LX_OK;

    for (size_t i = 0; i < m->marks.count && rc == LX_OK; i++) {
        const char *name = m->marks.items[i].path;
        const char *path = lx_arena_printf(
            m->cli->arena, lx_ends_with(root, "/") ? "%s%s" : "%s/%s", root, name);
        if (!path)
            return lx_oom(err);
        if (!lx_scan__is_image_name(lx_path_base(name)))
            return lx_fail(err, LX_EFORMAT, "%s: line %zu: \"%s\" is no image",
                           m->args->lists.items[0], m->marks.items[i].line, name);
        if (!lx_file_exists(path) || lx_file_is_dir(path))
            return lx_fail(err, LX_ENOTFOUND,
                           "%s: is not there (--from names the folder)", path);
        rc = add_pair(m, path, err);
    }
    m->n_images = m->count;
    for (size_t i = 0; i < m->n_images && rc == LX_OK; i++)
        rc = add_companions(m, m->pairs[i].from, err);
    return rc;
}

/* ---- moving ------------------------------------------------------------------------------- */

/* Refused before anything is made, so that a dry run says it too. */
static int check_targets(const moving *m, lx_error *err)
{
    for (size_t i = 0; i < m->count; i++) {
        if (lx_file_exists(m->pairs[i].to))
            return lx_fail(err, LX_EEXISTS, "%s: is there already; nothing is moved",
                           m->pairs[i].to);
        for (size_t k = 0; k < i; k++)
            if (strcmp(m->pairs[i].to, m->pairs[k].to) == 0)
                return lx_fail(err, LX_EEXISTS,
                               "%s and %s have one name; nothing is moved",
                               m->pairs[k].from, m->pairs[i].from);
    }
    return LX_OK;
}

static void show(const moving *m)
{
    for (size_t i = 0; i < m->count && i < MOST_SHOWN; i++)
        lx_print(m->cli, "%s -> %s\n", lx_safe(m->cli, m->pairs[i].from),
                 lx_safe(m->cli, m->pairs[i].to));
    if (m->count > MOST_SHOWN)
        lx_print(m->cli, "... and %zu more\n", m->count - MOST_SHOWN);
    lx_data_say(m->cli, "would move %zu image%s and %zu other file%s; --write does it\n",
                m->n_images, m->n_images == 1 ? "" : "s", m->count - m->n_images,
                m->count - m->n_images == 1 ? "" : "s");
}

static int move_all(moving *m, lx_error *err)
{
    lx_change *change = NULL;
    const char *id;
    int rc;

    if ((rc = lx_make_dirs(m->args->to, err)) < 0 ||
        (rc = lx_change_new(&change, m->cli, m->args->from ? m->args->from : ".",
                            m->args->to, "move", err)) < 0)
        return rc;
    for (size_t i = 0; i < m->count && rc == LX_OK; i++)
        rc = lx_change_move(change, m->pairs[i].from, m->pairs[i].to, err);
    if (rc == LX_OK && (rc = lx_change_apply(change, &id, err)) == LX_OK)
        lx_data_say(m->cli,
                    "moved %zu image%s and %zu other file%s; lx data undo %s --write "
                    "takes it back\n",
                    m->n_images, m->n_images == 1 ? "" : "s", m->count - m->n_images,
                    m->count - m->n_images == 1 ? "" : "s", id);
    lx_change_free(change);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct move_args *args = args_;
    moving m = {.cli = cli, .args = args};
    int rc;

    if (args->lists.count != 1)
        return lx_fail(err, LX_EUSAGE, "name the list that a contact sheet saved");
    if (!args->to)
        return lx_fail(err, LX_EUSAGE, "--to DIR says where to");
    if ((rc = read_list(&m, args->lists.items[0], err)) < 0 ||
        (rc = add_all(&m, err)) < 0 || (rc = check_targets(&m, err)) < 0)
        goto done;
    if (m.count == 0)
        lx_data_say(cli, "no image of the list is marked %s\n", m.mark);
    else if (args->write)
        rc = move_all(&m, err);
    else
        show(&m);
done:
    lx_dir_free(&m.dir);
    lx_free(m.pairs);
    return rc;
}

const lx_command lx_cmd_data_move = {
    .name = "data move",
    .summary = "move the images that were marked on a contact sheet",
    .usage = "LIST --to DIR",
    .help =
        "Moves the images of a list that `lx data sheet` saved, with their captions "
        "(.txt .caption .cap\n"
        ".tags) and latents (.npz). The names are relative to --from. All go into DIR "
        "itself. Nothing is\n"
        "overwritten: when a name is taken, nothing is moved. Without --write it shows "
        "what would be\n"
        "moved; `lx data undo` takes it back.\n"
        "\n"
        "Examples:\n"
        "  lx data move marks.txt --from img --to culled --mark drop\n"
        "  lx data move marks.txt --from img --to 'img/5_rare iwl' --mark move --write\n",
    .options = options,
    .args_size = sizeof(struct move_args),
    .run = run,
};
