/*
 * make_run STORE DIR NAME [hostile [TEXT]] - records a training that never was
 *
 * For tests of what is done with recorded runs. Under DIR lie the images (DIR/2_iwl
 * 1girl/NAME.png, *.jpg, captions beside them); it becomes the run's train_data_dir. 200
 * steps in 4 epochs, two samples, a note, tags. "hostile": every text a stranger may
 * choose is one that would act if it were not escaped, and one line has a megabyte; with
 * TEXT every such text is that.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/dataset.h"
#include "store/store.h"

static const char *hostile = "</td></script><script>alert(1)</script><img src=x "
                             "onerror=alert(2)>\x1b[2J\x1b]52;c;YQ==\x07"
                             "\xC2\x9B"
                             "31m \xE2\x80\xAE"
                             "gnp.\n=1+1|`[a](b)";

static lx_error err;
static bool is_hostile, is_usual;

static void need(int rc)
{
    if (rc == LX_OK)
        return;
    fprintf(stderr, "make_run: %s\n", err.text);
    exit(lx_exit_status(rc));
}

static const char *text(const char *plain)
{
    return is_hostile ? hostile : plain;
}

/* ---- data -------------------------------------------------------------------------- */

static bool is_picture(const char *name)
{
    return !strcmp(lx_path_ext(name), ".png") || !strcmp(lx_path_ext(name), ".jpg");
}

static char *read_caption(const char *image)
{
    lx_str path = LX_STR_INIT, caption = LX_STR_INIT;
    char *kept = NULL;
    lx_str_append(&path, image, strlen(image) - 4);
    lx_str_puts(&path, ".txt");
    if (lx_file_read(&caption, path.data, 1 << 20, NULL) == LX_OK)
        kept = is_hostile ? strdup(hostile) : strdup(lx_str_text(&caption));
    lx_str_release(&path);
    lx_str_release(&caption);
    return kept;
}

static char *record_data(lx_store *store, const char *dir)
{
    lx_store_image images[64] = {0};
    lx_store_folder folder = {.name = "2_iwl 1girl",
                              .class_tokens = "iwl 1girl",
                              .repeats = 2,
                              .images = images};
    lx_dir list = {0};
    lx_str path = LX_STR_INIT;
    char *root = NULL;

    lx_str_printf(&path, "%s/%s", dir, folder.name);
    need(lx_dir_list(&list, path.data, &err));
    for (size_t i = 0; i < list.count && folder.n_images < 64; i++) {
        lx_store_image *image = &images[folder.n_images];
        if (!is_picture(list.names[i]))
            continue;
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/%s/%s", dir, folder.name, list.names[i]);
        need(lx_file_hash(&image->hash, path.data, &err));
        *image = (lx_store_image){.name = list.names[i],
                                  .hash = image->hash,
                                  .bytes = 1,
                                  .width = 8,
                                  .height = 8,
                                  .caption = read_caption(path.data)};
        folder.n_images++;
    }
    if (is_hostile) {
        images[folder.n_images] = (lx_store_image){.name = hostile, .caption = hostile};
        folder.n_images++;
        folder.class_tokens = hostile;
    }
    need(lx_store_dataset_put(&root, store, &folder, 1, &err));
    lx_dir_free(&list);
    lx_str_release(&path);
    return root;
}

/* ---- texts ------------------------------------------------------------------------- */

static char *flags_of(const char *dir)
{
    cJSON *root = cJSON_CreateObject();
    lx_str out = LX_STR_INIT;
    cJSON_AddNumberToObject(root, "network_dim", 4);
    cJSON_AddNumberToObject(root, "network_alpha", 1);
    cJSON_AddNumberToObject(root, "learning_rate", 1e-4);
    cJSON_AddNumberToObject(root, "max_train_epochs", 4);
    cJSON_AddStringToObject(root, "train_data_dir", dir);
    cJSON_AddStringToObject(root, "training_comment", text("by wren@example.net"));
    if (is_hostile && is_usual) {
        char *line = malloc((1 << 20) + 1);
        memset(line, '<', 1 << 20);
        line[1 << 20] = '\0';
        cJSON_AddStringToObject(root, "long", line);
        free(line);
    }
    need(lx_json_canonical(&out, root, &err));
    cJSON_Delete(root);
    return lx_str_detach(&out);
}

static void record_curves(lx_run *run)
{
    char key[100];

    snprintf(key, sizeof key, "%.90s", is_usual ? "</script><b>" : hostile);
    key[lx_utf8_check(key, strlen(key))] = '\0';
    for (int i = 1; i <= 200; i++) {
        double loss = 0.09 + 0.05 * exp(-i / 40.0) + 0.02 * sin(i * 1.7) * cos(i * 0.37);
        need(lx_run_log(run, "loss", i, i == 50 ? (double)NAN : loss, &err));
        need(lx_run_log(run, "lr/unet", i, 1e-4 * (i < 20 ? i / 20.0 : 1), &err));
        if (is_hostile)
            need(lx_run_log(run, key, i, loss, &err));
    }
}

static void record_samples(lx_run *run, const char *dir)
{
    char path[4096];
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/2_iwl 1girl/img0%d.png", dir, i);
        if (lx_file_exists(path))
            need(lx_run_artifact_file(run, "sample",
                                      text(i == 1 ? "e2_0.png" : "e4_0.png"), path,
                                      100 * i, &err));
    }
    if (is_hostile)
        need(
            lx_run_artifact(run, "sample", hostile, hostile, strlen(hostile), 200, &err));
}

int main(int argc, char **argv)
{
    lx_store *store = NULL;
    lx_run *run = NULL;
    char *flags, *data;
    int64_t seq;

    if (argc < 4) {
        fprintf(stderr, "usage: make_run STORE DIR NAME [hostile [TEXT]]\n");
        return 2;
    }
    is_hostile = argc > 4;
    is_usual = argc < 6;
    if (!is_usual)
        hostile = argv[5];
    need(lx_store_open(&store, argv[1], false, &err));
    flags = flags_of(argv[2]);
    data = record_data(store, argv[2]);
    lx_run_start start = {
        .name = is_hostile ? hostile : argv[3],
        .kind = "train",
        .command_line = text("lx train --network_dim 4 --train_data_dir "
                             "/home/wren/img"),
        .flags_given = flags,
        .flags = flags,
        .dataset = data,
        .seed = 42,
        .has_seed = true,
        .started = 1.77e9,
        .is_historic = true,
        .base_model = "{\"path\":\"/home/wren/base.safetensors\",\"sha256\":\"00\"}",
        .environment = "{\"cpu\":\"a processor\",\"cores\":8,\"host\":\"nest-7\"}"};
    need(lx_run_begin(&run, store, &start, &err));
    seq = lx_run_seq(run);
    record_curves(run);
    record_samples(run, argv[2]);
    need(lx_run_end_at(run, "finished", is_hostile ? hostile : NULL, 1.77e9 + 400, &err));
    need(lx_run_note(store, seq, text("made by wren on nest-7"), &err));
    need(lx_run_tag(store, seq, is_hostile ? hostile : "good", NULL, &err));
    lx_store_close(store);
    lx_free(flags);
    lx_free(data);
    return 0;
}
