#include "store/tar.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/str.h"

/* Offsets and lengths of the fields of a header. */
enum {
    NAME = 0,
    MODE = 100,
    UID = 108,
    GID = 116,
    SIZE = 124,
    TIME = 136,
    CHECKSUM = 148,
    TYPE = 156,
    MAGIC = 257,
    PREFIX = 345,
    PREFIX_N = 155
};

static const uint64_t MOST_BYTES = 1ULL
                                   << 33; /* of a member: what eleven octal digits say */

lx_tar lx_tar_of(const void *data, size_t n)
{
    return (lx_tar){.data = data, .n = n};
}

int lx_tar_is(const void *data, size_t n)
{
    return n >= MAGIC + 5 && memcmp((const char *)data + MAGIC, "ustar", 5) == 0;
}

static bool is_zero(const unsigned char *block, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (block[i])
            return false;
    return true;
}

/* Octal digits, blanks around them, ended by a blank or NUL. */
static bool read_octal(uint64_t *out, const unsigned char *field, size_t n)
{
    size_t i = 0, digits = 0;
    *out = 0;
    while (i < n && field[i] == ' ')
        i++;
    for (; i < n && field[i] >= '0' && field[i] <= '7'; i++, digits++)
        *out = *out << 3 | (uint64_t)(field[i] - '0');
    for (; i < n; i++)
        if (field[i] != ' ' && field[i] != '\0')
            return false;
    return digits > 0; /* of a field of 12 at most */
}

static bool has_sound_checksum(const unsigned char *header)
{
    uint64_t wanted, sum = 0;
    for (int i = 0; i < LX_TAR_BLOCK; i++)
        sum += i >= CHECKSUM && i < CHECKSUM + 8 ? ' ' : header[i];
    return read_octal(&wanted, header + CHECKSUM, 8) && sum == wanted;
}

static const char *kind_name(unsigned char type)
{
    switch (type) {
    case '1':
        return "a hard link";
    case '2':
        return "a symbolic link";
    case '3':
    case '4':
        return "a device";
    case '5':
        return "a folder";
    case '6':
        return "a named pipe";
    case 'x':
    case 'g':
        return "an extended header";
    default:
        return "no regular file";
    }
}

/* What is wrong with a name; NULL = nothing. */
static const char *name_problem(const char *name)
{
    if (!*name)
        return "it is empty";
    if (*name == '/')
        return "it begins at the root";
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-/", *p))
            return "it has characters that names of members do not have";
    for (const char *part = name; part;
         part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t n = strcspn(part, "/");
        if (!n || (n == 1 && part[0] == '.') ||
            (n == 2 && part[0] == '.' && part[1] == '.'))
            return "it leads elsewhere";
        if (n == 4 && strncasecmp(part, ".git", 4) == 0)
            return "it reaches into a git folder";
    }
    return NULL;
}

static int fail_name(const char *name, size_t at, const char *problem, lx_error *err)
{
    lx_str safe = LX_STR_INIT;
    lx_escape_terminal(&safe, name, strlen(name), true);
    lx_fail(err, LX_EFORMAT, "member \"%s\" at byte %zu: %s", lx_str_text(&safe), at,
            problem);
    lx_str_release(&safe);
    return LX_EFORMAT;
}

/* The end: two blocks of zeros, and zeros from there. */
static int check_end(const lx_tar *tar, lx_error *err)
{
    if (tar->n - tar->at < 2 * LX_TAR_BLOCK)
        return lx_fail(err, LX_EFORMAT,
                       "the archive's end is missing at byte %zu: it was cut", tar->at);
    for (size_t i = tar->at; i < tar->n; i++)
        if (tar->data[i])
            return lx_fail(err, LX_EFORMAT,
                           "something stands behind the archive's end, at byte %zu", i);
    return 0;
}

static int check_header(const unsigned char *header, size_t at, lx_error *err)
{
    unsigned char type = header[TYPE];
    if (!lx_tar_is(header, LX_TAR_BLOCK))
        return lx_fail(err, LX_EFORMAT, "no member's header (ustar) at byte %zu", at);
    if (!has_sound_checksum(header))
        return lx_fail(err, LX_EFORMAT,
                       "the header at byte %zu does not match its checksum", at);
    if (type != '0' && type != '\0')
        return lx_fail(err, LX_EFORMAT,
                       "the member at byte %zu is %s; only files are taken", at,
                       kind_name(type));
    if (!is_zero(header + PREFIX, PREFIX_N))
        return lx_fail(err, LX_EFORMAT, "the member at byte %zu has a name in two parts",
                       at);
    return LX_OK;
}

int lx_tar_next(lx_tar_member *out, lx_tar *tar, lx_error *err)
{
    const unsigned char *header = tar->data + tar->at;
    const char *problem;
    uint64_t size;
    size_t left;
    int rc;

    if (tar->n - tar->at < LX_TAR_BLOCK)
        return check_end(tar, err);
    if (is_zero(header, LX_TAR_BLOCK))
        return check_end(tar, err);
    if ((rc = check_header(header, tar->at, err)) < 0)
        return rc;
    memcpy(out->name, header + NAME, LX_TAR_NAME);
    out->name[LX_TAR_NAME] = '\0';
    if (!is_zero(header + NAME + strlen(out->name), LX_TAR_NAME - strlen(out->name)))
        return fail_name(out->name, tar->at, "its name goes on behind a NUL", err);
    if ((problem = name_problem(out->name)))
        return fail_name(out->name, tar->at, problem, err);
    if (!read_octal(&size, header + SIZE, 12))
        return fail_name(out->name, tar->at, "its size is no octal number", err);
    if (size >= MOST_BYTES)
        return lx_fail(
            err, LX_ELIMIT,
            "member \"%s\" at byte %zu: %llu bytes; a member has less than 8 GiB",
            out->name, tar->at, (unsigned long long)size);
    left = tar->n - tar->at - LX_TAR_BLOCK;
    if (size > left || lx_tar_padding(size) > left - size)
        return lx_fail(err, LX_EFORMAT,
                       "member \"%s\" at byte %zu: says %llu bytes, %zu are left",
                       out->name, tar->at, (unsigned long long)size, left);
    out->offset = tar->at;
    out->data = header + LX_TAR_BLOCK;
    out->n = (size_t)size;
    if (!is_zero(out->data + size, lx_tar_padding(size)))
        return fail_name(out->name, tar->at, "something hides behind its end", err);
    tar->at += LX_TAR_BLOCK + (size_t)size + lx_tar_padding(size);
    return 1;
}

size_t lx_tar_padding(uint64_t size)
{
    return (size_t)(-size & (LX_TAR_BLOCK - 1));
}

int lx_tar_header(unsigned char out[LX_TAR_BLOCK], const char *name, uint64_t size,
                  lx_error *err)
{
    unsigned sum = 0;

    if (size >= MOST_BYTES)
        return lx_fail(err, LX_ELIMIT, "%s: %llu bytes; a member has less than 8 GiB",
                       name, (unsigned long long)size);
    if (strlen(name) > LX_TAR_NAME || name_problem(name))
        return lx_fail(err, LX_EINTERNAL, "\"%s\" is no name of a member", name);
    memset(out, 0, LX_TAR_BLOCK);
    memcpy(out + NAME, name, strlen(name));
    memcpy(out + MODE, "0000644", 8);
    memcpy(out + UID, "0000000", 8);
    memcpy(out + GID, "0000000", 8);
    snprintf((char *)out + SIZE, 12, "%011llo", (unsigned long long)size);
    memcpy(out + TIME, "00000000000", 12);
    memset(out + CHECKSUM, ' ', 8);
    out[TYPE] = '0';
    memcpy(out + MAGIC,
           "ustar\0"
           "00",
           8);
    for (int i = 0; i < LX_TAR_BLOCK; i++)
        sum += out[i];
    snprintf((char *)out + CHECKSUM, 7, "%06o", sum);
    return LX_OK;
}
