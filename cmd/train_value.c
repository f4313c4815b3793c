#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/train_flag.h"
#include "src/train/schedule.h"

static int read_choice(const lx_flag *flag, const char *text, lx_error *err)
{
    char list[256];
    size_t n = strlen(text), used = 0;

    for (const char *at = flag->choices; at;) {
        size_t length = strcspn(at, "|");
        if (length == n && memcmp(at, text, n) == 0)
            return LX_OK;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.*s", used ? ", " : "",
                                 (int)length, at);
        if (used >= sizeof list)
            break;
        at = at[length] ? at + length + 1 : NULL;
    }
    return lx_fail(err, LX_EUSAGE, "'%s' is none of %s", text, list);
}

/* As sd-scripts' int_or_float: "10%", a share below 1, or a whole number. */
static int read_share(double *out, const char *text, lx_error *err)
{
    char number[64];
    size_t n = strlen(text);
    bool is_percent = n > 0 && n < sizeof number && text[n - 1] == '%';
    int rc;

    if (!is_percent) {
        if ((rc = lx_parse_number(out, text, err)) < 0)
            return rc;
    } else {
        memcpy(number, text, n - 1);
        number[n - 1] = '\0';
        if ((rc = lx_parse_number(out, number, err)) < 0)
            return rc;
        *out /= 100;
    }
    if (*out < 0 || (is_percent && *out > 1) || *out > 1e15 ||
        (!is_percent && *out >= 1 && floor(*out) != *out))
        return lx_fail(err, LX_EUSAGE,
                       "'%s' is neither a whole number, nor a share below 1, nor a percentage",
                       text);
    if (is_percent && *out >= 1)
        *out = LX_ALL_STEPS;
    return LX_OK;
}

/* 8G, 500M, 512MiB, 1000000: powers of 1024. */
int lx_flag_read_size(int64_t *out, const char *text, lx_error *err)
{
    static const char units[] = "KMGT";
    char *end;
    double x = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end) : NULL;

    if (end != text && unit) {
        x = ldexp(x, 10 * (int)(unit - units + 1));
        end++;
        if (*end == 'i')
            end++;
        if (*end == 'B' || *end == 'b')
            end++;
    }
    if (end == text || *end || !(x >= 0) || x > 0x1p60)
        return lx_fail(err, LX_EUSAGE, "'%s' is no size in bytes; write it as in 8G or 500M",
                       text);
    *out = (int64_t)x;
    return LX_OK;
}

static int read_numbers(lx_flag_value *out, lx_arena *arena, lx_error *err)
{
    double *numbers = lx_arena_calloc(arena, out->words.count + 1, sizeof *numbers);
    int rc = LX_OK;

    if (!numbers)
        return lx_oom(err);
    for (size_t i = 0; i < out->words.count && rc == 0; i++)
        rc = lx_parse_number(&numbers[i], out->words.items[i], err);
    out->numbers = numbers;
    return rc;
}

static int read_text(lx_flag_value *out, const lx_flag *flag, const char *text, lx_error *err)
{
    int rc;

    out->text = text;
    if (flag->choices && (rc = read_choice(flag, text, err)) < 0)
        return rc;
    switch (flag->type) {
    case LX_TYPE_INT:
        if ((rc = lx_parse_int(&out->whole, text, err)) == 0)
            out->number = (double)out->whole;
        return rc;
    case LX_TYPE_NUMBER:
        return lx_parse_number(&out->number, text, err);
    case LX_TYPE_SHARE:
        return read_share(&out->number, text, err);
    case LX_TYPE_SIZE:
        return lx_flag_read_size(&out->whole, text, err);
    default:
        return LX_OK;
    }
}

int lx_flag_read(lx_flag_value *out, const lx_flag *flag, const lx_flag_words *given,
                 lx_arena *arena, lx_error *err)
{
    *out = (lx_flag_value){.given = given->given, .is_on = given->is_on, .words = given->words};
    if (flag->type == LX_TYPE_FLAG || flag->type == LX_TYPE_TEXTS || flag->type == LX_TYPE_REPEAT)
        out->is_null = flag->type != LX_TYPE_FLAG && !given->given;
    else if (flag->type == LX_TYPE_NUMBERS) {
        out->is_null = given->words.count == 0; /* an empty list is None */
        return read_numbers(out, arena, err);
    } else if (given->words.count > 0) {
        return read_text(out, flag, given->words.items[given->words.count - 1], err);
    } else if (flag->otherwise) {
        return read_text(out, flag, flag->otherwise, err);
    } else {
        out->is_null = true;
    }
    return LX_OK;
}
