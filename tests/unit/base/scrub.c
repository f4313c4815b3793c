/* Secrets out of texts and command lines; honest words stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/scrub.h"

static void check(const char *text, const char *wanted)
{
    lx_str once = LX_STR_INIT, twice = LX_STR_INIT;

    lx_scrub_text(&once, text, strlen(text));
    if (strcmp(lx_str_text(&once), wanted) != 0)
        print_message("of: %s\n", text);
    assert_string_equal(lx_str_text(&once), wanted);
    lx_scrub_text(&twice, lx_str_text(&once), once.len);
    assert_string_equal(lx_str_text(&twice), wanted);
    lx_str_release(&once);
    lx_str_release(&twice);
}

#define HEX40 "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"

static void test_base_scrub__secrets_do_not_pass(void **state)
{
    static const char *const pairs[][2] = {
        /* by where they stand */
        {"git clone https://me:pa@ss@host/x.git?y=a@b",
         "git clone https://***@host/x.git?y=a@b"},
        {"\"url\":\"postgres://u:p@db:5432/x\"", "\"url\":\"postgres://***@db:5432/x\""},
        {"WANDB_API_KEY=abc python", "WANDB_API_KEY=*** python"},
        {"{\"wandb_api_key\":\"abc\",\"lr\":1}", "{\"wandb_api_key\":\"***\",\"lr\":1}"},
        {"{\"a\":\"{\\\"api_key\\\": \\\"x y\\\"}\"}",
         "{\"a\":\"{\\\"api_key\\\": \\\"***\\\"}\"}"},
        {"Namespace(api_key='a,b', lr=1)", "Namespace(api_key='***', lr=1)"},
        {"Namespace(secret=a,b, lr=1)", "Namespace(secret=***, lr=1)"},
        {"password: hunter2", "password: ***"},
        {"password = \"two words\"", "password = \"***\""},
        {"password = \"a\\\"b\"", "password = \"***\""},
        {"DB_PASSWORD=\"x;y,z\"", "DB_PASSWORD=\"***\""},
        {"<password>abc</password>", "<password>***</password>"},
        {"--wandb_api_key abc --lr 1", "--wandb_api_key *** --lr 1"},
        {"[\"--hf-token\",\"abcdef12345\",\"x\"]", "[\"--hf-token\",\"***\",\"x\"]"},
        {"https://h/x?api_key=abc&y=1", "https://h/x?api_key=***&y=1"},
        {"clientSecret: abc", "clientSecret: ***"},
        {"token = \"abcdefgh12345678\"", "token = \"***\""},
        {"Authorization: Bearer abc.def", "Authorization: Bearer ***"},
        {"-H 'authorization: token abc' x", "-H 'authorization: token ***' x"},
        {"\"Authorization\": \"Basic dXNlcjpwdw==\"", "\"Authorization\": \"Basic ***\""},
        {"Cookie: session=1; x=2\nnext", "Cookie: ***\nnext"},
        {"sent Bearer abcdefghijklmnop1", "sent Bearer ***"},
        {"https://hooks.slack.com/services/T0/B0/x",
         "https://hooks.slack.com/services/***"},
        {"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n-----END OPENSSH PRIVATE "
         "KEY-----",
         "-----BEGIN OPENSSH PRIVATE KEY-----***-----END OPENSSH PRIVATE KEY-----"},
        {"machine api.wandb.ai login user password " HEX40,
         "machine api.wandb.ai login user password ***"},
        {"wandb login " HEX40, "wandb login ***"},
        /* by how they look */
        {"api_key=12345678901", "api_key=***"},
        {"{\"pin_password\": \"1234\"}", "{\"pin_password\": \"***\"}"},
        {"got hf_abcdefghijklmnopqrst.", "got ***."},
        {"x=ghp_abcdefghijklmnopqrstuvwxyz0123456789", "x=***"},
        {"AKIAIOSFODNN7EXAMPLE", "***"},
        {"a eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN b",
         "a *** b"},
        {"bot 123456789:AAabcdefghijklmnopqrstuvwxyz_012345 up", "bot *** up"},
        {"SG.abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuvwxyz", "***"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        check(pairs[i][0], pairs[i][1]);
}

static void test_base_scrub__honest_words_stay(void **state)
{
    static const char *const texts[] = {
        "1girl, secret garden, token, key visual, password on a wall",
        "token: masterpiece, key: c major",
        "{\"3_x\": {\"secret\": 12, \"password\": 3, \"token\": 1}}",
        "{\"secret\":{\"a\":1},\"password\":[1]}",
        "holding key, keyhole, (golden key:1.2)",
        "keep_tokens=2 max_token_length=225 keep_tokens_separator='|||'",
        "--keep_tokens 2 --token_string sks --tokenizer_cache_dir /a/b",
        "placeholder_token: <abcdefgh12345678>",
        "\"image_key\": \"abcdefgh12345678\"",
        "num_tokens: 12345678",
        "\"sort_key\":\"loss\"",
        "token: 12345678",
        "api_key=",
        "api_key: null",
        "commit " HEX40,
        "sha256 " HEX40 HEX40,
        "wandb: synced commit " HEX40,
        "https://host/x?y=a@b",
        "mail me@example.com",
        "a@b://c",
        "http://[::1]:80/x",
        "hf_hub_download(repo)",
        "sk-learn",
        "risk-free",
        "task-1234567890123456789012345",
        "epoch 1/10, steps: 12%, loss=0.1, lr=1e-4",
        "Bearer of the ring",
        "cookies and cream",
        "eyJust.a.word",
        "12:34:56",
        "-----BEGIN CERTIFICATE-----",
        "ss_tag_frequency",
        "***",
        "keyboard: abcdefgh12345678",
        "password",
        "secret",
        "monkey=abcdefgh12345678",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check(texts[i], texts[i]);
}

static void check_command(const char *wanted, int argc, const char *const *argv)
{
    lx_str out = LX_STR_INIT;

    lx_scrub_command(&out, argc, argv);
    assert_string_equal(lx_str_text(&out), wanted);
    lx_str_release(&out);
}

static void test_base_scrub__command_lines(void **state)
{
    static const char *const argv[] = {"run",
                                       "--token",
                                       "abc",
                                       "--my_secret_thing=x y",
                                       "--keep_tokens",
                                       "1",
                                       "-u",
                                       "me:pw",
                                       "--user=me:pw",
                                       "--key",
                                       "k",
                                       "-H",
                                       "X-Api-Key: abc",
                                       "A_PASSWORD=x",
                                       "--pin_password",
                                       "1234",
                                       "--license_key",
                                       "--lr",
                                       "1"};
    static const char *const python[] = {"python", "-u", "train.py", "--network_args",
                                         "api_key=x"};

    (void)state;
    check_command(
        "run --token *** --my_secret_thing=*** --keep_tokens 1 -u me:*** "
        "--user=me:*** --key *** -H 'X-Api-Key: ***' A_PASSWORD=*** --pin_password *** "
        "--license_key --lr 1",
        19, argv);
    check_command("python -u train.py --network_args api_key=***", 5, python);
}

/* By its name alone nothing is hidden that looks drawn by lot: a sweep finds its trials by such facts. */
static void test_base_scrub__values_of_honest_names_stay(void **state)
{
    static const char drawn[] = "q7Zk29fLw8Xc41TbV0aa";

    (void)state;
    assert_false(lx_hides_value("sweep.trial", drawn));
    assert_false(lx_hides_value("merge.source", drawn));
    assert_false(lx_hides_value("keep_tokens", "1"));
    assert_true(lx_hides_value("wandb_api_key", drawn));
    assert_true(lx_hides_value("my_token", drawn));
    assert_true(lx_hides_value("password", "x"));
}

/* Whatever the bytes are: no crash, no growth without end, and once more changes nothing (nearly: the texts are made
 * of what is looked for). */
static void test_base_scrub__any_bytes(void **state)
{
    static const char *const pieces[] = {"://",
                                         "@",
                                         "password",
                                         "=",
                                         "\"",
                                         "\\",
                                         "'",
                                         "-----BEGIN ",
                                         "PRIVATE KEY",
                                         "--",
                                         "token",
                                         " ",
                                         "\n",
                                         ":",
                                         "Bearer ",
                                         "hf_",
                                         "abcdefghijklmnopqrstuvwxyz",
                                         "\xff",
                                         "wandb ",
                                         HEX40,
                                         "{",
                                         ","};
    uint64_t seed = 1;
    int n_changed = 0;

    (void)state;
    for (int n = 0; n < 20000; n++) {
        char text[400] = "";
        lx_str once = LX_STR_INIT, twice = LX_STR_INIT;
        size_t used = 0, count;
        for (int i = 0; i < 8; i++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            const char *piece = pieces[(seed >> 33) % (sizeof pieces / sizeof *pieces)];
            memcpy(text + used, piece, strlen(piece));
            used += strlen(piece);
        }
        lx_scrub_text(&once, text, used);
        count = once.len;
        lx_scrub_text(&twice, lx_str_text(&once), count);
        assert_true(count <= used + 3 * 8);
        n_changed += twice.len != count ||
                     memcmp(lx_str_text(&twice), lx_str_text(&once), count) != 0;
        lx_str_release(&once);
        lx_str_release(&twice);
    }
    assert_true(n_changed <=
                5); /* a mark of a private key that the first pass made one of */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_scrub__secrets_do_not_pass),
        cmocka_unit_test(test_base_scrub__honest_words_stay),
        cmocka_unit_test(test_base_scrub__command_lines),
        cmocka_unit_test(test_base_scrub__values_of_honest_names_stay),
        cmocka_unit_test(test_base_scrub__any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
