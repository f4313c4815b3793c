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
#include "store/internal.h"
#include "src/base/scrub.h"

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
    static const char before[] = "model name\t: "; /* where the processor has a name */
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (lx_starts_with(line, before)) {
            line[strcspn(line, "\n")] = '\0';
            cJSON_AddStringToObject(root, "cpu", line + sizeof before - 1);
            break;
        }
    if (f)
        fclose(f);
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
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    size_t n = f ? fread(out, 1, LENGTH, f) : 0;
    out[n] = '\0';
    if (f)
        fclose(f);
}

/* Field 22 of /proc/PID/stat, in ticks since boot; 0 when there is no such process. */
static int64_t start_of(int64_t pid)
{
    /* A process that ends while it is asked says nothing: then this is where its name ends. */
    char path[64], text[1024] = ")";
    long long start = 0;
    size_t n;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    if (!(f = fopen(path, "re")))
        return 0;
    n = fread(text + 1, 1, sizeof text - 2, f);
    fclose(f);
    text[1 + n] = '\0';
    sscanf(strrchr(text, ')'), /* the name may hold anything */
           ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
           " %lld",
           &start);
    return start;
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
    return p;
}

static char boot_id_now[40];

static void remember_boot_id(void)
{
    read_boot_id(boot_id_now);
}

/* The boot is one for the life of the process, so it is read once: lists ask for every
 * run. */
bool store__is_alive(const char *boot_id, int64_t pid, int64_t start)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, remember_boot_id);
    return boot_id && strcmp(boot_id_now, boot_id) == 0 && start &&
           start_of(pid) == start;
}
