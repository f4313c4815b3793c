/*
 * Every kind of fault is caught, in each run order, and what is sound gives no alarm. Each case runs
 * in a process of its own, since some faults end it.
 *
 * `faults NAME` runs one, to be seen.
 */
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/faults.cuh"

enum { N = 64 };

static bool is_pointer_case(const fault_case *c)
{
    return std::string(c->name) == "host_pointer";
}

/* 0: nothing was found. */
static int run_one(const fault_case *c)
{
    static float host[N];
    float *x, *y;

    for (int i = 0; i < N; i++)
        host[i] = (float)i;
    if (cudaMalloc((void **)&x, sizeof host) ||
        cudaMalloc((void **)&y, 2 * sizeof host) ||
        cudaMemcpy(x, host, sizeof host, cudaMemcpyHostToDevice))
        return 2;
    if (std::string(c->name).rfind("atomic", 0) == 0 ||
        std::string(c->name) == "blocks_race")
        cudaMemset(y, 0, 2 * sizeof host);
    if (fault_launch(c, y, is_pointer_case(c) ? host : x, N))
        return 1;
    cudaDeviceSynchronize();
    return lx_emu_faults() != 0;
}

/* In a child, quietly; what it said goes to `text`. */
static bool is_found(const fault_case *c, int order, char *text, size_t bytes)
{
    int ends[2], status = 0;
    size_t n = 0;
    ssize_t got;

    fflush(stdout);
    if (pipe(ends))
        exit(1);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        lx_emu_options_get()->order = (uint64_t)order;
        exit(run_one(c));
    }
    close(ends[1]);
    while (n + 1 < bytes && (got = read(ends[0], text + n, bytes - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    return status != 0;
}

int main(int argc, char **argv)
{
    int wrong = 0, n = 0;
    char text[4096];

    for (const fault_case *c = fault_cases; c->name; c++) {
        if (argc > 1 && std::string(argv[1]) == c->name)
            return run_one(c);
        for (int order = 0; argc == 1 && order < LX_EMU_ORDERS; order++, n++)
            if (is_found(c, order, text, sizeof text) == c->is_sound) {
                printf("%s, order %d: %s\n%s", c->name, order,
                       c->is_sound ? "a false alarm" : "missed", text);
                wrong++;
            }
    }
    printf("%d of %d cases as they should be\n", n - wrong, n);
    return wrong != 0;
}
