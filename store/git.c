/*
 * The state of the code a run was started in: commit, branch, what was changed, sources git does not
 * know. libgit2 runs no hooks and no external filters; a repository of another owner is refused by it
 * and said so in the record, not worked around.
 */
#include <cjson/cJSON.h>
#include <git2.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/internal.h"
#include "store/scrub.h"

enum { MOST_DIFF = 4 << 20, MOST_SOURCE = 256 << 10, MOST_SOURCES = 200 };

static bool is_source(const char *path)
{
    static const char *const endings[] = {".c",   ".h",    ".cu", ".cuh", ".py",  ".sh", ".toml",
                                          ".json", ".yaml", ".yml", ".md", ".cmake", ".cpp", ".rs"};
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
    if (git_repository_head(&head, repo) < 0)
        return; /* no commit yet */
    cJSON_AddStringToObject(root, "branch", git_reference_shorthand(head));
    if (git_reference_peel(&commit, head, GIT_OBJECT_COMMIT) == 0) {
        git_oid_tostr(hex, sizeof hex, git_object_id(commit));
        cJSON_AddStringToObject(root, "commit", hex);
        git_commit_tree(tree, (git_commit *)commit);
    }
    git_object_free(commit);
    git_reference_free(head);
}

static char *diff_text(cJSON *root, git_repository *repo, git_tree *tree)
{
    git_diff_options options;
    git_diff *diff = NULL;
    git_buf buf = {0};
    lx_str text = LX_STR_INIT;
    char *out = NULL;

    git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
    if (git_diff_tree_to_workdir_with_index(&diff, repo, tree, &options) == 0) {
        cJSON_AddNumberToObject(root, "changed", (double)git_diff_num_deltas(diff));
        if (git_diff_to_buf(&buf, diff, GIT_DIFF_FORMAT_PATCH) == 0) {
            if (buf.size > MOST_DIFF)
                cJSON_AddNumberToObject(root, "diff_cut_at", MOST_DIFF);
            lx_scrub_text(&text, buf.ptr, buf.size < MOST_DIFF ? buf.size : MOST_DIFF);
            out = lx_str_detach(&text);
        }
    }
    git_buf_dispose(&buf);
    git_diff_free(diff);
    return out;
}

/* Sources git does not know go into the store as objects, by hash. */
static int add_untracked(cJSON *root, lx_store *store, git_repository *repo, lx_error *err)
{
    git_status_options options;
    git_status_list *list = NULL;
    cJSON *untracked = cJSON_AddArrayToObject(root, "untracked");
    const char *work_dir = git_repository_workdir(repo);
    int rc = LX_OK, n_kept = 0;

    git_status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
    options.show = GIT_STATUS_SHOW_WORKDIR_ONLY;
    options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS |
                    GIT_STATUS_OPT_EXCLUDE_SUBMODULES;
    if (!work_dir || git_status_list_new(&list, repo, &options) < 0)
        return LX_OK;
    for (size_t i = 0; i < git_status_list_entrycount(list) && rc == LX_OK; i++) {
        const git_status_entry *entry = git_status_byindex(list, i);
        const char *name = entry->index_to_workdir ? entry->index_to_workdir->new_file.path : NULL;
        lx_str path = LX_STR_INIT, bytes = LX_STR_INIT, clean = LX_STR_INIT;
        char hex[LX_HASH_HEX + 1];
        lx_hash hash;
        if (!(entry->status & GIT_STATUS_WT_NEW) || !name || !is_source(name) ||
            n_kept >= MOST_SOURCES)
            continue;
        lx_str_printf(&path, "%s%s", work_dir, name);
        if (lx_file_read(&bytes, lx_str_text(&path), MOST_SOURCE, NULL) == LX_OK) {
            lx_scrub_text(&clean, lx_str_text(&bytes), bytes.len);
            rc = store__put(&hash, store, lx_str_text(&clean), clean.len, err);
            if (rc == LX_OK) {
                cJSON *o = cJSON_CreateObject();
                lx_hash_hex(hex, &hash);
                cJSON_AddStringToObject(o, "path", name);
                cJSON_AddStringToObject(o, "object", hex);
                cJSON_AddItemToArray(untracked, o);
                n_kept++;
            }
        }
        lx_str_release(&path);
        lx_str_release(&bytes);
        lx_str_release(&clean);
    }
    git_status_list_free(list);
    return rc;
}

int store__git_state(char **json, char **diff, lx_store *store, const char *folder, lx_error *err)
{
    git_repository *repo = NULL;
    git_tree *tree = NULL;
    cJSON *root = NULL;
    lx_str text = LX_STR_INIT;
    int rc = LX_OK, got;

    *json = *diff = NULL;
    git_libgit2_init();
    got = git_repository_open_ext(&repo, folder, 0, NULL);
    if (got == GIT_ENOTFOUND)
        goto done;
    root = cJSON_CreateObject();
    if (got < 0) {
        const git_error *why = git_error_last();
        cJSON_AddStringToObject(root, "problem", why ? why->message : "cannot be opened");
    } else {
        add_head(root, repo, &tree);
        *diff = diff_text(root, repo, tree);
        rc = add_untracked(root, store, repo, err);
    }
    if (rc == LX_OK && (rc = lx_json_canonical(&text, root, err)) == LX_OK &&
        !(*json = lx_str_detach(&text)))
        rc = lx_oom(err);
done:
    if (rc < 0) {
        lx_free(*diff);
        *diff = NULL;
    }
    lx_str_release(&text);
    cJSON_Delete(root);
    git_tree_free(tree);
    git_repository_free(repo);
    git_libgit2_shutdown();
    return rc;
}
