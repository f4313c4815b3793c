/*
 * store/git2_late - libgit2, loaded when a repository is to be read or spoken to (base/late)
 *
 * store__git2.tree_free is git_tree_free.
 */
#ifndef LX_STORE_GIT2_LATE_H
#define LX_STORE_GIT2_LATE_H

#include <git2.h>
#include <stdbool.h>

#include "src/base/error.h"

#define STORE_GIT2_FUNCTIONS(F)          \
    F(blob_create_from_buffer)           \
    F(blob_free)                         \
    F(blob_lookup)                       \
    F(blob_rawcontent)                   \
    F(blob_rawsize)                      \
    F(buf_dispose)                       \
    F(commit_create)                     \
    F(commit_free)                       \
    F(commit_lookup)                     \
    F(commit_tree)                       \
    F(credential_ssh_key_from_agent)     \
    F(credential_ssh_key_new)            \
    F(credential_username_new)           \
    F(credential_userpass_plaintext_new) \
    F(diff_free)                         \
    F(diff_num_deltas)                   \
    F(diff_options_init)                 \
    F(diff_to_buf)                       \
    F(diff_tree_to_workdir_with_index)   \
    F(error_last)                        \
    F(error_set_str)                     \
    F(fetch_options_init)                \
    F(libgit2_init)                      \
    F(libgit2_opts)                      \
    F(libgit2_shutdown)                  \
    F(object_free)                       \
    F(object_id)                         \
    F(odb_free)                          \
    F(odb_read_header)                   \
    F(oid_fromstr)                       \
    F(oid_tostr)                         \
    F(push_options_init)                 \
    F(reference_create)                  \
    F(reference_free)                    \
    F(reference_peel)                    \
    F(reference_shorthand)               \
    F(remote_connect)                    \
    F(remote_create_anonymous)           \
    F(remote_disconnect)                 \
    F(remote_fetch)                      \
    F(remote_free)                       \
    F(remote_init_callbacks)             \
    F(remote_lookup)                     \
    F(remote_ls)                         \
    F(remote_push)                       \
    F(remote_url)                        \
    F(repository_commondir)              \
    F(repository_free)                   \
    F(repository_head)                   \
    F(repository_init)                   \
    F(repository_odb)                    \
    F(repository_open)                   \
    F(repository_open_ext)               \
    F(repository_workdir)                \
    F(signature_free)                    \
    F(signature_new)                     \
    F(status_byindex)                    \
    F(status_list_entrycount)            \
    F(status_list_free)                  \
    F(status_list_new)                   \
    F(status_options_init)               \
    F(tree_entry_byname)                 \
    F(tree_entry_id)                     \
    F(tree_entry_type)                   \
    F(tree_free)                         \
    F(tree_lookup)                       \
    F(treebuilder_free)                  \
    F(treebuilder_insert)                \
    F(treebuilder_new)                   \
    F(treebuilder_write)

typedef struct store__git2_functions {
#define STORE_GIT2_MEMBER(name) __typeof__(git_##name) *name;
    STORE_GIT2_FUNCTIONS(STORE_GIT2_MEMBER)
#undef STORE_GIT2_MEMBER
} store__git2_functions;

extern store__git2_functions store__git2;

/* Before anything else of it, as often as one likes. LX_EPLACE: it is not on this machine. */
int store__git2_load(lx_error *err);

/* Does what a call just returned mean that a repository belongs to another user? libgit2 1.5 loses the code on its way
 * through a transport, and where safe.directory is not set at all it is that which it says was not found. */
bool store__git2_is_of_another(int code);

#endif
