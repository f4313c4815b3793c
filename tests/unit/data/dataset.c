#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/data/dataset.h"
#include "src/data/facts.h"
#include "tests/support/golden.h"

/* What the peer was given and did, for the cases without a data-set file or a validation split. */
static const char *const cases[] = {
    "exact_nobucket",
    "exact_noupscale",
    "hobby_default_ext",
    "hobby_extention_typo_option",
    "hobby_minmax_adjusted",
    "hobby_txt",
    "hobby_txt_448x640",
    "hobby_txt_768",
    "hobby_txt_batch2",
    "hobby_txt_batch3_accum2",
    "hobby_txt_nobucket",
    "hobby_txt_noreg",
    "hobby_txt_single_number_resolution",
    "hobby_wildcard_multiline",
    "missing_reg_dir",
    "bad_sjis_default_ext",
    "simple_epochs_override",
    "simple_noreg",
    "simple_noupscale_small_pictures",
    "simple_reg_fewer",
    "simple_reg_fewer_batch2",
    "simple_reg_fewer_batch3",
    "simple_reg_more",
    "simple_reg_more_by_repeats",
    "simple_shuffle_keep",
    "under_score_in_path",
};

typedef struct given {
    lx_dataset_config data;
    int accumulation, max_train_steps, max_train_epochs;
} given;

static const char *value_of(const char *argument, const char *name)
{
    return lx_starts_with(argument, name) && argument[strlen(name)] == '='
               ? argument + strlen(name) + 1
               : NULL;
}

static void take(given *g, const char *a)
{
    lx_dataset_config *c = &g->data;
    const char *v;

    if ((v = value_of(a, "--train_data_dir")) != NULL)
        c->train_data_dir = v;
    else if ((v = value_of(a, "--reg_data_dir")) != NULL)
        c->reg_data_dir = v;
    else if ((v = value_of(a, "--caption_extension")) != NULL ||
             (v = value_of(a, "--caption_extention")) != NULL)
        c->caption_extension = v;
    else if ((v = value_of(a, "--resolution")) != NULL) {
        if (sscanf(v, "%d,%d", &c->width, &c->height) == 1)
            c->height = c->width;
    } else if ((v = value_of(a, "--train_batch_size")) != NULL)
        c->batch_size = atoi(v);
    else if ((v = value_of(a, "--gradient_accumulation_steps")) != NULL)
        g->accumulation = atoi(v);
    else if ((v = value_of(a, "--max_train_steps")) != NULL)
        g->max_train_steps = atoi(v);
    else if ((v = value_of(a, "--max_train_epochs")) != NULL)
        g->max_train_epochs = atoi(v);
    else if ((v = value_of(a, "--min_bucket_reso")) != NULL)
        c->min_bucket_reso = atoi(v);
    else if ((v = value_of(a, "--max_bucket_reso")) != NULL)
        c->max_bucket_reso = atoi(v);
    else if ((v = value_of(a, "--bucket_reso_steps")) != NULL)
        c->bucket_reso_steps = atoi(v);
    else if (strcmp(a, "--enable_bucket") == 0)
        c->enable_bucket = true;
    else if (strcmp(a, "--bucket_no_upscale") == 0)
        c->bucket_no_upscale = true;
    else if (strcmp(a, "--enable_wildcard") == 0)
        c->enable_wildcard = true;
}

static given read_argv(const cJSON *argv)
{
    given g = {.accumulation = 1, .max_train_steps = 1600};
    const cJSON *a;

    lx_dataset_config_defaults(&g.data);
    g.data.cache_latents = true; /* pixels are another test's */
    cJSON_ArrayForEach(a, argv)
        take(&g, a->valuestring);
    return g;
}

static cJSON *load(const char *path)
{
    lx_str text = LX_STR_INIT;
    lx_error err = {0};
    cJSON *tree = NULL;

    if (lx_file_read(&text, path, 64u << 20, &err) < 0 ||
        lx_json_parse(&tree, text.data, text.len, &err) < 0)
        fail_msg("%s", err.text);
    lx_str_release(&text);
    return tree;
}

/* The golden, and the working folder its paths are relative to. NULL: not here. */
static cJSON *enter(const char *name)
{
    char sub[256], folder[1024];
    const char *path;

    snprintf(sub, sizeof sub, "data/dataset/parse/%s.json", name);
    if ((path = lx_golden(sub)) == NULL)
        return NULL;
    snprintf(folder, sizeof folder, "%.*s", (int)(strstr(path, "/parse/") - path), path);
    assert_int_equal(chdir(folder), 0);
    return load(path);
}

static lx_dataset *scan(const given *g)
{
    lx_dataset *d = NULL;
    lx_error err = {0};

    if (lx_dataset_scan(&d, &g->data, &err) < 0)
        fail_msg("%s", err.text);
    return d;
}

static int pair(const cJSON *object, const char *key, int i)
{
    return cJSON_GetArrayItem(cJSON_GetObjectItem(object, key), i)->valueint;
}

/* U+FEFF is glued to the first tag by the peer and left out by lx: take it from the golden. */
static char *without_mark(const char *text, const char *mark)
{
    char *copy = strdup(text), *at;

    while ((at = strstr(copy, mark)) != NULL)
        memmove(at, at + strlen(mark), strlen(at + strlen(mark)) + 1);
    return copy;
}

static void compare_images(const char *name, const lx_dataset *d, const cJSON *images)
{
    size_t at = 0;
    const cJSON *image;

    cJSON_ArrayForEach(image, images) {
        const lx_image *mine;
        char *caption = without_mark(lx_json_text(image, "caption"), "\xEF\xBB\xBF");

        while (at < d->n_images && d->images[at].repeats == 0) /* a reg image that is not reached */
            at++;
        assert_true(at < d->n_images);
        mine = &d->images[at++];
        if (strcmp(mine->path, lx_json_text(image, "path")) != 0 ||
            strcmp(mine->caption, caption) != 0 ||
            mine->repeats != (int)lx_json_number(image, "repeats", -1) ||
            mine->is_reg != lx_json_bool(image, "is_reg", false) ||
            mine->width != pair(image, "size", 0) || mine->height != pair(image, "size", 1) ||
            d->buckets[mine->bucket].width != pair(image, "bucket", 0) ||
            d->buckets[mine->bucket].height != pair(image, "bucket", 1) ||
            mine->resized_w != pair(image, "resized", 0) ||
            mine->resized_h != pair(image, "resized", 1))
            fail_msg("%s: %s: \"%s\" %d times, %dx%d, resized %dx%d; wanted %s", name, mine->path,
                     mine->caption, mine->repeats, mine->width, mine->height, mine->resized_w,
                     mine->resized_h, cJSON_PrintUnformatted(image));
        free(caption);
    }
    while (at < d->n_images && d->images[at].repeats == 0)
        at++;
    assert_int_equal(at, d->n_images);
}

static void compare_buckets(const char *name, const lx_dataset *d, const cJSON *golden)
{
    const cJSON *buckets = cJSON_GetObjectItem(golden, "buckets");
    int n = 0;

    if ((int)d->n_buckets != cJSON_GetArraySize(buckets))
        fail_msg("%s: %zu buckets", name, d->n_buckets);
    for (size_t i = 0; i < d->n_buckets; i++) {
        const cJSON *bucket = cJSON_GetArrayItem(buckets, (int)i);
        const lx_bucket *mine = &d->buckets[i];
        size_t batch = (size_t)d->config.batch_size;
        assert_int_equal(mine->width, pair(bucket, "reso", 0));
        assert_int_equal(mine->height, pair(bucket, "reso", 1));
        assert_int_equal(mine->n_samples, (int)lx_json_number(bucket, "count", -1));
        assert_int_equal((mine->n_samples + batch - 1) / batch,
                         (int)lx_json_number(bucket, "batches", -1));
        n += (int)lx_json_number(bucket, "batches", -1);
    }
    assert_int_equal(d->n_batches, n);
    assert_int_equal(d->n_batches, (int)lx_json_number(golden, "length", -1));
}

/* The counts of a tag table whose marked and unmarked tags are one; other orders are equal. */
static cJSON *merged_tags(const char *json)
{
    cJSON *tree = cJSON_Parse(json), *folder, *tag, *out = cJSON_CreateObject();

    cJSON_ArrayForEach(folder, tree) {
        cJSON *tags = cJSON_AddObjectToObject(out, folder->string);
        cJSON_ArrayForEach(tag, folder) {
            char *name = without_mark(tag->string, "\xEF\xBB\xBF");
            cJSON *seen = cJSON_GetObjectItemCaseSensitive(tags, name);
            if (seen != NULL)
                cJSON_SetNumberValue(seen, seen->valuedouble + tag->valuedouble);
            else
                cJSON_AddNumberToObject(tags, name, tag->valuedouble);
            free(name);
        }
    }
    cJSON_Delete(tree);
    return out;
}

static void compare_metadata(const char *name, const lx_dataset *d, const cJSON *metadata)
{
    lx_arena *arena = lx_arena_new();
    const char *tags = lx_json_text(metadata, "ss_tag_frequency");
    lx_dataset_facts facts;
    lx_error err = {0};

    assert_int_equal(lx_dataset_facts_of(&facts, d, arena, &err), 0);
    assert_int_equal(facts.n_train_images, atoi(lx_json_text(metadata, "ss_num_train_images")));
    assert_int_equal(facts.n_reg_images, atoi(lx_json_text(metadata, "ss_num_reg_images")));
    assert_string_equal(facts.dataset_dirs, lx_json_text(metadata, "ss_dataset_dirs"));
    assert_string_equal(facts.reg_dataset_dirs, lx_json_text(metadata, "ss_reg_dataset_dirs"));
    if (strcmp(facts.bucket_info, lx_json_text(metadata, "ss_bucket_info")) != 0)
        fail_msg("%s: %s, not %s", name, facts.bucket_info,
                 lx_json_text(metadata, "ss_bucket_info"));
    if (strstr(tags, "\\ufeff") != NULL) {
        cJSON *mine = merged_tags(facts.tag_frequency), *theirs = merged_tags(tags);
        if (!cJSON_Compare(mine, theirs, true))
            fail_msg("%s: %s, not %s", name, facts.tag_frequency, tags);
        cJSON_Delete(mine);
        cJSON_Delete(theirs);
    } else {
        assert_string_equal(facts.tag_frequency, tags);
    }
    lx_arena_free(arena);
}

static void compare_case(const char *name, const cJSON *golden)
{
    const cJSON *theirs = cJSON_GetArrayItem(cJSON_GetObjectItem(golden, "datasets"), 0);
    given g = read_argv(cJSON_GetObjectItem(golden, "argv"));
    lx_dataset *d = scan(&g);
    lx_step_count steps;
    lx_error err = {0};

    if (lx_dataset_plan(d, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    assert_int_equal(d->n_train_samples, (int)lx_json_number(golden, "num_train_images", -1));
    compare_images(name, d, cJSON_GetObjectItem(theirs, "images"));
    compare_buckets(name, d, theirs);
    compare_metadata(name, d, cJSON_GetObjectItem(golden, "metadata"));
    steps = lx_dataset_steps(d, g.max_train_steps, g.max_train_epochs, g.accumulation);
    assert_int_equal(steps.batches_per_epoch, (int)lx_json_number(golden, "batches_per_epoch", -1));
    assert_int_equal(steps.epochs, (int)lx_json_number(golden, "num_epochs", -1));
    assert_int_equal(steps.total_steps, (int)lx_json_number(golden, "max_train_steps", -1));
    lx_dataset_free(d);
}

static void test_data_dataset__counts_are_the_peers(void **state)
{
    int n = 0;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *golden = enter(cases[i]);
        if (golden == NULL)
            continue;
        compare_case(cases[i], golden);
        cJSON_Delete(golden);
        n++;
    }
    if (n == 0)
        skip();
    print_message("%d of %zu cases here\n", n, sizeof cases / sizeof cases[0]);
}

/* ---- steps ------------------------------------------------------------------------------- */

static void add_golden_images(lx_dataset *d, const cJSON *folders, const cJSON *shapes, bool is_reg)
{
    const cJSON *folder, *group;

    cJSON_ArrayForEach(folder, folders) {
        lx_folder *f = &d->folders[d->n_folders++];
        f->name = f->path = cJSON_GetArrayItem(folder, 0)->valuestring;
        f->repeats = atoi(f->name);
        f->is_reg = is_reg;
        cJSON_ArrayForEach(group, cJSON_GetArrayItem(folder, 1)) {
            const cJSON *shape = cJSON_GetObjectItem(
                shapes, cJSON_GetArrayItem(group, 0)->valuestring);
            for (int i = 0; i < cJSON_GetArrayItem(group, 1)->valueint; i++) {
                f->n_images++;
                d->images[d->n_images++] =
                    (lx_image){.path = f->path,
                               .caption = "",
                               .folder = (int)d->n_folders - 1,
                               .width = cJSON_GetArrayItem(shape, 0)->valueint,
                               .height = cJSON_GetArrayItem(shape, 1)->valueint,
                               .repeats = f->repeats,
                               .is_reg = is_reg};
            }
        }
    }
}

static void compare_steps(const cJSON *row, const cJSON *shapes)
{
    static lx_image images[4096];
    static lx_folder folders[64];
    const char *name = lx_json_text(row, "case");
    const cJSON *buckets = cJSON_GetObjectItem(row, "buckets");
    lx_dataset d = {.arena = lx_arena_new(), .images = images, .folders = folders};
    lx_step_count s;
    lx_error err = {0};

    memset(folders, 0, sizeof folders);
    lx_dataset_config_defaults(&d.config);
    d.config.width = d.config.height = 512;
    d.config.enable_bucket = true;
    d.config.batch_size = (int)lx_json_number(row, "train_batch_size", 1);
    add_golden_images(&d, cJSON_GetObjectItem(row, "train"), shapes, false);
    add_golden_images(&d, cJSON_GetObjectItem(row, "reg"), shapes, true);
    if (lx_dataset_plan(&d, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    s = lx_dataset_steps(&d, (int)lx_json_number(row, "arg_max_train_steps", 1600),
                         (int)lx_json_number(row, "arg_max_train_epochs", 0),
                         (int)lx_json_number(row, "gradient_accumulation_steps", 1));
    if (s.batches_per_epoch != (int64_t)lx_json_number(row, "batches_per_epoch", -1) ||
        s.epochs != (int64_t)lx_json_number(row, "num_epochs", -1) ||
        s.total_steps != (int64_t)lx_json_number(row, "max_train_steps", -1) ||
        d.n_train_samples != (size_t)lx_json_number(row, "samples_of_train_per_epoch", -1) ||
        d.n_reg_samples != (size_t)lx_json_number(row, "samples_of_reg_per_epoch", -1))
        fail_msg("%s: %lld batches, %lld epochs, %lld steps, %zu + %zu samples", name,
                 (long long)s.batches_per_epoch, (long long)s.epochs, (long long)s.total_steps,
                 d.n_train_samples, d.n_reg_samples);
    assert_int_equal(d.n_buckets, cJSON_GetArraySize(buckets));
    for (size_t i = 0; i < d.n_buckets; i++) {
        const cJSON *bucket = cJSON_GetArrayItem(buckets, (int)i);
        assert_int_equal(d.buckets[i].width, pair(bucket, "reso", 0));
        assert_int_equal(d.buckets[i].n_samples, (int)lx_json_number(bucket, "count", -1));
    }
    lx_arena_free(d.arena);
}

static void test_data_dataset__steps_are_the_peers(void **state)
{
    cJSON *tree = load(lx_golden_need("data/steps/steps.json"));
    const cJSON *row;
    int n = 0;

    cJSON_ArrayForEach(row, cJSON_GetObjectItem(tree, "rows")) {
        compare_steps(row, cJSON_GetObjectItem(tree, "shapes"));
        n++;
    }
    assert_true(n >= 37);
    cJSON_Delete(tree);
}

/* ---- findings ---------------------------------------------------------------------------- */

static const lx_finding *find_code(const lx_dataset *d, const char *code)
{
    for (size_t i = 0; i < d->n_findings; i++)
        if (strcmp(d->findings[i].code, code) == 0)
            return &d->findings[i];
    return NULL;
}

/* Scans a folder of the goldens' tree and expects a finding whose text has all the parts. */
static void expect(const char *train, const char *extension, bool is_lenient, const char *code,
                   lx_finding_kind kind, const char *const parts[])
{
    given g = {0};
    const lx_finding *finding;
    lx_dataset *d;
    lx_error err = {0};
    int rc;

    lx_dataset_config_defaults(&g.data);
    g.data.cache_latents = true;
    g.data.width = g.data.height = 512;
    g.data.enable_bucket = true;
    g.data.train_data_dir = train;
    g.data.caption_extension = extension;
    g.data.allow_untagged = g.data.skip_bad_images = is_lenient;
    d = scan(&g);
    if ((finding = find_code(d, code)) == NULL)
        fail_msg("%s: no finding %s", train, code);
    assert_int_equal(finding->kind, kind);
    for (int i = 0; parts[i] != NULL; i++)
        if (strstr(finding->text, parts[i]) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", train, finding->text, parts[i]);
    rc = lx_dataset_check(d, &err);
    if (kind == LX_FINDING_STOP)
        assert_true(rc == LX_ECHECK || rc == LX_EFORMAT);
    else
        assert_int_equal(rc, 0);
    lx_dataset_free(d);
}

#define PARTS(...) (const char *const[]){__VA_ARGS__, NULL}

static void test_data_dataset__findings_name_the_remedy(void **state)
{
    cJSON *golden = enter("hobby_txt");

    if (golden == NULL)
        skip();
    cJSON_Delete(golden);
    expect("tree/simple/train", ".caption", false, "caption-trap", LX_FINDING_STOP,
           PARTS("7 caption files (.txt) beside the images would not be read",
                 "for example \"tree/simple/train/2_ysn 1girl/y0.txt\"",
                 "add --caption_extension .txt", "--allow-untagged"));
    expect("tree/simple/train", ".caption", true, "caption-trap", LX_FINDING_WARNING,
           PARTS("--allow-untagged"));
    expect("tree/hobby/train", ".caption", false, "caption-trap", LX_FINDING_STOP,
           PARTS("12 caption files (.txt)"));
    /* One stray .caption among .txt: another flag would lose the others. */
    expect("tree/hobby/train", ".txt", false, "caption-unread", LX_FINDING_WARNING,
           PARTS("a06.caption", "rename it"));
    expect("tree/hobby/train/40_nikkeanis 1girl", ".txt", false, "wrong-level", LX_FINDING_STOP,
           PARTS("is an image folder itself", "--train_data_dir \"tree/hobby/train\""));
    expect("tree/hobby", ".txt", false, "wrong-level", LX_FINDING_STOP,
           PARTS("one level deeper", "--train_data_dir \"tree/hobby/train\""));
    expect("tree/hobby/train", ".txt", false, "wrong-level", LX_FINDING_WARNING,
           PARTS("1 image is directly", "stray.png"));
    expect("tree/hobby/train", ".txt", false, "ignored-folder", LX_FINDING_WARNING,
           PARTS("3 folders", "1.5_float"));
    expect("tree/hobby/train", ".txt", false, "empty-folder", LX_FINDING_WARNING,
           PARTS("12_empty"));
    expect("tree/hobby/train", ".txt", false, "no-repeats", LX_FINDING_WARNING, PARTS("-1_neg"));
    expect("tree/hobby/train", ".txt", false, "bom", LX_FINDING_NOTE, PARTS("a03.jpg"));
    expect("tree/hobby/train", ".txt", false, "line-ends", LX_FINDING_NOTE, PARTS("a02.PNG"));
    expect("tree/hobby/train", ".txt", false, "lines", LX_FINDING_WARNING,
           PARTS("--enable_wildcard"));
    expect("tree/hobby/train", ".txt", false, "other-kind", LX_FINDING_WARNING,
           PARTS("5 files", "a08.Png"));
    expect("tree/hobby/train", ".txt", false, "nested-folder", LX_FINDING_WARNING, PARTS("sub"));
    expect("tree/hobby/train", ".txt", false, "no-caption", LX_FINDING_WARNING, PARTS("9 images"));
    expect("tree/nowhere", ".txt", false, "no-folder", LX_FINDING_STOP, PARTS("tree/nowhere"));
    expect("tree/bad_image", ".txt", false, "bad-image", LX_FINDING_STOP,
           PARTS("b.png", "--skip-bad-images"));
    expect("tree/bad_image", ".txt", true, "bad-image", LX_FINDING_WARNING,
           PARTS("b.png", "left out"));
    expect("tree/bad_sjis", ".txt", false, "bad-caption", LX_FINDING_STOP,
           PARTS("a.txt", "offset 0", "Shift-JIS"));
    expect("tree/bad_utf16", ".txt", false, "bad-caption", LX_FINDING_STOP,
           PARTS("a.txt", "offset 0", "UTF-16"));
    expect("tree/bad_empty", ".txt", false, "empty-caption", LX_FINDING_WARNING, PARTS("a.png"));
}

static void test_data_dataset__flags_that_exclude_each_other_are_refused(void **state)
{
    lx_dataset_config c;
    lx_dataset *d = NULL;
    lx_error err = {0};

    lx_dataset_config_defaults(&c);
    c.train_data_dir = "x";
    c.cache_latents = c.color_aug = true;
    assert_int_equal(lx_dataset_scan(&d, &c, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "--cache_latents"));
    c.color_aug = false;
    c.reg_data_dir = "x";
    assert_int_equal(lx_dataset_scan(&d, &c, &err), LX_EUSAGE);
    c.reg_data_dir = NULL;
    c.batch_size = 0;
    assert_int_equal(lx_dataset_scan(&d, &c, &err), LX_EUSAGE);
    assert_null(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_dataset__counts_are_the_peers),
        cmocka_unit_test(test_data_dataset__steps_are_the_peers),
        cmocka_unit_test(test_data_dataset__findings_name_the_remedy),
        cmocka_unit_test(test_data_dataset__flags_that_exclude_each_other_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
