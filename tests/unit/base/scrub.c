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

#define WORD "Xy7Zk29fLw"
#define LONG "Q7zk29fLw8Xc41TbV0aaQ7zk29fLw8Xc41Tb"

/* As sources, settings and consoles have them. */
static void test_base_scrub__written_in_many_ways(void **state)
{
    static const char *const pairs[][2] = {
        {"-hf_" LONG, "-***"},
        {"--- a\n-sk-proj-" LONG, "--- a\n-***"},
        {"x_hf_" LONG, "x_***"},
        {"a-ghp_" LONG, "a-***"},
        {"-Authorization: Bearer short1", "-Authorization: Bearer ***"},
        {"-Cookie: " WORD, "-Cookie: ***"},
        {"{\"a\":\"b\\nhf_" LONG "\"}", "{\"a\":\"b\\n***\"}"},
        {"{\"a\":\"b\\tpassword=" WORD "\"}", "{\"a\":\"b\\tpassword=***\"}"},
        {"\033[32mhf_" LONG "\033[0m", "\033[32m***\033[0m"},
        {"password\033[0m: \033[32m" WORD "\033[0m",
         "password\033[0m: \033[32m***\033[0m"},
        {"\\u001b[32mghp_" LONG, "\\u001b[32m***"},
        {"x%20hf_" LONG, "x%20***"},
        {"{\"auth\":\"" WORD "\"}", "{\"auth\":\"***\"}"},
        {"{\"pass\":\"" WORD "1\"}", "{\"pass\":\"***\"}"},
        {"DB_PASS=" WORD, "DB_PASS=***"},
        {"pwd=" WORD, "pwd=***"},
        {"--jwt " WORD, "--jwt ***"},
        {"--api_keys " WORD, "--api_keys ***"},
        {"DB_PASSWORD=a&" WORD, "DB_PASSWORD=***"},
        {"password: \"a\\\"" WORD "\"", "password: \"***\""},
        {"{\"x\":\"{\\\"password\\\": \\\"a\\\\\\\"" WORD "\\\"}\"}",
         "{\"x\":\"{\\\"password\\\": \\\"***\\\"}\"}"},
        {"https://me:p'" WORD "@h/x", "https://***@h/x"},
        {"https://me:p/" WORD "@h/x", "https://***@h/x"},
        {"https://me:p#" WORD "@h/x", "https://***@h/x"},
        {"\"https:\\/\\/me:" WORD "@h\"", "\"https:\\/\\/***@h\""},
        {"os.environ[\"HF_TOKEN\"] = \"" WORD "\"", "os.environ[\"HF_TOKEN\"] = \"***\""},
        {"config[\"password\"] = \"" WORD "\"", "config[\"password\"] = \"***\""},
        {"headers[\"X-Api-Key\"] = \"" WORD "\"", "headers[\"X-Api-Key\"] = \"***\""},
        {"headers['Authorization']='Bearer " WORD "'",
         "headers['Authorization']='Bearer ***'"},
        {"(\"Authorization\", f\"Bearer " WORD "\")",
         "(\"Authorization\", f\"Bearer ***\")"},
        {"API_KEY: str = \"" WORD "\"", "API_KEY: str = \"***\""},
        {"API_KEY: Optional[str] = \"" WORD "\"", "API_KEY: Optional[str] = \"***\""},
        {"apiKey: string = \"" WORD "\"", "apiKey: string = \"***\""},
        {"SECRET_KEY = b\"" WORD "\"", "SECRET_KEY = b\"***\""},
        {"SECRET = rb\"" WORD "\"", "SECRET = rb\"***\""},
        {"password = SecretStr(\"" WORD "\")", "password = SecretStr(\"***\")"},
        {"os.environ.get(\"API_KEY\",\"" WORD "\")",
         "os.environ.get(\"API_KEY\",\"***\")"},
        {"api_key = os.environ.get(\"API_KEY\", \"" WORD "\")",
         "api_key = os.environ.get(\"API_KEY\", \"***\")"},
        {"os.environ.setdefault(\"DB_PASSWORD\",\"" WORD "\")",
         "os.environ.setdefault(\"DB_PASSWORD\",\"***\")"},
        {"if password == \"" WORD "\":", "if password == \"***\":"},
        {"password := \"" WORD "\"", "password := \"***\""},
        {"password != \"" WORD "\"", "password != \"***\""},
        {"password += \"" WORD "\"", "password += \"***\""},
        {"\"api_keys\": [\"a" WORD "\",\"b" WORD "\"]", "\"api_keys\": [\"***\"]"},
        {"API_KEYS = (\"" WORD "\", \"x" WORD "\")", "API_KEYS = (\"***\")"},
        {"passwords:\n  - " WORD "\n  - x" WORD "\nlr: 1", "passwords:\n  - ***\nlr: 1"},
        {"password: |\n  " WORD "\n  two " WORD "\nlr: 1", "password: |\n  ***\nlr: 1"},
        {"password: >-\n  " WORD, "password: >-\n  ***"},
        {"password:\n  " WORD "\n", "password:\n  ***\n"},
        {"#define API_KEY \"" WORD "\"", "#define API_KEY \"***\""},
        {"setx API_KEY " WORD, "setx API_KEY ***"},
        {"setenv(\"API_KEY\", \"" WORD "\", 1)", "setenv(\"API_KEY\", \"***\", 1)"},
        {"ENV API_KEY " WORD, "ENV API_KEY ***"},
        {"<add key=\"password\" value=\"" WORD "\"/>",
         "<add key=\"password\" value=\"***\"/>"},
        {"{\"name\": \"DB_PASSWORD\", \"value\": \"" WORD "\"}",
         "{\"name\": \"DB_PASSWORD\", \"value\": \"***\"}"},
        {"- name: DB_PASSWORD\n  value: " WORD, "- name: DB_PASSWORD\n  value: ***"},
        {"machine api.wandb.ai\n  login user\n  password " WORD,
         "machine api.wandb.ai\n  login user\n  password ***"},
        {"--encryptionKey " WORD, "--encryptionKey ***"},
        {"sshKey: " WORD, "sshKey: ***"},
        {"wandbKey=" WORD, "wandbKey=***"},
        {"wandbkey=" WORD, "wandbkey=***"},
        {"https://h/x?sig=ab%2B" WORD "&se=1", "https://h/x?sig=***&se=1"},
        {"https://h/x?key=" WORD, "https://h/x?key=***"},
        {"https://h/x?a=1&pass=" WORD "&b=1", "https://h/x?a=1&pass=***&b=1"},
        {"{\"username\":\"me\",\"key\":\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\"}",
         "{\"username\":\"me\",\"key\":\"***\"}"},
        {"wandb:\n  key: " WORD, "wandb:\n  key: ***"},
        {"wandb.key=" WORD, "wandb.key=***"},
        {"API key: " WORD, "API key: ***"},
        {"bash -c \"prog --auth " WORD " --lr 1\"", "bash -c \"prog --auth *** --lr 1\""},
        {"curl -u me:" WORD " https://h", "curl -u me:*** https://h"},
        {"--user me:" WORD, "--user me:***"},
        {"GOCSPX-" LONG, "***"},
        {"dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9", "***"},
        {"glsa_" LONG, "***"},
        {"sntrys_" LONG, "***"},
        {"sbp_" LONG, "***"},
        {"ntn_" LONG, "***"},
        {"HRKU-" LONG, "***"},
        {"dp.pt." LONG, "***"},
        {"xoxc-" LONG, "***"},
        {"glptt-" LONG, "***"},
        {"rk_test_" LONG, "***"},
        {"dckr_oat_" LONG, "***"},
        {"shpss_" LONG, "***"},
        {"tskey-auth-" LONG, "***"},
        {"lsv2_pt_" LONG, "***"},
        {"tgp_v1_" LONG, "***"},
        {"csk-" LONG, "***"},
        {"MTk4NjIyNDgzNDcxOTI1MjQ4."
         "Cl2FMQ."
         "ZnCjm1XVW7vRze4b7Cq4se7kKWs",
         "***"},
        {"Private-Lines: 2\n" LONG "\n" LONG "\nPrivate-MAC: ab",
         "Private-Lines: 2\n***\nPrivate-MAC: ab"},
        {"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n" LONG
         "\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
         "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----***---- END SSH2 ENCRYPTED PRIVATE "
         "KEY ----"},
        {"password=\"\"\"" WORD "\"\"\"", "password=\"\"\"***\"\"\""},
        {"+password = \"" WORD "\"", "+password = \"***\""},
        {"-password = \"" WORD "\"", "-password = \"***\""},
        {"\"password\": \"" WORD "\",", "\"password\": \"***\","},
        {"api_key=\"sk\", token=\"" WORD "\"", "api_key=\"***\", token=\"***\""},
        {"Namespace(api_key='', hf_token='" WORD "')",
         "Namespace(api_key='', hf_token='***')"},
        {"export AWS_SECRET_ACCESS_KEY=" WORD, "export AWS_SECRET_ACCESS_KEY=***"},
        {"$env:HF_TOKEN = \"" WORD "\"", "$env:HF_TOKEN = \"***\""},
        {"set HF_TOKEN=" WORD, "set HF_TOKEN=***"},
        {"client.login(token=\"" WORD "\")", "client.login(token=\"***\")"},
        {"login(\"hf_" LONG "\")", "login(\"***\")"},
        {"--header \"X-Auth-Token: " WORD "\"", "--header \"X-Auth-Token: ***\""},
        {"mysql://root:" WORD "@h/db", "mysql://***@h/db"},
        {"access key: " WORD, "access key: ***"},
        {"SECRET=" WORD, "SECRET=***"},
        {"\"my secret\": \"" WORD "\"", "\"my secret\": \"***\""},
        {"credentials = (\"me\", \"" WORD "\")", "credentials = (\"***\")"},
        {"aws configure set aws_secret_access_key " WORD,
         "aws configure set aws_secret_access_key ***"},
        {"wandb.login(key='0a1b2c3d4e5f60718293a4b5c6d7e8f901234567')",
         "wandb.login(key='***')"},
        {"wandb.login(key='" WORD "')", "wandb.login(key='***')"},
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
        "hf_hub_download_with_retries_x = 1",
        "style_r8_alpha4_lr1e-4_epoch10_resized_v2",
        "--num_vectors_per_token 4",
        "class_tokens = \"hifumi_takimoto_2024\"",
        "\"class_tokens\": \"hifumi_takimoto_2024\"",
        "--first_stage_key image",
        "--cond_stage_key \"jpg\"",
        "--special_tokens \"<abcdefgh12345>\"",
        "--hf_token_env HF_TOKEN",
        "--password_file /a/b1234567",
        "wandb: --commit 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        "wandb --git-commit 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        "docker -u 1000:1000 x",
        "PWD=/home/me/dir",
        "first_pass: yes",
        "{\"token\": [\"abcdefgh12345678\"]}",
        "api_key = os.environ[\"HF_API_KEY\"]",
        "api_key=os.getenv(\"API_KEY\")",
        "password = getpass(\"Enter it: \")",
        "api_key: str",
        "password: Optional[str] = None",
        "def f(token: str = None):",
        "key: 0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "credentials:\n  user: x\n  b: 2",
        "[\"secret\", \"garden\", \"password\"]",
        "(\"secret garden\", \"x\")",
        "enter password:\nwelcome to it",
        "secret:\n  a: 1",
        "{\"secret\":{\"a\":1}}",
        "author: me",
        "authors=[\"a1234567890\"]",
        "authentic: abcdefgh12345",
        "https://h:8080/a@b",
        "http://[::1]/x@y",
        "see https://h/x and me@h",
        "monkey=abcdefgh12345678",
        "first_pass=0.5",
        "compass=abcdefgh12345678",
        "bypass=abcdefgh12345678",
        "passes: 12",
        "\\npassage: abcdefgh12345678",
        "--auth none",
        "cookie_jar",
        "--key_frames x",
        "unpublished:abcdefgh12345678",
        "{\"key\": \"a\", \"value\": \"abcdefgh12345678\"}",
        "1girl, token:1.2, (key:1.3), password:0.5",
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

    static const char *const more[] = {"--password",
                                       "-hunter2x",
                                       "--api_keys",
                                       "K1abc",
                                       "K2abc",
                                       "--x",
                                       "1",
                                       "env",
                                       "DB_PASSWORD=a&b c",
                                       "-ume:pw",
                                       "-u",
                                       "1000:1000",
                                       "--basic-auth",
                                       "a:b",
                                       "--num_vectors_per_token",
                                       "4",
                                       "--monitor_key",
                                       "loss",
                                       "--hf_token",
                                       "--lr",
                                       "-unet:0.5",
                                       "bash",
                                       "-c",
                                       "HF_PASSWORD=x python t.py"};

    (void)state;
    check_command("--password *** --api_keys *** *** --x 1 env DB_PASSWORD=*** -ume:*** "
                  "-u 1000:1000 --basic-auth *** "
                  "--num_vectors_per_token 4 --monitor_key loss --hf_token --lr "
                  "-unet:0.5 bash -c 'HF_PASSWORD=*** python "
                  "t.py'",
                  (int)(sizeof more / sizeof *more), more);
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
    assert_true(lx_hides_value("auth", drawn));
    assert_true(lx_hides_option("--user", 6, "me:pw"));
    assert_false(lx_hides_option("--user", 6, "me"));
    assert_false(lx_hides_option("--n_token", 9, "4"));
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
                                         ",",
                                         "[",
                                         "(\"",
                                         "|",
                                         "- ",
                                         "\\n",
                                         "value",
                                         "str",
                                         "\033[0m",
                                         "%20",
                                         ".get(",
                                         "&",
                                         "-u "};
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
        cmocka_unit_test(test_base_scrub__written_in_many_ways),
        cmocka_unit_test(test_base_scrub__honest_words_stay),
        cmocka_unit_test(test_base_scrub__command_lines),
        cmocka_unit_test(test_base_scrub__values_of_honest_names_stay),
        cmocka_unit_test(test_base_scrub__any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
