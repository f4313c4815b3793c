# A C program records a run through the installed library, and lx finds it.
build=$(dirname "$LX")
[ -e "$build/liblx_store.so" ] || { echo "skip: no liblx_store.so beside $LX" >&2; exit 77; }
command -v cmake >/dev/null && command -v cc >/dev/null && command -v pkg-config >/dev/null ||
    { echo "skip: no cmake, cc or pkg-config" >&2; exit 77; }
cmake --install "$build" --prefix "$PWD/there" >install.log 2>&1 || { cat install.log; exit 1; }
export PKG_CONFIG_PATH="$PWD/$(find there -name pkgconfig | sed 's|^there|there|')"
cat >record.c <<'C'
#include <lx_store.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    const lxs_start start = {.name = "from c", .kind = "train", .flags = "{\"learning_rate\":0.25}"};
    const lxs_start bad = {.name = "bad", .flags = "[1]"};
    const lxs_start odd = {.kind = "Eval Run"};
    char long_key[258] = "";
    const char *text = "hello\n";
    lxs_error err;
    lxs_run *run, *other;
    FILE *file = fopen("out.bin", "wb");

    fputs("bytes", file);
    fclose(file);
    if (lxs_begin(&run, NULL, &bad, &err) == 0 || run)
        return 1;
    printf("%s\n", err.text);
    if (lxs_begin(&run, NULL, &start, &err) < 0)
        return puts(err.text), 2;
    for (int step = 1; step <= 100; step++)
        if (lxs_log(run, "loss", step, 1.0 / step, &err) < 0)
            return puts(err.text), 3;
    if (lxs_console(run, text, strlen(text), &err) < 0 ||
        lxs_artifact(run, "lora", "out.bin", 100, &err) < 0)
        return puts(err.text), 4;
    printf("%d\n", lxs_artifact(run, "lora", "nowhere", 1, &err) < 0);
    printf("%zu digits\n", strlen(lxs_id(run)));
    if (lxs_log(run, NULL, 1, 1, &err) < 0)
        puts(err.text);
    if (lxs_log(run, "two\nlines", 1, 1, &err) < 0)
        puts(err.text);
    if (lxs_log(run, "deleted\x7f", 1, 1, &err) < 0)
        puts(err.text);
    if (lxs_log(run, "latin \xe9", 1, 1, &err) < 0)
        puts(err.text);
    memset(long_key, 'a', 257);
    if (lxs_log(run, long_key, 1, 1, &err) < 0)
        puts(err.text);
    if (lxs_artifact(run, "My file", "out.bin", 1, &err) < 0)
        puts(err.text);
    if (lxs_begin(&other, NULL, &odd, &err) < 0)
        puts(err.text);
    if (lxs_artifact(run, NULL, "out.bin", 1, &err) < 0)
        puts(err.text);
    if (lxs_begin(&other, NULL, &start, &err) == 0 && lxs_log(other, "loss", 1, 2, &err) == 0 &&
        lxs_end(other, "well", NULL, &err) < 0)
        puts(err.text);
    return lxs_end(run, "finished", NULL, &err) < 0;
}
C
cc -Wall -Wextra -Werror record.c -o record $(pkg-config --cflags --libs lx_store) || exit 1
LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH") ./record
echo $?
"$LX" runs --columns status,steps,loss,learning_rate,name | sed 's/ *$//'
"$LX" fsck >/dev/null && echo sound
