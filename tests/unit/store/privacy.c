#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "store/privacy.h"

static void fresh_names(void)
{
    setenv("HOME", "/srv/people/wren", 1);
    setenv("USER", "wren", 1);
    setenv("LOGNAME", "wren", 1);
}

static lx_privacy *fresh(void)
{
    lx_privacy *p = NULL;
    fresh_names();
    assert_int_equal(lx_privacy_new(&p, false, NULL), 0);
    return p;
}

static void check(const char *text, const char *wanted)
{
    lx_privacy *p = fresh();
    lx_str out = LX_STR_INIT, again = LX_STR_INIT;

    lx_privacy_learn(p, text, strlen(text));
    lx_privacy_scrub(&out, p, text, strlen(text));
    assert_string_equal(lx_str_text(&out), wanted);
    assert_false(lx_privacy_scrub(&again, p, lx_str_text(&out), out.len));
    lx_str_release(&out);
    lx_str_release(&again);
    lx_privacy_free(p);
}

static void test_store_privacy__home_folders_become_a_tilde(void **state)
{
    check("--train_data_dir /home/alice/img --out=/home/alice",
          "--train_data_dir ~/img --out=~");
    check("/Users/bob/x.png and /Users/bob", "~/x.png and ~");
    check("C:\\Users\\Carol Smith\\lora\\a.png", "~\\lora\\a.png");
    check("{\"d\":\"D:\\\\Users\\\\carol\\\\lora\"}", "{\"d\":\"~\\\\lora\"}");
    check("file:///home/alice/a", "file://~/a");
    check("/root/sd and /rootless/x and /root", "~/sd and /rootless/x and ~");
    check("/srv/people/wren/out", "~/out");
    check("cd \"/Users/Dora May\"", "cd \"~\"");
    check("/mnt/homework/a /home", "/mnt/homework/a /home");
}

static void test_store_privacy__the_name_goes_wherever_it_stands(void **state)
{
    check("/home/alice/a by Alice, alice_style, malice",
          "~/a by user, user_style, malice");
    check("/data/home/alice/a", "/data/home/user/a");
    check("wren's run", "user's run");
    check("/home/ubuntu/a on ubuntu", "~/a on ubuntu");
    check("{\"host\":\"thor-7\",\"x\":\"at thor-7\"}",
          "{\"host\":\"host\",\"x\":\"at host\"}");
}

static void test_store_privacy__addresses_and_secrets(void **state)
{
    check("mail a.b+c@mail.example.org.", "mail name@example.com.");
    check("git@github.com:x/y @_@ 1girl@2", "git@github.com:x/y @_@ 1girl@2");
    check("https://me:pw@host.org/x", "https://***@host.org/x");
    check("hf_abcdefghijklmnopqrstuvwx", "***");
    check("WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567 x",
          "WANDB_API_KEY=*** x");
    check("{\"password\":\"a b\"}", "{\"password\":\"***\"}");
    check("api_key = 'sesame'", "api_key = '***'");
    check("instance_token: sks, sort_key: 12", "instance_token: sks, sort_key: 12");
}

/* 200 of them: whatever stands around it, a secret does not come through. */
static void test_store_privacy__planted_secrets_are_all_found(void **state)
{
    static const char hex[] = "0123456789abcdef",
                      upper[] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789",
                      any[] = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    static const struct {
        const char *before, *letters;
        size_t n;
        const char *after;
    } forms[] = {
        {"export HF_TOKEN=hf_", any, 34, ""},
        {"token: ghp_", any, 36, " x"},
        {"see github_pat_", any, 60, " now"},
        {"WANDB_API_KEY=", hex, 40, "\n"},
        {"{\"api_key\":\"", any, 32, "\"}"},
        {"url = https://me:", any, 12, "@host.example/x"},
        {"password: \"", any, 10, "\""},
        {"AWS_ACCESS_KEY_ID=AKIA", upper, 16, ""},
        {"--wandb_api_key=", hex, 40, " --x"},
        {"-    secret_key = '", any, 24, "'"},
    };
    uint32_t x = 1; /* a seeded draw */
    for (size_t i = 0; i < 200; i++) {
        size_t f = i % (sizeof forms / sizeof *forms), kinds = strlen(forms[f].letters);
        lx_privacy *p = fresh();
        lx_str text = LX_STR_INIT, out = LX_STR_INIT;
        char secret[80];
        for (size_t k = 0; k < forms[f].n; k++) {
            x = x * 1664525u + 1013904223u;
            secret[k] = forms[f].letters[(x >> 8) % kinds];
        }
        secret[forms[f].n] = '\0';
        lx_str_printf(&text, "%s%s%s", forms[f].before, secret, forms[f].after);
        assert_true(lx_privacy_scrub(&out, p, text.data, text.len));
        if (strstr(out.data, secret))
            fail_msg("%s -> %s", text.data, out.data);
        lx_str_release(&text);
        lx_str_release(&out);
        lx_privacy_free(p);
    }
}

static void test_store_privacy__clean_texts_stay_as_they_are(void **state)
{
    static const char *const texts[] = {
        "",
        "hifumi, 1girl, solo, long hair, :/, ^_^, @ @, \\(arknights\\)",
        "--network_dim 4 --learning_rate 1e-4 --caption_extension .txt",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "{\"keep_tokens\":1,\"max_token_length\":150,\"seed\":42}",
        "home/users/x",
        "a/b\\c",
        "50% off: 3:/2",
        "\xE4\xB8\xAD\xE6\x96\x87, \xC3\xA9t\xC3\xA9"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check(texts[i], texts[i]);
}

static void test_store_privacy__tells_what_it_took(void **state)
{
    lx_privacy *p = fresh();
    lx_arena *arena = lx_arena_new();
    const char *const *told;
    size_t n;

    assert_string_equal(lx_privacy_text(p, "/home/x/a /home/y/b", arena), "~/a ~/b");
    assert_null(lx_privacy_text(p, NULL, arena));
    assert_int_equal(lx_privacy_count(p, LX_PRIVATE_HOME), 2);
    assert_int_equal(lx_privacy_told(&told, &n, p, arena, NULL), 0);
    assert_int_equal(n, 1);
    assert_string_equal(told[0], "home folders: 2 times, written as ~");
    lx_arena_free(arena);
    lx_privacy_free(p);
}

static void test_store_privacy__off_means_off(void **state)
{
    lx_privacy *p = NULL;
    lx_str out = LX_STR_INIT;
    assert_int_equal(lx_privacy_new(&p, true, NULL), 0);
    assert_false(lx_privacy_scrub(&out, p, "/home/alice a@b.org", 19));
    assert_string_equal(out.data, "/home/alice a@b.org");
    lx_str_release(&out);
    lx_privacy_free(p);
}

/* Cut anywhere, nothing is read past the end; the sanitizer watches. */
static void test_store_privacy__cut_texts_are_read_to_their_end_only(void **state)
{
    static const char text[] =
        "C:\\Users\\a b\\ https://u:p@h password=\"x\" a@b.org {\"host\":\"h1x\"} \\nwren"
        " /home/\\\\u592a\\\\u90ce x\\\\ \\ud83d\\udc3a /home/";
    lx_privacy *p = fresh();
    for (size_t n = 0; n < sizeof text; n++) {
        char *exact = malloc(n ? n : 1);
        lx_str out = LX_STR_INIT;
        assert_non_null(exact);
        memcpy(exact, text, n);
        lx_privacy_learn(p, exact, n);
        lx_privacy_scrub(&out, p, exact, n);
        lx_str_release(&out);
        free(exact);
    }
    lx_privacy_free(p);
}

static void test_store_privacy__what_only_looks_like_a_home_stays(void **state)
{
    check("/root.d /root-x /root_a /root/x", "/root.d /root-x /root_a ~/x");
    check("/srv/people/wrenley /srv/people/wren-2", "/srv/people/wrenley ~-2");
    check("in /srv/people/wren", "in ~");
    check("/home///alice, /home/, /home", "/home///alice, /home/, /home");
    check("//home/alice, \\\\Users\\bob, ///home/carol", "/~, ~, //~");
    check("a/root/x and /data/root", "a/root/x and /data/root");
    check("/mnt/home/ubuntu/x", "/mnt/home/ubuntu/x");
    check("3:/home/x, C:x", "3:~, C:x");
}

static void test_store_privacy__names_of_folders_may_have_spaces(void **state)
{
    check("C:\\Users\\a b c\\x", "~\\x");
    check("C:\\Users\\a b c d\\x", "~ b c d\\x"); /* so many words are a sentence */
    check("/Users/anna went home", "~ went home");
    check("/Users/anna maria", "~ maria");
    check("'/Users/anna maria'", "'~'");
    check("/Users/anna maria, too", "~ maria, too");
    check("/Users/anna\tmaria", "~\tmaria");
}

static void test_store_privacy__what_only_looks_like_an_address_stays(void **state)
{
    static const char *const texts[] = {
        "wren@", "a@b",   "a@b.c",          "a@.",
        "a@-.-", "a@b.-", "me@example.com", "@mail.example.org"};
    for (size_t i = 1; i < sizeof texts / sizeof *texts; i++)
        check(texts[i], texts[i]);
    check("x-y@a-b.example.org-, a@b.cd", "name@example.com-, name@example.com");
    check("https://git@host/x https://***@host/x https://got@host/x",
          "https://git@host/x https://***@host/x https://***@host/x");
}

static void scrub(lx_str *out, lx_privacy *p, const char *text, size_t n)
{
    lx_str_clear(out);
    lx_privacy_scrub(out, p, text, n);
}

static void test_store_privacy__the_longest_name_wins(void **state)
{
    static const char *const names[] = {"hilde", "hilde von bingen", "hilde von", "wren"};
    char endless[200];
    lx_str out = LX_STR_INIT;

    memset(endless, 'e', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    for (int turn = 0; turn < 2; turn++) {
        lx_privacy *p = fresh();
        for (int i = 0; i < 4; i++)
            lx_privacy_learn_name(p, LX_PRIVATE_USER, names[turn ? 3 - i : i]);
        lx_privacy_learn_name(p, LX_PRIVATE_USER, NULL);
        lx_privacy_learn_name(p, LX_PRIVATE_USER, endless); /* nobody is called that */
        scrub(&out, p, "by Hilde von Bingen, hildegard, hilde", 37);
        assert_string_equal(out.data, "by user, hildegard, user");
        scrub(&out, p, endless, sizeof endless - 1);
        assert_string_equal(out.data, endless);
        lx_privacy_free(p);
    }
    lx_str_release(&out);
}

/* JSON writes some letters as two or six. */
static void test_store_privacy__escapes_of_json_hide_nobody(void **state)
{
    check("{\"c\":\"by\\nwren on\\twren, \\\"wren\\\"\"}",
          "{\"c\":\"by\\nuser on\\tuser, \\\"user\\\"\"}");
    check("\\u003cwren\\u003e", "\\u003cuser\\u003e");
    check("a\\n/root/x\\n/srv/people/wren/y\\n/home/alice/z", "a\\n~/x\\n~/y\\n~/z");
    check("\\nwrens \\ntwren kwren", "\\nwrens \\ntwren kwren");
    check("to\\tzor@mail.example.org", "to\\tname@example.com");
    check("\\u00e9x@mail.example.org", "\\u00e9name@example.com");
    check("\"/home/\\u592a\\u90ce/models/x\"", "\"~/models/x\"");
    check("\"{\\\"d\\\": \\\"/home/\\\\u592a\\\\u90ce\\\"}\"", "\"{\\\"d\\\": \\\"~\\\"}\"");
    check("\"C:\\\\Users\\\\Jos\\u00e9\\\\vae.pt\"", "\"~\\\\vae.pt\"");
    check("C:\\Users\\bob\\u1234\\x \"C:\\\\Users\\\\bob\\\\u1234\"", "~\\u1234\\x \"~\\\\u1234\"");
    check("\"/home/alice went\\nalice \\\"/Users/bob b\\\" C:\\\\Users\\\\carol is\\ncarol\"",
          "\"~ went\\nuser \\\"~\\\" ~ is\\nuser\"");
    check("\"/home/bob\\u0026x\"", "\"~\\u0026x\"");
    check("\"C:\\\\Users\\\\\\u00c9tienne\\\\x\", \"\\/home\\/\\u00c9tienne\\/x\"", "\"~\\\\x\", \"~\\/x\"");
    check("{\\\"d\\\": \\\"C:\\\\\\\\Users\\\\\\\\Jos\\\\u00e9\\\\\\\\x\\\"}", "{\\\"d\\\": \\\"~\\\\\\\\x\\\"}");
}

/* A name that was seen in one spelling is known in the other. */
static void test_store_privacy__names_of_any_letters_in_both_spellings(void **state)
{
    check("/home/\xE5\xA4\xAA\xE9\x83\x8E by \\u592a\\u90CE", "~ by user");
    check("/home/\\u592a\\u90ce by \xE5\xA4\xAA\xE9\x83\x8E", "~ by user");
    check("/home/\xE5\xA4\xAA, \\n\\u592a \\u592a\\u90ce \\u90ce\\u592a",
          "~, \\nuser \\u592a\\u90ce \\u90ce\\u592a");
    check("/home/wolf\xF0\x9F\x90\xBA x\\nWolf\\ud83d\\udc3a", "~ x\\nuser");
    check("/home/wolf\\uD83D\\uDC3A x wolf\xF0\x9F\x90\xBA", "~ x user");
    check("/home/wolf\\ud83da/x by wolf\\ud83da", "~/x by user"); /* half a character */
    check("/home/wolf\xE9/x by wolf\xE9, wolf", "~/x by user, wolf"); /* none in UTF-8 */
    check("C:\\\\Users\\\\\\u592a\\\\x", "~\\\\x");
    check("C:\\\\Users\\\\u592a\\\\x", "~\\\\x"); /* a folder of that name */
}

/* What stands behind a zero byte is found as well. */
static void test_store_privacy__zero_bytes_end_nothing(void **state)
{
    static const char text[] = "a@b.org\0c@d.org /root\0/home/alice\0x@\0";
    lx_privacy *p = fresh();
    lx_str out = LX_STR_INIT;

    scrub(&out, p, text, sizeof text - 1);
    for (size_t i = 0; i < out.len; i++)
        if (!out.data[i])
            out.data[i] = '|';
    assert_string_equal(out.data, "name@example.com|name@example.com ~|~|x@|");
    lx_str_release(&out);
    lx_privacy_free(p);
}

static void put_header(lx_str *out, const char *json, uint64_t size)
{
    lx_str_clear(out);
    for (int i = 0; i < 8; i++)
        lx_str_putc(out, (char)(size >> (8 * i)));
    lx_str_puts(out, json);
}

static void test_store_privacy__files_of_each_kind(void **state)
{
    static const char json[] = "{\"__metadata__\":{\"by\":\"/home/alice/x\"}}   ";
    lx_privacy *p = fresh(), *off;
    lx_str file = LX_STR_INIT, out = LX_STR_INIT;

    put_header(&file, json, sizeof json - 1);
    lx_str_puts(&file, "wren");
    assert_int_equal(lx_privacy_scrub_file(&out, p, file.data, file.len),
                     LX_SCRUB_CHANGED);
    assert_int_equal(out.len % 8, 4);
    assert_memory_equal(out.data + 8, "{\"__metadata__\":{\"by\":\"~/x\"}}", 29);
    lx_str_clear(&out);
    put_header(&file, json, 1000); /* a header that is longer than its file is none */
    assert_int_equal(lx_privacy_scrub_file(&out, p, file.data, file.len), LX_SCRUB_LEFT);
    put_header(&file, "[1] wren", 3);
    assert_int_equal(lx_privacy_scrub_file(&out, p, file.data, file.len), LX_SCRUB_LEFT);
    put_header(&file, "{} nobody", 2);
    assert_int_equal(lx_privacy_scrub_file(&out, p, file.data, file.len), LX_SCRUB_CLEAN);
    assert_int_equal(lx_privacy_scrub_file(&out, p, "\xff wren", 6), LX_SCRUB_LEFT);
    assert_int_equal(lx_privacy_scrub_file(&out, p, "\xff", 1), LX_SCRUB_CLEAN);
    assert_int_equal(lx_privacy_scrub_file(&out, p, "", 0), LX_SCRUB_CLEAN);
    assert_int_equal(lx_privacy_scrub_file(&out, p, "no one", 6), LX_SCRUB_CLEAN);
    assert_int_equal(out.len, 0);
    assert_int_equal(lx_privacy_scrub_file(&out, p, "by wren", 7), LX_SCRUB_CHANGED);
    assert_string_equal(out.data, "by user");
    assert_int_equal(lx_privacy_new(&off, true, NULL), 0);
    lx_privacy_learn_name(off, LX_PRIVATE_USER, "wren");
    assert_int_equal(lx_privacy_scrub_file(&out, off, "by wren", 7), LX_SCRUB_CLEAN);
    lx_privacy_free(off);
    lx_privacy_free(p);
    lx_str_release(&file);
    lx_str_release(&out);
}

/* A name that was not learned for want of memory would not be found: then nothing passes. */
static void test_store_privacy__a_name_that_was_not_learned_stops_all(void **state)
{
    for (size_t n = 1; n < 3; n++) {
        lx_privacy *p = fresh();
        lx_arena *arena = lx_arena_new();
        lx_str out = LX_STR_INIT;

        for (int i = 0; i < 40; i++) { /* more than there is room for */
            char name[16];
            snprintf(name, sizeof name, "somebody%d", i);
            lx_alloc_fail_at(n, true);
            lx_privacy_learn_name(p, LX_PRIVATE_USER, name);
            lx_alloc_fail_at(0, false);
            if (n > 1)
                lx_privacy_learn_name(p, LX_PRIVATE_USER, name);
        }
        assert_string_equal(lx_privacy_text(p, "nobody", arena), "");
        lx_privacy_scrub(&out, p, "nobody", 6);
        assert_true(out.failed);
        lx_str_release(&out);
        lx_arena_free(arena);
        lx_privacy_free(p);
    }
}

/* All that is done with one, whatever memory there is: an error, or nothing that is missing. */
static bool do_all(lx_privacy *p, lx_arena *arena)
{
    static const char json[] = "{\"__metadata__\":{\"by\":\"/home/alice/xy\"}}";
    lx_str file = LX_STR_INIT, out = LX_STR_INIT, binary = LX_STR_INIT;
    const char *const *told, *text;
    lx_scrubbing how;
    bool is_done;
    size_t n;

    text = lx_privacy_text(p, "a@b.org of /home/alice", arena);
    put_header(&file, json, sizeof json - 1);
    how = lx_privacy_scrub_file(&out, p, lx_str_text(&file), file.len);
    is_done = !file.failed && !out.failed && *text && how == LX_SCRUB_CHANGED;
    lx_privacy_scrub_file(&binary, p, "\xff", 1);
    assert_string_equal(lx_str_text(&binary), "");
    if (is_done) {
        assert_string_equal(text, "name@example.com of ~");
        assert_int_equal(out.len % 8, 0);
        is_done = lx_privacy_told(&told, &n, p, arena, NULL) == LX_OK;
    }
    if (is_done) {
        assert_int_equal(n, 2);
        assert_string_equal(told[1],
                            "e-mail addresses: 1 time, written as name@example.com");
    }
    lx_str_release(&file);
    lx_str_release(&out);
    lx_str_release(&binary);
    return is_done;
}

static void test_store_privacy__lives_through_want_of_memory(void **state)
{
    fresh_names();
    for (int forever = 0; forever < 2; forever++)
        for (size_t n = 1, failed = 1; failed; n++) {
            lx_arena *arena;
            lx_privacy *p = NULL;
            bool is_done;

            lx_arena_use_blocks(1); /* each piece of it is an allocation */
            arena = lx_arena_new();
            lx_alloc_fail_at(n, forever);
            is_done = lx_privacy_new(&p, false, NULL) == LX_OK && do_all(p, arena);
            failed = lx_alloc_count() >= n;
            lx_alloc_fail_at(0, false);
            lx_arena_use_blocks(0);
            assert_true(is_done || failed);
            lx_privacy_free(p);
            lx_arena_free(arena);
        }
    lx_privacy_free(NULL);
}

/* As a service may be started. */
static void test_store_privacy__without_a_home(void **state)
{
    static const char *const homes[] = {NULL, "", "/", "/home/wren", "/root"};
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++) {
        lx_privacy *p;
        lx_str out = LX_STR_INIT;
        unsetenv("USER");
        unsetenv("LOGNAME");
        if (homes[i])
            setenv("HOME", homes[i], 1);
        else
            unsetenv("HOME");
        assert_int_equal(lx_privacy_new(&p, false, NULL), 0);
        lx_privacy_scrub(&out, p, "/home/wren/a of wren", 20);
        assert_string_equal(out.data, i == 3 ? "~/a of user" : "~/a of wren");
        lx_str_release(&out);
        lx_privacy_free(p);
    }
}

static void test_store_privacy__a_home_with_slashes_at_its_end(void **state)
{
    static const char *const homes[] = {"/tmp/hh/me/", "/tmp/hh/me//", "/tmp/hh/me"};
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++) {
        lx_privacy *p;
        lx_str out = LX_STR_INIT;
        setenv("HOME", homes[i], 1);
        assert_int_equal(lx_privacy_new(&p, false, NULL), 0);
        scrub(&out, p, "/tmp/hh/me/secret /tmp/hh/me /tmp/hh/men", 40);
        assert_string_equal(out.data, "~/secret ~ /tmp/hh/men");
        lx_str_release(&out);
        lx_privacy_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_privacy__home_folders_become_a_tilde),
        cmocka_unit_test(test_store_privacy__the_name_goes_wherever_it_stands),
        cmocka_unit_test(test_store_privacy__addresses_and_secrets),
        cmocka_unit_test(test_store_privacy__planted_secrets_are_all_found),
        cmocka_unit_test(test_store_privacy__clean_texts_stay_as_they_are),
        cmocka_unit_test(test_store_privacy__escapes_of_json_hide_nobody),
        cmocka_unit_test(test_store_privacy__names_of_any_letters_in_both_spellings),
        cmocka_unit_test(test_store_privacy__tells_what_it_took),
        cmocka_unit_test(test_store_privacy__off_means_off),
        cmocka_unit_test(test_store_privacy__cut_texts_are_read_to_their_end_only),
        cmocka_unit_test(test_store_privacy__what_only_looks_like_a_home_stays),
        cmocka_unit_test(test_store_privacy__names_of_folders_may_have_spaces),
        cmocka_unit_test(test_store_privacy__what_only_looks_like_an_address_stays),
        cmocka_unit_test(test_store_privacy__the_longest_name_wins),
        cmocka_unit_test(test_store_privacy__zero_bytes_end_nothing),
        cmocka_unit_test(test_store_privacy__files_of_each_kind),
        cmocka_unit_test(test_store_privacy__a_name_that_was_not_learned_stops_all),
        cmocka_unit_test(test_store_privacy__lives_through_want_of_memory),
        cmocka_unit_test(test_store_privacy__a_home_with_slashes_at_its_end),
        cmocka_unit_test(test_store_privacy__without_a_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
