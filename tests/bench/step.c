/*
 * lx_bench_step [--size PIXELS] [--batch N] [--rank R] [--steps N] [--threads N] [--max_mib MIB]
 *               [--device cpu|cuda[:N]] [--mixed_precision no|bf16|fp16] [--no_winograd 1] [--profile 1]
 *               CHECKPOINT
 *
 * One training step (text encoder, UNet, loss, gradients of every LoRA factor) at the size of the
 * checkpoint: planned memory beside the resident set, and the seconds of each run. Prints one JSON
 * object a run on stdout. tests/bench/step.sh makes the full-size checkpoint first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/train/step.h"
#include "kernels/cpu/cpu.h"
#include "kernels/peak.h"

typedef struct bench {
    int size, batch, rank, steps, threads, heads, max_mib, profile, no_winograd;
    const char *checkpoint, *device, *precision;
} bench;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double peak_resident_mib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024.0;
}

static int parse(bench *b, int argc, char **argv)
{
    const struct {
        const char *name;
        int *value;
    } flags[] = {{"--size", &b->size},       {"--batch", &b->batch},
                 {"--rank", &b->rank},       {"--steps", &b->steps},
                 {"--threads", &b->threads}, {"--heads", &b->heads},
                 {"--max_mib", &b->max_mib}, {"--profile", &b->profile},
                 {"--no_winograd", &b->no_winograd}};
    const struct {
        const char *name, **value;
    } texts[] = {{"--device", &b->device}, {"--mixed_precision", &b->precision}};

    for (int i = 1; i < argc; i++) {
        bool is_flag = false;

        for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
            if (strcmp(argv[i], texts[k].name) == 0 && i + 1 < argc) {
                *texts[k].value = argv[++i];
                is_flag = true;
                break;
            }
        if (is_flag)
            continue;

        for (size_t k = 0; k < sizeof(flags) / sizeof(flags[0]); k++) {
            if (strcmp(argv[i], flags[k].name) != 0)
                continue;
            if (i + 1 >= argc)
                return -1;
            *flags[k].value = atoi(argv[++i]);
            is_flag = true;
        }
        if (!is_flag && (argv[i][0] == '-' || b->checkpoint))
            return -1;
        if (!is_flag)
            b->checkpoint = argv[i];
    }
    return b->checkpoint && b->size >= 8 && b->size % 8 == 0 && b->batch > 0 && b->steps >= 0 ? 0
                                                                                            : -1;
}

/* Draws as a training would; BOS and then EOS to the end is the empty caption. */
static int make_inputs(lx_step_inputs *in, const bench *b)
{
    lx_rng stream = lx_rng_stream(1, LX_RNG_NOISE, 0, 0);
    size_t B = (size_t)b->batch, n = B * 4 * (size_t)(b->size / 8) * (size_t)(b->size / 8);
    float *latents = lx_alloc(n * sizeof(float)), *noise = lx_alloc(n * sizeof(float));
    float *weights = lx_alloc(B * sizeof(float));
    int64_t *timesteps = lx_alloc(B * sizeof(int64_t)), *ids = lx_alloc(B * 77 * sizeof(int64_t));

    if (!latents || !noise || !weights || !timesteps || !ids)
        return -1;
    lx_rng_normal(latents, n, 0, &stream);
    stream = lx_rng_stream(2, LX_RNG_NOISE, 0, 0);
    lx_rng_normal(noise, n, 0, &stream);
    for (size_t i = 0; i < B; i++) {
        weights[i] = 1.0f;
        timesteps[i] = 500;
        for (size_t k = 0; k < 77; k++)
            ids[i * 77 + k] = k == 0 ? 49406 : 49407;
    }
    *in = (lx_step_inputs){.batch = b->batch, .n_chunks = 1, .h = b->size / 8, .w = b->size / 8,
                           .latents = latents, .noise = noise, .timesteps = timesteps,
                           .input_ids = ids, .loss_weights = weights};
    return 0;
}

/*
 * Of all runs, by op: every call is followed by a sync, so these sum up to the whole. The bound of a call is
 * what the machine's peak allows for its operations or its bytes, whichever takes longer; Winograd's
 * convolutions count the products of plain ones and may be faster than that.
 */
typedef struct table_row {
    lx_profile_row sum;
    double bound;
} table_row;

static double bound_of(const lx_profile_row *row, const lx_peak *peak, const char *precision)
{
    const double half = strcmp(precision, "bf16") == 0   ? peak->bf16
                        : strcmp(precision, "fp16") == 0 ? peak->f16
                                                         : peak->f32;
    const bool is_product = row->op == LX_OP_linear || row->op == LX_OP_linear_dx ||
                            row->op == LX_OP_conv2d || row->op == LX_OP_conv2d_dx ||
                            row->op == LX_OP_attention || row->op == LX_OP_attention_bwd;
    const bool is_narrow = half > 0 && is_product && !strstr(row->label, "lora");
    const double by_flops = row->flops / (is_narrow ? half : peak->f32);
    const double by_bytes = row->bytes / peak->copy;

    return by_flops > by_bytes ? by_flops : by_bytes;
}

/* Rates by the clock; with one thread by the processor's time, which other work disturbs less. */
static void print_row(const char *name, size_t calls, const lx_profile_row *row,
                      double bound, bool is_alone)
{
    const double n = (double)row->n_runs,
                 spent = is_alone ? row->cpu_seconds : row->seconds;

    printf("%-20s %5zu %8.3f %8.3f %9.1f %7.1f %8.3f %6.0f%%\n", name, calls,
           row->seconds / n, row->cpu_seconds / n, row->flops / spent * 1e-9,
           row->bytes / spent * 1e-9, bound / n, 100 * bound / spent);
}

static int print_profile(const bench *b, lx_device *dev, const lx_plan *plan, lx_error *err)
{
    const bool is_alone = dev->uses_host_memory && lx_cpu_threads(dev) == 1;
    table_row rows[LX_OP_COUNT] = {0}, all = {.bound = 0};
    char text[160];
    lx_peak peak;
    int rc;

    if ((rc = lx_peak_measure(&peak, dev, err)) < 0)
        return rc;

    for (size_t i = 0; i < lx_plan_memory_of(plan).n_calls; i++) {
        const lx_profile_row one = lx_plan_profile_row(plan, i);
        table_row *into[] = {&rows[one.op], &all};
        for (int k = 0; k < 2; k++) {
            lx_profile_row *sum = &into[k]->sum;
            sum->n_calls++;
            sum->n_runs = one.n_runs;
            sum->seconds += one.seconds;
            sum->cpu_seconds += one.cpu_seconds;
            sum->flops += one.flops;
            sum->bytes += one.bytes;
            into[k]->bound += bound_of(&one, &peak, b->precision);
        }
    }
    lx_peak_text(text, sizeof text, &peak);
    printf("%s: %s\n", dev->description, text);
    printf("%-20s %5s %8s %8s %9s %7s %8s %7s\n", "op", "calls", "seconds", "cpu s",
           "GFLOP/s", "GB/s", "bound s", "reached");
    for (int op = 0; op < LX_OP_COUNT; op++)
        if (rows[op].sum.seconds > 1e-3 * (double)rows[op].sum.n_runs)
            print_row(lx_op_name((lx_op_id)op), rows[op].sum.n_calls, &rows[op].sum,
                      rows[op].bound, is_alone);
    print_row("all", all.sum.n_calls, &all.sum, all.bound, is_alone);
    return LX_OK;
}

static int run(const bench *b, lx_error *err)
{
    const lx_lora_spec spec = {.rank = b->rank, .has_unet = true, .has_text_encoder = true};
    lx_device *dev = NULL;
    lx_checkpoint *checkpoint = NULL;
    lx_sd_config sd;
    lx_lora *lora = NULL;
    lx_step *step = NULL;
    lx_train_config config = {0};
    lx_step_model model;
    lx_step_inputs in;
    lx_plan_memory memory;
    double loss = 0, begun = now();
    int rc;

    lx_train_config_defaults(&config);
    config.network = spec;
    config.unet_lr = config.text_encoder_lr = 1e-4;
    config.mixed_precision = b->precision;
    config.no_winograd = b->no_winograd;
    config.max_memory = (size_t)b->max_mib << 20;
    if (make_inputs(&in, b) < 0)
        return lx_oom(err);
    if ((rc = lx_device_open(&dev, b->device, b->threads, err)) < 0 ||
        (rc = lx_checkpoint_open(&checkpoint, b->checkpoint, NULL, err)) < 0 ||
        (rc = lx_checkpoint_config(&sd, checkpoint, b->heads, err)) < 0 ||
        (rc = lx_lora_create(&lora, dev, checkpoint, &sd, &spec, 1, err)) < 0)
        return rc;
    model = (lx_step_model){
        .dev = dev, .checkpoint = checkpoint, .sd = &sd, .lora = lora, .config = &config};
    if ((rc = lx_step_new(&step, &model, err)) < 0 ||
        (rc = lx_step_prepare(step, b->batch, in.h, in.w, 1, &memory, err)) < 0)
        return rc;
    printf("{\"planned_mib\":%.1f,\"packed_mib\":%.1f,\"calls\":%zu,\"recomputed\":%zu,\"gflop\":%.0f,"
           "\"prepare_s\":%.2f}\n",
           (double)memory.arena_bytes / 1048576.0, (double)memory.packed_bytes / 1048576.0,
           memory.n_calls, memory.n_recomputed, memory.flops * 1e-9, now() - begun);
    if (b->profile && (rc = lx_plan_profile(lx_step_last_plan(step), true, err)) < 0)
        return rc;
    for (int i = 0; i < b->steps; i++) {
        double start = now(), cpu = cpu_seconds();

        lx_step_zero_gradients(step);
        if ((rc = lx_step_run(&loss, step, &in, 1.0, err)) < 0)
            return rc;
        start = now() - start;
        printf("{\"step\":%d,\"seconds\":%.3f,\"cpu_s\":%.3f,\"gflop_per_s\":%.1f,"
               "\"loss\":%.6g,"
               "\"peak_resident_mib\":%.0f}\n",
               i + 1, start, cpu_seconds() - cpu, memory.flops * 1e-9 / start, loss,
               peak_resident_mib());
        fflush(stdout);
    }
    if (b->profile && (rc = print_profile(b, dev, lx_step_last_plan(step), err)) < 0)
        return rc;
    lx_step_free(step);
    lx_lora_free(lora);
    lx_checkpoint_close(checkpoint);
    lx_device_close(dev);
    return 0;
}

int main(int argc, char **argv)
{
    bench b = {.size = 512,
               .batch = 1,
               .rank = 4,
               .steps = 3,
               .device = "cpu",
               .precision = "no"};
    lx_error err = {0};

    if (parse(&b, argc, argv) < 0) {
        fprintf(
            stderr,
            "usage: lx_bench_step [--size PIXELS] [--batch N] [--rank R] [--steps N]\n"
            "                     [--threads N] [--heads N] [--max_mib MIB]\n"
            "                     [--device cpu|cuda[:N]] [--mixed_precision no|bf16|fp16]\n"
            "                     [--no_winograd 1] [--profile 1] CHECKPOINT\n");
        return 2;
    }
    if (run(&b, &err) < 0) {
        fprintf(stderr, "lx_bench_step: %s\n", err.text);
        return lx_exit_status(err.code);
    }
    return 0;
}
