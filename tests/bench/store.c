/*
 * bench/store - what a store of many runs costs
 *
 *     lx_bench_store FOLDER [RUNS [POINTS]]      (10,000 and 10,000)
 *
 * Fills a store in FOLDER (unless it is there already) with runs of realistic curves:
 * losses that are f32 with noise, their running mean, a cosine learning rate, gradient
 * norms; a quarter of the points each. Then times what commands ask of it, and what a
 * training step pays. Files are in the page cache.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "store/query.h"

enum { GROUP = 20 /* runs in a transaction */, N_KEYS = 4 };

static const char *const keys[N_KEYS] = {"loss", "loss/average", "lr/unet", "grad_norm"};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double processor_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(int rc, const lx_error *err)
{
    if (rc == LX_OK)
        return;
    fprintf(stderr, "lx_bench_store: %s\n", err->text);
    exit(1);
}

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double normal(uint64_t *state)
{
    double u = ((double)(next(state) >> 11) + 1) / 0x1p53;
    double v = (double)(next(state) >> 11) / 0x1p53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* values[key][i] of one run. */
static void make_curves(double *values[N_KEYS], int64_t n, uint64_t seed)
{
    double sum = 0, rate = 1e-4 * (1 + (double)(seed % 7));
    for (int64_t i = 0; i < n; i++) {
        double t = (double)i / (double)n;
        double level = 0.08 + 0.06 * exp(-5 * t);
        values[0][i] = (double)(float)(level * exp(0.35 * normal(&seed)));
        sum += values[0][i];
        if (i >= 40)
            sum -= values[0][i - 40];
        values[1][i] = sum / (double)(i < 40 ? i + 1 : 40);
        values[2][i] = rate * 0.5 * (1 + cos(3.141592653589793 * t));
        values[3][i] = (double)(float)(0.02 * exp(0.5 * normal(&seed)));
    }
}

static void put_flags(char *out, size_t size, int64_t i)
{
    int at = snprintf(out, size,
                      "{\"network_dim\":%d,\"learning_rate\":%g,\"seed\":%lld,"
                      "\"train_data_dir\":\"/data/set%lld\"",
                      4 << i % 4, 1e-4 * (double)(1 + i % 7), (long long)i,
                      (long long)(i % 50));
    for (int k = 0; k < 60; k++) /* those that are alike in all runs */
        at += snprintf(out + at, size - (size_t)at, ",\"flag_%d\":%d", k, k);
    snprintf(out + at, size - (size_t)at, "}");
}

static void fill(lx_store *store, int64_t n_runs, int64_t n_points)
{
    int64_t n = n_points / N_KEYS, *steps = calloc((size_t)n, sizeof *steps);
    double *values[N_KEYS], began = now(), logging = 0, processor = 0;
    lx_error err;

    for (int k = 0; k < N_KEYS; k++)
        values[k] = calloc((size_t)n, sizeof **values);
    for (int64_t i = 0; i < n; i++)
        steps[i] = i + 1;
    for (int64_t i = 0; i < n_runs; i++) {
        char flags[4096], name[32];
        lx_run_start start = {.name = name,
                              .kind = "import",
                              .flags = flags,
                              .started = 1.7e9 + (double)i,
                              .is_historic = true};
        lx_run *run;
        double t, p;
        snprintf(name, sizeof name, "run-%lld", (long long)i);
        put_flags(flags, sizeof flags, i);
        make_curves(values, n, (uint64_t)i);
        t = now();
        p = processor_time();
        if (i % GROUP == 0)
            must(lx_store_group_begin(store, &err), &err);
        must(lx_run_begin(&run, store, &start, &err), &err);
        for (int k = 0; k < N_KEYS; k++)
            must(lx_run_log_many(run, keys[k], steps, values[k], (size_t)n, &err), &err);
        must(lx_run_end_at(run, "finished", NULL, start.started + 1000, &err), &err);
        if (i % GROUP == GROUP - 1 || i == n_runs - 1)
            must(lx_store_group_end(store, LX_OK, &err), &err);
        logging += now() - t;
        processor += processor_time() - p;
    }
    printf("filled: %lld runs of %lld points in %.1f s (%.1f s with making them up)\n",
           (long long)n_runs, (long long)(n * N_KEYS), logging, now() - began);
    printf("  whole runs, durable:    %.2f million points/s, %.0f runs/s; %.2f million "
           "points a\n"
           "                          second of processor time\n",
           (double)(n_runs * n * N_KEYS) / logging / 1e6, (double)n_runs / logging,
           (double)(n_runs * n * N_KEYS) / processor / 1e6);
    free(steps);
    for (int k = 0; k < N_KEYS; k++)
        free(values[k]);
}

/* One run, one curve, masses: the rate of appending alone. */
static void time_append(lx_store *store)
{
    enum { N = 4 << 20, PART = 65536 };
    const lx_run_start start = {.name = "append", .kind = "import", .is_historic = true};
    int64_t *steps = calloc(N, sizeof *steps);
    double *values = calloc(N, sizeof *values), t, p;
    uint64_t seed = 1;
    lx_run *run;
    lx_error err;

    for (int64_t i = 0; i < N; i++) {
        steps[i] = i;
        values[i] = (double)(float)(0.1 * exp(0.3 * normal(&seed)));
    }
    must(lx_run_begin(&run, store, &start, &err), &err);
    t = now();
    p = processor_time();
    for (size_t at = 0; at < N; at += PART)
        must(lx_run_log_many(run, "loss", steps + at, values + at, PART, &err), &err);
    must(lx_run_flush(run, &err), &err);
    t = now() - t;
    p = processor_time() - p;
    must(lx_run_end(run, "finished", NULL, &err), &err);
    printf("append, one curve:        %.2f million points/s, durable; %.2f a second of "
           "processor\n",
           N / t / 1e6, N / p / 1e6);
    free(steps);
    free(values);
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Seven points a step, as lx train logs, with 300 us of work between. */
static void time_steps(lx_store *store)
{
    enum { N = 20000 };
    static const char *const logged[] = {"loss",           "loss/average", "lr/unet",
                                         "lr/textencoder", "grad_norm",    "seconds",
                                         "images"};
    const lx_run_start start = {.name = "steps", .kind = "train"};
    static double spent[N];
    double sum = 0, began, processor;
    uint64_t seed = 1;
    lx_run *run;
    lx_error err;

    must(lx_run_begin(&run, store, &start, &err), &err);
    began = now();
    processor = processor_time();
    for (int i = 0; i < N; i++) {
        double t = now();
        for (size_t k = 0; k < sizeof logged / sizeof *logged; k++)
            must(lx_run_log(run, logged[k], i + 1, normal(&seed), &err), &err);
        spent[i] = now() - t;
        sum += spent[i];
        nanosleep(&(struct timespec){0, 300000}, NULL);
    }
    processor = processor_time() - processor;
    must(lx_run_end(run, "finished", NULL, &err), &err);
    qsort(spent, N, sizeof *spent, by_time);
    printf("a training step pays:     mean %.2f us, median %.2f us, 99.9 %% %.1f us, "
           "most %.0f us\n",
           sum / N * 1e6, spent[N / 2] * 1e6, spent[N - N / 1000] * 1e6,
           spent[N - 1] * 1e6);
    printf(
        "  processor time with the thread that writes: %.1f us a step (%.0f steps/s)\n",
        processor / N * 1e6, N / (now() - began));
}

/* The median of five, in ms. */
#define TIME(what, call)                                             \
    do {                                                             \
        double times[5];                                             \
        for (int k_ = 0; k_ < 5; k_++) {                             \
            lx_arena_reset(arena);                                   \
            times[k_] = now();                                       \
            must(call, &err);                                        \
            times[k_] = now() - times[k_];                           \
        }                                                            \
        qsort(times, 5, sizeof *times, by_time);                     \
        printf("%-42s %8.2f ms   (%zu)\n", what, times[2] * 1e3, n); \
    } while (0)

static int count_row(void *context, int n, const char *const *columns,
                     const lx_sql_value *values, lx_error *err)
{
    (void)n;
    (void)columns;
    (void)err;
    *(size_t *)context += values != NULL;
    return LX_OK;
}

static int read_ten(size_t *n, lx_store *store, int64_t run, lx_arena *arena,
                    lx_error *err)
{
    lx_curve curve;
    int rc = LX_OK;
    *n = 0;
    for (int i = 0; i < 10 && rc == LX_OK; i++) {
        rc = lx_query_curve(&curve, store, run + i, "loss", 0, arena, err);
        *n += curve.n;
    }
    return rc;
}

static void time_queries(const char *folder)
{
    lx_arena *arena = lx_arena_new();
    lx_store *store;
    lx_run_list list = {0};
    lx_series_row *series;
    lx_flag_row *flags;
    lx_curve curve;
    lx_run_row row;
    lx_error err;
    size_t n = 0;

    must(lx_store_open(&store, folder, true, &err), &err);
    TIME("all runs", (lx_query_runs(&list, store, NULL, arena, &err), n = list.count, 0));
    TIME("one run by the beginning of its name",
         (n = 1, lx_query_find(&row, store, "run-47", arena, &err)));
    TIME("last and least loss of all runs",
         lx_query_series(&series, &n, store, 0, "loss", arena, &err));
    TIME("one flag of all runs",
         lx_query_flags(&flags, &n, store, 0, "network_dim", arena, &err));
    TIME("SQL: a flag and a loss, sorted",
         (n = 0, lx_store_sql(store,
                              "SELECT r.id, r.loss FROM runs r JOIN flags f ON f.run=r.id"
                              " WHERE f.key='network_dim' AND f.value=4 AND r.loss<0.085"
                              " ORDER BY r.loss",
                              NULL, 0, count_row, &n, &err)));
    TIME("a curve", (lx_query_curve(&curve, store, row.seq, "loss", 0, arena, &err),
                     n = curve.n, 0));
    TIME("a curve of each of ten runs", read_ten(&n, store, row.seq, arena, &err));
    lx_store_close(store);
    lx_arena_free(arena);
}

static int show_key(void *context, int n, const char *const *columns,
                    const lx_sql_value *values, lx_error *err)
{
    (void)context;
    (void)n;
    (void)columns;
    (void)err;
    if (values)
        printf("  %-16s %.2f bytes a point\n", values[0].bytes, values[1].real);
    return LX_OK;
}

static void show_keys(const char *folder)
{
    lx_store *store;
    lx_error err;
    must(lx_store_open(&store, folder, true, &err), &err);
    must(lx_store_sql(store,
                      "SELECT key, sum(length(data)) * 1.0 / sum(n) FROM chunk c"
                      " JOIN series s ON s.id=c.series GROUP BY key",
                      NULL, 0, show_key, NULL, &err),
         &err);
    lx_store_close(store);
}

static void show_size(const char *folder, int64_t n_points)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/store.db", folder);
    if (stat(path, &st) == 0 && n_points)
        printf("store.db: %.1f MB, %.2f bytes a point with all else\n",
               (double)st.st_size / 1e6, (double)st.st_size / (double)n_points);
}

int main(int argc, char **argv)
{
    int64_t n_runs = argc > 2 ? atoll(argv[2]) : 10000;
    int64_t n_points = argc > 3 ? atoll(argv[3]) : 10000;
    char path[4096];
    lx_store *store;
    lx_error err;
    bool is_new;

    if (argc < 2) {
        fprintf(stderr, "usage: lx_bench_store FOLDER [RUNS [POINTS]]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/store.db", argv[1]);
    is_new = !lx_file_exists(path);
    must(lx_store_open(&store, argv[1], false, &err), &err);
    if (is_new)
        fill(store, n_runs, n_points);
    lx_store_close(store); /* checkpoint */
    if (is_new)
        show_size(argv[1], n_runs * (n_points / N_KEYS) * N_KEYS);
    if (is_new)
        show_keys(argv[1]);
    time_queries(argv[1]);
    must(lx_store_open(&store, argv[1], false, &err), &err);
    time_append(store);
    time_steps(store);
    lx_store_close(store);
    return 0;
}
