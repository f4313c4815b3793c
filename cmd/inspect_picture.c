#include "cmd/inspect_picture.h"
#include "cmd/inspect_stored.h"

#include <string.h>
#include <strings.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/infotext.h"
#include "src/format/picture_text.h"
#include "src/image/header.h"

bool lx_is_picture_name(const char *path)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp"};

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(lx_path_ext(path), endings[i]) == 0)
            return true;
    return false;
}

static void line(lx_cli *cli, const char *name, const char *text)
{
    lx_print(cli, "  %-16s %s\n", lx_safe(cli, name), lx_safe(cli, text));
}

/* One line of the notes after the other; NULL after the last. */
static char *next_note(char **at)
{
    char *note = *at, *end = note ? strchr(note, '\n') : NULL;

    if (!end)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return note;
}

static void show(lx_cli *cli, const char *path, const lx_infotext *info, char *notes,
                 const lx_image_header *header)
{
    lx_print(cli, "%s\n", lx_safe(cli, path));
    lx_print(cli, "  %-16s %s, %d x %d pixels\n", "picture",
             lx_image_kind_name(header->kind), header->width, header->height);
    for (const char *note; (note = next_note(&notes)) != NULL;)
        line(cli, "note", note);
    if (!info) {
        line(cli, "what", "a picture without settings of a web UI");
        return;
    }
    line(cli, "prompt", info->prompt);
    if (*info->negative)
        line(cli, "negative prompt", info->negative);
    for (size_t i = 0; i < info->n_settings; i++)
        line(cli, info->settings[i].key, info->settings[i].value);
    for (size_t i = 0; i < info->n_settings; i++)
        if (strcasecmp(info->settings[i].key, "Lora hashes") == 0 ||
            strcasecmp(info->settings[i].key, "Hashes") == 0 ||
            strcasecmp(info->settings[i].key, "AddNet Model 1") == 0)
            lx_inspect_picture_loras(cli, info->settings[i].value);
}

static int show_json(lx_cli *cli, const char *path, const lx_infotext *info, char *notes,
                     lx_error *err)
{
    cJSON *root = cJSON_CreateObject(), *settings, *list = NULL;
    lx_str text = LX_STR_INIT;
    int rc;

    cJSON_AddStringToObject(root, "path", path);
    cJSON_AddBoolToObject(root, "has_settings", info != NULL);
    if (info) {
        cJSON_AddStringToObject(root, "prompt", info->prompt);
        cJSON_AddStringToObject(root, "negative_prompt", info->negative);
        settings = cJSON_AddObjectToObject(root, "settings");
        for (size_t i = 0; i < info->n_settings; i++)
            if (!cJSON_GetObjectItemCaseSensitive(settings, info->settings[i].key))
                cJSON_AddStringToObject(settings, info->settings[i].key,
                                        info->settings[i].value);
    }
    for (const char *note; (note = next_note(&notes)) != NULL;) {
        list = list ? list : cJSON_AddArrayToObject(root, "notes");
        cJSON_AddItemToArray(list, cJSON_CreateString(note));
    }
    if ((rc = lx_json_canonical(&text, root, err)) == LX_OK)
        lx_print(cli, "%s\n", lx_str_text(&text));
    lx_str_release(&text);
    cJSON_Delete(root);
    return rc;
}

int lx_inspect_picture(lx_cli *cli, const char *path, bool as_json, lx_error *err)
{
    lx_str text = LX_STR_INIT, notes = LX_STR_INIT;
    lx_image_header header;
    lx_infotext info;
    bool is_there = false;
    int rc;

    /* what no reader would take for a picture is told, and not called one without settings */
    if ((rc = lx_image_header_read(&header, path, err)) < 0)
        lx_within(err, "%s", path);
    else
        rc = lx_picture_text_look(&text, &is_there, &notes, path, err);
    if (rc == LX_OK && is_there)
        rc = lx_infotext_parse(&info, cli->arena, lx_str_text(&text), err);
    if (rc == LX_OK && as_json)
        rc = show_json(cli, path, is_there ? &info : NULL, notes.data, err);
    else if (rc == LX_OK)
        show(cli, path, is_there ? &info : NULL, notes.data, &header);
    lx_str_release(&text);
    lx_str_release(&notes);
    return rc;
}
