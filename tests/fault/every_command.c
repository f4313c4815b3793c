/*
 * Every allocation and every file call of every command fails: once, and from then on for ever.
 *
 * Each round runs a command of every_command.def in a copy of the same folder, with the n-th call
 * failing. It must
 *
 *   - end by itself, with 70 (memory) or 74 (files; see is_right_code) and a line that says why, or as it
 *     would have ended without the fault, where that was harmless; then it printed and made what it would
 *     have made;
 *   - leave every file under its own name either as it was or as it would have become;
 *   - leave nothing else behind, when it was memory that ran out;
 *   - leave a store that is sound.
 *
 * LX_TEST_FAULTS says how many calls of each kind and command fail in turn (2), spread over all there are and
 * drawn by LX_TEST_SEED; "all": every one; "K/M": the K-th of M parts of them; "places": of all commands together, one from each place of
 * the program; "@N": the N-th only. LX_TEST_KIND: of this kind only (memory, io, space, short). LX_TEST_PIECES: whatever is taken from an
 * arena is an allocation, too. Arguments: names of the commands to try (all).
 *
 * The program is lx at the same time: that is how it runs it.
 */
int lx_main(int argc, char **argv);
#include "src/image/decode.h"
static bool is_worker(int *status, int argc, char **argv);
#define main lx_main
#define lx_decode_is_worker is_worker
#include "cmd/main.c"
#undef main
#undef lx_decode_is_worker

#include <arpa/inet.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/alike.h"
#include "tests/support/faults.h"
#include "tests/support/forked_exec.h"
#include "tests/support/snapshot.h"

enum { SECONDS_A_ROUND = 60, MAX_WORDS = 64 };

typedef struct scenario {
    const char *name;        /* a command, with more behind it: "merge_into" */
    const char *words;       /* ~ stands for a space inside a word */
    void (*meet)(pid_t pid); /* what is done to it while it runs; NULL = nothing */
} scenario;

static char root[64]; /* of all that follows */

/* What is tried: every call; some of them; or, of all commands together, the first call from each place
 * of the program (as far as its innermost callers tell). */
static enum { ALL, SAMPLES, PLACES, ONE } mode = SAMPLES;
static long n_samples = 2, part = 1, n_parts = 1;

/* Where every call is tried, images are decoded in a forked process that has libvips from here, as in a program that
 * uses liblx: starting lx anew and loading the library is a third of a round. The trials of lx sweep are forked as well
 * (support/forked_exec). */
static bool is_worker(int *status, int argc, char **argv)
{
    return mode != ALL && lx_decode_is_worker(status, argc, argv);
}

/* What is missing is loaded later, as ever. */
static void load_libraries(void)
{
    glob_t modules;

    if (mode != ALL || !dlopen("libvips.so.42", RTLD_NOW | RTLD_LOCAL) ||
        glob("/usr/lib/*/vips-modules-*/*.so", 0, NULL, &modules) != 0)
        return;
    for (size_t i = 0; i < modules.gl_pathc; i++)
        dlopen(modules.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
    globfree(&modules);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The work folder as it is put back before every round, as the command makes it when nothing fails,
 * and as it is after a round. */
static lx_snapshot before, after, seen;

static void look(lx_snapshot *out)
{
    lx_snapshot_take(out, "work", &before);
}

static void put_back(void)
{
    lx_snapshot_put_back(&before, "work", &seen);
}

/* ---- a round ----------------------------------------------------------------------- */

static int start_words(char **argv, char *text, const char *words)
{
    int argc = 0;

    snprintf(text, 2048, "lx %s", words);
    for (char *word = strtok(text, " "); word && argc < MAX_WORDS - 1;
         word = strtok(NULL, " ")) {
        for (char *c = word; *c; c++)
            *c = *c == '~' ? ' ' : *c;
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return argc;
}

static void redirect(const char *path, int to)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (fd < 0 || dup2(fd, to) < 0)
        _exit(99);
    close(fd);
}

/* Where it crashed, among what it printed. */
static void tell_frames(int number)
{
    void *frames[24];
    int n = backtrace(frames, 24);

    backtrace_symbols_fd(frames, n, 2);
    signal(number, SIG_DFL);
    raise(number);
}

/* In a new process: lx with these words; it does not return. */
static void be_lx(const char *words, fault_kind kind, long n, bool forever)
{
    char *argv[MAX_WORDS], text[2048];
    int argc = start_words(argv, text, words), status;

    redirect("out", 1);
    redirect("err", 2);
    if (chdir("work") < 0)
        _exit(99);
    signal(SIGSEGV, tell_frames);
    signal(SIGABRT, tell_frames);
    if (getenv("LX_TEST_PIECES"))
        lx_arena_use_blocks(1);
    faults_arm(kind, n, forever);
    status = lx_main(argc, argv);
    faults_disarm();
    exit(status);
}

typedef struct outcome {
    int status; /* as wait gives it; -1: did not end in time */
    long n_calls;
    char *out, *err;
    size_t n_out, n_err;
} outcome;

static void release(outcome *o)
{
    free(o->out);
    free(o->err);
}

static int wait_for(pid_t pid)
{
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int status, n = poll(&ended, 1, SECONDS_A_ROUND * 1000);

    if (n <= 0)
        kill(pid, SIGKILL);
    close(ended.fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return n <= 0 ? -1 : status;
}

static outcome play(const char *words, void (*meet)(pid_t), fault_kind kind, long n,
                    bool forever)
{
    outcome o = {0};
    pid_t pid;

    fflush(NULL);
    lx_test_write("out", "", 0); /* what the last one said is not this one's address */
    if ((pid = fork()) < 0)
        die("fork");
    if (pid == 0)
        be_lx(words, kind, n, forever);
    if (meet)
        meet(pid);
    o.status = wait_for(pid);
    o.n_calls = faults_count();
    o.out = lx_test_read(&o.n_out, "out");
    o.err = lx_test_read(&o.n_err, "err");
    return o;
}

/* ---- lx serve is asked something ------------------------------------------------------ */

static int find_port(pid_t pid)
{
    for (int i = 0; i < 1000; i++) {
        size_t n;
        char *out = lx_test_read(&n, "out"), *at = strstr(out, "http://127.0.0.1:");
        int port = at && strchr(at, '\n') ? atoi(at + 17) : 0;
        siginfo_t info = {0};

        free(out);
        if (port)
            return port;
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
            info.si_pid)
            return 0;
        usleep(1000);
    }
    return 0;
}

static void ask(int port, const char *target)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const struct timeval patience = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[65536];

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
        int n =
            snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n",
                     target, port);
        if (send(fd, text, (size_t)n, MSG_NOSIGNAL) == n)
            while (recv(fd, text, sizeof text, 0) > 0)
                ;
    }
    close(fd);
}

static char run_id[64]; /* of the training in the store */

static void meet_server(pid_t pid)
{
    static const char *const targets[] = {"/", "/api/runs", "/run/%s", "/api/run/%s",
                                          "/nothing"};
    int port = find_port(pid);

    for (size_t i = 0; port && i < sizeof targets / sizeof *targets; i++) {
        char target[128];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(target, sizeof target, targets[i], run_id);
#pragma GCC diagnostic pop
        ask(port, target);
    }
    kill(pid, SIGTERM);
}

/* ---- what must hold ---------------------------------------------------------------- */

static struct round {
    const scenario *s;
    fault_kind kind;
    long n;
    bool forever;
    const outcome *wanted;
    int n_said;
} now;
static long n_bad;

static const char *const kind_names[] = {"", "memory", "io", "space", "short"};

static void complain(const outcome *o, const char *fmt, ...)
{
    va_list args;

    n_bad++;
    if (now.n_said++)
        return; /* the first says it */
    printf("BAD %s: %s %ld%s: ", now.s->name, kind_names[now.kind], now.n,
           now.forever ? " and on" : "");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    if (o && o->n_err)
        printf("    %.*s", (int)(o->n_err < 2000 ? o->n_err : 2000), o->err);
    fflush(stdout);
}

/* What grows while a command goes on, or has rules of its own: the store, a repository, event files. */
static bool grows(const char *name)
{
    return strstr(name, ".tfevents.") || strncmp(name, "store/", 6) == 0 ||
           strncmp(name, "other", 5) == 0 || strncmp(name, "runs.git/", 9) == 0;
}

/* A page about files or pictures shows in their place that they could not be read. */
static bool is_told_inside(const lx_kept *k)
{
    if (now.kind != FAULT_IO)
        return false;
    if (strstr(k->name, ".html"))
        return k->n > 8 && memmem(k->bytes + k->n - 8, 8, "</html>", 7);
    return strstr(k->name, ".md") != NULL;
}

/* A training that cannot save leaves a state of its last step, whole, and says so. */
static bool is_kept_state(const outcome *o, const lx_kept *k)
{
    return strstr(k->name, "-autosave/state.safetensors") && o && o->err &&
           strstr(o->err, "lx resume goes on from") && lx_is_whole_safetensors(k);
}

/* While an export to MLflow's folder goes on, its list names what is about to be written (src/export/mlflow_list.h). */
static bool is_list_under_way(const lx_kept *k, bool is_done)
{
    return !is_done && strstr(k->name, "/lx.sha256");
}

static void check_files(const outcome *o, bool is_done)
{
    look(&seen);
    for (size_t i = 0; i < seen.count; i++) {
        lx_kept *k = &seen.items[i], *b = lx_snapshot_find(&before, k->name);
        lx_kept *a = lx_find_alike(&after, k);

        if (grows(k->name) || k->is_folder || k->is_borrowed || is_kept_state(o, k) ||
            is_list_under_way(k, is_done))
            continue;
        if (!a && !b && now.kind == FAULT_MEMORY)
            complain(o, "left %s behind", k->name);
        else if (is_told_inside(k))
            continue;
        else if ((a || b) && !(a && lx_is_alike_file(a, k)) &&
                 !(b && lx_is_alike_file(b, k)))
            complain(o, "%s is half made: %zu of %zu bytes", k->name, k->n,
                     a ? a->n : b->n);
    }
    for (size_t i = 0; i < before.count; i++)
        if (!lx_snapshot_find(&seen, before.items[i].name) &&
            lx_snapshot_find(&after, before.items[i].name) &&
            !grows(before.items[i].name))
            complain(o, "%s is gone", before.items[i].name);
    for (size_t i = 0; is_done && i < after.count; i++)
        if (!grows(after.items[i].name) && !lx_find_alike(&seen, &after.items[i]))
            complain(o, "%s was not made, and nothing said so", after.items[i].name);
}

static const char *const stores[] = {"store", "other"};

/* What fsck says of a store; NULL: there is none. */
static char *look_at_store(const char *store, const outcome *o)
{
    char path[64], words[64], *said;
    outcome fsck;

    snprintf(path, sizeof path, "work/%s/store.db", store);
    if (access(path, F_OK) < 0)
        return NULL;
    snprintf(words, sizeof words, "fsck --store %s", store);
    fsck = play(words, NULL, FAULT_NONE, 0, false);
    if (fsck.status != 0 && !strstr(fsck.err, "no runs yet"))
        complain(o, "fsck: %s%s", fsck.out, fsck.err);
    said = strdup(fsck.out);
    release(&fsck);
    return said;
}

/* After look(&seen). */
static bool is_touched(const char *store)
{
    size_t n = strlen(store), n_before = 0, n_seen = 0;

    for (size_t i = 0; i < before.count; i++)
        n_before += strncmp(before.items[i].name, store, n) == 0;
    for (size_t i = 0; i < seen.count; i++) {
        const lx_kept *k = &seen.items[i];
        if (strncmp(k->name, store, n) != 0)
            continue;
        n_seen++;
        if (!k->is_folder && !k->is_borrowed)
            return true;
    }
    return n_before != n_seen;
}

static void check_stores(const outcome *o, char *const *wanted, bool is_done)
{
    for (size_t i = 0; i < 2; i++) {
        char *said;
        if (!is_touched(stores[i]) && !(is_done && wanted[i]))
            continue;
        said = look_at_store(stores[i], o);
        if (is_done && wanted[i] &&
            (!said || !lx_is_alike(said, strlen(said), wanted[i], strlen(wanted[i]))))
            complain(o, "the store holds %s    and not %s", said ? said : "nothing\n",
                     wanted[i]);
        free(said);
    }
}

/* Memory: 70. A file call: 74, or what it made of a file that it could not look at: that it is broken (65), absent
 * (66) or no folder (2), in the way (73), a finding of a check (1), a
 * verdict of lx verify on fewer images (10 to 14). Never that all is well. */
static bool is_right_code(fault_kind kind, int code)
{
    if (kind == FAULT_MEMORY)
        return code == 70;
    return code == 74 ||
           (kind == FAULT_IO && (code == 1 || code == 2 || code == 65 || code == 66 ||
                                 code == 73 || (code >= 10 && code <= 14)));
}

static bool printed_the_same(const outcome *o)
{
    return lx_is_alike(o->out, o->n_out, now.wanted->out, now.wanted->n_out);
}

/* What it ended with: true when it is what it would have ended with without the fault. */
static bool check_end(const outcome *o)
{
    int code = WIFEXITED(o->status) ? WEXITSTATUS(o->status) : -1;
    int wanted = WEXITSTATUS(now.wanted->status);

    if (o->status == -1)
        complain(o, "did not end in %d s", SECONDS_A_ROUND);
    else if (WIFSIGNALED(o->status))
        complain(o, "ended by signal %d", WTERMSIG(o->status));
    else if (code == wanted && (printed_the_same(o) || !is_right_code(now.kind, code))) {
        if (!printed_the_same(o))
            complain(o, "printed something else, and exit %d:\n%.300s", code, o->out);
        return true;
    } else if (!is_right_code(now.kind, code))
        complain(o, "exit %d", code);
    else if (!o->n_err && !o->n_out)
        complain(o, "exit %d without a word", code);
    return false;
}

/* ---- all rounds of a command --------------------------------------------------------- */

static uint64_t seed;

static double draw(void)
{
    uint64_t z = seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) / 0x1p53;
}

static unsigned long *known; /* an open hash table of places */
enum { N_KNOWN = 1 << 22 };

static bool is_known(unsigned long place)
{
    size_t i = place % N_KNOWN;

    if (!known && !(known = calloc(N_KNOWN, sizeof *known)))
        die("memory");
    for (; known[i]; i = (i + 1) % N_KNOWN)
        if (known[i] == place)
            return true;
    known[i] = place;
    return false;
}

/* The calls to fail, rising; *n of them. After a run of which they were only counted. */
static long *choose(long *n, fault_kind kind)
{
    long total = faults_count(),
         *calls = malloc((size_t)(total + n_samples + 1) * sizeof *calls);

    *n = 0;
    if (mode == ONE)
        calls[(*n)++] = n_samples;
    for (long i = part; i <= total && mode == ALL; i += n_parts)
        calls[(*n)++] = i;
    for (long i = 1; i <= total && mode == PLACES; i++)
        if (!is_known(faults_place(i) * 8 + (unsigned long)kind))
            calls[(*n)++] = i;
    for (long i = 0; i < n_samples && mode == SAMPLES && total; i++) {
        long at = 1 + (long)(((double)i + draw()) * (double)total / (double)n_samples);
        if (*n == 0 || calls[*n - 1] < at)
            calls[(*n)++] = at;
    }
    return calls;
}

/* A decoder that is forked and not started anew (is_worker) may find a lock held for ever, by a thread of its parent that
 * it has not inherited. */
static bool hung_in_fork(const outcome *o)
{
    return mode == ALL && strstr(o->err, "decoding took more than");
}

/* All of them once, or for ever. */
static void try_kind(const scenario *s, fault_kind kind, bool forever, const long *calls,
                     long n, const outcome *wanted, char *const *held)
{
    long n_failed = 0, bad = n_bad;

    for (long i = 0; i < n && n_bad - bad < 20; i++) {
        outcome o;
        bool is_done;

        now = (struct round){s, kind, calls[i], forever, wanted, 0};
        put_back();
        o = play(s->words, s->meet, kind, calls[i], forever);
        if (hung_in_fork(&o)) {
            release(&o);
            put_back();
            o = play(s->words, s->meet, kind, calls[i], forever);
        }
        is_done = check_end(&o);
        check_files(&o, is_done);
        check_stores(&o, held, is_done);
        n_failed += !is_done;
        release(&o);
    }
    printf("%-18s %-6s %-8s %7ld calls %7ld tried %7ld failed %6ld as if nothing%s\n",
           s->name, kind_names[kind], forever ? "for ever" : "once", wanted->n_calls, n,
           n_failed, n - n_failed, n_bad > bad ? "  BAD" : "");
    fflush(stdout);
}

static void try_command(const scenario *s, const char *only)
{
    static const fault_kind kinds[] = {FAULT_MEMORY, FAULT_IO, FAULT_SPACE, FAULT_SHORT};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        outcome wanted;
        char *held[2];
        long *calls, n;

        if (only && strcmp(only, kind_names[kinds[i]]) != 0)
            continue;
        put_back();
        wanted = play(s->words, s->meet, kinds[i], 0, false);
        calls = choose(&n, kinds[i]);
        look(&after);
        for (size_t k = 0; k < 2; k++)
            held[k] = look_at_store(stores[k], &wanted);
        if (!WIFEXITED(wanted.status) || WEXITSTATUS(wanted.status) >= 64 ||
            WEXITSTATUS(wanted.status) == 2) {
            printf("BAD %s: fails by itself (%d): %s\n", s->name, wanted.status,
                   wanted.err);
            n_bad++;
        } else if (n) {
            try_kind(s, kinds[i], false, calls, n, &wanted, held);
            try_kind(s, kinds[i], true, calls, n, &wanted, held);
        }
        free(calls);
        release(&wanted);
        free(held[0]);
        free(held[1]);
    }
}

#define SCENARIO(name, meet, words) {#name, words, meet},
static const scenario scenarios[] = {
#include "tests/fault/every_command.def"
};

/* ---- the folder -------------------------------------------------------------------- */

static bool is_asked(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc <= 1;
}

/* 0, or what the program is to end with. */
static int set_up(const char *self)
{
    char command[1024], *id;
    size_t n;
    int status;

    snprintf(root, sizeof root, "%s/lx-every-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(root) || chdir(root) < 0)
        die(root);
    snprintf(command, sizeof command, "sh '%s/fault/every_command.sh' '%s'", LX_TEST_DIR,
             self);
    status = system(command);
    if (status != 0)
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    id = lx_test_read(&n, "id");
    snprintf(run_id, sizeof run_id, "%.*s", (int)strcspn(id, "\n"), id);
    free(id);
    look(&before);
    return 0;
}

static void set_environment(void)
{
    char home[128];

    snprintf(home, sizeof home, "%s/work/home", root);
    setenv("HOME", home, 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("COLUMNS", "80", 1);
    setenv("TERM", "dumb", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("OMP_WAIT_POLICY", "passive", 1); /* else lx starts itself anew with it */
    unsetenv("NO_COLOR");
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_DATA_HOME");
    unsetenv("XDG_CACHE_HOME");
    setenv("LX_STORE", "store", 1);
}

/* The same calls are refused on every day; LX_TEST_SEED names others. */
static void pick_seed(void)
{
    const char *given = getenv("LX_TEST_SEED");

    seed = given ? (uint64_t)atoll(given) : 1;
    printf("seed %llu\n", (unsigned long long)seed);
}

static void read_mode(const char *asked)
{
    if (sscanf(asked, "%ld/%ld", &part, &n_parts) == 2 && part > 0 && n_parts > 0)
        mode = ALL;
    else
        mode = *asked == '@'              ? ONE
               : !strcmp(asked, "all")    ? ALL
               : !strcmp(asked, "places") ? PLACES
                                          : SAMPLES;
    n_samples = mode == ONE ? atol(asked + 1) : mode == SAMPLES ? atol(asked) : 0;
}

int main(int argc, char **argv)
{
    const char *asked = getenv("LX_TEST_FAULTS");
    const char *as_lx = getenv("LX_TEST_AS_LX");
    char self[512], command[128];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    int rc;

    if (as_lx || (argc > 1 && strncmp(argv[1], "__", 2) == 0))
        return lx_main(argc, argv);
    self[n > 0 ? n : 0] = '\0';
    pick_seed();
    if (faults_find_leaks())
        setenv("LX_TEST_NO_SANDBOX", "1",
               1); /* it is looked for from outside the process */
    if (asked)
        read_mode(asked);
    if ((rc = set_up(self)) == 0) {
        set_environment();
        setenv("LX_TEST_AS_LX", "1", 1);
        load_libraries();
        faults_prepare();
        if (mode == ALL)
            forked_exec_start(lx_main);
        for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
            if (is_asked(scenarios[i].name, argc, argv))
                try_command(&scenarios[i], getenv("LX_TEST_KIND"));
    }
    snprintf(command, sizeof command, "cd / && rm -rf '%s'", root);
    if (system(command) != 0)
        printf("%s is left\n", root);
    if (n_bad)
        printf("%ld violations\n", n_bad);
    return rc ? rc : n_bad != 0;
}
