#include "src/base/secret_name.h"

#include <ctype.h>
#include <string.h>

#include "src/base/str.h"

enum { MOST_NAME = 128 };

static bool contains_any(const char *name, const char *const *words)
{
    for (; *words; words++)
        if (strstr(name, *words))
            return true;
    return false;
}

static bool ends_any(const char *name, const char *const *words)
{
    for (; *words; words++)
        if (lx_ends_with(name, *words))
            return true;
    return false;
}

/* Is it this word, or does it end with it behind an underscore? */
static bool has_last_word(const char *name, const char *const *words)
{
    const char *last = strrchr(name, '_');

    last = last ? last + 1 : name;
    for (; *words; words++)
        if (strcmp(last, *words) == 0)
            return true;
    return false;
}

/* In small letters, words joined by one underscore, without what leads it; of keys and tokens one. Empty: none that could
 * be looked up. */
static void normalize(char out[MOST_NAME], const char *p, size_t n)
{
    size_t k = 0;

    while (n && strchr("-_", *p)) {
        p++;
        n--;
    }
    for (size_t i = 0; i < n && k < MOST_NAME - 2; i++) {
        const unsigned char c = (unsigned char)p[i];
        if (i && isupper(c) && islower((unsigned char)p[i - 1]))
            out[k++] = '_';
        out[k++] = isalnum(c) ? (char)tolower(c) : '_';
    }
    if (k >= MOST_NAME - 2)
        k = 0;
    out[k] = '\0';
    if (lx_ends_with(out, "keys") || lx_ends_with(out, "tokens"))
        out[k - 1] = '\0';
}

/* Does it hold what some name of a secret is made of? Most names do not. */
static bool has_root(const char *name)
{
    static const char *const roots[] = {"key", "tok",  "sec",    "pass", "pw",  "cred",
                                        "pat", "auth", "cookie", "otp",  "jwt", "bearer",
                                        "sig", "hook", "conn",   NULL};

    return contains_any(name, roots);
}

/* It says where the secret is, or how long. */
static bool is_about(const char *name)
{
    static const char *const endings[] = {"_file", "_path",   "_dir",  "_env", "_env_var",
                                          "_type", "_length", "_size", NULL};

    return ends_any(name, endings);
}

static bool is_strong(const char *name)
{
    static const char *const words[] = {"api_key",
                                        "apikey",
                                        "access_key",
                                        "accesskey",
                                        "account_key",
                                        "accountkey",
                                        "secret",
                                        "private_key",
                                        "privatekey",
                                        "auth_key",
                                        "authkey",
                                        "signing_key",
                                        "encryption_key",
                                        "license_key",
                                        "ssh_key",
                                        "deploy_key",
                                        "master_key",
                                        "service_key",
                                        "subscription_key",
                                        "wandb_key",
                                        "wandbkey",
                                        "openai_key",
                                        "password",
                                        "passwd",
                                        "passphrase",
                                        "passcode",
                                        "credential",
                                        "hf_token",
                                        "huggingface_tok",
                                        "access_token",
                                        "accesstoken",
                                        "auth_token",
                                        "authtoken",
                                        "webhook",
                                        "api_token",
                                        "apitoken",
                                        "bot_token",
                                        "refresh_token",
                                        "session_token",
                                        "id_token",
                                        "github_token",
                                        "gitlab_token",
                                        "sas_token",
                                        "github_pat",
                                        "gitlab_pat",
                                        "user_pass",
                                        "userpass",
                                        "db_pass",
                                        "dbpass",
                                        "smtp_pass",
                                        "mail_pass",
                                        "ftp_pass",
                                        "ssh_pass",
                                        "sudo_pass",
                                        "root_pass",
                                        "admin_pass",
                                        "login_pass",
                                        "mysql_pass",
                                        "redis_pass",
                                        "pg_pass",
                                        "pgpass",
                                        "proxy_pass",
                                        "amz_credential",
                                        "amz_signature",
                                        NULL};

    return contains_any(name, words);
}

/* Trainers speak of the tokens of a text encoder, and of keys of tables. */
static bool is_honest(const char *name)
{
    static const char *const words[] = {"tokeniz",
                                        "keep_token",
                                        "max_token",
                                        "min_token",
                                        "num_token",
                                        "token_warmup",
                                        "token_length",
                                        "token_weight",
                                        "token_string",
                                        "token_id",
                                        "token_count",
                                        "token_merg",
                                        "per_token",
                                        "keyframe",
                                        "keyword",
                                        "keyboard",
                                        NULL};
    static const char *const endings[] = {"placeholder_token",
                                          "initializer_token",
                                          "init_token",
                                          "pad_token",
                                          "eos_token",
                                          "bos_token",
                                          "unk_token",
                                          "sep_token",
                                          "mask_token",
                                          "cls_token",
                                          "class_token",
                                          "instance_token",
                                          "concept_token",
                                          "trigger_token",
                                          "special_token",
                                          "add_token",
                                          "added_token",
                                          "modifier_token",
                                          "stop_token",
                                          "n_token",
                                          "image_key",
                                          "caption_key",
                                          "text_key",
                                          "data_key",
                                          "json_key",
                                          "metadata_key",
                                          "sort_key",
                                          "column_key",
                                          "cache_key",
                                          "public_key",
                                          "primary_key",
                                          "foreign_key",
                                          "stage_key",
                                          "ckpt_key",
                                          "param_key",
                                          "monitor_key",
                                          "state_key",
                                          "monkey",
                                          "donkey",
                                          "turkey",
                                          "hotkey",
                                          "whiskey",
                                          "hockey",
                                          "jockey",
                                          NULL};

    return strcmp(name, "key") == 0 || contains_any(name, words) ||
           ends_any(name, endings);
}

static bool is_weak(const char *name)
{
    static const char *const endings[] = {"key", "token", "signature",
                                          "connection_string", NULL};
    static const char *const last[] = {"pass",   "pwd",    "pw",    "otp",  "jwt",
                                       "bearer", "cookie", "creds", "auth", NULL};

    return ends_any(name, endings) || has_last_word(name, last) ||
           strstr(name, "_token_") || strstr(name, "_key_");
}

lx_name_kind lx_name_kind_of(const char *name, size_t n)
{
    char plain[MOST_NAME];

    normalize(plain, name, n);
    if (!has_root(plain) || is_about(plain))
        return LX_NAME_HONEST;
    if (is_strong(plain))
        return LX_NAME_STRONG;
    return !is_honest(plain) && is_weak(plain) ? LX_NAME_WEAK : LX_NAME_HONEST;
}

bool lx_name_is_user(const char *option, size_t n)
{
    char plain[MOST_NAME];

    if (n == 2 && memcmp(option, "-u", 2) == 0)
        return true;
    normalize(plain, option, n);
    return strcmp(plain, "user") == 0 || strcmp(plain, "proxy_user") == 0;
}

lx_name_kind lx_name_kind_of_option(const char *name, size_t n)
{
    char plain[MOST_NAME];

    if (lx_name_is_user(name, n))
        return LX_NAME_STRONG;
    normalize(plain, name, n);
    if (strcmp(plain, "auth") == 0 || lx_ends_with(plain, "_auth"))
        return LX_NAME_STRONG;
    return strcmp(plain, "key") == 0 ? LX_NAME_WEAK : lx_name_kind_of(name, n);
}
