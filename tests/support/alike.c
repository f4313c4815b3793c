#include "tests/support/alike.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t mask(char *bytes, size_t n)
{
    size_t to = 0;

    for (size_t i = 0; i < n; i++) {
        bool is_digit = strchr("0123456789abcdef.", bytes[i]) && bytes[i];
        char c = is_digit ? '0' : bytes[i];
        if (c == '0' && to && bytes[to - 1] == '0')
            continue;
        bytes[to++] = c;
    }
    return to;
}

bool lx_is_alike(const char *a, size_t na, const char *b, size_t nb)
{
    char *ma, *mb;
    bool same;

    if (na == nb && memcmp(a, b, na) == 0)
        return true;
    ma = memcpy(malloc(na + 1), a, na);
    mb = memcpy(malloc(nb + 1), b, nb);
    na = mask(ma, na);
    nb = mask(mb, nb);
    same = na == nb && memcmp(ma, mb, na) == 0;
    free(ma);
    free(mb);
    return same;
}

static size_t without_padding(const char *bytes, size_t n)
{
    while (n && bytes[n - 1] == ' ')
        n--;
    return n;
}

/* The metadata tell when a LoRA was made, so that its header may be longer. */
bool lx_is_alike_file(const lx_kept *a, const lx_kept *b)
{
    uint64_t head_a, head_b;

    if (lx_is_alike(a->bytes, a->n, b->bytes, b->n))
        return true;
    if (!strstr(a->name, ".safetensors") || a->n < 8 || b->n < 8)
        return false;
    memcpy(&head_a, a->bytes, 8);
    memcpy(&head_b, b->bytes, 8);
    if (head_a > a->n - 8 || head_b > b->n - 8 || a->n - head_a != b->n - head_b)
        return false;
    return lx_is_alike(a->bytes + 8, without_padding(a->bytes + 8, head_a), b->bytes + 8,
                       without_padding(b->bytes + 8, head_b)) &&
           memcmp(a->bytes + 8 + head_a, b->bytes + 8 + head_b, a->n - 8 - head_a) == 0;
}

lx_kept *lx_find_alike(lx_snapshot *s, const lx_kept *k)
{
    lx_kept *same = lx_snapshot_find(s, k->name);

    for (size_t i = 0; !same && i < s->count; i++)
        if (s->items[i].is_folder == k->is_folder &&
            lx_is_alike(s->items[i].name, strlen(s->items[i].name), k->name,
                        strlen(k->name)))
            same = &s->items[i];
    return same;
}

bool lx_is_whole_safetensors(const lx_kept *k)
{
    static const char word[] = "\"data_offsets\":[";
    const char *at, *end;
    uint64_t n_header = 0, last = 0;

    if (k->n < 8)
        return false;
    memcpy(&n_header, k->bytes, 8);
    if (n_header > k->n - 8)
        return false;
    at = (const char *)k->bytes + 8;
    end = at + n_header;
    while ((at = memmem(at, (size_t)(end - at), word, sizeof word - 1))) {
        unsigned long long from = 0, to = 0;
        char numbers[48] = "";
        at += sizeof word - 1;
        memcpy(numbers, at,
               (size_t)(end - at) < sizeof numbers - 1 ? (size_t)(end - at)
                                                       : sizeof numbers - 1);
        if (sscanf(numbers, "%llu,%llu", &from, &to) != 2)
            return false;
        last = to > last ? to : last;
    }
    return 8 + n_header + last == k->n;
}
