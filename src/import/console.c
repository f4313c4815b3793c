#include "src/import/console.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ENCODING_UNKNOWN, ENCODING_BYTES, ENCODING_UTF16LE, ENCODING_UTF16BE };
enum { ESCAPE_NONE, ESCAPE_BEGUN, ESCAPE_CSI, ESCAPE_OSC, ESCAPE_OSC_END };

static void reset_state(lx_console_state *s)
{
    *s = (lx_console_state){.num_train_images = -1,
                            .num_reg_images = -1,
                            .num_batches_per_epoch = -1,
                            .num_epochs = -1,
                            .batch_size = -1,
                            .total_batch_size = -1,
                            .gradient_accumulation_steps = -1,
                            .total_steps = -1,
                            .network_dim = -1,
                            .network_alpha = NAN,
                            .seconds_per_step = NAN,
                            .loss = NAN};
}

void lx_console_init(lx_console *c, lx_console_sink sink, void *context)
{
    memset(c, 0, sizeof *c);
    c->sink = sink;
    c->context = context;
    reset_state(&c->state);
    c->next_dim = -1;
    c->next_alpha = NAN;
}

static int tell(lx_console *c, lx_console_event event, lx_error *err)
{
    event.state = &c->state;
    return c->sink ? c->sink(c->context, &event, err) : LX_OK;
}

/* ---- numbers ----------------------------------------------------------------------- */

/* Decimal digits at *p, at most 15 of them, so that nothing overflows. */
static bool read_digits(int64_t *out, const char **p, const char *end)
{
    const char *at = *p;
    int64_t x = 0;

    for (; at < end && *at >= '0' && *at <= '9' && at - *p < 16; at++)
        x = x * 10 + (*at - '0');
    if (at == *p || at - *p > 15)
        return false;
    *out = x;
    *p = at;
    return true;
}

/* "33:27", "1:40:22", "2 days, 1:00:00" does not occur in tqdm: hours just grow. */
static bool read_clock(double *out, const char **p, const char *end)
{
    int64_t part, total = 0;
    int n = 0;

    do {
        if (n > 0)
            ++*p;
        if (!read_digits(&part, p, end) || part > 1000000)
            return false;
        total = total * 60 + part;
    } while (++n < 4 && *p < end && **p == ':');
    *out = (double)total;
    return n > 1;
}

static bool read_number(double *out, const char **p, const char *end)
{
    char text[40], *stop;
    size_t n = (size_t)(end - *p);

    n = n < sizeof text - 1 ? n : sizeof text - 1;
    memcpy(text, *p, n);
    text[n] = '\0';
    if (!strchr("+-.0123456789nNiI", text[0]) || !text[0])
        return false;
    if (strncasecmp(text, "0x", 2) == 0) /* strtod would read it */
        return false;
    *out = strtod(text, &stop);
    *p += stop - text;
    return stop > text;
}

/* ---- bars -------------------------------------------------------------------------- */

typedef struct bar {
    const char *name; /* before the percentage */
    size_t name_n;
    int64_t n, total;
    double elapsed, seconds_per_step;
    const char *pairs, *end; /* after the rate */
} bar;

static void trim(const char **text, size_t *n)
{
    while (*n && (unsigned char)(*text)[0] <= ' ')
        ++*text, --*n;
    while (*n && (unsigned char)(*text)[*n - 1] <= ' ')
        --*n;
}

/* "3920/15680 " before the bracket: read backwards. */
static bool read_count(bar *out, const char *line, const char *bracket,
                       const char **before)
{
    const char *at = bracket, *start;

    while (at > line && at[-1] == ' ')
        at--;
    start = at;
    while (start > line && bracket - start < 40 &&
           ((start[-1] >= '0' && start[-1] <= '9') || start[-1] == '/'))
        start--;
    *before = start;
    return read_digits(&out->n, &start, at) && start < at && *start++ == '/' &&
           read_digits(&out->total, &start, at) && start == at;
}

/* The name stands before "NN%|"; the last one, for the log may have joined lines. */
static void read_name(bar *out, const char *line, const char *before)
{
    const char *percent = NULL, *name;

    for (const char *p = before; p > line + 1 && !percent; p--)
        if (p[-1] == '|' && p[-2] == '%')
            percent = p - 2;
    if (!percent)
        return;
    while (percent > line &&
           ((percent[-1] >= '0' && percent[-1] <= '9') || percent[-1] == ' '))
        percent--;
    if (percent > line && percent[-1] == ':')
        percent--;
    for (name = percent; name > line && percent - name < LX_CONSOLE_NAME; name--)
        if (name[-1] == ']' || name[-1] == ':')
            break;
    out->name = name;
    out->name_n = (size_t)(percent - name);
    trim(&out->name, &out->name_n);
}

/* "33:27<1:40:22,  1.95it/s, loss=0.1" */
static bool read_bracket(bar *out, const char *p, const char *end)
{
    double left, rate;

    out->seconds_per_step = NAN;
    if (!read_clock(&out->elapsed, &p, end) || p == end || *p++ != '<')
        return false;
    if (p < end && *p == '?')
        p++;
    else if (!read_clock(&left, &p, end))
        return false;
    if (p == end || *p++ != ',')
        return false;
    while (p < end && *p == ' ')
        p++;
    if (p < end && *p == '?')
        p++;
    else if (!read_number(&rate, &p, end))
        return false;
    else if (end - p >= 4 && memcmp(p, "it/s", 4) == 0)
        out->seconds_per_step = rate > 0 ? 1 / rate : NAN;
    else if (end - p >= 4 && memcmp(p, "s/it", 4) == 0)
        out->seconds_per_step = rate;
    while (p < end && *p != ',')
        p++;
    out->pairs = p;
    out->end = end;
    return true;
}

static bool is_named(const bar *b, const char *name)
{
    return b->name_n == strlen(name) && memcmp(b->name, name, b->name_n) == 0;
}

static bool is_validation(const bar *b)
{
    return is_named(b, "validation steps") || is_named(b, "epoch validation steps");
}

/* sd-scripts' own bar: its `loss` is a moving average. */
static bool is_training(const bar *b)
{
    return is_named(b, "steps");
}

/* A name of the store's for a name on a bar; false for what is no curve. */
static bool curve_key(char out[LX_CONSOLE_NAME], const bar *b, const char *name, size_t n)
{
    static const struct {
        const char *name, *key;
    } known[] = {
        {"avr_loss", "loss/average"},
        {"val_avg_loss", "loss/validation/step_average"},
        {"val_epoch_avg_loss", "loss/validation/epoch_average"},
        {"Keys Scaled", "max_norm/keys_scaled"},
        {"Average key norm", "max_norm/avg_key_norm"},
        {"timestep", NULL},
    };

    if (n == 0 || n >= LX_CONSOLE_NAME)
        return false;
    memcpy(out, name, n);
    out[n] = '\0';
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(out, known[i].name) == 0) {
            if (known[i].key)
                snprintf(out, LX_CONSOLE_NAME, "%s", known[i].key);
            return known[i].key != NULL;
        }
    if (is_training(b) && strcmp(out, "loss") == 0)
        snprintf(out, LX_CONSOLE_NAME, "loss/average");
    for (const char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
            return false;
    return true;
}

static void add_pair(lx_console_drawing *d, const char *key, double value)
{
    size_t i = 0;

    while (i < d->n && strcmp(d->pairs[i].key, key) != 0)
        i++;
    if (i == LX_CONSOLE_PAIRS)
        return;
    if (i == d->n)
        d->n++;
    snprintf(d->pairs[i].key, LX_CONSOLE_NAME, "%s", key);
    d->pairs[i].value = value;
}

/* ", avr_loss=0.1, lr=1e-4" and ai-toolkit's "lr: 1.0e-04 loss: 3.5e-01"; true if one is
 * a loss. */
static bool read_pairs(lx_console_drawing *d, const bar *b)
{
    const char *p = b->pairs;
    bool has_loss = false;

    while (p < b->end) {
        const char *name, *equals, *at;
        char key[LX_CONSOLE_NAME];
        size_t n;
        double value;
        while (p < b->end && (*p == ',' || *p == ' '))
            p++;
        for (equals = name = p; equals < b->end && *equals != '=' && *equals != ':';
             equals++)
            ;
        if (equals == b->end)
            break;
        at = equals + 1;
        n = (size_t)(equals - name);
        trim(&name, &n);
        while (at < b->end && *at == ' ')
            at++;
        if (read_number(&value, &at, b->end) && curve_key(key, b, name, n)) {
            add_pair(d, key, value);
            has_loss = has_loss || strstr(key, "loss") != NULL;
        }
        for (p = at; p < b->end && *p != ',' && *p != ' '; p++)
            ;
    }
    return has_loss;
}

static int settle(lx_console *c, lx_error *err)
{
    int rc = LX_OK;

    if (!c->pending.is_open)
        return LX_OK;
    c->pending.is_open = false;
    for (size_t i = 0; i < c->pending.n && rc == LX_OK; i++)
        rc = tell(c,
                  (lx_console_event){.kind = LX_CONSOLE_POINT,
                                     .key = c->pending.pairs[i].key,
                                     .step = c->pending.step,
                                     .value = c->pending.pairs[i].value},
                  err);
    return rc;
}

static bool is_like(const lx_console_drawing *a, const lx_console_drawing *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->pairs[i].key, b->pairs[i].key) != 0 ||
            memcmp(&a->pairs[i].value, &b->pairs[i].value, sizeof a->pairs[i].value) != 0)
            return false;
    return true;
}

int lx_console_settle(lx_console *c, lx_error *err)
{
    return is_like(&c->pending, &c->before) ? LX_OK : settle(c, err);
}

static int end_training(lx_console *c, lx_error *err)
{
    int rc = settle(c, err);

    if (rc == LX_OK && c->state.has_training)
        rc = tell(c, (lx_console_event){.kind = LX_CONSOLE_OVER}, err);
    return rc;
}

static int begin_training(lx_console *c, lx_error *err)
{
    int rc = end_training(c, err);

    if (rc < 0)
        return rc;
    reset_state(&c->state);
    c->state.network_dim = c->next_dim;
    c->state.network_alpha = c->next_alpha;
    c->state.has_training = true;
    c->next_dim = -1;
    c->next_alpha = NAN;
    return tell(c, (lx_console_event){.kind = LX_CONSOLE_TRAINING}, err);
}

static void note_step(lx_console *c, const bar *b)
{
    lx_console_state *s = &c->state;

    s->n_bars++;
    s->step = b->n;
    s->elapsed = b->elapsed;
    if (s->total_steps < 0)
        s->total_steps = b->total;
    if (!isnan(b->seconds_per_step))
        s->seconds_per_step = b->seconds_per_step;
    for (size_t i = 0; i < c->pending.n; i++)
        if (strcmp(c->pending.pairs[i].key, "loss/average") == 0 ||
            strcmp(c->pending.pairs[i].key, "loss") == 0)
            s->loss = c->pending.pairs[i].value;
}

/* Only the last drawing of a validation bar has the mean of all its steps. */
static int take_validation(lx_console *c, const bar *b, lx_console_drawing *d,
                           lx_error *err)
{
    lx_console_drawing training;
    int rc;

    if (b->n < b->total)
        return LX_OK;
    if ((rc = settle(c, err)) < 0)
        return rc;
    training = c->pending;
    c->pending = *d;
    c->pending.step = c->state.step;
    c->pending.is_open = true;
    rc = settle(c, err);
    c->pending = training;
    return rc;
}

/* tqdm draws its bar once more when it closes it, long after the step was told. */
static bool was_told(const lx_console_drawing *told, const lx_console_drawing *d)
{
    return !told->is_open && told->step == d->step && is_like(told, d);
}

static int take_bar(lx_console *c, const bar *b, lx_error *err)
{
    lx_console_drawing d = {.step = b->n};
    bool has_loss = read_pairs(&d, b);
    int rc;

    if (is_validation(b))
        return take_validation(c, b, &d, err);
    /* A bar of another name may be anything's: only a loss says that it is a training's.
     */
    if (!is_training(b) && !has_loss)
        return LX_OK;
    if (c->pending.step != b->n) {
        if ((rc = settle(c, err)) < 0)
            return rc;
        c->before = c->pending;
    }
    /* One that begins anew after the end is another training, whose header was cut off.
     */
    if ((!c->state.has_training || (c->state.is_finished && b->n < c->state.step)) &&
        (rc = begin_training(c, err)) < 0)
        return rc;
    d.is_open = b->n > 0 && d.n > 0 && !was_told(&c->pending, &d);
    c->pending = d;
    note_step(c, b);
    return LX_OK;
}

/* A ']' has come: does a bar end here? Whatever else the line holds before it was text.
 */
static bool find_bar(bar *out, const lx_console *c)
{
    const char *bracket = c->line + c->open - 1, *before;

    *out = (bar){.name = ""};
    if (c->n - c->open > 512 ||
        !read_bracket(out, c->line + c->open, c->line + c->n - 1) ||
        !read_count(out, c->line, bracket, &before))
        return false;
    read_name(out, c->line, before);
    return true;
}

/* ---- lines ------------------------------------------------------------------------- */

/* The number at the end of a header line: after the last ':' or '='. */
static bool last_number(int64_t *out, const char *line, size_t n)
{
    const char *p = line + n;

    while (p > line && p[-1] != ':' && p[-1] != '=')
        p--;
    while (p < line + n && *p == ' ')
        p++;
    return p > line && read_digits(out, &p, line + n);
}

static void read_header(lx_console_state *s, const char *line, size_t n)
{
    const struct {
        const char *words;
        int64_t *number;
    } rows[] = {
        {"num train images * repeats", &s->num_train_images},
        {"num reg images", &s->num_reg_images},
        {"num batches per epoch", &s->num_batches_per_epoch},
        {"num epochs", &s->num_epochs},
        {"batch size per device", &s->batch_size},
        {"total train batch size", &s->total_batch_size},
        {"gradient accumulation steps", &s->gradient_accumulation_steps},
        {"total optimization steps", &s->total_steps},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (lx_starts_with(line, rows[i].words)) {
            last_number(rows[i].number, line, n);
            return;
        }
}

/* "create LoRA network. base dim (rank): 4, alpha: 2.0", perhaps with a logger's words
 * around it. */
static bool read_network(lx_console *c, const char *line, size_t n)
{
    const char *dim = strstr(line, "base dim (rank): "), *alpha;

    if (!dim)
        return false;
    dim += strlen("base dim (rank): ");
    read_digits(&c->next_dim, &dim, line + n);
    if ((alpha = strstr(dim, "alpha: "))) {
        alpha += strlen("alpha: ");
        read_number(&c->next_alpha, &alpha, line + n);
    }
    return true;
}

static int take_epoch(lx_console *c, const char *p, const char *end, lx_error *err)
{
    int64_t epoch, total;

    if (!read_digits(&epoch, &p, end) || p == end || *p++ != '/' ||
        !read_digits(&total, &p, end))
        return LX_OK;
    c->state.epoch = epoch;
    if (c->state.num_epochs < 0)
        c->state.num_epochs = total;
    return tell(c, (lx_console_event){.kind = LX_CONSOLE_EPOCH}, err);
}

static int take_path(lx_console *c, lx_console_kind kind, const char *path, lx_error *err)
{
    /* What is saved within a step comes before the step's own loss is drawn. */
    int rc = kind == LX_CONSOLE_SAVED ? LX_OK : settle(c, err);
    return rc < 0 ? rc : tell(c, (lx_console_event){.kind = kind, .path = path}, err);
}

/* One line without its end, NUL-terminated; escapes are gone, bars were taken out. */
static int take_line(lx_console *c, char *text, size_t n, lx_error *err)
{
    static const char saving[] = "saving checkpoint: ", last[] = "save trained model to ";
    const char *line = text;

    trim(&line, &n);
    text[line - text + (ptrdiff_t)n] = '\0';
    if (n == 0)
        return LX_OK;
    if (lx_starts_with(line, "running training"))
        return begin_training(c, err);
    if (read_network(c, line, n))
        return LX_OK;
    if (lx_starts_with(line, "epoch "))
        return take_epoch(c, line + 6, line + n, err);
    if (lx_starts_with(line, saving))
        return take_path(c, LX_CONSOLE_SAVED, line + strlen(saving), err);
    if (lx_starts_with(line, last))
        return take_path(c, LX_CONSOLE_LAST, line + strlen(last), err);
    if (strstr(line, "model saved.") && c->state.has_training && !c->state.is_finished) {
        int rc = settle(c, err);
        c->state.is_finished = true;
        return rc < 0 ? rc
                      : tell(c, (lx_console_event){.kind = LX_CONSOLE_FINISHED}, err);
    }
    read_header(&c->state, line, n);
    return LX_OK;
}

static int end_line(lx_console *c, lx_error *err)
{
    int rc;

    c->line[c->n] = '\0';
    rc = c->n ? take_line(c, c->line, c->n, err) : LX_OK;
    c->n = c->open = 0;
    return rc;
}

/* ---- bytes ------------------------------------------------------------------------- */

/* Drops terminal escapes: CSI ... letter, OSC ... BEL or ST, ESC and one byte. */
static bool is_escape(lx_console *c, unsigned char byte)
{
    switch (c->escape) {
    case ESCAPE_NONE:
        c->escape = byte == 0x1b ? ESCAPE_BEGUN : ESCAPE_NONE;
        return byte == 0x1b;
    case ESCAPE_BEGUN:
        c->escape = byte == '[' ? ESCAPE_CSI : byte == ']' ? ESCAPE_OSC : ESCAPE_NONE;
        return true;
    case ESCAPE_CSI:
        if (byte == '\n' || byte == '\r') { /* a broken one ends with its line */
            c->escape = ESCAPE_NONE;
            return false;
        }
        if (byte >= 0x40 && byte <= 0x7e)
            c->escape = ESCAPE_NONE;
        return true;
    case ESCAPE_OSC:
        if (byte == '\n' || byte == '\r') {
            c->escape = ESCAPE_NONE;
            return false;
        }
        c->escape = byte == 0x07   ? ESCAPE_NONE
                    : byte == 0x1b ? ESCAPE_OSC_END
                                   : ESCAPE_OSC;
        return true;
    default:
        c->escape = ESCAPE_NONE;
        return true;
    }
}

static int take_byte(lx_console *c, unsigned char byte, lx_error *err)
{
    bar found;
    int rc;

    if (is_escape(c, byte))
        return LX_OK;
    if (byte == '\n' || byte == '\r')
        return end_line(c, err);
    if (byte == '\0')
        byte = ' ';
    if (c->n == LX_CONSOLE_LINE && (rc = end_line(c, err)) < 0)
        return rc;
    c->line[c->n++] = (char)byte;
    if (byte == '[')
        c->open = c->n;
    if (byte != ']' || !c->open)
        return LX_OK;
    if (!find_bar(&found, c)) {
        c->open = 0;
        return LX_OK;
    }
    rc = take_bar(c, &found, err);
    c->n = c->open = 0;
    return rc;
}

static size_t put_utf8(unsigned char out[4], uint32_t c)
{
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)(first[n] | c);
    return n;
}

static int take_utf16(lx_console *c, unsigned char byte, lx_error *err)
{
    unsigned char bytes[4];
    uint32_t unit;
    size_t n;
    int rc = LX_OK;

    c->half[c->n_half++] = byte;
    if (c->n_half < 2)
        return LX_OK;
    c->n_half = 0;
    unit = c->encoding == ENCODING_UTF16LE ? (uint32_t)(c->half[0] | c->half[1] << 8)
                                           : (uint32_t)(c->half[1] | c->half[0] << 8);
    if (unit >= 0xd800 && unit < 0xdc00) {
        c->high = unit;
        return LX_OK;
    }
    if (unit >= 0xdc00 && unit < 0xe000)
        unit = c->high ? 0x10000 + ((c->high - 0xd800) << 10) + (unit - 0xdc00) : 0xfffd;
    c->high = 0;
    n = put_utf8(bytes, unit);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = take_byte(c, bytes[i], err);
    return rc;
}

/* The first three bytes may be a byte order mark. */
static int take_first(lx_console *c, unsigned char byte, lx_error *err)
{
    static const unsigned char utf8[] = {0xef, 0xbb, 0xbf};
    size_t n;
    int rc = LX_OK;

    c->half[c->n_half++] = byte;
    n = c->n_half;
    if (n == 2 && c->half[0] == 0xff && c->half[1] == 0xfe)
        c->encoding = ENCODING_UTF16LE;
    else if (n == 2 && c->half[0] == 0xfe && c->half[1] == 0xff)
        c->encoding = ENCODING_UTF16BE;
    else if (n == 3 && memcmp(c->half, utf8, 3) == 0)
        c->encoding = ENCODING_BYTES;
    else if (n == 1 ? (byte == 0xff || byte == 0xfe || byte == 0xef)
                    : n == 2 && memcmp(c->half, utf8, 2) == 0)
        return LX_OK; /* it may yet become one */
    else
        c->encoding = -1;
    c->n_half = 0;
    if (c->encoding != -1)
        return LX_OK;
    c->encoding = ENCODING_BYTES;
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = take_byte(c, c->half[i], err);
    return rc;
}

int lx_console_feed(lx_console *c, const void *bytes, size_t n, lx_error *err)
{
    const unsigned char *p = bytes;
    int rc = LX_OK;

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = c->encoding == ENCODING_UNKNOWN ? take_first(c, p[i], err)
             : c->encoding == ENCODING_BYTES ? take_byte(c, p[i], err)
                                             : take_utf16(c, p[i], err);
    return rc;
}

int lx_console_finish(lx_console *c, lx_error *err)
{
    int rc = LX_OK;

    if (c->encoding == ENCODING_UNKNOWN) {
        c->encoding = ENCODING_BYTES;
        for (size_t i = 0; i < c->n_half && rc == LX_OK; i++)
            rc = take_byte(c, c->half[i], err);
    }
    if (rc == LX_OK && (rc = end_line(c, err)) == LX_OK)
        rc = end_training(c, err);
    return rc;
}
