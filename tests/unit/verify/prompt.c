#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/str.h"
#include "src/verify/prompt.h"

static const char *const captions[] = {
    "nhh, 1girl, white hair, hatsune miku (vocaloid), red hat",
    "nhh,1girl , hair",
    "",
};

typedef struct fixture {
    lx_tokenizer *tokenizer;
    lx_arena *arena;
    lx_prompts *p;
} fixture;

static int open_fixture(void **state)
{
    static fixture f;

    *state = &f;
    f.arena = lx_arena_new();
    if (!f.arena || lx_tokenizer_new(&f.tokenizer, NULL) < 0)
        return -1;
    return lx_prompts_new(&f.p, f.tokenizer, f.arena, captions, 3, 75, NULL);
}

static int close_fixture(void **state)
{
    fixture *f = *state;

    lx_tokenizer_free(f->tokenizer);
    lx_arena_free(f->arena);
    return 0;
}

static void test_prompt__tags(void **state)
{
    const fixture *f = *state;
    int id = lx_prompt_tag_find(f->p, "NHH");

    assert_int_equal(f->p->n_tags, 6);
    assert_int_equal(id, 0);
    assert_int_equal(f->p->tags[id].n_captions, 2);
    assert_int_equal(f->p->tags[id].ids.n, 2); /* nh + h, as the vocabulary has it */
    assert_string_equal(lx_prompt_pieces(f->p, f->p->tags[id].ids), "nh|h");
    assert_int_equal(f->p->captions[2].n_spans, 0);
    assert_null(lx_prompt_span(f->p, 2, id));
    assert_int_equal(lx_prompt_tag_find(f->p, "miku"), -1);
}

/* "hair" is a tag of its own only where it stands between commas. */
static void test_prompt__spans_are_the_tags_own(void **state)
{
    const fixture *f = *state;
    int hair = lx_prompt_tag_find(f->p, "hair"),
        white = lx_prompt_tag_find(f->p, "white hair");
    const lx_span *span;

    assert_null(lx_prompt_span(f->p, 0, hair));
    span = lx_prompt_span(f->p, 0, white);
    assert_non_null(span);
    assert_int_equal(span->n, 2);
    assert_memory_equal(f->p->captions[0].ids.at + span->first, f->p->tags[white].ids.at,
                        2 * sizeof(int32_t));
    /* ")," is one piece: the tag's last bracket stays, the rest can be replaced */
    span = lx_prompt_span(f->p, 0, lx_prompt_tag_find(f->p, "hatsune miku (vocaloid)"));
    assert_non_null(span);
    assert_true(span->n + 1 == f->p->tags[span->tag].ids.n);
}

static void test_prompt__controls_match(void **state)
{
    const fixture *f = *state;

    for (size_t k = 0; k < f->p->n_tags; k++)
        for (uint64_t s = 0; s < 20; s++) {
            lx_ids like = f->p->tags[k].ids, control, again;
            lx_rng rng = lx_rng_stream(1, LX_RNG_TEST, k, s);
            assert_int_equal(lx_prompt_control(&control, f->p, like, rng, NULL), 0);
            assert_int_equal(lx_prompt_control(&again, f->p, like, rng, NULL), 0);
            assert_int_equal(control.n, like.n);
            assert_memory_equal(control.at, again.at, control.n * sizeof *control.at);
            for (size_t i = 0; i < like.n; i++) {
                const char *a = lx_token_text(f->tokenizer, like.at[i]);
                const char *b = lx_token_text(f->tokenizer, control.at[i]);
                assert_false(f->p->is_used[control.at[i]]);
                assert_int_equal(lx_ends_with(a, "</w>"), lx_ends_with(b, "</w>"));
            }
        }
}

static void test_prompt__swap_moves_nothing_else(void **state)
{
    const fixture *f = *state;
    const lx_span *span = lx_prompt_span(f->p, 0, lx_prompt_tag_find(f->p, "white hair"));
    lx_ids with, out;
    size_t n_changed = 0;

    assert_int_equal(lx_prompt_ids(&with, f->p, "green shoes", NULL), 0);
    assert_int_equal(lx_prompt_swap(&out, f->p, 0, span, with, NULL), 0);
    assert_int_equal(out.n, f->p->captions[0].ids.n);
    for (size_t i = 0; i < out.n; i++)
        n_changed += out.at[i] != f->p->captions[0].ids.at[i];
    assert_int_equal(n_changed, 2);
}

static void test_prompt__chunks_are_the_tokenizers(void **state)
{
    const fixture *f = *state;
    int64_t ours[77], theirs[77];

    lx_prompt_chunks(ours, f->p, f->p->captions[0].ids);
    assert_int_equal(lx_tokenize_chunks(theirs, NULL, f->tokenizer, captions[0],
                                        strlen(captions[0]), 75, NULL),
                     0);
    assert_memory_equal(ours, theirs, sizeof ours);
}

/* What lies beyond the limit cannot be swapped, and is counted. */
static void test_prompt__beyond_the_limit(void **state)
{
    const fixture *f = *state;
    lx_str text = LX_STR_INIT;
    const char *caption;
    lx_prompts *p;
    int tag;

    for (int i = 0; i < 45; i++)
        lx_str_printf(&text, "word, ");
    lx_str_puts(&text, "late tag");
    caption = lx_str_text(&text);
    assert_int_equal(lx_prompts_new(&p, f->tokenizer, f->arena, &caption, 1, 75, NULL),
                     0);
    tag = lx_prompt_tag_find(p, "late tag");
    assert_true(tag >= 0);
    assert_null(lx_prompt_span(p, 0, tag));
    assert_int_equal(p->tags[tag].n_cut, 1);
    assert_int_equal(p->tags[tag].n_captions, 0);
    lx_str_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompt__tags),
        cmocka_unit_test(test_prompt__spans_are_the_tags_own),
        cmocka_unit_test(test_prompt__controls_match),
        cmocka_unit_test(test_prompt__swap_moves_nothing_else),
        cmocka_unit_test(test_prompt__chunks_are_the_tokenizers),
        cmocka_unit_test(test_prompt__beyond_the_limit),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
