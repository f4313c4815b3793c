#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/io.h"

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/lx-test-file-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    lx_dir dir;
    if (lx_dir_list(&dir, folder, NULL) == LX_OK)
        for (size_t i = 0; i < dir.count; i++)
            if (unlink(in_folder(dir.names[i])) < 0)
                rmdir(in_folder(dir.names[i]));
    lx_dir_free(&dir);
    return rmdir(folder);
}

static void test_base_file__written_then_read_mapped_and_hashed(void **state)
{
    const char *path = in_folder("a");
    lx_str text;
    lx_mapping map;
    lx_hash hash, want = lx_sha256_of("hello", 5);

    assert_int_equal(lx_file_write(path, "hello", 5, NULL), 0);
    assert_int_equal(lx_file_read(&text, path, 5, NULL), 0);
    assert_string_equal(lx_str_text(&text), "hello");
    lx_str_release(&text);
    assert_int_equal(lx_file_map(&map, path, NULL), 0);
    assert_int_equal(map.size, 5);
    assert_memory_equal(map.data, "hello", 5);
    lx_file_unmap(&map);
    assert_int_equal(lx_file_hash(&hash, path, NULL), 0);
    assert_true(lx_hash_equal(&hash, &want));
    assert_int_equal(lx_file_read(&text, path, 4, NULL), LX_ELIMIT);
}

static void test_base_file__an_empty_file_is_a_file(void **state)
{
    const char *path = in_folder("empty");
    lx_mapping map;
    lx_str text;
    assert_int_equal(lx_file_write(path, "", 0, NULL), 0);
    assert_int_equal(lx_file_map(&map, path, NULL), 0);
    assert_non_null(map.data);
    assert_int_equal(map.size, 0);
    lx_file_unmap(&map);
    assert_int_equal(lx_file_read(&text, path, 0, NULL), 0);
    assert_non_null(text.data);
    lx_str_release(&text);
}

static void make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

/* 256 bytes are more than a name may have. */
static void test_base_file__under_a_name_that_is_too_long_is_nothing(void **state)
{
    char path[400];
    lx_error err;
    lx_str text;

    snprintf(path, sizeof path, "%s/%0256d", folder, 0);
    assert_false(lx_file_exists(path));
    assert_int_equal(lx_file_read(&text, path, 9, &err), LX_ENOTFOUND);
    assert_int_equal(lx_file_write(path, "", 0, &err), LX_EIO);
}

static void test_base_file__errors_name_the_path(void **state)
{
    lx_error err;
    lx_str text;
    lx_mapping map;

    assert_int_equal(lx_file_read(&text, in_folder("none"), 9, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "none: cannot open: No such file"));
    assert_int_equal(lx_file_map(&map, folder, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "is a folder"));
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    assert_int_equal(lx_file_map(&map, in_folder("fifo"), &err), LX_EFORMAT); /* and no hang */
    assert_int_equal(symlink("self", in_folder("self")), 0);
    assert_int_equal(lx_file_read(&text, in_folder("self"), 9, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "self: cannot open: Too many levels"));
    assert_true(lx_file_exists(in_folder("self")));
    make_socket(in_folder("socket"));
    assert_int_equal(lx_file_read(&text, in_folder("socket"), 9, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "socket: is not a regular file"));
    assert_int_equal(lx_file_write(in_folder("no/such"), "", 0, &err), LX_ENOTFOUND);
    assert_int_equal(lx_file_write(folder, "", 0, &err), LX_EEXISTS);
}

static void test_base_file__old_bytes_stay_until_the_commit(void **state)
{
    const char *path = in_folder("kept");
    lx_new_file *file;
    lx_dir dir;
    lx_str text;

    assert_int_equal(lx_file_write(path, "old", 3, NULL), 0);
    assert_int_equal(lx_new_file_open(&file, path, NULL), 0);
    assert_int_equal(lx_new_file_write(file, "new", 3, NULL), 0);
    lx_new_file_close(file);
    assert_int_equal(lx_file_read(&text, path, 99, NULL), 0);
    assert_string_equal(lx_str_text(&text), "old");
    lx_str_release(&text);
    assert_int_equal(lx_dir_list(&dir, folder, NULL), 0);
    assert_int_equal(dir.count, 1); /* no temporary file is left */
    lx_dir_free(&dir);
}

static void test_base_file__writes_of_all_sizes_keep_their_order(void **state)
{
    const char *path = in_folder("sizes");
    size_t sizes[] = {1, 65535, 1, 65536, 3, 200000, 7}, total = 0;
    lx_new_file *file;
    lx_str want = LX_STR_INIT, got;
    char *bytes = malloc(200000);

    assert_int_equal(lx_new_file_open(&file, path, NULL), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            bytes[k] = (char)(i * 31 + k * 7);
        lx_str_append(&want, bytes, sizes[i]);
        assert_int_equal(lx_new_file_write(file, bytes, sizes[i], NULL), 0);
        total += sizes[i];
    }
    assert_int_equal(lx_new_file_commit(file, NULL), 0);
    lx_new_file_close(file);
    assert_int_equal(lx_file_read(&got, path, total, NULL), 0);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
    lx_str_release(&got);
    lx_str_release(&want);
    free(bytes);
}

static void test_base_file__the_beginning_may_be_written_last(void **state)
{
    const char *path = in_folder("over");
    lx_new_file *file;
    lx_str got;
    char *bytes = calloc(200000, 1);

    assert_int_equal(lx_new_file_open(&file, path, NULL), 0);
    assert_int_equal(lx_new_file_write(file, "????????", 8, NULL), 0);
    assert_int_equal(lx_new_file_write(file, bytes, 200000, NULL), 0);
    assert_int_equal(lx_new_file_hurry(file, NULL), 0);
    assert_int_equal(lx_new_file_write(file, "end", 3, NULL), 0);
    assert_int_equal(lx_new_file_write_over(file, 2, "head", 4, NULL), 0);
    assert_false(lx_file_exists(path));
    assert_int_equal(lx_new_file_commit(file, NULL), 0);
    lx_new_file_close(file);
    assert_int_equal(lx_file_read(&got, path, 200011, NULL), 0);
    assert_int_equal(got.len, 200011);
    assert_memory_equal(got.data, "??head??\0", 9);
    assert_memory_equal(got.data + 200008, "end", 3);
    lx_str_release(&got);
    free(bytes);
}

static int syncs_before_failure, n_syncs;

static int failing_sync(int fd)
{
    n_syncs++;
    if (syncs_before_failure-- > 0)
        return fsync(fd);
    errno = EIO;
    return -1;
}

static ssize_t full_disk(int fd, const void *data, size_t n)
{
    errno = ENOSPC;
    return -1;
}

static void test_base_file__a_failed_sync_is_final(void **state)
{
    const char *path = in_folder("sync");
    lx_io io = lx_io_system;
    lx_new_file *file;
    lx_error err;
    lx_str text;

    assert_int_equal(lx_file_write(path, "old", 3, NULL), 0);
    io.sync = failing_sync;
    lx_io_set(&io);
    syncs_before_failure = 0;
    n_syncs = 0;
    assert_int_equal(lx_new_file_open(&file, path, NULL), 0);
    assert_int_equal(lx_new_file_write(file, "new", 3, NULL), 0);
    assert_int_equal(lx_new_file_commit(file, &err), LX_EIO);
    assert_non_null(strstr(err.text, "sync: cannot sync"));
    assert_int_equal(lx_new_file_commit(file, &err), LX_EIO);
    assert_int_equal(lx_new_file_write(file, "x", 1, &err), LX_EIO);
    assert_int_equal(n_syncs, 1); /* nobody retried it */
    lx_new_file_close(file);
    syncs_before_failure = 1; /* the file's succeeds, the folder's fails */
    assert_int_equal(lx_file_write(path, "new", 3, &err), LX_EIO);
    lx_io_set(NULL);
    assert_int_equal(lx_file_read(&text, path, 99, NULL), 0);
    assert_int_equal(text.len, 3);
    lx_str_release(&text);
}

static void test_base_file__a_full_disk_leaves_the_old_file(void **state)
{
    const char *path = in_folder("full");
    lx_io io = lx_io_system;
    lx_error err;
    lx_str text;
    lx_dir dir;

    assert_int_equal(lx_file_write(path, "old", 3, NULL), 0);
    io.write = full_disk;
    lx_io_set(&io);
    assert_int_equal(lx_file_write(path, "new", 3, &err), LX_EIO);
    lx_io_set(NULL);
    assert_non_null(strstr(err.text, "No space left"));
    assert_int_equal(lx_file_read(&text, path, 99, NULL), 0);
    assert_string_equal(lx_str_text(&text), "old");
    lx_str_release(&text);
    assert_int_equal(lx_dir_list(&dir, folder, NULL), 0);
    assert_int_equal(dir.count, 1);
    lx_dir_free(&dir);
}

static void test_base_file__names_come_sorted(void **state)
{
    lx_dir dir;
    assert_int_equal(lx_file_write(in_folder("b"), "", 0, NULL), 0);
    assert_int_equal(lx_file_write(in_folder("a10"), "", 0, NULL), 0);
    assert_int_equal(lx_file_write(in_folder("B"), "", 0, NULL), 0);
    assert_int_equal(lx_file_write(in_folder("a9"), "", 0, NULL), 0);
    assert_int_equal(lx_dir_list(&dir, folder, NULL), 0);
    assert_int_equal(dir.count, 4);
    assert_string_equal(dir.names[0], "B");
    assert_string_equal(dir.names[1], "a10");
    assert_string_equal(dir.names[2], "a9");
    assert_string_equal(dir.names[3], "b");
    lx_dir_free(&dir);
}

static void test_base_file__make_dirs_makes_all_and_refuses_files(void **state)
{
    lx_error err;
    assert_int_equal(lx_make_dirs(in_folder("x/y//z/"), NULL), 0);
    assert_true(lx_file_is_dir(in_folder("x/y/z")));
    assert_int_equal(lx_make_dirs(in_folder("x/y/z"), NULL), 0);
    assert_int_equal(lx_file_write(in_folder("f"), "", 0, NULL), 0);
    assert_int_equal(lx_make_dirs(in_folder("f/g"), &err), LX_EEXISTS);
    rmdir(in_folder("x/y/z"));
    rmdir(in_folder("x/y"));
}

static void test_base_file__parts_of_paths(void **state)
{
    assert_string_equal(lx_path_base("a/b.png"), "b.png");
    assert_string_equal(lx_path_base("b"), "b");
    assert_string_equal(lx_path_ext("a.b/c.tar.gz"), ".gz");
    assert_string_equal(lx_path_ext("a.b/c"), "");
    assert_string_equal(lx_path_ext("a/.hidden"), "");
}

/* Owned by the open file description: closing another descriptor does not drop the lock. */
static void test_base_file__locks_hold_between_processes(void **state)
{
    const lx_io *io = lx_io_get();
    const char *path = in_folder("lock");
    int fd = io->open(path, O_RDWR | O_CREAT, 0600), other, status;
    pid_t pid;

    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(io->lock(fd, 1, 0), 0);
    other = io->open(path, O_RDWR, 0);
    assert_int_equal(io->lock(other, 0, 0), -1);
    assert_true(errno == EAGAIN || errno == EACCES);
    io->close(other);
    if (!(pid = fork())) {
        int mine = io->open(path, O_RDWR, 0);
        _exit(io->lock(mine, 1, 0) == -1 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(io->unlock(fd), 0);
    other = io->open(path, O_RDWR, 0);
    assert_int_equal(io->lock(other, 0, 1), 0);
    assert_int_equal(io->lock(fd, 0, 1), 0); /* shared with shared */
    io->close(other);
    io->close(fd);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_base_file__written_then_read_mapped_and_hashed),
        IN_FOLDER(test_base_file__an_empty_file_is_a_file),
        IN_FOLDER(test_base_file__errors_name_the_path),
        IN_FOLDER(test_base_file__under_a_name_that_is_too_long_is_nothing),
        IN_FOLDER(test_base_file__old_bytes_stay_until_the_commit),
        IN_FOLDER(test_base_file__writes_of_all_sizes_keep_their_order),
        IN_FOLDER(test_base_file__the_beginning_may_be_written_last),
        IN_FOLDER(test_base_file__a_failed_sync_is_final),
        IN_FOLDER(test_base_file__a_full_disk_leaves_the_old_file),
        IN_FOLDER(test_base_file__names_come_sorted),
        IN_FOLDER(test_base_file__make_dirs_makes_all_and_refuses_files),
        cmocka_unit_test(test_base_file__parts_of_paths),
        IN_FOLDER(test_base_file__locks_hold_between_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
