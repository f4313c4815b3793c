/* In builds that count what runs (LX_COVERAGE): a process that ends by _exit, as children do, or becomes another program,
 * leaves its counts behind as well. The linker puts these in the places of the calls. */
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

enum { MOST_WORDS = 15 };

void __gcov_dump(void);
void __gcov_reset(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
int __real_execv(const char *path, char *const *argv);
int __real_execvp(const char *name, char *const *argv);
int __wrap_execv(const char *path, char *const *argv);
int __wrap_execvp(const char *name, char *const *argv);
int __wrap_execl(const char *path, const char *word, ...);
int __wrap_execlp(const char *name, const char *word, ...);

_Noreturn void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

/* What is counted after it failed is one more dump. */
static int become(int (*exec)(const char *name, char *const *argv), const char *name,
                  char *const *argv)
{
    int rc;

    __gcov_dump();
    rc = exec(name, argv);
    __gcov_reset();
    return rc;
}

int __wrap_execv(const char *path, char *const *argv)
{
    return become(__real_execv, path, argv);
}

int __wrap_execvp(const char *name, char *const *argv)
{
    return become(__real_execvp, name, argv);
}

static void list_words(char *words[MOST_WORDS + 1], const char *word, va_list more)
{
    size_t n = 0;

    for (; word && n < MOST_WORDS; word = va_arg(more, const char *))
        words[n++] = (char *)word;
    words[n] = NULL;
}

int __wrap_execl(const char *path, const char *word, ...)
{
    char *words[MOST_WORDS + 1];
    va_list more;

    va_start(more, word);
    list_words(words, word, more);
    va_end(more);
    return become(__real_execv, path, words);
}

int __wrap_execlp(const char *name, const char *word, ...)
{
    char *words[MOST_WORDS + 1];
    va_list more;

    va_start(more, word);
    list_words(words, word, more);
    va_end(more);
    return become(__real_execvp, name, words);
}
