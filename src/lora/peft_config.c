#include "src/lora/peft_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"

enum { MOST_BYTES = 4 << 20 };

struct lx_peft_config {
    cJSON *root;
    bool has_components; /* keys have "unet." and the like in front */
};

static int read_beside(lx_peft_config *c, const char **problem, const char *path,
                       lx_error *err)
{
    const char *base = lx_path_base(path);
    lx_str name = LX_STR_INIT, text = LX_STR_INIT;
    int rc;

    lx_str_append(&name, path, (size_t)(base - path));
    lx_str_puts(&name, "adapter_config.json");
    if ((rc = lx_str_check(&name, err)) == LX_OK && lx_file_exists(lx_str_text(&name))) {
        rc = lx_file_read(&text, lx_str_text(&name), MOST_BYTES, err);
        if (rc == LX_OK)
            rc = lx_json_parse(&c->root, lx_str_text(&text), text.len, err);
        if (rc < 0 && rc != LX_ENOMEM && rc != LX_EIO && rc != LX_EPERM) {
            *problem = "adapter_config.json beside it cannot be read (damaged, or larger "
                       "than 4 MiB): alphas may be missing";
            rc = LX_OK;
        }
    }
    lx_str_release(&name);
    lx_str_release(&text);
    return rc;
}

static bool is_named_adapter(const char *path)
{
    return lx_starts_with(lx_path_base(path), "adapter_model.");
}

/* Is there a file that PEFT itself would read with the config of the folder? */
static int has_adapter(bool *out, const char *path, lx_error *err)
{
    static const char *const names[] = {"adapter_model.safetensors", "adapter_model.bin"};
    const char *base = lx_path_base(path);
    int rc = LX_OK;

    *out = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == LX_OK; i++) {
        lx_str name = LX_STR_INIT;
        lx_str_append(&name, path, (size_t)(base - path));
        lx_str_puts(&name, names[i]);
        if ((rc = lx_str_check(&name, err)) == LX_OK)
            *out |= lx_file_exists(lx_str_text(&name));
        lx_str_release(&name);
    }
    return rc;
}

/*
 * Whose is an adapter_config.json? That of the folder's adapter_model.*, in whatever spelling that has no alphas of its
 * own; where there is none, that of files in PEFT's spelling, which were renamed. Not of what lx merged or resized: the
 * scale is in its factors already.
 */
static int is_of_folder(bool *out, const lx_tensor_file *file, const char *path,
                        const char *family, lx_error *err)
{
    bool has_other;
    int rc = LX_OK;

    *out = false;
    if (is_named_adapter(path)) {
        *out = !lx_starts_with(family, "kohya") && strcmp(family, "LyCORIS") != 0;
    } else if (strcmp(family, "PEFT") == 0 &&
               !lx_tensor_file_metadata(file, "lx.merge") &&
               !lx_tensor_file_metadata(file, "lx.resize")) {
        rc = has_adapter(&has_other, path, err);
        *out = rc == LX_OK && !has_other;
    }
    return rc;
}

/* Whether a tensor is a factor whose first dimension is the rank. */
static bool is_down(const lx_tensor_view *t)
{
    return (lx_ends_with(t->name, ".lora_A.weight") ||
            lx_ends_with(t->name, ".lora_A.default.weight")) &&
           t->n_dims >= 2;
}

/* Is there a rank in the file, and none is that of the config? */
static bool is_other_rank(const lx_tensor_file *file, double r)
{
    bool has_ranks = false;

    for (size_t i = 0; i < lx_tensor_file_count(file); i++) {
        const lx_tensor_view *t = lx_tensor_file_at(file, i);
        if (!is_down(t))
            continue;
        if ((double)t->shape[0] == r)
            return false;
        has_ranks = true;
    }
    return has_ranks;
}

/* What is odd about a config that can be read, beside what its alphas say; NULL: nothing. */
static const char *find_oddity(const cJSON *root, const lx_tensor_file *file)
{
    static const char *const types[] = {"LORA", "ADALORA", "LOHA", "LOKR", "OFT", "BOFT"};
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(root, "peft_type");
    const cJSON *r = cJSON_GetObjectItemCaseSensitive(root, "r");
    const char *start = lx_json_text(root, "init_lora_weights");
    size_t i = 0;

    while (cJSON_IsString(type) && i < sizeof types / sizeof *types &&
           strcmp(type->valuestring, types[i]) != 0)
        i++;
    if (type && (!cJSON_IsString(type) || i == sizeof types / sizeof *types))
        return "adapter_config.json beside it has a peft_type that lx does not know: taken as LORA";
    if (r && (!cJSON_IsNumber(r) || is_other_rank(file, r->valuedouble)))
        return "adapter_config.json beside it names an r that is the rank of no tensor here: is it of another file?";
    if (start && (lx_starts_with(start, "pissa") || strcasecmp(start, "olora") == 0 || strcmp(start, "loftq") == 0 ||
                  strcmp(start, "corda") == 0))
        return "adapter_config.json beside it says that the training began by taking the LoRA out of the base model "
               "(init_lora_weights): on the base as it is it does not do what was learned; PEFT's save_pretrained "
               "converts it (path_initial_model_for_weight_conversion)";
    return NULL;
}

int lx_peft_config_read(lx_peft_config **out, const char **problem,
                        const lx_tensor_file *file, const char *path, const char *family,
                        lx_error *err)
{
    const char *text = lx_tensor_file_metadata(file, "lora_adapter_metadata");
    lx_peft_config *c;
    bool is_beside;
    int rc = LX_OK;

    *out = NULL;
    *problem = NULL;
    if (!(c = lx_calloc(1, sizeof *c)))
        return lx_oom(err);
    if (text) {
        c->has_components = true;
        rc = lx_json_parse(&c->root, text, strlen(text), NULL);
        if (rc < 0 && rc != LX_ENOMEM)
            *problem = "lora_adapter_metadata is damaged: alphas may be missing";
        rc = rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
    } else if (path &&
               (rc = is_of_folder(&is_beside, file, path, family, err)) == LX_OK &&
               is_beside) {
        rc = read_beside(c, problem, path, err);
        if (c->root && !cJSON_IsObject(c->root))
            *problem = "adapter_config.json beside it is no JSON object: alphas may be missing";
        else if (c->root)
            *problem = find_oddity(c->root, file);
    }
    if (rc < 0 || !cJSON_IsObject(c->root)) {
        lx_peft_config_free(c);
        return rc;
    }
    *out = c;
    return LX_OK;
}

void lx_peft_config_free(lx_peft_config *c)
{
    if (!c)
        return;
    cJSON_Delete(c->root);
    lx_free(c);
}

/* A member of the config that speaks of this module. */
static const cJSON *member(const lx_peft_config *c, const char *module, const char *key)
{
    const char *dot = strchr(module, '.');
    char name[128];

    if (!c->has_components)
        return cJSON_GetObjectItemCaseSensitive(c->root, key);
    if (!dot || (size_t)(dot - module) + strlen(key) + 2 > sizeof name)
        return NULL;
    snprintf(name, sizeof name, "%.*s.%s", (int)(dot - module), module, key);
    return cJSON_GetObjectItemCaseSensitive(c->root, name);
}

/* Is the pattern a path ("mid_block.to_k", with or without its dots escaped, "^" in front)? Then
 * as plain text. */
static bool plain_pattern(char out[256], const char *pattern)
{
    size_t n = 0;

    if (*pattern == '^')
        pattern++;
    for (; *pattern; pattern++) {
        if (*pattern == '\\' && pattern[1] == '.')
            pattern++;
        else if (strchr("\\^$*+?()[]{}|", *pattern))
            return false;
        if (n + 1 == 256)
            return false;
        out[n++] = *pattern;
    }
    out[n] = '\0';
    return n > 0;
}

static bool ends_in_path(const char *module, const char *path)
{
    size_t n = strlen(module), m = strlen(path);

    return n >= m && strcmp(module + n - m, path) == 0 &&
           (n == m || module[n - m - 1] == '.');
}

/* The number of a member, before which an entry of the patterns comes that is the module's path or its end. */
static bool number_of(double *out, const lx_peft_config *c, const char *module, const char *key,
                      const char *patterns)
{
    const cJSON *value = member(c, module, key), *pattern;

    cJSON_ArrayForEach(pattern, member(c, module, patterns))
    {
        char path[256];
        if (cJSON_IsNumber(pattern) && pattern->string &&
            plain_pattern(path, pattern->string) && ends_in_path(module, path)) {
            value = pattern;
            break;
        }
    }
    if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble))
        return false;
    *out = value->valuedouble;
    return true;
}

/* LoHa's and LoKr's configs have alpha where LoRA's has lora_alpha. */
static bool is_lycoris(const lx_peft_config *c, const char *module)
{
    const char *type = cJSON_GetStringValue(member(c, module, "peft_type"));

    return type && (strcmp(type, "LOHA") == 0 || strcmp(type, "LOKR") == 0);
}

double lx_peft_config_scale(const lx_peft_config *c, const char *module)
{
    double alpha, r;

    return is_lycoris(c, module) && number_of(&alpha, c, module, "alpha", "alpha_pattern") &&
                   number_of(&r, c, module, "r", "rank_pattern") && r > 0
               ? alpha / r
               : 1;
}

bool lx_peft_config_alpha(double *alpha, const lx_peft_config *c, const char *module,
                          int64_t rank)
{
    if (!number_of(alpha, c, module, is_lycoris(c, module) ? "alpha" : "lora_alpha", "alpha_pattern"))
        return false;
    if (cJSON_IsTrue(member(c, module, "use_rslora")))
        *alpha *= sqrt((double)rank);
    return true;
}

const char *lx_peft_config_source(const lx_peft_config *c)
{
    return c->has_components ? "lora_adapter_metadata" : "adapter_config.json";
}

static size_t count_ignored(const cJSON *patterns)
{
    const cJSON *pattern;
    size_t n = 0;

    cJSON_ArrayForEach(pattern, patterns)
    {
        char path[256];
        n += !pattern->string || !plain_pattern(path, pattern->string);
    }
    return n;
}

size_t lx_peft_config_ignored(const lx_peft_config *c)
{
    const cJSON *item;
    size_t n = 0;

    cJSON_ArrayForEach(item, c->root) if (item->string &&
                                          lx_ends_with(item->string, "alpha_pattern"))
        n += count_ignored(item);
    return n;
}
