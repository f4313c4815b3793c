/*
 * Commit, branch, what was changed, sources git does not know. libgit2 runs no hooks and
 * no external filters; a repository of another owner is refused by it and said so in the
 * record, not worked around.
 *
 * The child writes frames to a pipe: a letter, the length as four bytes (lowest first),
 * the bytes.
 *
 *     j  JSON of all but the untracked sources        n  name of an untracked source
 *     d  diff, scrubbed                                b  its bytes, scrubbed
 *     e  the end: without it the child did not finish
 */
#include "store/git.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/sandbox.h"
#include "store/git2_late.h"
#include "store/internal.h"
#include "src/base/scrub.h"

enum {
    MOST_DIFF = 4 << 20,
    MOST_SOURCE = 256 << 10,
    MOST_SOURCES = 200,
    MOST_ANSWER = 64 << 20,
    PATIENCE_S = 20
};

/* ---- the child -------------------------------------------------------------------- */

static bool send_frame(int fd, char kind, const char *data, size_t n)
{
    unsigned char head[5] = {(unsigned char)kind, (unsigned char)n,
                             (unsigned char)(n >> 8), (unsigned char)(n >> 16),
                             (unsigned char)(n >> 24)};
    const char *parts[2] = {(const char *)head, data};
    size_t sizes[2] = {sizeof head, n};

    for (int i = 0; i < 2; i++)
        for (size_t at = 0; at < sizes[i];) {
            ssize_t put = write(fd, parts[i] + at, sizes[i] - at);
            if (put < 0 && errno != EINTR)
                return false;
            at += put > 0 ? (size_t)put : 0;
        }
    return true;
}

static bool is_source(const char *path)
{
    static const char *const endings[] = {".c",  ".h",     ".cu",   ".cuh",  ".py",
                                          ".sh", ".toml",  ".json", ".yaml", ".yml",
                                          ".md", ".cmake", ".cpp",  ".rs"};
    const char *ending = lx_path_ext(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcmp(ending, endings[i]) == 0)
            return true;
    return false;
}

static void add_head(cJSON *root, git_repository *repo, git_tree **tree)
{
    git_reference *head = NULL;
    git_object *commit = NULL;
    char hex[GIT_OID_HEXSZ + 1];

    *tree = NULL;
    if (store__git2.repository_head(&head, repo) < 0)
        return; /* no commit yet */
    cJSON_AddStringToObject(root, "branch", store__git2.reference_shorthand(head));
    if (store__git2.reference_peel(&commit, head, GIT_OBJECT_COMMIT) == 0) {
        store__git2.oid_tostr(hex, sizeof hex, store__git2.object_id(commit));
        cJSON_AddStringToObject(root, "commit", hex);
        store__git2.commit_tree(tree, (git_commit *)commit);
    }
    store__git2.object_free(commit);
    store__git2.reference_free(head);
}

static bool send_diff(cJSON *root, int fd, git_repository *repo, git_tree *tree)
{
    git_diff_options options;
    git_diff *diff = NULL;
    git_buf buf = {0};
    lx_str text = LX_STR_INIT;
    bool is_sent = true;

    store__git2.diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
    if (store__git2.diff_tree_to_workdir_with_index(&diff, repo, tree, &options) == 0) {
        cJSON_AddNumberToObject(root, "changed",
                                (double)store__git2.diff_num_deltas(diff));
        if (store__git2.diff_to_buf(&buf, diff, GIT_DIFF_FORMAT_PATCH) == 0) {
            if (buf.size > MOST_DIFF)
                cJSON_AddNumberToObject(root, "diff_cut_at", MOST_DIFF);
            lx_scrub_text(&text, buf.ptr, buf.size < MOST_DIFF ? buf.size : MOST_DIFF);
            is_sent = !text.failed && send_frame(fd, 'd', lx_str_text(&text), text.len);
        }
    }
    lx_str_release(&text);
    store__git2.buf_dispose(&buf);
    store__git2.diff_free(diff);
    return is_sent;
}

/* What git would keep of it: of a link its text, and not what it leads to, which lies anywhere. */
static int read_source(lx_str *out, const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target);

    if (n < 0)
        return lx_file_read(out, path, MOST_SOURCE, NULL);
    lx_str_append(out, target, (size_t)n);
    return lx_str_check(out, NULL);
}

/* *is_kept: not one that is larger than MOST_SOURCE or cannot be read. */
static bool send_source(bool *is_kept, int fd, const char *work_dir, const char *name)
{
    lx_str path = LX_STR_INIT, bytes = LX_STR_INIT, clean = LX_STR_INIT;
    lx_str clean_name = LX_STR_INIT;
    bool is_sent = true;

    lx_str_printf(&path, "%s%s", work_dir, name);
    *is_kept = read_source(&bytes, lx_str_text(&path)) == LX_OK;
    if (*is_kept) {
        lx_scrub_text(&clean_name, name, strlen(name));
        lx_scrub_text(&clean, lx_str_text(&bytes), bytes.len);
        is_sent = !clean_name.failed && !clean.failed &&
                  send_frame(fd, 'n', lx_str_text(&clean_name), clean_name.len) &&
                  send_frame(fd, 'b', lx_str_text(&clean), clean.len);
    }
    lx_str_release(&path);
    lx_str_release(&bytes);
    lx_str_release(&clean);
    lx_str_release(&clean_name);
    return is_sent;
}

static bool send_untracked(cJSON *root, int fd, git_repository *repo)
{
    git_status_options options;
    git_status_list *list = NULL;
    const char *work_dir = store__git2.repository_workdir(repo);
    bool is_sent = true, is_kept;
    int n_kept = 0, n_left = 0;

    store__git2.status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
    options.show = GIT_STATUS_SHOW_WORKDIR_ONLY;
    options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED |
                    GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS |
                    GIT_STATUS_OPT_EXCLUDE_SUBMODULES;
    if (!work_dir || store__git2.status_list_new(&list, repo, &options) < 0)
        return true;
    for (size_t i = 0; i < store__git2.status_list_entrycount(list) && is_sent; i++) {
        const git_status_entry *entry = store__git2.status_byindex(list, i);
        const char *name;
        if (!(entry->status & GIT_STATUS_WT_NEW))
            continue;
        name = entry->index_to_workdir->new_file.path;
        if (!is_source(name))
            continue;
        is_kept = false;
        if (n_kept < MOST_SOURCES)
            is_sent = send_source(&is_kept, fd, work_dir, name);
        n_kept += is_kept;
        n_left += !is_kept;
    }
    store__git2.status_list_free(list);
    if (n_left) /* too many, or too large */
        cJSON_AddNumberToObject(root, "untracked_left_out", n_left);
    return is_sent;
}

static bool send_json(int fd, const cJSON *root)
{
    lx_str text = LX_STR_INIT, clean = LX_STR_INIT;
    bool is_sent = lx_json_canonical(&text, root, NULL) == LX_OK;

    lx_scrub_text(&clean, lx_str_text(&text), text.len);
    is_sent =
        is_sent && !clean.failed && send_frame(fd, 'j', lx_str_text(&clean), clean.len);
    lx_str_release(&text);
    lx_str_release(&clean);
    return is_sent;
}

/* Nothing at all is sent of a folder in no repository. */
static bool serve(int fd, const char *folder)
{
    git_repository *repo = NULL;
    git_tree *tree = NULL;
    cJSON *root = cJSON_CreateObject();
    lx_str text = LX_STR_INIT;
    bool is_sent = true;
    lx_error err;
    int got;

    if (store__git2_load(&err) < 0) {
        cJSON_AddStringToObject(root, "problem", err.text);
        is_sent = lx_json_canonical(&text, root, NULL) == LX_OK &&
                  send_frame(fd, 'j', lx_str_text(&text), text.len) &&
                  send_frame(fd, 'e', "", 0);
        lx_str_release(&text);
        cJSON_Delete(root);
        return is_sent;
    }
    if (store__git2.libgit2_init() < 0) {
        cJSON_Delete(root);
        return false;
    }
    got = store__git2.repository_open_ext(&repo, folder, 0, NULL);
    if (store__git2_is_of_another(got)) {
        got = GIT_EOWNER;
        cJSON_AddStringToObject(root, "problem",
                                "the repository belongs to another user and was not read "
                                "(git config --global --add safe.directory FOLDER)");
    } else if (got < 0 && got != GIT_ENOTFOUND) {
        const git_error *why = store__git2.error_last();
        cJSON_AddStringToObject(root, "problem", why ? why->message : "cannot be opened");
    } else if (got == 0) {
        add_head(root, repo, &tree);
        is_sent = send_diff(root, fd, repo, tree) && send_untracked(root, fd, repo);
    }
    if (got != GIT_ENOTFOUND)
        is_sent = is_sent && send_json(fd, root);
    is_sent = is_sent && send_frame(fd, 'e', "", 0);
    cJSON_Delete(root);
    store__git2.tree_free(tree);
    store__git2.repository_free(repo);
    store__git2.libgit2_shutdown();
    return is_sent;
}

/* The repository may be a stranger's: files are read, and that is all. */
static void confine(void)
{
    static const lx_sandbox_rule rules[] = {{"/", LX_SANDBOX_READ},
                                            {"/dev/null", LX_SANDBOX_WRITE}};
    lx_sandbox_state state;

    signal(SIGALRM, SIG_DFL);
    alarm(PATIENCE_S); /* who waits for us may not be allowed to end us */
    lx_sandbox_enter(&state, &(lx_sandbox){.rules = rules, .n_rules = 2}, NULL);
}

/* Set by lx_git_is_worker, which only lx's main calls: this binary can be its own child.
 */
static atomic_bool is_lx;

bool lx_git_is_worker(int *status, int argc, char **argv)
{
    atomic_store(&is_lx, true);
    if (argc != 3 || strcmp(argv[1], "__git") != 0)
        return false;
    confine();
    *status = serve(STDOUT_FILENO, argv[2]) ? 0 : 70;
    return true;
}

/* Between fork and exec; without a program the fork itself serves. */
static void become_child(int fd, const char *program, const char *folder)
{
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is the parent's to answer */
    dup2(null, 0);           /* without one they stay what they are */
    dup2(null, 2);
    dup2(fd, STDOUT_FILENO);
    if (program) {
        execl(program, "lx", "__git", folder, (char *)NULL);
        _exit(127);
    }
    lx_alloc_fail_at(0, false); /* a test's faults are the parent's */
    _exit(serve(STDOUT_FILENO, folder) ? 0 : 70);
}

/* ---- the parent ------------------------------------------------------------------- */

static const char too_slow[] = "reading the git state took more than 20 s";

/* All that the child says; why it was not waited for, or NULL. */
static const char *receive(lx_str *answer, int fd)
{
    const double deadline = store__deadline(PATIENCE_S);
    char piece[16384];

    while (answer->len <= MOST_ANSWER) {
        struct pollfd p = {fd, POLLIN, 0};
        int ready = poll(&p, 1, store__poll_time(deadline));
        ssize_t got;
        if (ready == 0)
            return too_slow;
        if (ready < 0)
            continue; /* a signal */
        if ((got = read(fd, piece, sizeof piece)) <= 0)
            return got < 0 ? "the git state cannot be read" : NULL;
        lx_str_append(answer, piece, (size_t)got);
    }
    return "the git state is larger than 64 MiB";
}

typedef struct reader {
    pid_t pid; /* 0: none */
    int fd;    /* what it says */
    char *folder;
} reader;

static reader prepared;

static int start_reader(reader *r, const char *folder, lx_error *err)
{
    const char *program = atomic_load(&is_lx) ? "/proc/self/exe" : NULL;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        return lx_fail_errno(err, errno, "a pipe for the git state");
    if ((r->pid = fork()) == 0)
        become_child(fds[1], program, folder);
    close(fds[1]);
    r->fd = fds[0];
    if (r->pid < 0) {
        close(fds[0]);
        r->pid = 0;
        return lx_fail_errno(err, errno, "a process for the git state");
    }
    return LX_OK;
}

/* Whether something in the folder, or in one above it, looks like a repository (.git, or a bare one's HEAD): the child
 * is spared where nothing does. It has the last word; what cannot be told is left to it. */
static bool may_be_in_repository(const char *folder)
{
    char *path = realpath(folder, NULL), *slash;
    lx_str name = LX_STR_INIT;
    bool may = !path;

    while (path && !may && (slash = strrchr(path, '/'))) {
        lx_str_clear(&name);
        lx_str_printf(&name, "%s/.git", path);
        may = name.failed || lx_file_exists(lx_str_text(&name));
        lx_str_clear(&name);
        lx_str_printf(&name, "%s/HEAD", path);
        may = may || lx_file_exists(lx_str_text(&name));
        *slash = '\0';
    }
    lx_str_release(&name);
    free(path);
    return may;
}

/* A folder in no repository, as was found while a child could still be started. */
static char *outside;

static bool is_outside(const char *folder)
{
    const bool is = outside && strcmp(outside, folder) == 0;

    if (is) {
        lx_free(outside);
        outside = NULL;
    }
    return is || !may_be_in_repository(folder);
}

/* One that is never asked ends with its parent (PR_SET_PDEATHSIG). */
void lx_git_prepare(const char *folder)
{
    if (!may_be_in_repository(folder)) {
        lx_free(outside);
        outside = lx_strdup(folder);
        return;
    }
    if (prepared.pid || !atomic_load(&is_lx) || !(prepared.folder = lx_strdup(folder)))
        return;
    if (start_reader(&prepared, folder, NULL) < 0) {
        lx_free(prepared.folder);
        prepared = (reader){0};
    }
}

static int find_reader(reader *r, const char *folder, lx_error *err)
{
    if (!prepared.pid || strcmp(prepared.folder, folder) != 0)
        return start_reader(r, folder, err);
    *r = prepared;
    lx_free(prepared.folder);
    prepared = (reader){0};
    return LX_OK;
}

static int ask_child(lx_str *answer, const char **problem, const char *folder,
                     lx_error *err)
{
    int status, rc;
    reader r;

    if ((rc = find_reader(&r, folder, err)) < 0)
        return rc;
    if ((*problem = receive(answer, r.fd)) != NULL)
        kill(r.pid, SIGKILL);
    close(r.fd);
    status = store__wait_for(r.pid);
    if (!*problem && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        *problem = too_slow;
    return lx_str_check(answer, err);
}

typedef struct frame {
    char kind;
    const char *data;
    size_t n;
} frame;

static bool next_frame(frame *f, const char **p, const char *end)
{
    const unsigned char *head = (const unsigned char *)*p;
    if (end - *p < 5)
        return false;
    f->kind = (char)head[0];
    f->n = (size_t)head[1] | (size_t)head[2] << 8 | (size_t)head[3] << 16 |
           (size_t)head[4] << 24;
    if (f->n > (size_t)(end - *p) - 5)
        return false;
    f->data = *p + 5;
    *p += 5 + f->n;
    return true;
}

typedef struct git_answer {
    cJSON *root; /* NULL: in no repository */
    cJSON *untracked;
    lx_str diff;
    bool has_diff, is_whole;
} git_answer;

static int add_source(git_answer *a, store__batch *batch, const frame *name,
                      const frame *bytes, lx_error *err)
{
    char hex[LX_HASH_HEX + 1], *path = lx_strndup(name->data, name->n);
    cJSON *o = cJSON_CreateObject();
    lx_hash hash;
    int rc =
        path ? store__batch_put(&hash, batch, bytes->data, bytes->n, err) : lx_oom(err);

    if (rc == LX_OK) {
        lx_hash_hex(hex, &hash);
        cJSON_AddStringToObject(o, "path", path);
        cJSON_AddStringToObject(o, "object", hex);
        cJSON_AddItemToArray(a->untracked, o);
        o = NULL;
    }
    cJSON_Delete(o);
    lx_free(path);
    return rc;
}

static int read_answer(git_answer *a, store__batch *batch, const lx_str *text,
                       lx_error *err)
{
    const char *p = lx_str_text(text), *end = p + text->len;
    frame f, name = {0};
    int rc = LX_OK;

    while (rc == LX_OK && next_frame(&f, &p, end)) {
        switch (f.kind) {
        case 'j':
            if ((rc = lx_json_parse(&a->root, f.data, f.n, err)) == LX_EFORMAT)
                rc = LX_OK; /* then the answer is not whole */
            break;
        case 'd':
            lx_str_append(&a->diff, f.data, f.n);
            a->has_diff = true;
            rc = lx_str_check(&a->diff, err);
            break;
        case 'n':
            name = f;
            break;
        case 'b':
            rc = add_source(a, batch, &name, &f, err);
            break;
        case 'e':
            a->is_whole = true;
        }
    }
    return rc;
}

/* An answer that broke off still tells what it has. */
static int finish_json(char **json, git_answer *a, const char *problem, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    int rc;

    if (!problem && !a->is_whole)
        problem = "reading the git state failed";
    if (!a->root && !problem)
        return LX_OK;
    if (!a->root && !(a->root = cJSON_CreateObject()))
        return lx_oom(err);
    if (problem)
        cJSON_AddStringToObject(a->root, "problem", problem);
    cJSON_AddItemToObjectCS(a->root, "untracked", a->untracked);
    a->untracked = NULL;
    if ((rc = lx_json_canonical(&text, a->root, err)) == LX_OK)
        *json = lx_str_detach(&text);
    lx_str_release(&text);
    return rc;
}

int store__git_state(char **json, char **diff, store__batch *batch, const char *folder,
                     lx_error *err)
{
    git_answer a = {.untracked = cJSON_CreateArray()};
    lx_str text = LX_STR_INIT;
    const char *problem = NULL;
    int rc;

    *json = *diff = NULL;
    if (is_outside(folder)) {
        cJSON_Delete(a.untracked);
        return LX_OK;
    }
    rc = a.untracked ? ask_child(&text, &problem, folder, err) : lx_oom(err);
    if (rc == LX_OK && (rc = read_answer(&a, batch, &text, err)) == LX_OK &&
        (rc = finish_json(json, &a, problem, err)) == LX_OK && a.has_diff)
        *diff = lx_str_detach(&a.diff);
    if (rc < 0) {
        lx_free(*json);
        *json = NULL;
    }
    lx_str_release(&text);
    lx_str_release(&a.diff);
    cJSON_Delete(a.root);
    cJSON_Delete(a.untracked);
    return rc;
}

int lx_git_state(char **json, char **diff, lx_store *store, const char *folder,
                 lx_error *err)
{
    store__batch batch = store__batch_of(store); /* untracked sources, for their hashes */
    int rc = store__git_state(json, diff, &batch, folder, err);

    store__batch_release(&batch);
    return rc;
}
