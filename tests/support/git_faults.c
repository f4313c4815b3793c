#include "tests/support/git_faults.h"

#include "store/git2_late.h"
#include "tests/support/expect.h"
#include "tests/support/faults.h"

static store__git2_functions real;
static int failure = GIT_ERROR;

/* As libgit2 does it, the story is in its last error. */
static int fail(void)
{
    static const struct {
        int failure, code, klass;
        const char *message;
    } told[] = {
        {GIT_ECERTIFICATE, GIT_ECERTIFICATE, GIT_ERROR_SSH, "a fault of the test"},
        {GIT_EOWNER, GIT_EOWNER, GIT_ERROR_OS, "repository is not owned by current user"},
        {GIT_FAULTS_MEMORY, GIT_ERROR, GIT_ERROR_NOMEMORY, "Out of memory"},
        {GIT_FAULTS_ZLIB_MEMORY, GIT_ERROR, GIT_ERROR_ZLIB,
         "failed to init zlib stream on unpack"},
        {GIT_FAULTS_ZLIB, GIT_ERROR, GIT_ERROR_ZLIB, "error inflating zlib stream"}};

    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (told[i].failure == failure) {
            real.error_set_str(told[i].klass, told[i].message);
            return told[i].code;
        }
    real.error_set_str(GIT_ERROR_OS, "a fault of the test");
    return failure;
}

/* Those that can fail: name, parameters, arguments. */
#define FALLIBLE(F)                                                                      \
    F(blob_create_from_buffer,                                                           \
      (git_oid * o, git_repository * r, const void *d, size_t n), (o, r, d, n))          \
    F(blob_lookup, (git_blob * *o, git_repository * r, const git_oid *i), (o, r, i))     \
    F(commit_create,                                                                     \
      (git_oid * o, git_repository * r, const char *u, const git_signature *a,           \
       const git_signature *c, const char *e, const char *m, const git_tree *t,          \
       size_t n, const git_commit **p),                                                  \
      (o, r, u, a, c, e, m, t, n, p))                                                    \
    F(commit_lookup, (git_commit * *o, git_repository * r, const git_oid *i), (o, r, i)) \
    F(commit_tree, (git_tree * *o, const git_commit *c), (o, c))                         \
    F(diff_to_buf, (git_buf * o, git_diff * d, git_diff_format_t f), (o, d, f))          \
    F(diff_tree_to_workdir_with_index,                                                   \
      (git_diff * *o, git_repository * r, git_tree * t, const git_diff_options *p),      \
      (o, r, t, p))                                                                      \
    F(odb_read_header, (size_t * n, git_object_t * t, git_odb * o, const git_oid *i),    \
      (n, t, o, i))                                                                      \
    F(oid_fromstr, (git_oid * o, const char *s), (o, s))                                 \
    F(reference_create,                                                                  \
      (git_reference * *o, git_repository * r, const char *n, const git_oid *i, int f,   \
       const char *m),                                                                   \
      (o, r, n, i, f, m))                                                                \
    F(reference_peel, (git_object * *o, const git_reference *r, git_object_t t),         \
      (o, r, t))                                                                         \
    F(remote_connect,                                                                    \
      (git_remote * r, git_direction d, const git_remote_callbacks *c,                   \
       const git_proxy_options *p, const git_strarray *h),                               \
      (r, d, c, p, h))                                                                   \
    F(remote_create_anonymous, (git_remote * *o, git_repository * r, const char *u),     \
      (o, r, u))                                                                         \
    F(remote_fetch,                                                                      \
      (git_remote * r, const git_strarray *s, const git_fetch_options *p,                \
       const char *m),                                                                   \
      (r, s, p, m))                                                                      \
    F(remote_ls, (const git_remote_head ***o, size_t *n, git_remote *r), (o, n, r))      \
    F(remote_push, (git_remote * r, const git_strarray *s, const git_push_options *p),   \
      (r, s, p))                                                                         \
    F(repository_head, (git_reference * *o, git_repository * r), (o, r))                 \
    F(repository_init, (git_repository * *o, const char *p, unsigned b), (o, p, b))      \
    F(repository_odb, (git_odb * *o, git_repository * r), (o, r))                        \
    F(repository_open, (git_repository * *o, const char *p), (o, p))                     \
    F(repository_open_ext,                                                               \
      (git_repository * *o, const char *p, unsigned f, const char *c), (o, p, f, c))     \
    F(signature_new,                                                                     \
      (git_signature * *o, const char *n, const char *e, git_time_t t, int z),           \
      (o, n, e, t, z))                                                                   \
    F(status_list_new,                                                                   \
      (git_status_list * *o, git_repository * r, const git_status_options *p),           \
      (o, r, p))                                                                         \
    F(tree_lookup, (git_tree * *o, git_repository * r, const git_oid *i), (o, r, i))     \
    F(treebuilder_insert,                                                                \
      (const git_tree_entry **o, git_treebuilder *b, const char *n, const git_oid *i,    \
       git_filemode_t m),                                                                \
      (o, b, n, i, m))                                                                   \
    F(treebuilder_new, (git_treebuilder * *o, git_repository * r, const git_tree *t),    \
      (o, r, t))                                                                         \
    F(treebuilder_write, (git_oid * o, git_treebuilder * b), (o, b))

#define DEFINE(name, parameters, arguments)                               \
    static int bad_##name parameters                                      \
    {                                                                     \
        return faults_fail_now(FAULT_GIT) ? fail() : real.name arguments; \
    }
FALLIBLE(DEFINE)
#undef DEFINE

static int bad_libgit2_init(void)
{
    return faults_fail_now(FAULT_GIT) ? -1 : real.libgit2_init();
}

static const char *bad_repository_workdir(const git_repository *r)
{
    return faults_fail_now(FAULT_GIT) ? NULL : real.repository_workdir(r);
}

static const git_error *bad_error_last(void)
{
    return faults_fail_now(FAULT_GIT) ? NULL : real.error_last();
}

void git_faults_prepare(void)
{
    lx_error err = {0};

    lx_assert_ok(store__git2_load(&err), &err);
    real = store__git2;
#define PUT(name, parameters, arguments) store__git2.name = bad_##name;
    FALLIBLE(PUT)
#undef PUT
    store__git2.libgit2_init = bad_libgit2_init;
    store__git2.repository_workdir = bad_repository_workdir;
    store__git2.error_last = bad_error_last;
}

void git_faults_use(int code)
{
    failure = code;
}
