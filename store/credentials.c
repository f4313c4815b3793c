#include "store/credentials.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/str.h"
#include "store/internal.h"

enum { MOST_ANSWER = 64 << 10, PATIENCE_S = 60 };

/* ---- ssh --------------------------------------------------------------------------- */

/* Without a passphrase? Of OpenSSH's own form the beginning tells: its magic, then the
 * cipher's name, "none" (PROTOCOL.key in its source); of PEM's a word in its head. */
static bool is_plain_key(const char *path)
{
    lx_str text = LX_STR_INIT;
    bool is_plain = false;

    if (lx_file_read(&text, path, MOST_ANSWER, NULL) == LX_OK)
        is_plain =
            strstr(lx_str_text(&text), "BEGIN OPENSSH")
                ? strstr(lx_str_text(&text), "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU") != NULL
                : !strstr(lx_str_text(&text), "ENCRYPTED");
    if (text.data)
        memset(text.data, 0, text.len);
    lx_str_release(&text);
    return is_plain;
}

/* The next key file there is; GIT_PASSTHROUGH: no more. */
static int next_key(git_credential **out, store__credentials *c, const char *user)
{
    static const char *const names[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
    const char *home = getenv("HOME");
    lx_str path = LX_STR_INIT;
    int code = GIT_PASSTHROUGH;

    while (home && code == GIT_PASSTHROUGH &&
           c->n_keys_tried < (int)(sizeof names / sizeof *names)) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/.ssh/%s", home, names[c->n_keys_tried++]);
        if (!path.failed && is_plain_key(path.data))
            code = store__git2.credential_ssh_key_new(out, user, NULL, path.data, "");
    }
    lx_str_release(&path);
    return code;
}

static int ssh_key(git_credential **out, store__credentials *c, const char *user)
{
    const char *agent = getenv("SSH_AUTH_SOCK");

    if (!c->is_agent_tried && agent && *agent) {
        c->is_agent_tried = true;
        return store__git2.credential_ssh_key_from_agent(out, user);
    }
    return next_key(out, c, user);
}

/* ---- git's credential helpers ------------------------------------------------------ */

/*
 * `git credential ACTION` without a terminal or a window to ask, and in no repository: a helper is a command, and the
 * settings of the repository around us may be a stranger's. The user's and the system's say which there are.
 */
static void run_git(const char *action, int input)
{
    int nothing = open("/dev/null", O_RDWR);

    dup2(input, 0);
    dup2(input, 1);
    dup2(nothing, 2);
    setsid();
    if (chdir("/") < 0)
        _exit(127);
    unsetenv("GIT_WORK_TREE");
    unsetenv("GIT_COMMON_DIR");
    setenv("GIT_DIR", "/dev/null", 1); /* no repository, and none is looked for */
    setenv("GIT_TERMINAL_PROMPT", "0", 1);
    setenv("GIT_ASKPASS", "true", 1);
    setenv("SSH_ASKPASS", "true", 1);
    setenv("GCM_INTERACTIVE", "never", 1);
    execlp("git", "git", "credential", action, (char *)NULL);
    _exit(127);
}

/* All that it answers to a request; false: it took too long, or says too much. */
static bool converse(lx_str *answer, int fd, const char *request)
{
    const double deadline = store__deadline(PATIENCE_S);
    char piece[4096];
    ssize_t got = -1;

    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return false;
    shutdown(fd, SHUT_WR);
    while (answer->len < MOST_ANSWER) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, store__poll_time(deadline)) <= 0 ||
            (got = read(fd, piece, sizeof piece)) <= 0)
            break;
        lx_str_append(answer, piece, (size_t)got);
    }
    memset(piece, 0, sizeof piece);
    return got == 0;
}

/* Its answer to a request; false: none. */
static bool ask_git(lx_str *answer, const char *action, const char *request)
{
    bool is_whole = false;
    int ends[2], status = -1;
    pid_t child;

    lx_str_clear(answer);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    if ((child = fork()) == 0)
        run_git(action, ends[1]);
    close(ends[1]);
    if (child > 0) {
        is_whole = converse(answer, ends[0], request);
        if (!is_whole)
            kill(child, SIGKILL);
        status = store__wait_for(child);
    }
    close(ends[0]);
    return is_whole && status == 0 && !answer->failed;
}

/* protocol, host and path of an address; a newline in it would be a line of its own. */
static bool put_request(lx_str *out, const char *url, const char *user)
{
    const char *rest = strstr(url, "://"), *host, *slash;
    size_t n;

    if (!rest || strpbrk(url, "\r\n") || (user && strpbrk(user, "\r\n")))
        return false;
    host = rest + 3;
    slash = host + strcspn(host, "/");
    for (const char *p = host; p < slash; p++)
        if (*p == '@')
            host = p + 1;
    n = (size_t)(slash - host);
    lx_str_printf(out, "protocol=%.*s\nhost=%.*s\n", (int)(rest - url), url, (int)n,
                  host);
    if (user && *user)
        lx_str_printf(out, "username=%s\n", user);
    lx_str_putc(out, '\n');
    return !out->failed;
}

/* The value of a line KEY=VALUE; lx_free. */
static char *line_value(const char *text, const char *key)
{
    size_t n = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) == 0 && line[n] == '=')
            return lx_strndup(line + n + 1, strcspn(line + n + 1, "\n"));
    }
    return NULL;
}

static void forget(store__credentials *c)
{
    if (c->filled)
        memset(c->filled, 0, strlen(c->filled));
    lx_free(c->filled);
    c->filled = NULL;
}

/* Tells the helpers what became of what they gave. */
static void report(store__credentials *c, const char *action)
{
    lx_str unused = LX_STR_INIT;

    if (c->filled)
        ask_git(&unused, action, c->filled);
    lx_str_release(&unused);
    forget(c);
}

static int from_helper(git_credential **out, store__credentials *c, const char *url,
                       const char *user)
{
    lx_str request = LX_STR_INIT, answer = LX_STR_INIT;
    char *name = NULL, *password = NULL;
    int code = GIT_PASSTHROUGH;

    c->is_helper_tried = true;
    if (put_request(&request, url, user) && ask_git(&answer, "fill", request.data)) {
        name = line_value(lx_str_text(&answer), "username");
        password = line_value(lx_str_text(&answer), "password");
        if (name && password && *password &&
            (code = store__git2.credential_userpass_plaintext_new(out, name, password)) ==
                0) {
            lx_str_putc(&answer, '\n');
            c->filled = lx_str_detach(&answer);
        }
    }
    if (password)
        memset(password, 0, strlen(password));
    lx_free(password);
    lx_free(name);
    lx_str_release(&request);
    lx_str_release(&answer);
    return code;
}

/* ---- libgit2's callback ------------------------------------------------------------ */

int store__credentials_get(git_credential **out, const char *url, const char *user,
                           unsigned allowed, void *credentials)
{
    store__credentials *c = credentials;
    int code = GIT_PASSTHROUGH;

    if (allowed & GIT_CREDENTIAL_USERNAME)
        return store__git2.credential_username_new(out, user ? user : "git");
    if (allowed & GIT_CREDENTIAL_SSH_KEY)
        code = ssh_key(out, c, user ? user : "git");
    else if (allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT) {
        if (c->is_helper_tried)
            report(c, "reject");
        else
            code = from_helper(out, c, url, user);
    }
    if (code != GIT_PASSTHROUGH)
        return code;
    store__git2.error_set_str(
        GIT_ERROR_NET,
        allowed & GIT_CREDENTIAL_SSH_KEY
            ? "the other side takes none of the keys of the ssh agent and of ~/.ssh; one "
              "with a passphrase is given to the agent by ssh-add"
            : "the other side wants a user and a password, and neither the address nor "
              "git's credential helpers have them that it takes");
    return GIT_EAUTH;
}

void store__credentials_begin(store__credentials *c)
{
    forget(c);
    *c = (store__credentials){0};
}

void store__credentials_worked(store__credentials *c)
{
    report(c, "approve");
}

void store__credentials_release(store__credentials *c)
{
    forget(c);
}

void store__credentials_certificates(void)
{
    const char *file = getenv("GIT_SSL_CAINFO");

    if (!file || !*file)
        file = getenv("SSL_CERT_FILE");
    if (file && *file)
        store__git2.libgit2_opts(GIT_OPT_SET_SSL_CERT_LOCATIONS, file, NULL);
}
