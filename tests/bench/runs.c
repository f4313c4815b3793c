/*
 * lx_bench_runs STORE [RUNS [POINTS]] - fills a store with made-up trainings
 *
 * Every run has the flags that a training records, two curves of POINTS points, a name,
 * and some a tag and a group. tests/bench/runs.sh times what lx does among them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "store/store.h"

static const char *const schedulers[] = {"constant", "cosine", "linear", "polynomial"};

/* Twenty that vary and sixty that do not, as in a real run. */
static void put_flags(lx_str *out, size_t i, lx_rng *rng)
{
    static const int dims[] = {2, 4, 8, 16, 32, 64, 128};

    lx_str_printf(
        out,
        "{\"network_dim\":%d,\"network_alpha\":%d,\"learning_rate\":%g,"
        "\"lr_scheduler\":\"%s\",\"seed\":%zu,\"output_name\":\"lora-%zu\","
        "\"train_data_dir\":\"/data/%s/img\",\"max_train_epochs\":%d",
        dims[lx_rng_below(rng, 7)], (int)lx_rng_below(rng, 4) + 1,
        1e-5 * (double)(1 + lx_rng_below(rng, 20)), schedulers[lx_rng_below(rng, 4)], i,
        i, lx_rng_below(rng, 3) ? "nagisa" : "hifumi", (int)lx_rng_below(rng, 20) + 1);
    for (int k = 0; k < 72; k++)
        lx_str_printf(out, ",\"setting_%d\":%d", k,
                      k < 12 ? (int)lx_rng_below(rng, 3) : k);
    lx_str_putc(out, '}');
}

static int add_curves(lx_run *run, size_t n, lx_rng *rng, lx_error *err)
{
    int64_t *steps = lx_calloc(n, sizeof *steps);
    double *loss = lx_calloc(n, sizeof *loss), *average = lx_calloc(n, sizeof *average),
           mean = 0;
    double decay = 50 + 300 * lx_rng_uniform(rng),
           level = 0.04 + 0.05 * lx_rng_uniform(rng);
    int rc = steps && loss && average ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        steps[i] = (int64_t)i + 1;
        loss[i] =
            (float)(level + 0.1 * exp(-(double)i / decay) + 0.05 * lx_rng_uniform(rng));
        mean = i ? 0.98 * mean + 0.02 * loss[i] : loss[i];
        average[i] = mean;
    }
    if (rc == LX_OK && (rc = lx_run_log_many(run, "loss", steps, loss, n, err)) == LX_OK)
        rc = lx_run_log_many(run, "loss/average", steps, average, n, err);
    lx_free(steps);
    lx_free(loss);
    lx_free(average);
    return rc;
}

static int add_run(lx_store *store, size_t i, size_t n_points, lx_error *err)
{
    lx_rng rng = lx_rng_stream(1, LX_RNG_TEST, i, 0);
    lx_str flags = LX_STR_INIT;
    char name[32];
    lx_run_start start = {.name = name,
                          .kind = "train",
                          .has_seed = true,
                          .seed = i,
                          .started = 1.7e9 + 3600.0 * (double)i,
                          .is_historic = true};
    lx_run *run = NULL;
    int64_t seq;
    int rc;

    snprintf(name, sizeof name, "lora-%zu", i);
    put_flags(&flags, i, &rng);
    start.flags = start.flags_given = lx_str_text(&flags);
    if ((rc = lx_run_begin(&run, store, &start, err)) < 0)
        goto done;
    seq = lx_run_seq(run);
    if ((rc = add_curves(run, n_points, &rng, err)) < 0) {
        lx_run_abandon(run);
        goto done;
    }
    rc = lx_run_end_at(run, i % 17 ? "finished" : "failed", NULL, start.started + 600,
                       err);
    if (rc == LX_OK && i % 10 == 0)
        rc = lx_run_tag(store, seq, "good", "", err);
    if (rc == LX_OK && i % 100 < 9)
        rc = lx_run_group(store, seq, "sweep", err);
done:
    lx_str_release(&flags);
    return rc;
}

int main(int argc, char **argv)
{
    size_t n_runs = argc > 2 ? strtoul(argv[2], NULL, 10) : 10000;
    size_t n_points = argc > 3 ? strtoul(argv[3], NULL, 10) : 100;
    lx_store *store;
    lx_error err = {0};
    int rc;

    if (argc < 2 || !n_runs || !n_points) {
        fprintf(stderr, "usage: lx_bench_runs STORE [RUNS [POINTS]]\n");
        return 2;
    }
    if ((rc = lx_store_open(&store, argv[1], false, &err)) == LX_OK) {
        for (size_t i = 0; i < n_runs && rc == LX_OK; i++)
            rc = add_run(store, i, n_points, &err);
        lx_store_close(store);
    }
    if (rc < 0)
        fprintf(stderr, "lx_bench_runs: %s\n", err.text);
    return lx_exit_status(rc);
}
