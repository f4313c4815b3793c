#include "src/format/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/format/pickle_machine.h"
#include "src/format/tensor_file_build.h"

enum { MOST_PROTOCOL = 5 };

lx_pickle lx_pickle__none = {.kind = LX_PICKLE_NONE};
lx_pickle lx_pickle__truth[2] = {{.kind = LX_PICKLE_BOOL, .as.integer = 0},
                                 {.kind = LX_PICKLE_BOOL, .as.integer = 1}};

/* ---- bytes, values and the stack -------------------------------------------------- */

int lx_pickle__bad(lx_pickle_machine *m, const char *what)
{
    return lx_fail(m->err, LX_EFORMAT, "pickle: %s at byte %zu", what,
                   m->base + m->op_at);
}

const unsigned char *lx_pickle__take(lx_pickle_machine *m, size_t n)
{
    const unsigned char *p = m->bytes + m->at;
    if (n > m->n - m->at) {
        lx_pickle__bad(m, "opcode that reaches past the end");
        return NULL;
    }
    m->at += n;
    return p;
}

const char *lx_pickle__take_line(lx_pickle_machine *m, size_t *n)
{
    const char *p = (const char *)m->bytes + m->at;
    const char *end = memchr(p, '\n', m->n - m->at);
    if (!end) {
        lx_pickle__bad(m, "line without an end");
        return NULL;
    }
    *n = (size_t)(end - p);
    m->at += *n + 1;
    return p;
}

int lx_pickle__take_number(lx_pickle_machine *m, uint64_t *out, int bytes)
{
    const unsigned char *p = lx_pickle__take(m, (size_t)bytes);
    if (!p)
        return LX_EFORMAT;
    *out = 0;
    for (int i = bytes - 1; i >= 0; i--)
        *out = *out << 8 | p[i];
    return LX_OK;
}

lx_pickle *lx_pickle__new(lx_pickle_machine *m, lx_pickle_kind kind)
{
    lx_pickle *v;
    if (++m->n_values > LX_PICKLE_MOST) {
        lx_fail(m->err, LX_ELIMIT, "pickle: more than %d values at byte %zu",
                LX_PICKLE_MOST, m->base + m->op_at);
        return NULL;
    }
    if (!(v = lx_arena_calloc(m->arena, 1, sizeof *v))) {
        lx_oom(m->err);
        return NULL;
    }
    v->kind = (unsigned char)kind;
    return v;
}

int lx_pickle__told(const lx_pickle_machine *m, int otherwise)
{
    return m->err && m->err->code < 0 ? m->err->code : otherwise;
}

int lx_pickle__push(lx_pickle_machine *m, lx_pickle *v)
{
    if (!v)
        return lx_pickle__told(m, LX_ENOMEM);
    if (m->height >= LX_PICKLE_MOST)
        return lx_fail(m->err, LX_ELIMIT, "pickle: stack deeper than %d at byte %zu",
                       LX_PICKLE_MOST, m->base + m->op_at);
    if (lx_grow(&m->stack, &m->stack_capacity, m->height + 1, sizeof *m->stack) < 0)
        return lx_oom(m->err);
    m->stack[m->height++] = v;
    return LX_OK;
}

static size_t floor_of(const lx_pickle_machine *m)
{
    return m->n_marks ? m->marks[m->n_marks - 1] : 0;
}

lx_pickle *lx_pickle__pop(lx_pickle_machine *m)
{
    if (m->height <= floor_of(m)) {
        lx_pickle__bad(m, "stack underflow");
        return NULL;
    }
    return m->stack[--m->height];
}

lx_pickle *lx_pickle__top(lx_pickle_machine *m)
{
    if (m->height <= floor_of(m)) {
        lx_pickle__bad(m, "stack underflow");
        return NULL;
    }
    return m->stack[m->height - 1];
}

/* The values above the last MARK; the mark and they are taken off. */
static int pop_mark(lx_pickle_machine *m, lx_pickle ***items, size_t *count)
{
    size_t from;
    if (!m->n_marks)
        return lx_pickle__bad(m, "no MARK on the stack");
    from = m->marks[--m->n_marks];
    *count = m->height - from;
    *items = *count ? m->stack + from : NULL; /* there may be no stack yet */
    m->height = from;
    return LX_OK;
}

int lx_pickle__append(lx_pickle_machine *m, lx_pickle *list, lx_pickle *const *items,
                      size_t n)
{
    size_t need = list->as.list.count + n, capacity = list->as.list.capacity;
    lx_pickle **grown;

    if (need > LX_PICKLE_MOST)
        return lx_fail(m->err, LX_ELIMIT, "pickle: list longer than %d at byte %zu",
                       LX_PICKLE_MOST, m->base + m->op_at);
    if (need > capacity) {
        capacity = capacity * 2 > need ? capacity * 2 : need;
        /* Counted like values, for repeated growing takes memory as they do. */
        m->n_values += capacity / 4;
        if (!(grown = lx_arena_calloc(m->arena, capacity, sizeof *grown)))
            return lx_oom(m->err);
        if (list->as.list.count)
            memcpy(grown, list->as.list.items, list->as.list.count * sizeof *grown);
        list->as.list.items = grown;
        list->as.list.capacity = (uint32_t)capacity;
    }
    if (n)
        memcpy(list->as.list.items + list->as.list.count, items, n * sizeof *items);
    list->as.list.count = (uint32_t)need;
    return LX_OK;
}

static int push_list(lx_pickle_machine *m, lx_pickle_kind kind, lx_pickle *const *items,
                     size_t n)
{
    lx_pickle *v = lx_pickle__new(m, kind);
    int rc;
    if (!v)
        return lx_pickle__told(m, LX_ENOMEM);
    if ((rc = lx_pickle__append(m, v, items, n)) < 0)
        return rc;
    return lx_pickle__push(m, v);
}

int lx_pickle__push_int(lx_pickle_machine *m, int64_t x)
{
    lx_pickle *v = lx_pickle__new(m, LX_PICKLE_INT);
    if (v)
        v->as.integer = x;
    return lx_pickle__push(m, v);
}

int lx_pickle__push_text(lx_pickle_machine *m, lx_pickle_kind kind, const char *bytes,
                         size_t n)
{
    lx_pickle *v;
    if (!bytes)
        return lx_pickle__told(m, LX_EFORMAT);
    if (kind == LX_PICKLE_TEXT && lx_utf8_check(bytes, n) != n)
        return lx_pickle__bad(m, "text that is not UTF-8");
    if ((v = lx_pickle__new(m, kind))) {
        v->as.text.bytes = bytes;
        v->as.text.n = n;
    }
    return lx_pickle__push(m, v);
}
/* ---- containers, memo and marks --------------------------------------------------- */

static int append_to(lx_pickle_machine *m, lx_pickle_kind kind, lx_pickle *const *items,
                     size_t n)
{
    lx_pickle *list = lx_pickle__top(m);
    if (!list)
        return LX_EFORMAT;
    if (list->kind == LX_PICKLE_OPAQUE)
        return LX_OK;
    if (list->kind != (unsigned char)kind)
        return lx_pickle__bad(m, "items for something that takes none");
    if (kind == LX_PICKLE_DICT && n % 2)
        return lx_pickle__bad(m, "key without a value");
    return lx_pickle__append(m, list, items, n);
}

static int append_marked(lx_pickle_machine *m, lx_pickle_kind kind)
{
    lx_pickle **items = NULL;
    size_t n = 0;
    int rc = pop_mark(m, &items, &n);
    return rc < 0 ? rc : append_to(m, kind, items, n);
}

static int append_popped(lx_pickle_machine *m, lx_pickle_kind kind, size_t n)
{
    if (m->height - floor_of(m) < n)
        return lx_pickle__bad(m, "stack underflow");
    m->height -= n;
    return append_to(m, kind, m->stack + m->height, n);
}

static int tuple_of(lx_pickle_machine *m, size_t n)
{
    if (m->height - floor_of(m) < n)
        return lx_pickle__bad(m, "stack underflow");
    m->height -= n;
    return push_list(m, LX_PICKLE_TUPLE, m->stack + m->height, n);
}

static int list_of_marked(lx_pickle_machine *m, lx_pickle_kind kind)
{
    lx_pickle **items = NULL;
    size_t n = 0;
    int rc = pop_mark(m, &items, &n);
    if (rc < 0)
        return rc;
    if (kind == LX_PICKLE_DICT && n % 2)
        return lx_pickle__bad(m, "key without a value");
    return push_list(m, kind, items, n);
}

static int set_memo(lx_pickle_machine *m, uint64_t slot)
{
    lx_pickle *v = lx_pickle__top(m);
    size_t before = m->memo_capacity;

    if (!v)
        return LX_EFORMAT;
    if (slot >= LX_PICKLE_MOST)
        return lx_fail(m->err, LX_ELIMIT,
                       "pickle: memo slot %llu, more than %d, at byte %zu",
                       (unsigned long long)slot, LX_PICKLE_MOST - 1, m->base + m->op_at);
    if (lx_grow(&m->memo, &m->memo_capacity, slot + 1, sizeof *m->memo) < 0)
        return lx_oom(m->err);
    if (m->memo_capacity > before)
        memset(m->memo + before, 0, (m->memo_capacity - before) * sizeof *m->memo);
    m->memo_count += !m->memo[slot];
    m->memo[slot] = v;
    return LX_OK;
}

static int get_memo(lx_pickle_machine *m, uint64_t slot)
{
    if (slot >= m->memo_capacity || !m->memo[slot])
        return lx_pickle__bad(m, "memo slot that was never set");
    return lx_pickle__push(m, m->memo[slot]);
}

static int memo_line(lx_pickle_machine *m, bool is_put)
{
    char copy[24], *end;
    size_t n;
    const char *p = lx_pickle__take_line(m, &n);
    unsigned long long slot;

    if (!p)
        return LX_EFORMAT;
    if (!n || n >= sizeof copy || p[0] < '0' || p[0] > '9')
        return lx_pickle__bad(m, "memo slot that is no number");
    memcpy(copy, p, n);
    copy[n] = '\0';
    slot = strtoull(copy, &end, 10);
    if (*end)
        return lx_pickle__bad(m, "memo slot that is no number");
    return is_put ? set_memo(m, slot) : get_memo(m, slot);
}

static int memo_bytes(lx_pickle_machine *m, bool is_put, int width)
{
    uint64_t slot = 0;
    int rc = lx_pickle__take_number(m, &slot, width);
    return rc < 0 ? rc : is_put ? set_memo(m, slot) : get_memo(m, slot);
}

static int mark(lx_pickle_machine *m)
{
    if (m->n_marks >= LX_PICKLE_MOST)
        return lx_pickle__bad(m, "too many MARKs");
    if (lx_grow(&m->marks, &m->marks_capacity, m->n_marks + 1, sizeof *m->marks) < 0)
        return lx_oom(m->err);
    m->marks[m->n_marks++] = m->height;
    return LX_OK;
}

static int protocol(lx_pickle_machine *m)
{
    const unsigned char *p = lx_pickle__take(m, 1);
    if (!p)
        return LX_EFORMAT;
    return *p > MOST_PROTOCOL ? lx_pickle__bad(m, "protocol newer than 5") : LX_OK;
}

/* FRAME only says how much to read ahead. */
static int frame(lx_pickle_machine *m)
{
    uint64_t n = 0;
    int rc = lx_pickle__take_number(m, &n, 8);
    if (rc < 0)
        return rc;
    return n > m->n - m->at ? lx_pickle__bad(m, "frame that reaches past the end")
                            : LX_OK;
}

static int stop(lx_pickle_machine *m)
{
    m->is_stopped = true;
    return m->n_marks || m->height != 1
               ? lx_pickle__bad(m, "end with other than one value")
               : LX_OK;
}

/* POP takes a MARK off as well as a value. */
static int pop_one(lx_pickle_machine *m)
{
    if (m->n_marks && m->height == floor_of(m)) {
        m->n_marks--;
        return LX_OK;
    }
    return lx_pickle__pop(m) ? LX_OK : LX_EFORMAT;
}

static int pop_marked(lx_pickle_machine *m)
{
    lx_pickle **items = NULL;
    size_t n = 0;
    return pop_mark(m, &items, &n);
}

/* ---- opcodes ---------------------------------------------------------------------- */

/* Opcodes of lists, tuples, dictionaries and sets (kept as lists). */
static int run_container(lx_pickle_machine *m, unsigned char op)
{
    switch (op) {
    case '(':
        return mark(m);
    case ']':
    case 0x8F:
        return push_list(m, LX_PICKLE_LIST, NULL, 0);
    case '}':
        return push_list(m, LX_PICKLE_DICT, NULL, 0);
    case ')':
        return push_list(m, LX_PICKLE_TUPLE, NULL, 0);
    case 'l':
    case 0x91:
        return list_of_marked(m, LX_PICKLE_LIST);
    case 't':
        return list_of_marked(m, LX_PICKLE_TUPLE);
    case 'd':
        return list_of_marked(m, LX_PICKLE_DICT);
    case 0x85:
    case 0x86:
    case 0x87:
        return tuple_of(m, op - 0x84u);
    case 'a':
        return append_popped(m, LX_PICKLE_LIST, 1);
    case 'e':
    case 0x90:
        return append_marked(m, LX_PICKLE_LIST);
    case 's':
        return append_popped(m, LX_PICKLE_DICT, 2);
    case 'u':
        return append_marked(m, LX_PICKLE_DICT);
    default:
        return 1;
    }
}

static int run_stack(lx_pickle_machine *m, unsigned char op)
{
    switch (op) {
    case 0x80:
        return protocol(m);
    case 0x95:
        return frame(m);
    case '.':
        return stop(m);
    case '0':
        return pop_one(m);
    case '1':
        return pop_marked(m);
    case '2':
        return lx_pickle__push(m, lx_pickle__top(m));
    case 'g':
    case 'p':
        return memo_line(m, op == 'p');
    case 'h':
    case 'q':
        return memo_bytes(m, op == 'q', 1);
    case 'j':
    case 'r':
        return memo_bytes(m, op == 'r', 4);
    case 0x94:
        return set_memo(m, m->memo_count);
    default:
        return 1;
    }
}

static int run(lx_pickle_machine *m)
{
    int rc;

    while (!m->is_stopped) {
        unsigned char op;
        m->op_at = m->at;
        if (m->at == m->n)
            return lx_pickle__bad(m, "ends too early");
        op = m->bytes[m->at++];
        if ((rc = lx_pickle__run_value(m, op)) > 0 && (rc = run_container(m, op)) > 0 &&
            (rc = run_stack(m, op)) > 0)
            rc = lx_pickle__run_object(m, op);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

int lx_pickle_read(lx_pickle **out, size_t *used, lx_pickle_facts *facts, lx_arena *arena,
                   const unsigned char *bytes, size_t n, size_t base, lx_error *err)
{
    lx_error mine = {0}; /* helpers that return NULL leave their code here */
    lx_pickle_machine m = {.bytes = bytes,
                           .n = n,
                           .base = base,
                           .arena = arena,
                           .facts = facts,
                           .err = &mine};
    int rc = run(&m);

    if (rc == LX_OK) {
        *out = m.stack[0];
        *used = m.at;
    } else {
        rc = lx_fail_as(err, mine.code, &mine);
    }
    lx_free(m.stack);
    lx_free(m.memo);
    lx_free(m.marks);
    return rc;
}

void lx_pickle_facts_release(lx_pickle_facts *facts)
{
    lx_free(facts->storages);
    *facts = (lx_pickle_facts){0};
}
