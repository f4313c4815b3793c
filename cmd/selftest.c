/* lx selftest - does this build compute rightly on this device, and how fast? */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cli.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/selftest/selftest.h"

struct selftest_args {
    const char *device;
    int64_t threads;
    bool is_quick, is_json;
    lx_words ops;
};

static const lx_option options[] = {
    LX_TEXT(struct selftest_args, device, 0, "device", "WHERE",
            "cpu, cuda or cuda:N (auto: the CPU)"),
    LX_INT(struct selftest_args, threads, 0, "threads", "N",
           "of the CPU; 0 = all it may use"),
    LX_FLAG(struct selftest_args, is_quick, 0, "quick",
            "small calls only, and nothing is timed"),
    LX_FLAG(struct selftest_args, is_json, 'j', "json", "print one JSON object"),
    LX_ARGS(struct selftest_args, ops, "OP", "only these ops; training is one"),
    LX_OPTION_END,
};

/* What told results go to. */
typedef struct teller {
    lx_cli *cli;
    const lx_device *dev;
    cJSON *list; /* NULL: lines */
    bool has_head;
} teller;

/* "99.5 ms", "12.3 us" */
static const char *time_text(char text[32], double seconds)
{
    if (seconds >= 1e-3)
        snprintf(text, 32, "%.2f ms", seconds * 1e3);
    else
        snprintf(text, 32, "%.1f us", seconds * 1e6);
    return text;
}

static const char *rate_text(char text[32], const lx_selftest_result *r)
{
    const bool is_product = r->flops > 0;

    snprintf(text, 32, "%.1f %s", (is_product ? r->flops : r->bytes) / r->seconds * 1e-9,
             is_product ? "GFLOP/s" : "GB/s");
    return text;
}

static void print_result(lx_cli *cli, const lx_selftest_result *r)
{
    char time[32] = "", rate[32] = "", share[16] = "";

    if (r->seconds > 0)
        time_text(time, r->seconds);
    if (r->bytes > 0)
        rate_text(rate, r);
    if (r->share > 0)
        snprintf(share, sizeof share, "%.0f %%", 100 * r->share);
    lx_print(cli, "%-20s %-4s %-34.34s %8.1e %7.0e %10s %15s %6s %s\n", r->what,
             r->precision, r->shape, r->error, r->limit, time, rate, share,
             r->is_ok ? "ok" : "FAILED");
    if (!r->is_ok)
        lx_print(cli, "    %s\n", r->why);
}

static void add_number(cJSON *object, const char *key, double x)
{
    if (x > 0 && x < 1e300)
        cJSON_AddNumberToObject(object, key, x);
}

static void add_result(cJSON *list, const lx_selftest_result *r)
{
    cJSON *item = cJSON_CreateObject();

    cJSON_AddStringToObject(item, "check", r->what);
    cJSON_AddStringToObject(item, "shape", r->shape);
    cJSON_AddStringToObject(item, "precision", r->precision);
    cJSON_AddBoolToObject(item, "ok", r->is_ok);
    if (r->error < 1e300) /* JSON has no infinity */
        cJSON_AddNumberToObject(item, "error", r->error);
    cJSON_AddNumberToObject(item, "limit", r->limit);
    add_number(item, "seconds", r->seconds);
    add_number(item, "flop", r->flops);
    add_number(item, "bytes", r->bytes);
    add_number(item, "share_of_peak", r->share);
    if (!r->is_ok)
        cJSON_AddStringToObject(item, "why", r->why);
    cJSON_AddItemToArray(list, item);
}

static void print_head(lx_cli *cli, const lx_device *dev)
{
    lx_print(cli, "%s: %s\n\n%-20s %-4s %-34s %8s %7s %10s %15s %6s\n", dev->name,
             lx_safe(cli, dev->description), "check", "in", "shape", "error", "limit",
             "time", "rate", "peak");
}

static void tell(void *context, const lx_selftest_result *result)
{
    teller *to = context;

    if (to->list) {
        add_result(to->list, result);
        return;
    }
    if (!to->has_head)
        print_head(to->cli, to->dev);
    to->has_head = true;
    print_result(to->cli, result);
}

static bool stops(void *context)
{
    return lx_signals_pending() != 0;
}

static int print_json(lx_cli *cli, cJSON *root, const lx_device *dev,
                      const lx_selftest_counts *counts, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    cJSON *peak;
    int rc;

    cJSON_AddStringToObject(root, "device", dev->name);
    cJSON_AddStringToObject(root, "description", dev->description);
    cJSON_AddNumberToObject(root, "checks", (double)counts->n_checks);
    cJSON_AddNumberToObject(root, "failed", (double)counts->n_failed);
    peak = cJSON_AddObjectToObject(root, "peak");
    add_number(peak, "f32_flop_per_s", counts->peak.f32);
    add_number(peak, "f16_flop_per_s", counts->peak.f16);
    add_number(peak, "bf16_flop_per_s", counts->peak.bf16);
    add_number(peak, "copy_bytes_per_s", counts->peak.copy);
    if ((rc = lx_json_pretty(&text, root, err)) == LX_OK)
        lx_print(cli, "%s\n", text.data);
    lx_str_release(&text);
    return rc;
}

static void print_end(lx_cli *cli, const lx_selftest_counts *counts)
{
    char text[160];

    if (counts->peak.copy > 0) {
        lx_peak_text(text, sizeof text, &counts->peak);
        lx_print(cli, "\npeak, as measured: %s\n", text);
    }
    if (!counts->n_failed)
        lx_print(cli, "%zu checks, all ok\n", counts->n_checks);
}

static int run_on(lx_cli *cli, const struct selftest_args *args, lx_device *dev,
                  lx_error *err)
{
    cJSON *root = args->is_json ? cJSON_CreateObject() : NULL;
    teller to = {.cli = cli, .dev = dev};
    lx_selftest_options how = {.is_quick = args->is_quick,
                               .ops = args->ops.items,
                               .n_ops = args->ops.count,
                               .tell = tell,
                               .stops = stops,
                               .context = &to,
                               .folder = lx_temporary_folder()};
    lx_selftest_counts counts;
    int rc;

    if (args->is_json && !(to.list = cJSON_AddArrayToObject(root, "results"))) {
        rc = lx_oom(err);
        goto done;
    }
    if ((rc = lx_selftest_run(&counts, dev, &how, err)) < 0)
        goto done;
    if (!to.list)
        print_end(cli, &counts);
    else if ((rc = print_json(cli, root, dev, &counts, err)) < 0)
        goto done;
    if (counts.n_failed)
        rc = lx_fail(err, LX_ECHECK, "%zu of %zu checks failed on %s", counts.n_failed,
                     counts.n_checks, dev->name);
done:
    cJSON_Delete(root);
    return rc;
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct selftest_args *args = args_;
    lx_device *dev;
    int rc;

    if (args->threads < 0 || args->threads > 4096)
        return lx_fail(err, LX_EUSAGE, "--threads is 0 (all) to 4096");
    if ((rc = lx_device_open(&dev, args->device, (int)args->threads, err)) < 0)
        return rc;
    lx_signals_install();
    rc = run_on(cli, args, dev, err);
    lx_device_close(dev);
    return rc;
}

const lx_command lx_cmd_selftest = {
    .name = "selftest",
    .summary = "does this build compute rightly on this device, and how fast",
    .usage = "[OP...]",
    .help = "Runs every operation of a training, forward and backward, on the device, "
            "and compares the\n"
            "results: at small and awkward sizes with plain C in double precision, at "
            "those of SD 1.5\n"
            "with the CPU's kernels (on the CPU itself: with one thread's, to the bit). "
            "Each call runs\n"
            "twice and must give the same bits. Those of SD 1.5's sizes are timed, "
            "beside what the\n"
            "device was measured to do at best. Then a tiny model with random weights is "
            "trained for a\n"
            "few steps, twice with the same bits, and beside the CPU.\n"
            "\n"
            "A line has the relative error and its limit, the time, operations or bytes "
            "a second, and\n"
            "the share of the measured peak; small tensors may be in a cache and exceed "
            "it, and so may\n"
            "3x3 convolutions on a CPU, which need fewer products than are counted.\n"
            "\n"
            "Exit status 1 when a check failed.\n"
            "\n"
            "Examples:\n"
            "  lx selftest\n"
            "  lx selftest --device cuda\n"
            "  lx selftest --quick --json\n"
            "  lx selftest --device cuda attention attention_bwd\n",
    .options = options,
    .args_size = sizeof(struct selftest_args),
    .computes = true,
    .run = run,
};
