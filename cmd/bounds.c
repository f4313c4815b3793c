#include "cmd/bounds.h"

#include <dirent.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/settings.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/visited.h"
#include "store/git.h"
#include "store/store.h"

enum { MOST_DEPTH = 64 };

static void add(lx_bounds *b, const char *path, int rights)
{
    if (lx_arena_grow(b->cli->arena, &b->rules, &b->capacity, b->n + 1,
                      sizeof *b->rules) < 0) {
        b->failed = true;
        return;
    }
    b->failed = b->failed || !path;
    if (path)
        b->rules[b->n++] = (lx_sandbox_rule){path, rights};
}

/* ---- folders with links --------------------------------------------------------------- */

typedef struct walk {
    lx_bounds *b;
    lx_visited seen; /* folders that links led to */
} walk;

static void find_links(walk *w, const char *folder, int depth);

/* What a link leads to is not below the folder for the kernel: it needs a rule of its own. */
static void follow(walk *w, const char *path, int depth)
{
    struct stat st;

    if (stat(path, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        return;
    if (S_ISDIR(st.st_mode)) {
        const int rc = lx_visited_add(&w->seen, &st, NULL);
        w->b->failed = w->b->failed || rc < 0;
        if (rc <= 0)
            return;
    }
    add(w->b, path, LX_SANDBOX_READ);
    if (S_ISDIR(st.st_mode))
        find_links(w, path, depth + 1);
}

static void find_links(walk *w, const char *folder, int depth)
{
    DIR *dir = depth < MOST_DEPTH ? opendir(folder) : NULL;
    struct dirent *entry;
    struct stat st;

    while (dir && (entry = readdir(dir))) {
        const char *name = entry->d_name, *path;
        int type = entry->d_type;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || type == DT_REG)
            continue;
        if (!(path = lx_arena_printf(w->b->cli->arena, "%s/%s", folder, name))) {
            w->b->failed = true;
            break;
        }
        if (type == DT_UNKNOWN && lstat(path, &st) == 0)
            type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISLNK(st.st_mode) ? DT_LNK : DT_REG;
        if (type == DT_DIR)
            find_links(w, path, depth + 1);
        else if (type == DT_LNK)
            follow(w, path, depth);
    }
    if (dir)
        closedir(dir);
}

/* ---- what is needed -------------------------------------------------------------------- */

/* "x" + "/" + the last part changed: a file of that name beside the path. */
static void add_beside(lx_bounds *b, const char *path, const char *name, int rights)
{
    const int n = (int)(lx_path_base(path) - path);

    add(b, lx_arena_printf(b->cli->arena, "%.*s%s", n, path, name), rights);
}

void lx_bounds_read(lx_bounds *b, const char *path)
{
    static const char *const of_a_database[] = {"-wal", "-journal", "-shm"};
    walk w = {.b = b};

    if (!path || !lx_file_exists(path))
        return;
    add(b, path, LX_SANDBOX_READ);
    if (lx_file_is_dir(path)) {
        find_links(&w, path, 0);
        lx_visited_release(&w.seen);
        return;
    }
    add_beside(b, path, "adapter_config.json", LX_SANDBOX_READ);
    if (strcmp(lx_path_ext(path), ".db") != 0)
        return;
    for (size_t i = 0; i < sizeof of_a_database / sizeof *of_a_database; i++)
        add(b, lx_arena_printf(b->cli->arena, "%s%s", path, of_a_database[i]),
            LX_SANDBOX_READ);
}

void lx_bounds_read_folder(lx_bounds *b, const char *path)
{
    add(b, path, LX_SANDBOX_READ);
}

void lx_bounds_read_all(lx_bounds *b)
{
    add(b, "/", LX_SANDBOX_READ);
}

void lx_bounds_write(lx_bounds *b, const char *path)
{
    char *folder = lx_arena_strdup(b->cli->arena, path), *slash;

    if (!folder) {
        b->failed = true;
        return;
    }
    do { /* "a/b/" lies in "a" as well as "a/b" does */
        size_t n = strlen(folder);
        while (n > 1 && folder[n - 1] == '/')
            folder[--n] = '\0';
        if (!(slash = strrchr(folder, '/'))) {
            add(b, ".", LX_SANDBOX_READ | LX_SANDBOX_WRITE);
            return;
        }
        slash[slash == folder] = '\0';
    } while (!lx_file_is_dir(folder) && strcmp(folder, "/") != 0);
    add(b, folder, LX_SANDBOX_READ | LX_SANDBOX_WRITE);
}

void lx_bounds_temporary(lx_bounds *b)
{
    add(b, lx_temporary_folder(), LX_SANDBOX_READ | LX_SANDBOX_WRITE);
}

/* A store that cannot be written to is read from a copy. */
static void add_temporary(lx_bounds *b, const char *store)
{
    if (access(store, W_OK) < 0)
        lx_bounds_temporary(b);
}

/* The folder of a store that was not there: it had to be made for a rule to name it. When nothing came of the command
 * it is empty at the end, and removed. */
static char made[4096];
static size_t n_made_in; /* so much of it was there before */

static void remove_empty(void)
{
    char *slash;

    while (strlen(made) > n_made_in && rmdir(made) == 0 && (slash = strrchr(made, '/')))
        *slash = '\0';
}

static int make_store(lx_bounds *b, const char *path, lx_error *err)
{
    char *slash;
    int rc;

    if (strlen(path) >= sizeof made)
        return lx_fail(err, LX_ELIMIT, "%s: the path is too long", path);
    strcpy(made, path);
    while (!lx_file_exists(made) && (slash = strrchr(made, '/')) && slash > made)
        *slash = '\0';
    if (lx_file_exists(made))
        add(b, lx_arena_strdup(b->cli->arena, made), LX_SANDBOX_RMDIR);
    n_made_in = lx_file_exists(made) ? strlen(made) : 0;
    strcpy(made, path);
    if ((rc = lx_make_dirs(path, err)) == LX_OK)
        atexit(remove_empty);
    return rc;
}

/* Later it could no longer be made: to take what cannot be looked at for one that is there will not do here. */
static int look_for(bool *is_there, const char *path, lx_error *err)
{
    struct stat st;

    *is_there = lx_io_get()->stat(path, &st) == 0;
    return *is_there || errno == ENOENT || errno == ENOTDIR
               ? LX_OK
               : lx_fail_errno(err, errno, "%s", path);
}

int lx_bounds_store(lx_bounds *b, bool makes, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    bool is_there = false;
    const char *copy;
    int rc = lx_store_find(&path, b->cli->store_path, err);

    if (rc < 0) {
        lx_str_release(&path);
        return makes ? rc : LX_OK; /* without a store the command does what it can */
    }
    copy = lx_arena_strdup(b->cli->arena, lx_str_text(&path));
    lx_str_release(&path);
    if (!copy)
        return lx_oom(err);
    if (makes && ((rc = look_for(&is_there, copy, err)) < 0 ||
                  (!is_there && (rc = make_store(b, copy, err)) < 0)))
        return rc;
    add_temporary(b, copy);
    add(b, copy, LX_SANDBOX_READ | LX_SANDBOX_WRITE);
    return LX_OK;
}

/* ---- what everybody needs ---------------------------------------------------------------- */

/* Where libraries are besides the system's folders. */
static void add_library_path(lx_bounds *b)
{
    const char *list = getenv("LD_LIBRARY_PATH");

    while (list && *list) {
        size_t n = strcspn(list, ":");
        if (n)
            add(b, lx_arena_strndup(b->cli->arena, list, n), LX_SANDBOX_READ);
        list += n + (list[n] == ':');
    }
}

/* The dynamic linker, by the program's own header. */
static int find_linker(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_INTERP)
            *(const char **)out =
                (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    return 1; /* the program itself is the first, and all that is asked about */
}

static void add_system(lx_bounds *b)
{
    static const char *const readable[] = {"/usr",
                                           "/lib",
                                           "/lib64",
                                           "/etc/ld.so.cache",
                                           "/etc/localtime",
                                           "/etc/passwd",
                                           "/etc/nsswitch.conf",
                                           "/proc",
                                           "/sys/devices/system",
                                           "/sys/fs/cgroup",
                                           "/sys/kernel/mm",
                                           "/dev/urandom",
                                           "/dev/random"};
    const char *linker = NULL;

    for (size_t i = 0; i < sizeof readable / sizeof *readable; i++)
        add(b, readable[i], LX_SANDBOX_READ);
    add(b, "/dev/null", LX_SANDBOX_READ | LX_SANDBOX_WRITE);
    add_library_path(b); /* some libraries are loaded when they are needed */
    if (!b->has_children)
        return;
    add(b, "/proc/self/exe", LX_SANDBOX_READ | LX_SANDBOX_EXECUTE);
    dl_iterate_phdr(find_linker, &linker);
    if (linker)
        add(b, linker, LX_SANDBOX_READ | LX_SANDBOX_EXECUTE);
}

/* ---- entering ------------------------------------------------------------------------------ */

static void tell(lx_cli *cli, const lx_sandbox_state *state)
{
    char text[240];

    if (!cli->is_verbose)
        return;
    lx_sandbox_describe(text, sizeof text, state);
    lx_message(cli, "sandbox: %s\n", text);
}

int lx_bounds_enter(lx_bounds *b, lx_error *err)
{
    const lx_setting *setting = lx_settings_find(b->cli->settings, "sandbox");
    lx_sandbox_state state = {.off = "the setting sandbox"};
    int rc = LX_OK;

    add_system(b);
    if (b->failed)
        return lx_oom(err);
    if (!setting || lx_settings_is_on(b->cli->settings, "sandbox"))
        rc = lx_sandbox_enter(&state,
                              &(lx_sandbox){.rules = b->rules,
                                            .n_rules = b->n,
                                            .has_children = b->has_children},
                              err);
    if (rc == LX_OK)
        tell(b->cli, &state);
    return rc;
}

int lx_bounds_of_derived(lx_cli *cli, const char *const *inputs, size_t n,
                         const char *output, bool is_recorded, lx_error *err)
{
    lx_bounds b = {.cli = cli};
    char folder[4096];
    int rc;

    for (size_t i = 0; i < n; i++)
        lx_bounds_read(&b, inputs[i]);
    lx_bounds_write(&b, output);
    if (is_recorded && (rc = lx_bounds_store(&b, true, err)) < 0)
        return rc;
    if (is_recorded && getcwd(folder, sizeof folder))
        lx_git_prepare(folder);
    return lx_bounds_enter(&b, err);
}
