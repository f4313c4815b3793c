/* Who we are to a git server: keys, the agent and git's helpers, asked as libgit2 asks. `git` is here a script that says
 * what a case wants said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <git2.h>
#include <git2/sys/credential.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "store/credentials.h"
#include "tests/support/expect.h"
#include "tests/support/refuse.h"

static char folder[64];
static store__credentials us;

static int set_up(void **state)
{
    char path[512];
    lx_error err = {0};
    (void)state;

    snprintf(folder, sizeof folder, "/tmp/lx-credentials-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    lx_assert_shell("mkdir %s/.ssh %s/bin", folder, folder);
    snprintf(path, sizeof path, "%s/bin:%s", folder, getenv("PATH"));
    setenv("PATH", path, 1);
    setenv("HOME", folder, 1);
    unsetenv("SSH_AUTH_SOCK");
    lx_assert_ok(store__git2_load(&err), &err);
    return store__git2.libgit2_init() < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    store__credentials_release(&us);
    store__git2.libgit2_shutdown();
    lx_assert_shell("rm -rf '%s'", folder);
    return 0;
}

/* What libgit2 is told; a credential is given back. */
static int ask(const char *url, const char *user, unsigned allowed)
{
    git_credential *given = NULL;
    int code = store__credentials_get(&given, url, user, allowed, &us);

    if (given)
        given->free(given);
    assert_true((code == 0) == (given != NULL));
    return code;
}

static void write_key(const char *name, const char *text)
{
    lx_assert_shell("printf '%%b' '%s' >%s/.ssh/%s", text, folder, name);
}

static void
test_store_credentials__keys_without_a_passphrase_are_tried_in_turn(void **state)
{
    (void)state;
    store__credentials_begin(&us);
    assert_int_equal(ask("ssh://h/r", NULL, GIT_CREDENTIAL_USERNAME), 0);
    assert_int_equal(ask("ssh://h/r", "wren", GIT_CREDENTIAL_USERNAME), 0);
    assert_int_equal(ask("ssh://h/r", NULL, GIT_CREDENTIAL_SSH_KEY), GIT_EAUTH);
    write_key(
        "id_ed25519",
        "-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAA\\n");
    write_key(
        "id_ecdsa",
        "-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1\\n");
    write_key("id_rsa", "-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n");
    store__credentials_begin(&us);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), 0);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), 0); /* the third */
    assert_int_equal(us.n_keys_tried, 3);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), GIT_EAUTH);
    write_key("id_rsa", "-----BEGIN RSA PRIVATE KEY-----\\nProc-Type: 4,ENCRYPTED\\n");
    store__credentials_begin(&us);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), 0);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), GIT_EAUTH);
}

static void test_store_credentials__an_agent_is_asked_once_and_first(void **state)
{
    (void)state;
    lx_assert_shell("rm -f %s/.ssh/*", folder);
    setenv("SSH_AUTH_SOCK", "/nowhere", 1);
    store__credentials_begin(&us);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), 0);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), GIT_EAUTH);
    setenv("SSH_AUTH_SOCK", "", 1);
    store__credentials_begin(&us);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), GIT_EAUTH);
    unsetenv("SSH_AUTH_SOCK");
    unsetenv("HOME");
    store__credentials_begin(&us);
    assert_int_equal(ask("ssh://h/r", "git", GIT_CREDENTIAL_SSH_KEY), GIT_EAUTH);
    setenv("HOME", folder, 1);
}

/* What `git credential` does; it notes what it is asked. */
static void use_git(const char *script)
{
    lx_assert_shell("printf '#!/bin/sh\\necho \"$2\" >>%s/told\\ncat >>%s/told\\n%s\\n' "
                    ">%s/bin/git &&"
                    " chmod +x %s/bin/git && : >%s/told",
                    folder, folder, script, folder, folder, folder);
}

static void check_told(const char *wanted)
{
    char path[96], text[512];
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "%s/told", folder);
    assert_non_null(f = fopen(path, "r"));
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    assert_string_equal(text, wanted);
}

static void test_store_credentials__helpers_are_asked_and_told(void **state)
{
    (void)state;
    use_git(
        "[ $2 != fill ] || echo username=wren; [ $2 != fill ] || echo password=s3cret");
    store__credentials_begin(&us);
    assert_int_equal(ask("https://who@h:1/r", "wren", GIT_CREDENTIAL_USERPASS_PLAINTEXT),
                     0);
    check_told("fill\nprotocol=https\nhost=h:1\nusername=wren\n\n");
    assert_non_null(us.filled);
    store__credentials_worked(&us);
    assert_null(us.filled);
    check_told("fill\nprotocol=https\nhost=h:1\nusername=wren\n\napprove\nusername=wren\n"
               "password=s3cret\n\n");
    store__credentials_worked(&us); /* there is nothing to tell */
    store__credentials_begin(&us);
    assert_int_equal(ask("https://h", "", GIT_CREDENTIAL_USERPASS_PLAINTEXT), 0);
    use_git("");
    assert_int_equal(ask("https://h", "", GIT_CREDENTIAL_USERPASS_PLAINTEXT), GIT_EAUTH);
    check_told("reject\nusername=wren\npassword=s3cret\n\n");
    assert_int_equal(ask("https://h", "", 0), GIT_EAUTH); /* nothing that we could have */
}

static void test_store_credentials__helpers_that_do_not_help(void **state)
{
    static const char *const scripts[] = {
        "",
        "exit 3",
        "echo username=wren",
        "echo password=s3cret",
        "echo username=wren; echo password=",
        "echo usernames=wren; echo password=s3cret",
        "echo username=wren; echo password=s3cret; exit 1",
        "echo username=wren; echo password=s3cret; kill -9 $$",
        "yes username=wren"};
    (void)state;

    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        use_git(scripts[i]);
        store__credentials_begin(&us);
        if (ask("https://h/r", NULL, GIT_CREDENTIAL_USERPASS_PLAINTEXT) != GIT_EAUTH)
            fail_msg("%s: helps", scripts[i]);
        assert_null(us.filled);
    }
    lx_assert_shell("printf '#!/nowhere' >%s/bin/git", folder);
    store__credentials_begin(&us);
    assert_int_equal(ask("https://h/r", NULL, GIT_CREDENTIAL_USERPASS_PLAINTEXT),
                     GIT_EAUTH);
}

static int asks_in_vain(void *context)
{
    (void)context;
    store__credentials_begin(&us);
    return store__credentials_get(&(git_credential *){NULL}, "https://h/r", NULL,
                                  GIT_CREDENTIAL_USERPASS_PLAINTEXT, &us) == GIT_EAUTH;
}

static int without(void *number)
{
    refuse_call(*(long *)number, EACCES);
    return asks_in_vain(NULL);
}

static int without_processes(void *context)
{
    (void)context;
    refuse_processes();
    return asks_in_vain(NULL);
}

/* Whoever ignores what becomes of children does not hear of it. */
static int without_their_end(void *context)
{
    (void)context;
    signal(SIGCHLD, SIG_IGN);
    return asks_in_vain(NULL);
}

static void test_store_credentials__the_system_refuses(void **state)
{
    static const long calls[] = {SYS_socketpair, SYS_chdir, SYS_sendto, CALL_OF_POLL};
    (void)state;

    use_git("echo username=wren; echo password=s3cret");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        in_child(without, (void *)(uintptr_t)&calls[i]);
    in_child(without_processes, NULL);
    in_child(without_their_end, NULL);
}

static void take_note(int number)
{
    (void)number;
}

/* One that says all and goes on for a moment, while a signal comes. */
static void test_store_credentials__a_helper_that_lingers(void **state)
{
    const struct sigaction noted = {.sa_handler =
                                        take_note}; /* calls do not go on by themselves */
    (void)state;

    sigaction(SIGUSR1, &noted, NULL);
    use_git(
        "[ $2 != fill ] || echo username=wren; [ $2 != fill ] || echo password=s3cret; "
        "exec <&- >&-; sleep 0.1; kill -USR1 $PPID; sleep 0.1");
    store__credentials_begin(&us);
    assert_int_equal(ask("https://h/r", NULL, GIT_CREDENTIAL_USERPASS_PLAINTEXT), 0);
    signal(SIGUSR1, SIG_DFL);
}

static int no_credential(git_credential **out, const char *user, const char *password)
{
    (void)out;
    (void)user;
    (void)password;
    return GIT_ERROR;
}

static void test_store_credentials__libgit2_has_no_memory_for_them(void **state)
{
    const store__git2_functions usual = store__git2;
    (void)state;

    use_git("echo username=wren; echo password=s3cret");
    store__credentials_begin(&us);
    store__git2.credential_userpass_plaintext_new = no_credential;
    assert_int_equal(ask("https://h/r", NULL, GIT_CREDENTIAL_USERPASS_PLAINTEXT),
                     GIT_ERROR);
    store__git2 = usual;
    assert_null(us.filled);
}

/* A newline would be a line of its own of what git is asked. */
static void test_store_credentials__addresses_that_are_none(void **state)
{
    static const char *const urls[] = {"h/r", "https://h\nhost=other", "https://h\r/"};
    (void)state;

    use_git("echo username=wren; echo password=s3cret");
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        store__credentials_begin(&us);
        assert_int_equal(ask(urls[i], NULL, GIT_CREDENTIAL_USERPASS_PLAINTEXT),
                         GIT_EAUTH);
    }
    store__credentials_begin(&us);
    assert_int_equal(ask("https://h", "a\nb", GIT_CREDENTIAL_USERPASS_PLAINTEXT),
                     GIT_EAUTH);
    check_told("");
}

static void test_store_credentials__without_memory_there_are_none(void **state)
{
    int n_none = 0;
    (void)state;

    use_git(
        "[ $2 != fill ] || echo username=wren; [ $2 != fill ] || echo password=s3cret");
    write_key("id_rsa", "-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n");
    for (size_t n = 1; n <= 8; n++)
        for (int ssh = 0; ssh < 2; ssh++) {
            int code;

            store__credentials_begin(&us);
            lx_alloc_fail_at(n, true);
            code = ask("https://h/r", "wren",
                       ssh ? GIT_CREDENTIAL_SSH_KEY : GIT_CREDENTIAL_USERPASS_PLAINTEXT);
            lx_alloc_fail_at(0, false);
            assert_true(code == 0 || code == GIT_EAUTH);
            n_none += code != 0;
        }
    assert_true(n_none >= 4);
}

static void test_store_credentials__certificates(void **state)
{
    (void)state;
    setenv("GIT_SSL_CAINFO", "", 1);
    setenv("SSL_CERT_FILE", "", 1);
    store__credentials_certificates();
    setenv("SSL_CERT_FILE", "/nowhere", 1);
    store__credentials_certificates();
    setenv("GIT_SSL_CAINFO", "/nowhere/else", 1);
    store__credentials_certificates();
    unsetenv("GIT_SSL_CAINFO");
    unsetenv("SSL_CERT_FILE");
    store__credentials_certificates();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_store_credentials__keys_without_a_passphrase_are_tried_in_turn),
        cmocka_unit_test(test_store_credentials__an_agent_is_asked_once_and_first),
        cmocka_unit_test(test_store_credentials__helpers_are_asked_and_told),
        cmocka_unit_test(test_store_credentials__helpers_that_do_not_help),
        cmocka_unit_test(test_store_credentials__the_system_refuses),
        cmocka_unit_test(test_store_credentials__a_helper_that_lingers),
        cmocka_unit_test(test_store_credentials__libgit2_has_no_memory_for_them),
        cmocka_unit_test(test_store_credentials__addresses_that_are_none),
        cmocka_unit_test(test_store_credentials__without_memory_there_are_none),
        cmocka_unit_test(test_store_credentials__certificates)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
