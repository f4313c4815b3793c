/* What a run left behind, for a report: samples as pictures, LoRA files as facts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/report_collect.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/picture_text.h"
#include "src/image/jpeg.h"
#include "src/lora/summary.h"

enum { SAMPLE_SIDE = 512, QUALITY = 82 };

int lx_memory_file(int *fd, char path[64], const void *bytes, size_t n, lx_error *err)
{
    const char *from = bytes;
    if ((*fd = memfd_create("lx", MFD_CLOEXEC)) < 0)
        return lx_fail_errno(err, errno, "a file in memory");
    while (n) {
        ssize_t got = write(*fd, from, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            int rc = lx_fail_errno(err, errno, "a file in memory");
            close(*fd);
            *fd = -1;
            return rc;
        }
        from += got;
        n -= (size_t)got;
    }
    snprintf(path, 64, "/proc/self/fd/%d", *fd);
    return LX_OK;
}

/* ---- pictures ---------------------------------------------------------------------- */

static int shrink(lx_report_picture *out, lx_collector *c, const char *path, int side,
                  lx_error *err)
{
    const lx_decode_options options = LX_DECODE_DEFAULT;
    lx_pixels pixels = {0}, small = {0};
    lx_str jpeg = LX_STR_INIT;
    char *kept;
    int rc;

    if ((rc = lx_decode(&pixels, NULL, c->decoder, path, &options, err)) == LX_OK &&
        (rc = lx_thumbnail(&small, &pixels, side, err)) == LX_OK &&
        (rc = lx_jpeg_encode(&jpeg, &small, QUALITY, err)) == LX_OK) {
        out->width = small.width;
        out->height = small.height;
        out->n_bytes = jpeg.len;
        if (!(kept = lx_arena_alloc(c->arena, jpeg.len)))
            rc = lx_oom(err);
        else
            out->bytes = memcpy(kept, jpeg.data, jpeg.len);
    }
    lx_pixels_release(&pixels);
    lx_pixels_release(&small);
    lx_str_release(&jpeg);
    return rc;
}

int lx_report_picture_of(lx_report_picture *out, lx_collector *c, const char *path,
                         const void *bytes, size_t n, int side, lx_error *err)
{
    lx_error problem = {0};
    char memory[64];
    int fd = -1, rc = LX_OK;

    if (!path)
        rc = lx_memory_file(&fd, memory, bytes, n, &problem);
    if (rc == LX_OK)
        rc = shrink(out, c, path ? path : memory, side, &problem);
    if (fd >= 0)
        close(fd);
    if (rc == LX_ENOMEM)
        return lx_oom(err);
    if (rc < 0 &&
        !(out->missing = lx_arena_strdup(
              c->arena, rc == LX_ENOTFOUND ? "no longer there" : "cannot be read")))
        return lx_oom(err);
    return LX_OK;
}

/* The prompt and settings that lie in a picture, or NULL. */
static const char *settings_in(lx_collector *c, const lx_str *bytes)
{
    lx_str text = LX_STR_INIT;
    const char *kept = NULL;
    bool is_there = false;
    int rc = lx_picture_text_parse(
        &text, &is_there, (const unsigned char *)lx_str_text(bytes), bytes->len, NULL);

    if (rc == LX_OK && is_there)
        kept = lx_arena_strdup(c->arena, lx_str_text(&text));
    c->is_out_of_memory |= rc == LX_ENOMEM || (rc == LX_OK && is_there && !kept);
    lx_str_release(&text);
    return lx_report_text(c, kept);
}

static int add_sample(lx_report_picture *out, lx_collector *c, const lx_artifact_row *a,
                      lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    lx_hash hash;
    int rc = lx_hash_from_hex(&hash, a->object)
                 ? lx_object_get(&bytes, c->store, &hash, err)
                 : LX_ENOTFOUND;

    *out = (lx_report_picture){.name = lx_report_text(c, a->name), .step = a->step};
    if (rc == LX_OK)
        out->text = settings_in(c, &bytes);
    else if (rc != LX_ENOMEM)
        out->missing = "not in the store";
    if (out->missing)
        rc = LX_OK;
    else if (rc == LX_OK && !c->options.link)
        rc = lx_report_picture_of(out, c, NULL, bytes.data, bytes.len, SAMPLE_SIDE, err);
    else if (rc == LX_OK && !(out->url = lx_arena_printf(c->arena, "%s/sample/%s",
                                                         c->options.link, a->object)))
        rc = lx_oom(err);
    lx_str_release(&bytes);
    return rc;
}

/* ---- LoRA files -------------------------------------------------------------------- */

/* Facts and findings of one file, growing in the arena's arrays. */
enum { MOST_FACTS = 8, MOST_FINDINGS = 6 };
typedef struct description {
    lx_arena *arena;
    lx_report_pair *facts;
    size_t n_facts;
    lx_report_finding *findings;
    size_t n_findings;
} description;

static void fact(description *d, const char *key, const char *value)
{
    if (value && *value && d->n_facts < MOST_FACTS)
        d->facts[d->n_facts++] = (lx_report_pair){key, value};
}

static void finding(description *d, lx_report_tone tone, const char *text)
{
    if (text && d->n_findings < MOST_FINDINGS)
        d->findings[d->n_findings++] = (lx_report_finding){tone, text};
}

static void describe_parts(description *d, const lx_lora_summary *s)
{
    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        const lx_part_summary *part = &s->parts[p];
        if (!part->n_modules)
            continue;
        fact(d, lx_lora_part_name((lx_lora_part)p),
             part->rank_min == part->rank_max
                 ? lx_arena_printf(d->arena, "%zu module%s of rank %lld, alpha %g",
                                   part->n_modules, lx_plural(part->n_modules), (long long)part->rank_min,
                                   part->alpha_max)
                 : lx_arena_printf(d->arena, "%zu module%s of rank %lld to %lld",
                                   part->n_modules, lx_plural(part->n_modules), (long long)part->rank_min,
                                   (long long)part->rank_max));
    }
}

static void describe(description *d, const lx_lora_file *f, const lx_lora_summary *s)
{
    lx_caption_verdict captions = s->verdict.captions;

    fact(d, "for", lx_arena_printf(d->arena, "%s, %s keys", s->base, f->family));
    describe_parts(d, s);
    finding(d,
            captions == LX_CAPTIONS_READ      ? LX_TONE_GOOD
            : captions == LX_CAPTIONS_UNKNOWN ? LX_TONE_PLAIN
                                              : LX_TONE_BAD,
            s->verdict.text);
    if (s->n_not_finite)
        finding(d, LX_TONE_BAD,
                lx_arena_printf(d->arena, "%zu value%s not finite, the first in %s.",
                                s->n_not_finite, s->n_not_finite == 1 ? " is" : "s are", s->first_not_finite));
    if (s->n_untrained)
        finding(d, LX_TONE_WARN,
                lx_arena_printf(d->arena, "%zu module%s not changed by the training.",
                                s->n_untrained, s->n_untrained == 1 ? " was" : "s were"));
    if (f->n_problems)
        finding(d, LX_TONE_BAD,
                lx_arena_printf(d->arena, "%zu module%s cannot be used.", f->n_problems,
                                lx_plural(f->n_problems)));
    if (s->hash == LX_HASH_DIFFERS)
        finding(d, LX_TONE_WARN, "The values were changed after the training.");
}

/* A file that is no LoRA says so in a finding, and the report goes on; one that the disk does not give ends it. */
static int inspect(description *d, lx_collector *c, const char *path, lx_error *err)
{
    lx_lora_file *file = NULL;
    lx_lora_summary summary;
    lx_error problem = {0};
    int rc = lx_lora_file_open(&file, path, &problem);

    if (rc == LX_OK &&
        (rc = lx_lora_summarise(&summary, file, true, c->arena, &problem)) == LX_OK)
        describe(d, file, &summary);
    lx_lora_file_close(file);
    if (rc == LX_ENOMEM || rc == LX_EIO)
        return lx_fail_as(err, rc, &problem);
    if (rc < 0)
        finding(d, LX_TONE_BAD, "The file cannot be read as a LoRA.");
    return LX_OK;
}

/* The bytes of the store, or the file where it lay if it still is the same. */
static int describe_file(description *d, lx_collector *c, const lx_artifact_row *a,
                         lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    lx_hash hash, found;
    char path[64];
    int fd = -1, rc = LX_OK;

    if (!lx_hash_from_hex(&hash, a->object))
        return LX_OK;
    if (!a->is_kept)
        return *a->path && lx_file_hash(&found, a->path, NULL) == LX_OK &&
                       lx_hash_equal(&hash, &found)
                   ? inspect(d, c, a->path, err)
                   : LX_OK;
    if ((rc = lx_object_get(&bytes, c->store, &hash, err)) == LX_OK &&
        (rc = lx_memory_file(&fd, path, bytes.data, bytes.len, err)) == LX_OK)
        rc = inspect(d, c, path, err);
    if (fd >= 0)
        close(fd);
    lx_str_release(&bytes);
    return rc;
}

static int add_lora(lx_report_lora *out, lx_collector *c, const lx_artifact_row *a,
                    bool is_last, lx_error *err)
{
    description d = {.arena = c->arena,
                     .facts = lx_arena_calloc(c->arena, MOST_FACTS, sizeof *d.facts),
                     .findings =
                         lx_arena_calloc(c->arena, MOST_FINDINGS, sizeof *d.findings)};
    int rc = LX_OK;

    if (!d.facts || !d.findings)
        return lx_oom(err);
    *out = (lx_report_lora){.name = lx_report_text(c, a->name),
                            .sha256 = a->object,
                            .step = a->step,
                            .bytes = a->size};
    if (is_last)
        rc = describe_file(&d, c, a, err);
    for (size_t i = 0; i < d.n_findings; i++)
        d.findings[i].text = lx_report_text(c, d.findings[i].text);
    out->facts = (lx_report_pairs){d.facts, d.n_facts};
    out->findings = d.findings;
    out->n_findings = d.n_findings;
    return rc;
}

/* ---- both -------------------------------------------------------------------------- */

static size_t count(const lx_artifact_row *rows, size_t n, const char *role)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += strcmp(rows[i].role, role) == 0;
    return found;
}

int lx_report_samples(lx_report_picture **out, size_t *n_out, lx_collector *c,
                      const lx_artifact_row *rows, size_t n, lx_error *err)
{
    size_t all = count(rows, n, "sample"), most = c->options.n_samples;
    size_t early = all > most ? all - most : 0;
    int rc = LX_OK;

    *n_out = 0;
    if (!(*out = lx_arena_calloc(c->arena, all - early, sizeof **out)))
        return lx_oom(err);
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if (strcmp(rows[i].role, "sample") != 0)
            continue;
        if (early) {
            early--;
            continue;
        }
        if (c->tell)
            c->tell(c->context, "reading samples", *n_out, all);
        rc = add_sample(&(*out)[(*n_out)++], c, &rows[i], err);
    }
    return rc == LX_OK && c->is_out_of_memory ? lx_oom(err) : rc;
}

static int take_loras(lx_report_run *out, lx_collector *c, const lx_artifact_row *rows,
                      size_t n, lx_error *err)
{
    size_t left = count(rows, n, "lora");
    lx_report_lora *loras = lx_arena_calloc(c->arena, left, sizeof *loras);
    int rc = loras ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        if (strcmp(rows[i].role, "lora") == 0)
            rc = add_lora(&loras[out->n_loras++], c, &rows[i], --left == 0, err);
    out->loras = loras;
    return rc;
}

int lx_report_collect_files(lx_report_run *out, lx_collector *c, const lx_run_row *run,
                            lx_error *err)
{
    lx_report_picture *samples;
    lx_artifact_row *rows;
    size_t n;
    int rc;

    if ((rc = lx_query_artifacts(&rows, &n, c->store, run, c->arena, err)) < 0 ||
        (rc = lx_report_samples(&samples, &out->n_samples, c, rows, n, err)) < 0)
        return rc;
    out->samples = samples;
    if (c->tell)
        c->tell(c->context, "reading LoRA files", 0, 0);
    return take_loras(out, c, rows, n, err);
}
