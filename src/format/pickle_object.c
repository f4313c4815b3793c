/* Opcodes of globals and objects: what torch means by them. Nothing is ever called. */
#include <string.h>

#include "src/base/alloc.h"
#include "src/format/pickle_machine.h"
#include "src/format/tensor_file_build.h"

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

/* The allow list. Inert ones are met in real checkpoints beside the weights and hold
 * nothing lx needs; their objects stay opaque. */
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

const char *lx_pickle_storage_class(lx_dtype dtype)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].meaning == STORAGE_CLASS && known[i].dtype == dtype)
            return known[i].name;
    return NULL;
}

/* Modules whose presence is an attack and no accident. */
static const char *const evil[] = {
    "os",        "posix",    "nt",     "subprocess", "builtins", "__builtin__",
    "sys",       "runpy",    "socket", "shutil",     "pty",      "webbrowser",
    "importlib", "commands", "ctypes", "code",
};

static bool equals(const char *text, const char *bytes, size_t n)
{
    return strlen(text) == n && !memcmp(text, bytes, n);
}

/* Of torch, and harmless, but tensors that lx has no type or layout for. */
static const char *const unsupported[] = {
    "torch.ComplexDoubleStorage", "torch.ComplexHalfStorage", "torch.QInt8Storage",
    "torch.QInt32Storage", "torch.QUInt8Storage", "torch.QUInt4x2Storage",
    "torch.QUInt2x4Storage", "torch.complex128", "torch.complex32", "torch.qint8",
    "torch.qint32", "torch.quint8", "torch.quint4x2", "torch.quint2x4",
    "torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_nested_tensor", "torch._utils._rebuild_meta_tensor_no_storage",
};

static bool is_unsupported(const char *module, size_t module_n, const char *name, size_t name_n)
{
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        const char *dot = strrchr(unsupported[i], '.');
        if ((size_t)(dot - unsupported[i]) == module_n &&
            !memcmp(unsupported[i], module, module_n) && equals(dot + 1, name, name_n))
            return true;
    }
    return false;
}

static int refuse_global(lx_pickle_machine *m, const char *module, size_t module_n,
                         const char *name, size_t name_n)
{
    bool is_evil = false;

    if (is_unsupported(module, module_n, name, name_n))
        return lx_fail(m->err, LX_EUNSUPPORTED,
                       "pickle: \"%s.%s\" at byte %zu is not supported: quantized, sparse "
                       "and such complex tensors are not read",
                       lx_show(module, module_n).text, lx_show(name, name_n).text,
                       m->base + m->op_at);
    for (size_t i = 0; i < sizeof evil / sizeof *evil && !is_evil; i++)
        is_evil = equals(evil[i], module, module_n);
    return lx_fail(
        m->err, LX_EFORMAT, "pickle: %s \"%s.%s\" at byte %zu; nothing of it was run",
        is_evil ? "the file wants to run code through" : "unknown class or function",
        lx_show(module, module_n).text, lx_show(name, name_n).text, m->base + m->op_at);
}

static int note_inert(lx_pickle_machine *m, const struct known *k)
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

static int push_global(lx_pickle_machine *m, const char *module, size_t module_n,
                       const char *name, size_t name_n)
{
    lx_pickle *v;
    int rc;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!equals(known[i].module, module, module_n) ||
            !equals(known[i].name, name, name_n))
            continue;
        if (known[i].meaning == INERT && (rc = note_inert(m, &known[i])) < 0)
            return rc;
        if ((v = lx_pickle__new(m, LX_PICKLE_CLASS)))
            v->meaning = (short)i;
        return lx_pickle__push(m, v);
    }
    return refuse_global(m, module, module_n, name, name_n);
}

static int global_lines(lx_pickle_machine *m)
{
    size_t module_n, name_n;
    const char *module = lx_pickle__take_line(m, &module_n), *name;
    if (!module || !(name = lx_pickle__take_line(m, &name_n)))
        return LX_EFORMAT;
    return push_global(m, module, module_n, name, name_n);
}

static int stack_global(lx_pickle_machine *m)
{
    lx_pickle *name = lx_pickle__pop(m), *module = name ? lx_pickle__pop(m) : NULL;
    if (!module)
        return LX_EFORMAT;
    if (name->kind != LX_PICKLE_TEXT || module->kind != LX_PICKLE_TEXT)
        return lx_pickle__bad(m, "STACK_GLOBAL without names");
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
    return i < args->as.list.count ? args->as.list.items[i] : &lx_pickle__none;
}

static int storage_key(const char **out, lx_pickle_machine *m, const lx_pickle *key)
{
    char *text;
    if (is_int(key))
        text = lx_arena_printf(m->arena, "%lld", (long long)key->as.integer);
    else if (key->kind == LX_PICKLE_TEXT &&
             !memchr(key->as.text.bytes, '\0', key->as.text.n))
        text = lx_arena_strndup(m->arena, key->as.text.bytes, key->as.text.n);
    else
        return lx_pickle__bad(m, "storage without a key");
    *out = text;
    return text ? LX_OK : lx_oom(m->err);
}

/* Legacy files say of a storage that is part of another: (key, offset, size). */
static int read_view(lx_pickle_storage *s, lx_pickle_machine *m, const lx_pickle *view)
{
    if (view->kind == LX_PICKLE_NONE)
        return LX_OK;
    if (view->kind != LX_PICKLE_TUPLE || view->as.list.count != 3 ||
        !is_int(argument(view, 1)) || !is_int(argument(view, 2)) ||
        argument(view, 1)->as.integer < 0 || argument(view, 2)->as.integer < 0)
        return lx_pickle__bad(m, "storage view that is none");
    s->is_view = true;
    s->view_offset = (uint64_t)argument(view, 1)->as.integer;
    s->view_size = (uint64_t)argument(view, 2)->as.integer;
    return LX_OK;
}

/* ("storage", class, key, location, numel[, view]) */
static int persistent_id(lx_pickle_machine *m)
{
    lx_pickle *id = lx_pickle__pop(m), *v;
    const lx_pickle *class;
    lx_pickle_storage *s;
    int rc;

    if (!id)
        return LX_EFORMAT;
    class = id->kind == LX_PICKLE_TUPLE ? argument(id, 1) : &lx_pickle__none;
    if (id->kind != LX_PICKLE_TUPLE || id->as.list.count < 5 ||
        argument(id, 0)->kind != LX_PICKLE_TEXT ||
        !equals("storage", argument(id, 0)->as.text.bytes, argument(id, 0)->as.text.n) ||
        class->kind != LX_PICKLE_CLASS || !is_int(argument(id, 4)) ||
        argument(id, 4)->as.integer < 0 ||
        (known[class->meaning].meaning != STORAGE_CLASS &&
         known[class->meaning].meaning != UNTYPED_CLASS))
        return lx_pickle__bad(m, "persistent id that is no storage");
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
    if ((v = lx_pickle__new(m, LX_PICKLE_STORAGE)))
        v->as.storage = s;
    return lx_pickle__push(m, v);
}

static int read_dims(const int64_t **out, int *n, lx_pickle_machine *m, const lx_pickle *dims)
{
    int64_t *values;

    if (dims->kind != LX_PICKLE_TUPLE && dims->kind != LX_PICKLE_LIST)
        return lx_pickle__bad(m, "tensor without a size or strides");
    if (dims->as.list.count > LX_MAX_FILE_DIMS)
        return lx_fail(m->err, LX_ELIMIT,
                       "pickle: tensor of %u dimensions, more than %d, at byte %zu",
                       dims->as.list.count, LX_MAX_FILE_DIMS, m->base + m->op_at);
    *n = (int)dims->as.list.count;
    m->n_values += (size_t)*n / 4; /* counted like values, for one list may be used again and again */
    if (!(values = lx_arena_alloc(m->arena, (size_t)*n * sizeof *values + 1)))
        return lx_oom(m->err);
    for (int i = 0; i < *n; i++) {
        const lx_pickle *d = argument(dims, (size_t)i);
        if (!is_int(d) || d->as.integer < 0)
            return lx_pickle__bad(m, "tensor with a negative or odd size or stride");
        values[i] = d->as.integer;
    }
    *out = values;
    return LX_OK;
}

static int rebuild_tensor(lx_pickle_machine *m, const lx_pickle *args, meaning how)
{
    const lx_pickle *storage = argument(args, 0), *offset = argument(args, 1);
    const lx_pickle *dtype = argument(args, 6);
    lx_pickle_tensor *t = lx_arena_calloc(m->arena, 1, sizeof *t);
    lx_pickle *v;
    int n_strides, rc;

    if (!t)
        return lx_oom(m->err);
    if (storage->kind != LX_PICKLE_STORAGE || !is_int(offset) || offset->as.integer < 0)
        return lx_pickle__bad(m, "tensor without a storage or offset");
    t->storage = storage->as.storage;
    t->dtype = t->storage->dtype;
    t->offset = offset->as.integer;
    if (how == TENSOR_V3) {
        if (dtype->kind != LX_PICKLE_CLASS || known[dtype->meaning].meaning != DTYPE)
            return lx_pickle__bad(m, "tensor without a dtype");
        t->dtype = known[dtype->meaning].dtype;
    }
    if ((rc = read_dims(&t->size, &t->n_dims, m, argument(args, 2))) < 0 ||
        (rc = read_dims(&t->stride, &n_strides, m, argument(args, 3))) < 0)
        return rc;
    if (n_strides != t->n_dims)
        return lx_pickle__bad(m, "tensor with more sizes than strides or fewer");
    if ((v = lx_pickle__new(m, LX_PICKLE_TENSOR)))
        v->as.tensor = t;
    return lx_pickle__push(m, v);
}

/* OrderedDict(), or Python 2's OrderedDict([[key, value], ...]). */
static int make_dict(lx_pickle_machine *m, const lx_pickle *args)
{
    const lx_pickle *pairs = argument(args, 0);
    lx_pickle *dict = lx_pickle__new(m, LX_PICKLE_DICT);
    int rc;

    if (!dict)
        return lx_pickle__told(m, LX_ENOMEM);
    for (uint32_t i = 0; pairs->kind == LX_PICKLE_LIST && i < pairs->as.list.count; i++) {
        const lx_pickle *pair = pairs->as.list.items[i];
        if ((pair->kind != LX_PICKLE_LIST && pair->kind != LX_PICKLE_TUPLE) ||
            pair->as.list.count != 2)
            return lx_pickle__bad(m, "dictionary of things that are no pairs");
        if ((rc = lx_pickle__append(m, dict, pair->as.list.items, 2)) < 0)
            return rc;
    }
    return lx_pickle__push(m, dict);
}

/* What calling the class would give, as far as lx needs to know. Nothing is called. */
static int reduce(lx_pickle_machine *m)
{
    lx_pickle *args = lx_pickle__pop(m), *callee = args ? lx_pickle__pop(m) : NULL;
    meaning how;

    if (!callee)
        return LX_EFORMAT;
    if (args->kind != LX_PICKLE_TUPLE)
        return lx_pickle__bad(m, "REDUCE without arguments");
    if (callee->kind == LX_PICKLE_OPAQUE)
        return lx_pickle__push(m, callee);
    if (callee->kind != LX_PICKLE_CLASS)
        return lx_pickle__bad(m, "REDUCE of something that is no class");
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
            return lx_pickle__bad(m, "parameter without a tensor");
        return lx_pickle__push(m, argument(args, 0));
    case SIZE:
        if (argument(args, 0)->kind != LX_PICKLE_TUPLE &&
            argument(args, 0)->kind != LX_PICKLE_LIST)
            return lx_pickle__bad(m, "torch.Size of something that is no tuple");
        return lx_pickle__push(m, argument(args, 0));
    case STORAGE_CLASS:
    case UNTYPED_CLASS:
    case DTYPE:
    case INERT:
        break;
    }
    return lx_pickle__push(m, lx_pickle__new(m, LX_PICKLE_OPAQUE));
}

static int new_object(lx_pickle_machine *m, bool has_keywords)
{
    lx_pickle *keywords = has_keywords ? lx_pickle__pop(m) : &lx_pickle__none;
    lx_pickle *args = keywords ? lx_pickle__pop(m) : NULL,
              *class = args ? lx_pickle__pop(m) : NULL;

    if (!class)
        return LX_EFORMAT;
    if (class->kind != LX_PICKLE_CLASS)
        return lx_pickle__bad(m, "NEWOBJ of something that is no class");
    return lx_pickle__push(m,
                           lx_pickle__new(m, known[class->meaning].meaning == DICT_CLASS
                                                 ? LX_PICKLE_DICT
                                                 : LX_PICKLE_OPAQUE));
}

/* The state of an object: attributes, never weights. */
static int build(lx_pickle_machine *m)
{
    return lx_pickle__pop(m) && lx_pickle__top(m) ? LX_OK : LX_EFORMAT;
}

int lx_pickle__run_object(lx_pickle_machine *m, unsigned char op)
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
        return lx_pickle__bad(
            m, "PERSID (a persistent id as text), which torch never writes,");
    case 'i':
    case 'o':
        return lx_pickle__bad(
            m, "INST or OBJ (making an object the old way), which torch never writes,");
    case 0x82:
    case 0x83:
    case 0x84:
        return lx_pickle__bad(m, "EXT (a class by number), which torch never writes,");
    default:
        return lx_fail(m->err, LX_EFORMAT, "pickle: unknown opcode 0x%02x at byte %zu",
                       op, m->base + m->op_at);
    }
}
