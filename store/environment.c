/* The machine a run ran on, and whether its process still lives. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <git2.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "src/base/proc.h"
#include "src/base/scrub.h"
#include "store/internal.h"

extern char **environ;

/* Only these enter the store; anything else may be a secret. */
static bool is_allowed(const char *entry)
{
    static const char *const prefixes[] = {"LX_",
                                           "OMP_",
                                           "CUDA_VISIBLE_DEVICES=",
                                           "DNNL_",
                                           "ONEDNN_",
                                           "SLURM_JOB_ID=",
                                           "SLURM_ARRAY_TASK_ID=",
                                           "LANG=",
                                           "LC_ALL=",
                                           "TZ="};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (lx_starts_with(entry, prefixes[i]))
            return true;
    return false;
}

static void add_variables(cJSON *root)
{
    cJSON *variables = cJSON_AddObjectToObject(root, "variables");
    for (char **e = environ; e && *e; e++) {
        char *equals = strchr(*e, '=');
        char name[128];
        if (!equals || !is_allowed(*e) || (size_t)(equals - *e) >= sizeof name)
            continue; /* whoever starts us may put there what is no variable */
        memcpy(name, *e, (size_t)(equals - *e));
        name[equals - *e] = '\0';
        if (!lx_is_secret_name(name) &&
            lx_utf8_check(equals + 1, strlen(equals + 1)) == strlen(equals + 1))
            cJSON_AddStringToObject(variables, name, equals + 1);
    }
}

static void add_cpu(cJSON *root)
{
    static const char before[] = "\nmodel name\t: "; /* where the processor has a name */
    char text[4096], *name;                          /* of the first processor */

    if (lx_proc_read(text, sizeof text, "/proc/cpuinfo") > 0 &&
        (name = strstr(text, before))) {
        name += sizeof before - 1;
        name[strcspn(name, "\n")] = '\0';
        cJSON_AddStringToObject(root, "cpu", name);
    }
    cJSON_AddNumberToObject(root, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN));
    cJSON_AddNumberToObject(
        root, "memory", (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
}

static void add_versions(cJSON *root)
{
    cJSON *versions = cJSON_AddObjectToObject(root, "versions");
    cJSON_AddStringToObject(versions, "lx", LX_VERSION);
    cJSON_AddStringToObject(versions, "sqlite", sqlite3_libversion());
    cJSON_AddStringToObject(versions, "zstd", ZSTD_versionString());
    cJSON_AddStringToObject(versions, "libgit2", LIBGIT2_VERSION);
}

char *store__environment(void)
{
    cJSON *root = cJSON_CreateObject();
    lx_str text = LX_STR_INIT, clean = LX_STR_INIT;
    struct utsname system = {0};
    char *out = NULL;

    uname(&system);
    cJSON_AddStringToObject(root, "system", system.sysname);
    cJSON_AddStringToObject(root, "kernel", system.release);
    cJSON_AddStringToObject(root, "machine", system.machine);
    add_cpu(root);
    add_versions(root);
    add_variables(root);
    if (root && lx_json_canonical(&text, root, NULL) == LX_OK) {
        lx_scrub_text(&clean, lx_str_text(&text), text.len);
        out = clean.failed ? NULL : lx_str_detach(&clean);
    }
    lx_str_release(&text);
    lx_str_release(&clean);
    cJSON_Delete(root);
    return out;
}

/* ---- processes -------------------------------------------------------------------- */

static void read_boot_id(char out[40])
{
    enum { LENGTH = 36 }; /* of a UUID */

    lx_proc_read(out, LENGTH + 1, "/proc/sys/kernel/random/boot_id");
}

/* Field 22 of /proc/PID/stat, in ticks since boot; 0 when there is no such process, or one that has ended and nobody has
 * asked for its status (in a container whose first process asks for none it stays for ever); -1 when that cannot be
 * told (too many files are open). */
static int64_t start_of(int64_t pid)
{
    char path[64], text[1024], *name_end, state = '\0';
    long long start = 0;

    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    if (lx_proc_read(text, sizeof text, path) < 0)
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    /* The name may hold anything. A process that ends while it is asked says nothing. */
    if ((name_end = strrchr(text, ')')))
        sscanf(
            name_end,
            ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
            "%*s %lld",
            &state, &start);
    return state == 'Z' || state == 'X' ? 0 : start;
}

int store__wait_for(int64_t pid)
{
    int status = -1;
    while (waitpid((pid_t)pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

double store__deadline(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec + seconds;
}

int store__poll_time(double deadline)
{
    return (int)(1000 * fmax(deadline - store__deadline(0), 0));
}

store__process store__process_of(int64_t pid)
{
    store__process p = {.pid = pid ? pid : getpid()};
    read_boot_id(p.boot_id);
    p.start = start_of(p.pid);
    if (p.start < 0)
        p.start = 0;
    return p;
}

static char boot_id_now[40];

static void remember_boot_id(void)
{
    read_boot_id(boot_id_now);
}

/* The boot is one for the life of the process, so it is read once: lists ask for every
 * run. Who cannot be looked at is alive: nothing is done to what one cannot know to be dead. */
bool store__is_alive(const char *boot_id, int64_t pid, int64_t start)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int64_t now;

    pthread_once(&once, remember_boot_id);
    if (!boot_id || !start || (*boot_id_now && strcmp(boot_id_now, boot_id) != 0))
        return false;
    now = start_of(pid);
    return now == start || now < 0;
}
