/*
 * Reading what torch.save wrote: a zip of a pickle and one member a storage (torch >= 1.6), or
 * five pickles and the storages one after another (before).
 *
 * The pickle gives a tree (pickle.h); from it come the names, and of each tensor its storage,
 * offset, size and strides. A tensor that is contiguous in a stored member is borrowed from the
 * mapping; others are copied once, within a budget, because a stride of 0 can ask for any size.
 */
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/format/pickle.h"
#include "src/format/tensor_file_build.h"
#include "src/format/zip.h"

enum { DEPTH = 8, SPARE = 64 << 20, MOST_NAMES = 64 << 20 };

static const char *const wrappers[] = {"state_dict", "module", "model", "model_state_dict",
                                       "params_ema", "params", "ema"};

/* A legacy storage: its place in the file. */
typedef struct place {
    const char *key;
    const unsigned char *data;
    size_t bytes;
} place;

typedef struct torch_file {
    lx_tensor_file *file;
    lx_zip zip;
    const char *prefix;  /* "archive/", of the zip form */
    place *places;       /* of the legacy form, sorted by key */
    size_t n_places;
    lx_pickle_facts facts;
    size_t stored, copied; /* bytes of storages resolved, and of copies made of them */
    size_t named;          /* bytes of all names: a pickle can say one long one often */
    lx_error *err;
} torch_file;

static int refuse(const torch_file *t, const char *name, const char *what)
{
    return lx_fail(t->err, LX_EFORMAT, "\"%s\": %s", lx_show(name, strlen(name)).text, what);
}

/* Storages. */

static int read_member(torch_file *t, lx_zip_entry *e)
{
    size_t budget = SPARE;
    void *copy;
    int rc;

    if (e->data)
        return LX_OK;
    if (e->method == LX_ZIP_STORED) {
        e->data = t->zip.bytes + e->data_at;
        rc = lx_zip_check(&t->zip, e, t->err);
    } else {
        if (t->zip.n < SIZE_MAX / 200)
            budget += t->zip.n * 100;
        if (e->size > budget - (t->stored < budget ? t->stored : budget))
            return lx_fail(t->err, LX_ELIMIT, "zip: the members inflate to more than %zu bytes",
                           budget);
        if (!(copy = lx_tensor_file__own(t->file, e->size)))
            return lx_oom(t->err);
        rc = lx_zip_inflate(copy, &t->zip, e, t->err);
        e->data = copy;
    }
    t->stored += e->size;
    return rc;
}

static int find_in_zip(const unsigned char **data, size_t *bytes, torch_file *t, const char *key)
{
    char name[1024];
    lx_zip_entry *e;
    int rc;

    if (strlen(t->prefix) + strlen(key) + 6 > sizeof name)
        return lx_fail(t->err, LX_EFORMAT, "storage with a key of %zu bytes", strlen(key));
    strcpy(name, t->prefix);
    strcat(name, "data/");
    strcat(name, key);
    if (!(e = lx_zip_find(&t->zip, name)))
        return lx_fail(t->err, LX_EFORMAT, "storage \"%s\" is not in the archive",
                       lx_show(key, strlen(key)).text);
    if ((rc = read_member(t, e)) < 0)
        return rc;
    *data = e->data;
    *bytes = e->size;
    return LX_OK;
}

static int by_key(const void *pa, const void *pb)
{
    return strcmp(((const place *)pa)->key, ((const place *)pb)->key);
}

static int find_in_legacy(const unsigned char **data, size_t *bytes, torch_file *t,
                          const char *key)
{
    place wanted = {.key = key}, *p = NULL;

    if (t->n_places)
        p = bsearch(&wanted, t->places, t->n_places, sizeof wanted, by_key);
    if (!p)
        return lx_fail(t->err, LX_EFORMAT, "storage \"%s\" is not in the file",
                       lx_show(key, strlen(key)).text);
    *data = p->data;
    *bytes = p->bytes;
    return LX_OK;
}

/* The bytes of a storage, checked to be as many as the pickle says; of a view, those that are its own. */
static int find_storage(const unsigned char **data, size_t *bytes, torch_file *t,
                        const lx_pickle_storage *s, const char *name)
{
    size_t width = (size_t)lx_dtype_bits(s->dtype) / 8, need;
    int rc = t->prefix ? find_in_zip(data, bytes, t, s->key) : find_in_legacy(data, bytes, t, s->key);

    if (rc < 0) {
        lx_within(t->err, "\"%s\"", lx_show(name, strlen(name)).text);
        return rc;
    }
    if (!lx_mul_size(&need, s->numel, width) || need > *bytes)
        return lx_fail(t->err, LX_EFORMAT,
                       "\"%s\": storage \"%s\" has %zu bytes, %llu elements of %zu are declared, "
                       "at byte %zu of the pickle",
                       lx_show(name, strlen(name)).text, lx_show(s->key, strlen(s->key)).text,
                       *bytes, (unsigned long long)s->numel, width, s->at);
    if (s->is_view && (s->view_offset > s->numel || s->view_size > s->numel - s->view_offset))
        return lx_fail(t->err, LX_EFORMAT,
                       "\"%s\": a view of elements %llu to %llu of storage \"%s\", which has %llu, "
                       "at byte %zu of the pickle",
                       lx_show(name, strlen(name)).text, (unsigned long long)s->view_offset,
                       (unsigned long long)(s->view_offset + s->view_size),
                       lx_show(s->key, strlen(s->key)).text, (unsigned long long)s->numel, s->at);
    *data += s->is_view ? s->view_offset * width : 0;
    *bytes = s->is_view ? s->view_size * width : need;
    return LX_OK;
}

/* Tensors. */

/* Whether every element lies within the storage; sums in 128 bits cannot wrap: one that passes the
 * storage, which has fewer than 2^64 bytes, is the last. */
static bool is_within(const lx_pickle_tensor *p, size_t bytes, size_t width)
{
    unsigned __int128 last = (unsigned __int128)p->offset;

    for (int i = 0; i < p->n_dims && last < bytes; i++)
        last += (unsigned __int128)(p->size[i] - 1) * (unsigned __int128)p->stride[i];
    return last < bytes / width;
}

static bool is_contiguous(const lx_pickle_tensor *p)
{
    int64_t expected = 1;

    for (int i = p->n_dims - 1; i >= 0; i--) {
        if (p->size[i] != 1 && p->stride[i] != expected)
            return false;
        expected *= p->size[i];
    }
    return true;
}

/* Elements in C order, by counting an index up like an odometer. */
static void gather(unsigned char *dst, const unsigned char *src, const lx_pickle_tensor *p,
                   size_t n, size_t width)
{
    int64_t index[LX_MAX_FILE_DIMS] = {0}, at = p->offset;

    for (size_t i = 0; i < n; i++) {
        memcpy(dst + i * width, src + (size_t)at * width, width);
        for (int d = p->n_dims - 1; d >= 0; d--) {
            if (p->size[d] == 1) /* whose stride may be any number */
                continue;
            at += p->stride[d];
            if (++index[d] < p->size[d])
                break;
            at -= p->stride[d] * p->size[d];
            index[d] = 0;
        }
    }
}

static int copy_strided(lx_tensor_view *view, torch_file *t, const lx_pickle_tensor *p,
                        const unsigned char *data, size_t width)
{
    unsigned char *copy;

    if (view->bytes > t->stored + SPARE - (t->copied < t->stored + SPARE ? t->copied
                                                                         : t->stored + SPARE))
        return lx_fail(t->err, LX_ELIMIT,
                       "\"%s\": repeats its storage into %zu bytes, more than the file has",
                       lx_show(view->name, strlen(view->name)).text, view->bytes);
    if (!(copy = lx_tensor_file__own(t->file, view->bytes)))
        return lx_oom(t->err);
    gather(copy, data, p, view->n_elements, width);
    t->copied += view->bytes;
    view->data = copy;
    return LX_OK;
}

static int add_tensor(torch_file *t, const char *name, const lx_pickle_tensor *p)
{
    lx_tensor_view view = {.name = name, .dtype = p->dtype};
    size_t width = (size_t)lx_dtype_bits(p->dtype) / 8, bytes = 0;
    const unsigned char *data = NULL;
    int rc;

    if ((rc = lx_tensor_file__shape(&view, t->file, p->size, p->n_dims, t->err)) < 0)
        return rc;
    if (rc > 0 || !lx_tensor_file__measure(&view))
        return refuse(t, name, "the size of the tensor overflows");
    if ((rc = find_storage(&data, &bytes, t, p->storage, name)) < 0)
        return rc;
    view.data = data;
    if (view.n_elements) {
        if (!is_within(p, bytes, width))
            return refuse(t, name, "offset, size and strides reach past the storage");
        if (is_contiguous(p))
            view.data = data + (size_t)p->offset * width;
        else if ((rc = copy_strided(&view, t, p, data, width)) < 0)
            return rc;
    }
    return lx_tensor_file__add(t->file, &view, t->err);
}

/* The tree. */

static const lx_pickle *member(const lx_pickle *dict, const char *name)
{
    for (uint32_t i = 0; i + 1 < dict->as.list.count; i += 2) {
        const lx_pickle *key = dict->as.list.items[i];
        if (key->kind == LX_PICKLE_TEXT && key->as.text.n == strlen(name) &&
            !memcmp(key->as.text.bytes, name, key->as.text.n))
            return dict->as.list.items[i + 1];
    }
    return NULL;
}

static bool has_tensors(const lx_pickle *dict)
{
    for (uint32_t i = 0; i + 1 < dict->as.list.count; i += 2)
        if (dict->as.list.items[i + 1]->kind == LX_PICKLE_TENSOR)
            return true;
    return false;
}

/* The dictionary of weights within `root`, through at most a few wrappers. */
static int unwrap(lx_pickle **out, torch_file *t, lx_pickle *root)
{
    int rc;

    for (int depth = 0; depth < 4; depth++) {
        const lx_pickle *inner = NULL;
        size_t i = 0;
        for (; i < sizeof wrappers / sizeof *wrappers; i++) {
            inner = member(root, wrappers[i]);
            if (inner && inner->kind == LX_PICKLE_DICT && inner->as.list.count)
                break;
        }
        if (i == sizeof wrappers / sizeof *wrappers || has_tensors(root))
            break;
        if ((rc = lx_tensor_file__note(t->file, t->err, "the tensors are those in \"%s\"",
                                       wrappers[i])) < 0)
            return rc;
        root = (lx_pickle *)(uintptr_t)inner;
    }
    *out = root;
    return LX_OK;
}

/* "prefix.key" in the arena; NULL with an error told, or *skip for keys that are no names. */
static int join(const char **out, torch_file *t, const char *prefix, const lx_pickle *key,
                bool *skip)
{
    const char *dot = *prefix ? "." : "";

    *skip = false;
    t->named += strlen(prefix) + 24 + (key->kind == LX_PICKLE_TEXT ? key->as.text.n : 0);
    if (t->named > MOST_NAMES)
        return lx_fail(t->err, LX_ELIMIT, "the names take more than %d bytes", MOST_NAMES);
    if (key->kind == LX_PICKLE_INT) {
        *out = lx_arena_printf(t->file->arena, "%s%s%lld", prefix, dot,
                               (long long)key->as.integer);
    } else if (key->kind == LX_PICKLE_TEXT) {
        if (memchr(key->as.text.bytes, '\0', key->as.text.n) || key->as.text.n > 65536)
            return lx_fail(t->err, LX_EFORMAT, "\"%s\": NUL in a name, or one too long",
                           lx_show(key->as.text.bytes, key->as.text.n).text);
        *out = lx_arena_printf(t->file->arena, "%s%s%.*s", prefix, dot, (int)key->as.text.n,
                               key->as.text.bytes);
    } else {
        *skip = true;
        return LX_OK;
    }
    return *out ? LX_OK : lx_oom(t->err);
}

typedef struct level {
    lx_pickle *dict;
    const char *prefix;
    uint32_t next;
} level;

/* One entry of the dictionary at the top of the walk; may go one level down. */
static int visit(torch_file *t, level *levels, int *depth)
{
    level *here = &levels[*depth - 1];
    const lx_pickle *key = here->dict->as.list.items[here->next];
    lx_pickle *value = here->dict->as.list.items[here->next + 1];
    const char *name = NULL;
    bool skip;
    int rc;

    here->next += 2;
    if (value->kind != LX_PICKLE_TENSOR && value->kind != LX_PICKLE_DICT)
        return LX_OK;
    if ((rc = join(&name, t, here->prefix, key, &skip)) < 0 || skip)
        return rc;
    if (value->kind == LX_PICKLE_TENSOR)
        return add_tensor(t, name, value->as.tensor);
    if (value->is_seen) /* shared or its own parent: once is enough */
        return LX_OK;
    if (*depth == DEPTH)
        return lx_tensor_file__note(t->file, t->err, "\"%s\" is nested too deep, left out",
                                    lx_show(name, strlen(name)).text);
    value->is_seen = true;
    levels[(*depth)++] = (level){value, name, 0};
    return LX_OK;
}

static bool is_tensor_list(const lx_pickle *root)
{
    if (root->kind != LX_PICKLE_LIST || !root->as.list.count)
        return false;
    for (uint32_t i = 0; i < root->as.list.count; i++)
        if (root->as.list.items[i]->kind != LX_PICKLE_TENSOR)
            return false;
    return true;
}

/* Named by their places: "0", "1", ... */
static int collect_list(torch_file *t, const lx_pickle *root)
{
    for (uint32_t i = 0; i < root->as.list.count; i++) {
        const char *name = lx_arena_printf(t->file->arena, "%u", (unsigned)i);
        int rc = name ? add_tensor(t, name, root->as.list.items[i]->as.tensor)
                      : lx_oom(t->err);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

static int collect(torch_file *t, lx_pickle *root)
{
    level levels[DEPTH];
    int depth = 1, rc;

    if (root->kind != LX_PICKLE_DICT && !is_tensor_list(root))
        return lx_fail(t->err, LX_EFORMAT, "the pickle holds no dictionary of tensors");
    for (size_t i = 0; i < t->facts.n_inert; i++)
        if ((rc = lx_tensor_file__note(t->file, t->err, "pickled %s left unread",
                                       t->facts.inert[i])) < 0)
            return rc;
    if (root->kind == LX_PICKLE_LIST)
        return collect_list(t, root);
    if ((rc = unwrap(&root, t, root)) < 0)
        return rc;
    root->is_seen = true;
    levels[0] = (level){root, "", 0};
    while (depth) {
        if (levels[depth - 1].next + 1 >= levels[depth - 1].dict->as.list.count)
            depth--;
        else if ((rc = visit(t, levels, &depth)) < 0)
            return rc;
    }
    if (!t->file->count)
        return lx_tensor_file__note(t->file, t->err, "no tensors are in the file");
    return LX_OK;
}

/* The zip form. */

/* The one member that is data.pkl or ends in /data.pkl; what stands before it is the prefix. */
static int find_pickle(lx_zip_entry **out, torch_file *t)
{
    lx_zip_entry *found = NULL;

    for (size_t i = 0; i < t->zip.count; i++) {
        lx_zip_entry *e = &t->zip.entries[i];
        const char *base = lx_path_base(e->name);
        if (!strcmp(base, "constants.pkl"))
            return lx_fail(t->err, LX_EUNSUPPORTED,
                           "a TorchScript archive (it has constants.pkl), not weights");
        if (strcmp(base, "data.pkl"))
            continue;
        if (found)
            return lx_fail(t->err, LX_EFORMAT, "zip: two data.pkl (\"%s\" at byte %zu)",
                           lx_show(e->name, strlen(e->name)).text, e->at);
        found = e;
    }
    if (!found)
        return lx_fail(t->err, LX_EFORMAT, "zip: no data.pkl at byte 0, so not torch's");
    t->prefix = lx_arena_strndup(t->file->arena, found->name,
                                 strlen(found->name) - strlen("data.pkl"));
    *out = found;
    return t->prefix ? LX_OK : lx_oom(t->err);
}

static int check_byte_order(torch_file *t)
{
    char name[1024];
    lx_zip_entry *e;
    int rc;

    if (strlen(t->prefix) + 10 > sizeof name)
        return LX_OK;
    strcpy(name, t->prefix);
    strcat(name, "byteorder");
    if (!(e = lx_zip_find(&t->zip, name)))
        return LX_OK;
    if (e->size > 16)
        return lx_fail(t->err, LX_EFORMAT, "zip: \"%s\" of %zu bytes at byte %zu",
                       lx_show(name, strlen(name)).text, e->size, e->at);
    if ((rc = read_member(t, e)) < 0)
        return rc;
    if (e->size >= 6 && !memcmp(e->data, "little", 6))
        return LX_OK;
    if (e->size >= 3 && !memcmp(e->data, "big", 3))
        return lx_fail(t->err, LX_EUNSUPPORTED, "saved on a big-endian machine, says \"%s\" at byte %zu",
                       lx_show(name, strlen(name)).text, e->at);
    return lx_fail(t->err, LX_EFORMAT, "zip: \"%s\" says \"%s\", neither \"little\" nor \"big\", at byte %zu",
                   lx_show(name, strlen(name)).text, lx_show((const char *)e->data, e->size).text,
                   e->at);
}

static int note_deflated(torch_file *t)
{
    for (size_t i = 0; i < t->zip.count; i++)
        if (t->zip.entries[i].method == LX_ZIP_DEFLATED)
            return lx_tensor_file__note(t->file, t->err,
                                        "members are deflated; torch itself only stores");
    return LX_OK;
}

static int read_zip(torch_file *t)
{
    lx_zip_entry *e = NULL;
    lx_pickle *root = NULL;
    size_t used = 0;
    int rc;

    if ((rc = lx_zip_open(&t->zip, t->file->arena, t->file->map.data, t->file->map.size,
                          t->err)) < 0 ||
        (rc = find_pickle(&e, t)) < 0 || (rc = check_byte_order(t)) < 0 ||
        (rc = note_deflated(t)) < 0 || (rc = read_member(t, e)) < 0)
        return rc;
    t->stored = 0; /* the budget for copies is counted in storages only */
    rc = lx_pickle_read(&root, &used, &t->facts, t->file->arena, e->data, e->size, 0, t->err);
    if (rc == LX_OK && used != e->size)
        rc = lx_fail(t->err, LX_EFORMAT, "pickle: %zu bytes after its end at byte %zu",
                     e->size - used, used);
    if (rc < 0) {
        lx_within(t->err, "%s", lx_show(e->name, strlen(e->name)).text);
        return rc;
    }
    return collect(t, root);
}

int lx_torch__read_zip(lx_tensor_file *file, lx_error *err)
{
    torch_file t = {.file = file, .err = err};
    int rc;

    file->format = "torch zip";
    rc = read_zip(&t);
    lx_pickle_facts_release(&t.facts);
    return rc;
}

/* The legacy form: magic, protocol 1001, system facts, the object, keys; then the storages. */

typedef struct cursor {
    const unsigned char *bytes;
    size_t n, at;
} cursor;

static int next_pickle(lx_pickle **out, torch_file *t, cursor *c)
{
    size_t used = 0;
    int rc = lx_pickle_read(out, &used, &t->facts, t->file->arena, c->bytes + c->at, c->n - c->at,
                            c->at, t->err);
    if (rc == LX_OK)
        c->at += used;
    return rc;
}

static int check_head(torch_file *t, cursor *c)
{
    static const unsigned char magic[] = {0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19};
    const lx_pickle *order;
    lx_pickle *v = NULL;
    size_t at = c->at;
    int rc;

    if ((rc = next_pickle(&v, t, c)) < 0)
        return rc;
    if (v->kind != LX_PICKLE_BYTES || v->as.text.n != sizeof magic ||
        memcmp(v->as.text.bytes, magic, sizeof magic))
        return lx_fail(t->err, LX_EFORMAT, "a pickle, but not one of torch.save, at byte %zu", at);
    at = c->at;
    if ((rc = next_pickle(&v, t, c)) < 0)
        return rc;
    if (v->kind != LX_PICKLE_INT || v->as.integer != 1001)
        return lx_fail(t->err, LX_EUNSUPPORTED, "torch legacy file of another protocol at byte %zu",
                       at);
    at = c->at;
    if ((rc = next_pickle(&v, t, c)) < 0)
        return rc;
    order = v->kind == LX_PICKLE_DICT ? member(v, "little_endian") : NULL;
    if (order && (order->kind != LX_PICKLE_BOOL || !order->as.integer))
        return lx_fail(t->err, LX_EUNSUPPORTED, "saved on a big-endian machine, at byte %zu", at);
    return LX_OK;
}

/* Keys are looked for in what the pickle declared: that gives the width of their elements. */
static int by_storage_key(const void *pa, const void *pb)
{
    return strcmp((*(const lx_pickle_storage *const *)pa)->key,
                  (*(const lx_pickle_storage *const *)pb)->key);
}

static const lx_pickle_storage *find_declared(const torch_file *t, const char *key)
{
    lx_pickle_storage wanted = {.key = key};
    const lx_pickle_storage *pointer = &wanted, **found = NULL;

    if (t->facts.n_storages)
        found = bsearch(&pointer, t->facts.storages, t->facts.n_storages, sizeof pointer,
                        by_storage_key);
    return found ? *found : NULL;
}

static int place_storage(torch_file *t, cursor *c, const lx_pickle *key)
{
    const lx_pickle_storage *s;
    size_t bytes = 0;
    uint64_t count = 0;
    char *text;

    if (key->kind != LX_PICKLE_TEXT || memchr(key->as.text.bytes, '\0', key->as.text.n))
        return lx_fail(t->err, LX_EFORMAT, "storage without a key at byte %zu", c->at);
    if (!(text = lx_arena_strndup(t->file->arena, key->as.text.bytes, key->as.text.n)))
        return lx_oom(t->err);
    if (!(s = find_declared(t, text)))
        return lx_fail(t->err, LX_EFORMAT, "storage \"%s\" belongs to no tensor at byte %zu",
                       lx_show(text, key->as.text.n).text, c->at);
    if (c->n - c->at < 8)
        return lx_fail(t->err, LX_EFORMAT, "cut short at byte %zu", c->n);
    for (int i = 7; i >= 0; i--)
        count = count << 8 | c->bytes[c->at + (size_t)i];
    c->at += 8;
    if (!lx_mul_size(&bytes, count, (size_t)lx_dtype_bits(s->dtype) / 8) ||
        bytes > c->n - c->at)
        return lx_fail(t->err, LX_EFORMAT,
                       "storage \"%s\" of %llu elements reaches past the end at byte %zu",
                       lx_show(text, key->as.text.n).text, (unsigned long long)count, c->at - 8);
    t->places[t->n_places++] = (place){text, c->bytes + c->at, bytes};
    t->stored += bytes;
    c->at += bytes;
    return LX_OK;
}

static int place_storages(torch_file *t, cursor *c, const lx_pickle *keys)
{
    int rc;

    if (keys->kind != LX_PICKLE_LIST)
        return lx_fail(t->err, LX_EFORMAT, "no list of storages before byte %zu", c->at);
    if (t->facts.n_storages)
        qsort(t->facts.storages, t->facts.n_storages, sizeof *t->facts.storages, by_storage_key);
    if (!(t->places = lx_arena_calloc(t->file->arena, keys->as.list.count, sizeof *t->places)))
        return lx_oom(t->err);
    for (uint32_t i = 0; i < keys->as.list.count; i++)
        if ((rc = place_storage(t, c, keys->as.list.items[i])) < 0)
            return rc;
    if (c->at != c->n)
        return lx_fail(t->err, LX_EFORMAT, "%zu bytes after the last storage at byte %zu",
                       c->n - c->at, c->at);
    if (t->n_places)
        qsort(t->places, t->n_places, sizeof *t->places, by_key);
    for (size_t i = 1; i < t->n_places; i++)
        if (!strcmp(t->places[i - 1].key, t->places[i].key))
            return lx_fail(t->err, LX_EFORMAT, "storage \"%s\" is there twice",
                           lx_show(t->places[i].key, strlen(t->places[i].key)).text);
    return LX_OK;
}

int lx_torch__read_legacy(lx_tensor_file *file, lx_error *err)
{
    torch_file t = {.file = file, .err = err};
    cursor c = {file->map.data, file->map.size, 0};
    lx_pickle *root = NULL, *keys = NULL;
    int rc;

    file->format = "torch legacy";
    if ((rc = check_head(&t, &c)) == LX_OK && (rc = next_pickle(&root, &t, &c)) == LX_OK &&
        (rc = next_pickle(&keys, &t, &c)) == LX_OK &&
        (rc = place_storages(&t, &c, keys)) == LX_OK)
        rc = collect(&t, root);
    lx_pickle_facts_release(&t.facts);
    return rc;
}
