#include <math.h>
#include <string.h>
#include <strings.h>

#include "src/base/unicode.h"
#include "src/query/filter_internal.h"
#include "src/query/when.h"

typedef struct parser {
    lexer lexer;
    token now; /* the one to look at */
    const lx_filter_host *host;
    lx_arena *arena;
    int depth;
} parser;

static int step(parser *p, lx_error *err)
{
    return query__next(&p->now, &p->lexer, err);
}

static bool is_word(const token *t, const char *word)
{
    return t->kind == TOKEN_WORD && strcasecmp(t->text, word) == 0;
}

static const char *shown(const token *t)
{
    static const char *const signs[] = {
        [TOKEN_END] = "the end",  [TOKEN_OPEN] = "'('",       [TOKEN_CLOSE] = "')'",
        [TOKEN_COMMA] = "','",    [TOKEN_AND] = "'&&'",       [TOKEN_OR] = "'||'",
        [TOKEN_NOT] = "'!'",      [TOKEN_OP] = "an operator", [TOKEN_WORD] = "a word",
        [TOKEN_QUOTED] = "a text"};
    return t->kind == TOKEN_WORD || t->kind == TOKEN_QUOTED ? t->text : signs[t->kind];
}

static int fail_wants(const parser *p, const char *what, lx_error *err)
{
    return lx_fail(err, LX_EUSAGE, "column %zu: %s is wanted here, and there is %s",
                   p->now.column, what, shown(&p->now));
}

static node *new_node(parser *p, node_kind kind, lx_error *err)
{
    node *n = lx_arena_calloc(p->arena, 1, sizeof *n);
    if (!n)
        lx_oom(err);
    else
        n->kind = kind;
    return n;
}

/* ---- values -------------------------------------------------------------- */

static const char *lower_of(lx_arena *arena, const char *text)
{
    lx_str s = LX_STR_INIT;
    const char *copy = NULL;

    lx_str_put_lower(&s, text, strlen(text));
    if (!s.failed)
        copy = lx_arena_strdup(arena, lx_str_text(&s));
    lx_str_release(&s);
    return copy;
}

static int check_time(literal *v, const parser *p, const token *t, lx_error *err)
{
    double seconds;

    if (lx_when_parse(&v->from, &v->to, t->text, p->host->now, true))
        return LX_OK;
    if (lx_duration_parse(&seconds, t->text) && seconds <= 0) {
        v->from = v->to = p->host->now + seconds;
        return LX_OK;
    }
    return lx_fail(
        err, LX_EUSAGE,
        "column %zu: a date is wanted here, as in 2026-11-01, today or -3d (three days "
        "ago), and there is %s",
        t->column, t->text);
}

/* A value must make sense for its field, so that a slip is told and does not match
 * nothing. */
static int check_value(literal *v, const parser *p, const node *test, const token *t,
                       lx_error *err)
{
    bool is_text_op = test->op == OP_HAS || test->op == OP_HAS_NOT;

    switch (test->type) {
    case LX_FIELD_TIME:
        return is_text_op ? lx_fail(err, LX_EUSAGE,
                                    "column %zu: ~ compares texts, and the field is "
                                    "a time",
                                    t->column)
                          : check_time(v, p, t, err);
    case LX_FIELD_DURATION:
        if (lx_duration_parse(&v->number, t->text))
            return LX_OK;
        /* fall through */
    case LX_FIELD_NUMBER:
        if (isnan(v->number) || is_text_op)
            return lx_fail(
                err, LX_EUSAGE,
                "column %zu: the field is a %s, compared by = != < <= > >= with one, and "
                "there is %s",
                t->column,
                test->type == LX_FIELD_NUMBER ? "number" : "duration (90s, 5m, 2h)",
                t->text);
        return LX_OK;
    case LX_FIELD_SWITCH:
        if (strcasecmp(t->text, "true") == 0 || strcasecmp(t->text, "false") == 0) {
            v->is_truth = true;
            v->number = strcasecmp(t->text, "true") == 0;
        }
        return LX_OK;
    default:
        return LX_OK;
    }
}

static int parse_value(literal *v, parser *p, const node *test, lx_error *err)
{
    const token t = p->now;
    int rc;

    if (t.kind != TOKEN_WORD && t.kind != TOKEN_QUOTED)
        return fail_wants(p, "a value", err);
    *v = (literal){.text = t.text, .number = lx_text_number(t.text)};
    v->is_none = t.kind == TOKEN_WORD && strcasecmp(t.text, "none") == 0;
    if (v->is_none && test->op != OP_EQ && test->op != OP_NE)
        return lx_fail(err, LX_EUSAGE, "column %zu: none goes with = and != only",
                       t.column);
    if (!v->is_none && (rc = check_value(v, p, test, &t, err)) < 0)
        return rc;
    if (!(v->lower = lower_of(p->arena, t.text)))
        return lx_oom(err);
    return step(p, err);
}

/* ---- fields and tests ---------------------------------------------------- */

static bool is_part(const token *t)
{
    return is_word(t, "min") || is_word(t, "last");
}

/* name, or part ( name ); min alone may be a name. */
static int parse_field(const char **name, const char **part, parser *p, lx_error *err)
{
    token first = p->now;
    int rc;

    *part = NULL;
    *name = first.text;
    if (first.kind != TOKEN_WORD && first.kind != TOKEN_QUOTED)
        return fail_wants(p, "a field", err);
    if ((rc = step(p, err)) < 0 || p->now.kind != TOKEN_OPEN)
        return rc;
    if (!is_part(&first))
        return lx_fail(err, LX_EUSAGE,
                       "column %zu: only min(...) and last(...) of a curve are known",
                       first.column);
    *part = strcasecmp(first.text, "min") == 0 ? "min" : "last";
    if ((rc = step(p, err)) < 0)
        return rc;
    if (p->now.kind != TOKEN_WORD && p->now.kind != TOKEN_QUOTED)
        return fail_wants(p, "the name of a curve", err);
    *name = p->now.text;
    if ((rc = step(p, err)) < 0)
        return rc;
    if (p->now.kind != TOKEN_CLOSE)
        return fail_wants(p, "')'", err);
    return step(p, err);
}

static int parse_list(node *test, parser *p, lx_error *err)
{
    size_t capacity = 0;
    int rc;

    if (p->now.kind != TOKEN_OPEN)
        return fail_wants(p, "'(' and values", err);
    do {
        if ((rc = step(p, err)) < 0)
            return rc;
        if (lx_arena_grow(p->arena, &test->values, &capacity, test->n_values + 1,
                          sizeof *test->values) < 0)
            return lx_oom(err);
        if ((rc = parse_value(&test->values[test->n_values++], p, test, err)) < 0)
            return rc;
    } while (p->now.kind == TOKEN_COMMA);
    return p->now.kind == TOKEN_CLOSE ? step(p, err) : fail_wants(p, "',' or ')'", err);
}

static int negate(node **out, node *inner, parser *p, lx_error *err)
{
    node *inverse = new_node(p, NODE_NOT, err);
    if (!inverse)
        return LX_ENOMEM;
    inverse->child = inner;
    *out = inverse;
    return LX_OK;
}

static int bind_field(node *test, parser *p, lx_error *err)
{
    size_t column = p->now.column;
    const char *name, *part;
    int rc = parse_field(&name, &part, p, err);

    if (rc < 0)
        return rc;
    rc = p->host->bind(&test->column, &test->type, p->host->context, name, part, err);
    if (rc == LX_EUSAGE)
        lx_within(err, "column %zu", column);
    return rc;
}

static int parse_test(node **out, parser *p, lx_error *err)
{
    node *test = new_node(p, NODE_THERE, err);
    bool is_not;
    int rc;

    if (!test)
        return LX_ENOMEM;
    *out = test;
    if ((rc = bind_field(test, p, err)) < 0)
        return rc;
    is_not = is_word(&p->now, "not");
    if (is_not && (rc = step(p, err)) < 0)
        return rc;
    if (is_word(&p->now, "in")) {
        test->kind = NODE_IN;
        if ((rc = step(p, err)) < 0 || (rc = parse_list(test, p, err)) < 0)
            return rc;
        return is_not ? negate(out, test, p, err) : LX_OK;
    }
    if (is_not)
        return fail_wants(p, "in", err);
    if (p->now.kind != TOKEN_OP)
        return LX_OK;
    test->kind = NODE_TEST;
    test->op = p->now.op;
    if (!(test->values = lx_arena_calloc(p->arena, 1, sizeof *test->values)))
        return lx_oom(err);
    test->n_values = 1;
    if ((rc = step(p, err)) < 0)
        return rc;
    return parse_value(test->values, p, test, err);
}

/* ---- not, and, or -------------------------------------------------------- */

static int parse_or(node **out, parser *p, lx_error *err);

static int parse_not(node **out, parser *p, lx_error *err)
{
    bool is_not = p->now.kind == TOKEN_NOT || is_word(&p->now, "not");
    node *inner = NULL;
    int rc;

    if (!is_not && p->now.kind != TOKEN_OPEN)
        return parse_test(out, p, err);
    if (++p->depth > LX_FILTER_DEPTH)
        return lx_fail(err, LX_ELIMIT, "column %zu: nested deeper than %d", p->now.column,
                       LX_FILTER_DEPTH);
    if ((rc = step(p, err)) < 0)
        return rc;
    if (is_not) {
        if ((rc = parse_not(&inner, p, err)) == LX_OK)
            rc = negate(out, inner, p, err);
    } else if ((rc = parse_or(out, p, err)) == LX_OK) {
        rc = p->now.kind == TOKEN_CLOSE ? step(p, err)
                                        : fail_wants(p, "and, or, or ')'", err);
    }
    p->depth--;
    return rc;
}

static bool is_joint(const token *t, node_kind kind)
{
    return kind == NODE_AND ? t->kind == TOKEN_AND || is_word(t, "and")
                            : t->kind == TOKEN_OR || is_word(t, "or");
}

/* Children in a list, so that a thousand of them do not nest. */
static int parse_joined(node **out, parser *p, node_kind kind, lx_error *err)
{
    int (*parse)(node **, parser *, lx_error *) = kind == NODE_AND ? parse_not : NULL;
    node *all, **last;
    int rc;

    if (!(all = new_node(p, kind, err)))
        return LX_ENOMEM;
    last = &all->child;
    for (;;) {
        rc = parse ? parse(last, p, err) : parse_joined(last, p, NODE_AND, err);
        if (rc < 0)
            return rc;
        last = &(*last)->next;
        if (!is_joint(&p->now, kind))
            break;
        if ((rc = step(p, err)) < 0)
            return rc;
    }
    *out = all->child->next ? all : all->child;
    return LX_OK;
}

static int parse_or(node **out, parser *p, lx_error *err)
{
    return parse_joined(out, p, NODE_OR, err);
}

static int start(parser *p, const char *text, size_t n, const lx_filter_host *host,
                 lx_arena *arena, lx_error *err)
{
    if (n > LX_FILTER_BYTES)
        return lx_fail(err, LX_ELIMIT, "a query of %zu bytes; the most is %d", n,
                       LX_FILTER_BYTES);
    *p =
        (parser){.lexer = {text, text + n, text, 1, arena}, .host = host, .arena = arena};
    return step(p, err);
}

int lx_filter_parse(lx_filter **out, const char *text, size_t n,
                    const lx_filter_host *host, lx_arena *arena, lx_error *err)
{
    lx_filter *filter = lx_arena_calloc(arena, 1, sizeof *filter);
    node *root = NULL;
    parser p;
    int rc;

    if (!filter)
        return lx_oom(err);
    if ((rc = start(&p, text, n, host, arena, err)) < 0)
        return rc;
    if (p.now.kind != TOKEN_END && (rc = parse_or(&root, &p, err)) < 0)
        return rc;
    if (p.now.kind != TOKEN_END)
        return fail_wants(&p, "and, or, or the end", err);
    filter->root = root;
    *out = filter;
    return LX_OK;
}

int lx_field_parse(const char **name, const char **part, const char *text,
                   lx_arena *arena, lx_error *err)
{
    parser p;
    int rc;

    if ((rc = start(&p, text, strlen(text), NULL, arena, err)) < 0 ||
        (rc = parse_field(name, part, &p, err)) < 0)
        return rc;
    return p.now.kind == TOKEN_END ? LX_OK : fail_wants(&p, "the end", err);
}
