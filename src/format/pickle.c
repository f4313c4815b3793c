#include "src/format/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/format/tensor_file_build.h"

enum { MOST_VALUES = 1000000, MOST_PROTOCOL = 5 };

typedef enum meaning {
    DICT_CLASS,
    TENSOR_V1, /* _rebuild_tensor(storage, offset, size, stride) */
    TENSOR_V2, /* ... , requires_grad, hooks[, metadata] */
    TENSOR_V3, /* untyped storage; ... , requires_grad, hooks, dtype[, metadata] */
    PARAMETER, /* (tensor, requires_grad, hooks[, state]) */
    STORAGE_CLASS,
    UNTYPED_CLASS,
    DTYPE,
    SIZE,
    INERT
} meaning;

/* The allow list. Inert ones are met in real checkpoints beside the weights and hold nothing lx
 * needs; their objects stay opaque. */
static const struct known {
    const char *module, *name;
    meaning meaning;
    lx_dtype dtype;
} known[] = {
    {"collections", "OrderedDict", DICT_CLASS, LX_U8},
    {"torch._utils", "_rebuild_tensor", TENSOR_V1, LX_U8},
    {"torch._utils", "_rebuild_tensor_v2", TENSOR_V2, LX_U8},
    {"torch._utils", "_rebuild_tensor_v3", TENSOR_V3, LX_U8},
    {"torch._utils", "_rebuild_parameter", PARAMETER, LX_U8},
    {"torch._utils", "_rebuild_parameter_with_state", PARAMETER, LX_U8},
    {"torch", "FloatStorage", STORAGE_CLASS, LX_F32},
    {"torch", "HalfStorage", STORAGE_CLASS, LX_F16},
    {"torch", "BFloat16Storage", STORAGE_CLASS, LX_BF16},
    {"torch", "DoubleStorage", STORAGE_CLASS, LX_F64},
    {"torch", "LongStorage", STORAGE_CLASS, LX_I64},
    {"torch", "IntStorage", STORAGE_CLASS, LX_I32},
    {"torch", "ShortStorage", STORAGE_CLASS, LX_I16},
    {"torch", "CharStorage", STORAGE_CLASS, LX_I8},
    {"torch", "ByteStorage", STORAGE_CLASS, LX_U8},
    {"torch", "BoolStorage", STORAGE_CLASS, LX_BOOL},
    {"torch", "ComplexFloatStorage", STORAGE_CLASS, LX_C64},
    {"torch.storage", "UntypedStorage", UNTYPED_CLASS, LX_U8},
    {"torch", "UntypedStorage", UNTYPED_CLASS, LX_U8},
    {"torch", "float32", DTYPE, LX_F32},
    {"torch", "float16", DTYPE, LX_F16},
    {"torch", "bfloat16", DTYPE, LX_BF16},
    {"torch", "float64", DTYPE, LX_F64},
    {"torch", "int64", DTYPE, LX_I64},
    {"torch", "int32", DTYPE, LX_I32},
    {"torch", "int16", DTYPE, LX_I16},
    {"torch", "int8", DTYPE, LX_I8},
    {"torch", "uint8", DTYPE, LX_U8},
    {"torch", "uint16", DTYPE, LX_U16},
    {"torch", "uint32", DTYPE, LX_U32},
    {"torch", "uint64", DTYPE, LX_U64},
    {"torch", "bool", DTYPE, LX_BOOL},
    {"torch", "complex64", DTYPE, LX_C64},
    {"torch", "float8_e4m3fn", DTYPE, LX_F8_E4M3},
    {"torch", "float8_e5m2", DTYPE, LX_F8_E5M2},
    {"torch", "float8_e4m3fnuz", DTYPE, LX_F8_E4M3FNUZ},
    {"torch", "float8_e5m2fnuz", DTYPE, LX_F8_E5M2FNUZ},
    {"torch", "float8_e8m0fnu", DTYPE, LX_F8_E8M0},
    {"torch", "Size", SIZE, LX_U8},
    {"torch", "device", INERT, LX_U8},
    {"numpy.core.multiarray", "scalar", INERT, LX_U8},
    {"numpy.core.multiarray", "_reconstruct", INERT, LX_U8},
    {"numpy._core.multiarray", "scalar", INERT, LX_U8},
    {"numpy._core.multiarray", "_reconstruct", INERT, LX_U8},
    {"numpy", "dtype", INERT, LX_U8},
    {"numpy", "ndarray", INERT, LX_U8},
    {"_codecs", "encode", INERT, LX_U8},
    {"__builtin__", "set", INERT, LX_U8},
    {"builtins", "set", INERT, LX_U8},
    {"__builtin__", "dict", INERT, LX_U8},
    {"builtins", "dict", INERT, LX_U8},
    {"collections", "defaultdict", INERT, LX_U8},
    {"pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", INERT, LX_U8},
};

/* Modules whose presence is an attack and no accident. */
static const char *const evil[] = {
    "os",   "posix",  "nt",   "subprocess", "builtins", "__builtin__", "sys",   "runpy",
    "socket", "shutil", "pty", "webbrowser", "importlib", "commands",  "ctypes", "code",
};

typedef struct machine {
    const unsigned char *bytes;
    size_t n, at, op_at, base;
    lx_arena *arena;
    lx_pickle_facts *facts;
    lx_error *err;
    lx_pickle **stack, **memo;
    size_t height, stack_capacity, memo_count, memo_capacity;
    size_t *marks; /* heights of the stack where a MARK stands */
    size_t n_marks, marks_capacity;
    size_t n_values;
    bool is_stopped;
} machine;

static lx_pickle none = {.kind = LX_PICKLE_NONE};
static lx_pickle truth[2] = {{.kind = LX_PICKLE_BOOL, .as.integer = 0},
                             {.kind = LX_PICKLE_BOOL, .as.integer = 1}};

static int bad(machine *m, const char *what)
{
    return lx_fail(m->err, LX_EFORMAT, "pickle: %s at byte %zu", what, m->base + m->op_at);
}

static const unsigned char *take(machine *m, size_t n)
{
    const unsigned char *p = m->bytes + m->at;
    if (n > m->n - m->at) {
        bad(m, "opcode that reaches past the end");
        return NULL;
    }
    m->at += n;
    return p;
}

/* Up to a newline, which is taken too. */
static const char *take_line(machine *m, size_t *n)
{
    const char *p = (const char *)m->bytes + m->at;
    const char *end = memchr(p, '\n', m->n - m->at);
    if (!end) {
        bad(m, "line without an end");
        return NULL;
    }
    *n = (size_t)(end - p);
    m->at += *n + 1;
    return p;
}

static int take_number(machine *m, uint64_t *out, int bytes)
{
    const unsigned char *p = take(m, (size_t)bytes);
    if (!p)
        return LX_EFORMAT;
    *out = 0;
    for (int i = bytes - 1; i >= 0; i--)
        *out = *out << 8 | p[i];
    return LX_OK;
}

static lx_pickle *new_value(machine *m, lx_pickle_kind kind)
{
    lx_pickle *v;
    if (++m->n_values > MOST_VALUES) {
        lx_fail(m->err, LX_ELIMIT, "pickle: more than %d values at byte %zu", MOST_VALUES,
                m->base + m->op_at);
        return NULL;
    }
    if (!(v = lx_arena_calloc(m->arena, 1, sizeof *v))) {
        lx_oom(m->err);
        return NULL;
    }
    v->kind = (unsigned char)kind;
    return v;
}

/* The code of the failure just told (new_value and take tell it themselves). */
static int told(const machine *m, int otherwise)
{
    return m->err && m->err->code < 0 ? m->err->code : otherwise;
}

static int push(machine *m, lx_pickle *v)
{
    if (!v)
        return told(m, LX_ENOMEM);
    if (m->height >= MOST_VALUES)
        return lx_fail(m->err, LX_ELIMIT, "pickle: stack deeper than %d at byte %zu", MOST_VALUES,
                       m->base + m->op_at);
    if (lx_grow(&m->stack, &m->stack_capacity, m->height + 1, sizeof *m->stack) < 0)
        return lx_oom(m->err);
    m->stack[m->height++] = v;
    return LX_OK;
}

/* Values below the last MARK cannot be popped. */
static size_t floor_of(const machine *m)
{
    return m->n_marks ? m->marks[m->n_marks - 1] : 0;
}

static lx_pickle *pop(machine *m)
{
    if (m->height <= floor_of(m)) {
        bad(m, "stack underflow");
        return NULL;
    }
    return m->stack[--m->height];
}

static lx_pickle *top(machine *m)
{
    if (m->height <= floor_of(m)) {
        bad(m, "stack underflow");
        return NULL;
    }
    return m->stack[m->height - 1];
}

/* The values above the last MARK; the mark and they are taken off. */
static int pop_mark(machine *m, lx_pickle ***items, size_t *count)
{
    size_t from;
    if (!m->n_marks)
        return bad(m, "no MARK on the stack");
    from = m->marks[--m->n_marks];
    *count = m->height - from;
    *items = *count ? m->stack + from : NULL; /* there may be no stack yet */
    m->height = from;
    return LX_OK;
}

static int append(machine *m, lx_pickle *list, lx_pickle *const *items, size_t n)
{
    size_t need = list->as.list.count + n, capacity = list->as.list.capacity;
    lx_pickle **grown;

    if (need > MOST_VALUES)
        return lx_fail(m->err, LX_ELIMIT, "pickle: list longer than %d at byte %zu", MOST_VALUES,
                       m->base + m->op_at);
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

static int push_list(machine *m, lx_pickle_kind kind, lx_pickle *const *items, size_t n)
{
    lx_pickle *v = new_value(m, kind);
    int rc;
    if (!v)
        return told(m, LX_ENOMEM);
    if ((rc = append(m, v, items, n)) < 0)
        return rc;
    return push(m, v);
}

static int push_int(machine *m, int64_t x)
{
    lx_pickle *v = new_value(m, LX_PICKLE_INT);
    if (v)
        v->as.integer = x;
    return push(m, v);
}

static int push_number(machine *m, double x)
{
    lx_pickle *v = new_value(m, LX_PICKLE_FLOAT);
    if (v)
        v->as.number = x;
    return push(m, v);
}

static int push_text(machine *m, lx_pickle_kind kind, const char *bytes, size_t n)
{
    lx_pickle *v;
    if (!bytes)
        return told(m, LX_EFORMAT);
    if (kind == LX_PICKLE_TEXT && lx_utf8_check(bytes, n) != n)
        return bad(m, "text that is not UTF-8");
    if ((v = new_value(m, kind))) {
        v->as.text.bytes = bytes;
        v->as.text.n = n;
    }
    return push(m, v);
}

/* A text with its length before it, in `width` bytes. */
static int counted_text(machine *m, lx_pickle_kind kind, int width)
{
    uint64_t n = 0;
    int rc = take_number(m, &n, width);
    if (rc < 0)
        return rc;
    return push_text(m, kind, (const char *)take(m, n), n);
}

/* Python 2's str: a text when it is UTF-8, as torch reads it. */
static int counted_str(machine *m, int width)
{
    uint64_t n = 0;
    const char *p;
    int rc = take_number(m, &n, width);
    if (rc < 0)
        return rc;
    p = (const char *)take(m, n);
    return push_text(m, p && lx_utf8_check(p, n) == n ? LX_PICKLE_TEXT : LX_PICKLE_BYTES, p, n);
}

/* Two's complement, little endian. */
static int long_int(machine *m, int width)
{
    uint64_t n = 0, value = 0;
    const unsigned char *p;
    int rc = take_number(m, &n, width);

    if (rc < 0)
        return rc;
    if (width == 4 && n > INT32_MAX)
        return bad(m, "LONG4 with a negative length");
    if (!(p = take(m, n)))
        return LX_EFORMAT;
    if (n > 8)
        return push_text(m, LX_PICKLE_BYTES, (const char *)p, n);
    for (size_t i = 0; i < n; i++)
        value |= (uint64_t)p[i] << (8 * i);
    if (n && n < 8 && p[n - 1] & 0x80)
        value |= ~(uint64_t)0 << (8 * n);
    return push_int(m, (int64_t)value);
}

/* INT and LONG: decimal, LONG with an L behind; 00 and 01 are the truth values. */
static int text_int(machine *m, bool is_long)
{
    char copy[32], *end;
    size_t n;
    const char *p = take_line(m, &n);
    long long x;

    if (!p)
        return LX_EFORMAT;
    if (!is_long && n == 2 && p[0] == '0' && (p[1] == '0' || p[1] == '1'))
        return push(m, &truth[p[1] - '0']);
    n -= is_long && n && p[n - 1] == 'L';
    if (!n || n >= sizeof copy)
        return bad(m, "number that is no number");
    memcpy(copy, p, n);
    copy[n] = '\0';
    x = strtoll(copy, &end, 10);
    return *end ? bad(m, "number that is no number") : push_int(m, x);
}

static int text_float(machine *m)
{
    char copy[64], *end;
    size_t n;
    const char *p = take_line(m, &n);
    double x;

    if (!p)
        return LX_EFORMAT;
    if (!n || n >= sizeof copy)
        return bad(m, "number that is no number");
    memcpy(copy, p, n);
    copy[n] = '\0';
    x = strtod(copy, &end);
    return *end ? bad(m, "number that is no number") : push_number(m, x);
}

static int big_endian_float(machine *m)
{
    const unsigned char *p = take(m, 8);
    uint64_t bits = 0;
    double x;
    if (!p)
        return LX_EFORMAT;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | p[i];
    memcpy(&x, &bits, sizeof x);
    return push_number(m, x);
}

/* STRING: a quoted line. Its escapes are not resolved: such a text is kept as bytes. */
static int quoted_line(machine *m)
{
    size_t n;
    const char *p = take_line(m, &n);
    if (!p)
        return LX_EFORMAT;
    if (n < 2 || (p[0] != '\'' && p[0] != '"') || p[n - 1] != p[0])
        return bad(m, "text without quotes");
    return push_text(m, memchr(p, '\\', n) || lx_utf8_check(p, n) != n ? LX_PICKLE_BYTES
                                                                       : LX_PICKLE_TEXT,
                     p + 1, n - 2);
}

static int unicode_line(machine *m)
{
    size_t n;
    const char *p = take_line(m, &n);
    if (!p)
        return LX_EFORMAT;
    return push_text(m, memchr(p, '\\', n) || lx_utf8_check(p, n) != n ? LX_PICKLE_BYTES
                                                                       : LX_PICKLE_TEXT,
                     p, n);
}

static bool equals(const char *text, const char *bytes, size_t n)
{
    return strlen(text) == n && !memcmp(text, bytes, n);
}

static int refuse_global(machine *m, const char *module, size_t module_n, const char *name,
                         size_t name_n)
{
    bool is_evil = false;
    for (size_t i = 0; i < sizeof evil / sizeof *evil && !is_evil; i++)
        is_evil = equals(evil[i], module, module_n);
    return lx_fail(m->err, LX_EFORMAT,
                   "pickle: %s \"%s.%s\" at byte %zu; nothing of it was run", is_evil
                       ? "the file wants to run code through"
                       : "unknown class or function",
                   lx_show(module, module_n).text, lx_show(name, name_n).text,
                   m->base + m->op_at);
}

static int note_inert(machine *m, const struct known *k)
{
    lx_pickle_facts *f = m->facts;
    char *text = lx_arena_printf(m->arena, "%s.%s", k->module, k->name);
    if (!text)
        return lx_oom(m->err);
    for (size_t i = 0; i < f->n_inert; i++)
        if (!strcmp(f->inert[i], text))
            return LX_OK;
    if (f->n_inert < sizeof f->inert / sizeof *f->inert)
        f->inert[f->n_inert++] = text;
    return LX_OK;
}

static int push_global(machine *m, const char *module, size_t module_n, const char *name,
                       size_t name_n)
{
    lx_pickle *v;
    int rc;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!equals(known[i].module, module, module_n) || !equals(known[i].name, name, name_n))
            continue;
        if (known[i].meaning == INERT && (rc = note_inert(m, &known[i])) < 0)
            return rc;
        if ((v = new_value(m, LX_PICKLE_CLASS)))
            v->meaning = (short)i;
        return push(m, v);
    }
    return refuse_global(m, module, module_n, name, name_n);
}

static int global_lines(machine *m)
{
    size_t module_n, name_n;
    const char *module = take_line(m, &module_n), *name;
    if (!module || !(name = take_line(m, &name_n)))
        return LX_EFORMAT;
    return push_global(m, module, module_n, name, name_n);
}

static int stack_global(machine *m)
{
    lx_pickle *name = pop(m), *module = name ? pop(m) : NULL;
    if (!module)
        return LX_EFORMAT;
    if (name->kind != LX_PICKLE_TEXT || module->kind != LX_PICKLE_TEXT)
        return bad(m, "STACK_GLOBAL without names");
    return push_global(m, module->as.text.bytes, module->as.text.n, name->as.text.bytes,
                       name->as.text.n);
}

static bool is_int(const lx_pickle *v)
{
    return v->kind == LX_PICKLE_INT;
}

/* The arguments of a tuple, and what they must be. */
static lx_pickle *argument(const lx_pickle *args, size_t i)
{
    return i < args->as.list.count ? args->as.list.items[i] : &none;
}

static int storage_key(const char **out, machine *m, const lx_pickle *key)
{
    char *text;
    if (is_int(key))
        text = lx_arena_printf(m->arena, "%lld", (long long)key->as.integer);
    else if (key->kind == LX_PICKLE_TEXT && !memchr(key->as.text.bytes, '\0', key->as.text.n))
        text = lx_arena_strndup(m->arena, key->as.text.bytes, key->as.text.n);
    else
        return bad(m, "storage without a key");
    *out = text;
    return text ? LX_OK : lx_oom(m->err);
}

/* Legacy files say of a storage that is part of another: (key, offset, size). */
static int read_view(lx_pickle_storage *s, machine *m, const lx_pickle *view)
{
    if (view->kind == LX_PICKLE_NONE)
        return LX_OK;
    if (view->kind != LX_PICKLE_TUPLE || view->as.list.count != 3 ||
        !is_int(argument(view, 1)) || !is_int(argument(view, 2)) ||
        argument(view, 1)->as.integer < 0 || argument(view, 2)->as.integer < 0)
        return bad(m, "storage view that is none");
    s->is_view = true;
    s->view_offset = (uint64_t)argument(view, 1)->as.integer;
    return LX_OK;
}

/* ("storage", class, key, location, numel[, view]) */
static int persistent_id(machine *m)
{
    lx_pickle *id = pop(m), *v;
    const lx_pickle *class;
    lx_pickle_storage *s;
    int rc;

    if (!id)
        return LX_EFORMAT;
    class = id->kind == LX_PICKLE_TUPLE ? argument(id, 1) : &none;
    if (id->kind != LX_PICKLE_TUPLE || id->as.list.count < 5 ||
        argument(id, 0)->kind != LX_PICKLE_TEXT ||
        !equals("storage", argument(id, 0)->as.text.bytes, argument(id, 0)->as.text.n) ||
        class->kind != LX_PICKLE_CLASS || !is_int(argument(id, 4)) ||
        argument(id, 4)->as.integer < 0 ||
        (known[class->meaning].meaning != STORAGE_CLASS &&
         known[class->meaning].meaning != UNTYPED_CLASS))
        return bad(m, "persistent id that is no storage");
    if (!(s = lx_arena_calloc(m->arena, 1, sizeof *s)))
        return lx_oom(m->err);
    s->dtype = known[class->meaning].dtype;
    s->numel = (uint64_t)argument(id, 4)->as.integer;
    s->at = m->base + m->op_at;
    if ((rc = storage_key(&s->key, m, argument(id, 2))) < 0 ||
        (rc = read_view(s, m, argument(id, 5))) < 0)
        return rc;
    if (lx_grow(&m->facts->storages, &m->facts->capacity, m->facts->n_storages + 1,
                sizeof *m->facts->storages) < 0)
        return lx_oom(m->err);
    m->facts->storages[m->facts->n_storages++] = s;
    if ((v = new_value(m, LX_PICKLE_STORAGE)))
        v->as.storage = s;
    return push(m, v);
}

static int read_dims(int64_t *out, int *n, machine *m, const lx_pickle *dims)
{
    if (dims->kind != LX_PICKLE_TUPLE && dims->kind != LX_PICKLE_LIST)
        return bad(m, "tensor without a size or strides");
    if (dims->as.list.count > LX_MAX_DIMS)
        return lx_fail(m->err, LX_EUNSUPPORTED, "pickle: tensor of %u dimensions at byte %zu",
                       dims->as.list.count, m->base + m->op_at);
    *n = (int)dims->as.list.count;
    for (int i = 0; i < *n; i++) {
        const lx_pickle *d = argument(dims, (size_t)i);
        if (!is_int(d) || d->as.integer < 0)
            return bad(m, "tensor with a negative or odd size or stride");
        out[i] = d->as.integer;
    }
    return LX_OK;
}

static int rebuild_tensor(machine *m, const lx_pickle *args, meaning how)
{
    const lx_pickle *storage = argument(args, 0), *offset = argument(args, 1);
    const lx_pickle *dtype = argument(args, 6);
    lx_pickle_tensor *t = lx_arena_calloc(m->arena, 1, sizeof *t);
    lx_pickle *v;
    int n_strides, rc;

    if (!t)
        return lx_oom(m->err);
    if (storage->kind != LX_PICKLE_STORAGE || !is_int(offset) || offset->as.integer < 0)
        return bad(m, "tensor without a storage or offset");
    t->storage = storage->as.storage;
    t->dtype = t->storage->dtype;
    t->offset = offset->as.integer;
    if (how == TENSOR_V3) {
        if (dtype->kind != LX_PICKLE_CLASS || known[dtype->meaning].meaning != DTYPE)
            return bad(m, "tensor without a dtype");
        t->dtype = known[dtype->meaning].dtype;
    }
    if ((rc = read_dims(t->size, &t->n_dims, m, argument(args, 2))) < 0 ||
        (rc = read_dims(t->stride, &n_strides, m, argument(args, 3))) < 0)
        return rc;
    if (n_strides != t->n_dims)
        return bad(m, "tensor with more sizes than strides or fewer");
    if ((v = new_value(m, LX_PICKLE_TENSOR)))
        v->as.tensor = t;
    return push(m, v);
}

/* OrderedDict(), or Python 2's OrderedDict([[key, value], ...]). */
static int make_dict(machine *m, const lx_pickle *args)
{
    const lx_pickle *pairs = argument(args, 0);
    lx_pickle *dict = new_value(m, LX_PICKLE_DICT);
    int rc;

    if (!dict)
        return told(m, LX_ENOMEM);
    for (uint32_t i = 0; pairs->kind == LX_PICKLE_LIST && i < pairs->as.list.count; i++) {
        const lx_pickle *pair = pairs->as.list.items[i];
        if ((pair->kind != LX_PICKLE_LIST && pair->kind != LX_PICKLE_TUPLE) ||
            pair->as.list.count != 2)
            return bad(m, "dictionary of things that are no pairs");
        if ((rc = append(m, dict, pair->as.list.items, 2)) < 0)
            return rc;
    }
    return push(m, dict);
}

/* What calling the class would give, as far as lx needs to know. Nothing is called. */
static int reduce(machine *m)
{
    lx_pickle *args = pop(m), *callee = args ? pop(m) : NULL;
    meaning how;

    if (!callee)
        return LX_EFORMAT;
    if (args->kind != LX_PICKLE_TUPLE)
        return bad(m, "REDUCE without arguments");
    if (callee->kind == LX_PICKLE_OPAQUE)
        return push(m, callee);
    if (callee->kind != LX_PICKLE_CLASS)
        return bad(m, "REDUCE of something that is no class");
    how = known[callee->meaning].meaning;
    switch (how) {
    case DICT_CLASS:
        return make_dict(m, args);
    case TENSOR_V1:
    case TENSOR_V2:
    case TENSOR_V3:
        return rebuild_tensor(m, args, how);
    case PARAMETER:
        if (argument(args, 0)->kind != LX_PICKLE_TENSOR)
            return bad(m, "parameter without a tensor");
        return push(m, argument(args, 0));
    case SIZE:
        if (argument(args, 0)->kind != LX_PICKLE_TUPLE && argument(args, 0)->kind != LX_PICKLE_LIST)
            return bad(m, "torch.Size of something that is no tuple");
        return push(m, argument(args, 0));
    case STORAGE_CLASS:
    case UNTYPED_CLASS:
    case DTYPE:
    case INERT:
        break;
    }
    return push(m, new_value(m, LX_PICKLE_OPAQUE));
}

static int new_object(machine *m, bool has_keywords)
{
    lx_pickle *keywords = has_keywords ? pop(m) : &none;
    lx_pickle *args = keywords ? pop(m) : NULL, *class = args ? pop(m) : NULL;

    if (!class)
        return LX_EFORMAT;
    if (class->kind != LX_PICKLE_CLASS)
        return bad(m, "NEWOBJ of something that is no class");
    return push(m, new_value(m, known[class->meaning].meaning == DICT_CLASS ? LX_PICKLE_DICT
                                                                           : LX_PICKLE_OPAQUE));
}

/* The state of an object: attributes, never weights. */
static int build(machine *m)
{
    return pop(m) && top(m) ? LX_OK : LX_EFORMAT;
}

static int append_to(machine *m, lx_pickle_kind kind, lx_pickle *const *items, size_t n)
{
    lx_pickle *list = top(m);
    if (!list)
        return LX_EFORMAT;
    if (list->kind == LX_PICKLE_OPAQUE)
        return LX_OK;
    if (list->kind != (unsigned char)kind)
        return bad(m, "items for something that takes none");
    if (kind == LX_PICKLE_DICT && n % 2)
        return bad(m, "key without a value");
    return append(m, list, items, n);
}

static int append_marked(machine *m, lx_pickle_kind kind)
{
    lx_pickle **items = NULL;
    size_t n = 0;
    int rc = pop_mark(m, &items, &n);
    return rc < 0 ? rc : append_to(m, kind, items, n);
}

static int append_popped(machine *m, lx_pickle_kind kind, size_t n)
{
    if (m->height - floor_of(m) < n)
        return bad(m, "stack underflow");
    m->height -= n;
    return append_to(m, kind, m->stack + m->height, n);
}

static int tuple_of(machine *m, size_t n)
{
    if (m->height - floor_of(m) < n)
        return bad(m, "stack underflow");
    m->height -= n;
    return push_list(m, LX_PICKLE_TUPLE, m->stack + m->height, n);
}

static int list_of_marked(machine *m, lx_pickle_kind kind)
{
    lx_pickle **items = NULL;
    size_t n = 0;
    int rc = pop_mark(m, &items, &n);
    if (rc < 0)
        return rc;
    if (kind == LX_PICKLE_DICT && n % 2)
        return bad(m, "key without a value");
    return push_list(m, kind, items, n);
}

static int set_memo(machine *m, uint64_t slot)
{
    lx_pickle *v = top(m);
    size_t before = m->memo_capacity;

    if (!v)
        return LX_EFORMAT;
    if (slot >= MOST_VALUES)
        return lx_fail(m->err, LX_ELIMIT, "pickle: memo slot %llu at byte %zu",
                       (unsigned long long)slot, m->base + m->op_at);
    if (lx_grow(&m->memo, &m->memo_capacity, slot + 1, sizeof *m->memo) < 0)
        return lx_oom(m->err);
    if (m->memo_capacity > before)
        memset(m->memo + before, 0, (m->memo_capacity - before) * sizeof *m->memo);
    m->memo_count += !m->memo[slot];
    m->memo[slot] = v;
    return LX_OK;
}

static int get_memo(machine *m, uint64_t slot)
{
    if (slot >= m->memo_capacity || !m->memo[slot])
        return bad(m, "memo slot that was never set");
    return push(m, m->memo[slot]);
}

static int memo_line(machine *m, bool is_put)
{
    char copy[24], *end;
    size_t n;
    const char *p = take_line(m, &n);
    unsigned long long slot;

    if (!p)
        return LX_EFORMAT;
    if (!n || n >= sizeof copy || p[0] < '0' || p[0] > '9')
        return bad(m, "memo slot that is no number");
    memcpy(copy, p, n);
    copy[n] = '\0';
    slot = strtoull(copy, &end, 10);
    if (*end)
        return bad(m, "memo slot that is no number");
    return is_put ? set_memo(m, slot) : get_memo(m, slot);
}

static int memo_bytes(machine *m, bool is_put, int width)
{
    uint64_t slot = 0;
    int rc = take_number(m, &slot, width);
    return rc < 0 ? rc : is_put ? set_memo(m, slot) : get_memo(m, slot);
}

static int mark(machine *m)
{
    if (m->n_marks >= MOST_VALUES)
        return bad(m, "too many MARKs");
    if (lx_grow(&m->marks, &m->marks_capacity, m->n_marks + 1, sizeof *m->marks) < 0)
        return lx_oom(m->err);
    m->marks[m->n_marks++] = m->height;
    return LX_OK;
}

static int small_int(machine *m, int width)
{
    uint64_t x = 0;
    int rc = take_number(m, &x, width);
    return rc < 0 ? rc : push_int(m, width == 4 ? (int64_t)(int32_t)(uint32_t)x : (int64_t)x);
}

static int protocol(machine *m)
{
    const unsigned char *p = take(m, 1);
    if (!p)
        return LX_EFORMAT;
    return *p > MOST_PROTOCOL ? bad(m, "protocol newer than 5") : LX_OK;
}

/* FRAME only says how much to read ahead. */
static int frame(machine *m)
{
    uint64_t n = 0;
    int rc = take_number(m, &n, 8);
    if (rc < 0)
        return rc;
    return n > m->n - m->at ? bad(m, "frame that reaches past the end") : LX_OK;
}

static int stop(machine *m)
{
    m->is_stopped = true;
    return m->n_marks || m->height != 1 ? bad(m, "end with other than one value") : LX_OK;
}

/* POP takes a MARK off as well as a value. */
static int pop_one(machine *m)
{
    if (m->n_marks && m->height == floor_of(m)) {
        m->n_marks--;
        return LX_OK;
    }
    return pop(m) ? LX_OK : LX_EFORMAT;
}

static int pop_marked(machine *m)
{
    lx_pickle **items = NULL;
    size_t n = 0;
    return pop_mark(m, &items, &n);
}

/* Opcodes that push a plain value; 1 when op is none of them. */
static int run_value(machine *m, unsigned char op)
{
    switch (op) {
    case 'N':
        return push(m, &none);
    case 0x88:
    case 0x89:
        return push(m, &truth[op == 0x88]);
    case 'I':
    case 'L':
        return text_int(m, op == 'L');
    case 'J':
        return small_int(m, 4);
    case 'K':
        return small_int(m, 1);
    case 'M':
        return small_int(m, 2);
    case 0x8A:
        return long_int(m, 1);
    case 0x8B:
        return long_int(m, 4);
    case 'F':
        return text_float(m);
    case 'G':
        return big_endian_float(m);
    case 'S':
        return quoted_line(m);
    case 'T':
        return counted_str(m, 4);
    case 'U':
        return counted_str(m, 1);
    case 'V':
        return unicode_line(m);
    case 'X':
        return counted_text(m, LX_PICKLE_TEXT, 4);
    case 0x8C:
        return counted_text(m, LX_PICKLE_TEXT, 1);
    case 0x8D:
        return counted_text(m, LX_PICKLE_TEXT, 8);
    case 'B':
        return counted_text(m, LX_PICKLE_BYTES, 4);
    case 'C':
        return counted_text(m, LX_PICKLE_BYTES, 1);
    case 0x8E:
        return counted_text(m, LX_PICKLE_BYTES, 8);
    default:
        return 1;
    }
}

/* Opcodes of lists, tuples, dictionaries and sets (kept as lists). */
static int run_container(machine *m, unsigned char op)
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

static int run_stack(machine *m, unsigned char op)
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
        return push(m, top(m));
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

static int run_object(machine *m, unsigned char op)
{
    switch (op) {
    case 'c':
        return global_lines(m);
    case 0x93:
        return stack_global(m);
    case 'R':
        return reduce(m);
    case 'b':
        return build(m);
    case 0x81:
    case 0x92:
        return new_object(m, op == 0x92);
    case 'Q':
        return persistent_id(m);
    case 'P':
        return bad(m, "PERSID (a persistent id as text), which torch never writes,");
    case 'i':
    case 'o':
        return bad(m, "INST or OBJ (making an object the old way), which torch never writes,");
    case 0x82:
    case 0x83:
    case 0x84:
        return bad(m, "EXT (a class by number), which torch never writes,");
    default:
        return lx_fail(m->err, LX_EFORMAT, "pickle: unknown opcode 0x%02x at byte %zu", op,
                       m->base + m->op_at);
    }
}

static int run(machine *m)
{
    int rc;

    while (!m->is_stopped) {
        unsigned char op;
        m->op_at = m->at;
        if (m->at == m->n)
            return bad(m, "ends too early");
        op = m->bytes[m->at++];
        if ((rc = run_value(m, op)) > 0 && (rc = run_container(m, op)) > 0 &&
            (rc = run_stack(m, op)) > 0)
            rc = run_object(m, op);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

int lx_pickle_read(lx_pickle **out, size_t *used, lx_pickle_facts *facts, lx_arena *arena,
                   const unsigned char *bytes, size_t n, size_t base, lx_error *err)
{
    lx_error mine = {0}; /* helpers that return NULL leave their code here */
    machine m = {.bytes = bytes, .n = n, .base = base, .arena = arena, .facts = facts,
                 .err = &mine};
    int rc = run(&m);

    if (rc == LX_OK) {
        *out = m.stack[0];
        *used = m.at;
    } else if (err) {
        *err = mine;
        rc = mine.code;
    } else {
        rc = mine.code;
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
