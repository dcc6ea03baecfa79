/* SPDX-License-Identifier: Apache-2.0 */
/* Files read whole and bounded, sealed memfds, the log's lines, times as text. */
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static char *temp(char path[32], const void *data, size_t n)
{
    strcpy(path, "/tmp/sl-test-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(sl_write_all(fd, data, n), 0);
    close(fd);
    return path;
}

static void test_read_file(void **state)
{
    (void)state;
    enum { N = 200000 };
    char path[32], *data = malloc(N);
    struct sl_buf SL_BUF b = {0};
    assert_non_null(data);
    for (unsigned i = 0; i < N; i++)
        data[i] = (char)(i * 7 >> 3);
    temp(path, data, N);
    assert_int_equal(sl_buf_append(&b, "x", 1), 0);
    assert_int_equal(sl_read_file(path, N, &b), 0); /* appends, and exactly max is within it */
    assert_int_equal(sl_buf_len(&b), N + 1);
    assert_memory_equal(sl_buf_data(&b) + 1, data, N);
    sl_buf_free(&b);
    assert_int_equal(sl_read_file(path, N - 1, &b), -EFBIG);
    unlink(path);
    free(data);
    assert_int_equal(sl_read_file(path, 1, &b), -ENOENT);
    assert_int_equal(sl_read_file("/tmp", 1 << 20, &b), -EISDIR);
    sl_buf_free(&b);
    temp(path, "", 0);
    assert_int_equal(sl_read_file(path, 0, &b), 0);
    assert_int_equal(sl_buf_len(&b), 0);
    unlink(path);
}

static void test_write_all_says_why(void **state)
{
    (void)state;
    assert_int_equal(sl_write_all(-1, "x", 1), -EBADF);
    assert_int_equal(sl_write_all(-1, "x", 0), 0);
}

/* Nobody, not even its maker, can change it any more: that is what lets an unprivileged reader trust its
 * size. */
static void test_memfds_are_sealed(void **state)
{
    (void)state;
    static const char text[] = "policy";
    struct sl_slice map;
    SL_CLOSE int fd = sl_memfd_sealed("test", text, sizeof(text));
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 100), -1);
    assert_int_equal(errno, EPERM);
    assert_ptr_equal(mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, 0), -1); /* F_SEAL_SEAL */
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(sl_memfd_map(fd, &map), 0);
    assert_int_equal(map.n, sizeof(text));
    assert_memory_equal(map.p, text, sizeof(text));
    munmap((void *)map.p, map.n);
}

static void test_unsealed_is_refused(void **state)
{
    (void)state;
    static const int some[] = {0, F_SEAL_SHRINK, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
                               F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW};
    struct sl_slice map;
    for (size_t i = 0; i < SL_ARRAY_LEN(some); i++) {
        SL_CLOSE int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_int_equal(sl_write_all(fd, "x", 1), 0);
        assert_true(some[i] == 0 || fcntl(fd, F_ADD_SEALS, some[i]) == 0);
        assert_int_equal(sl_memfd_map(fd, &map), -EPERM);
    }
    SL_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(sl_memfd_map(null, &map) < 0);
    assert_int_equal(sl_memfd_map(-1, &map), -EBADF);
    SL_CLOSE int empty = sl_memfd_sealed("empty", "", 0);
    assert_int_equal(sl_memfd_map(empty, &map), -EPERM);
}

/* Standard error, while fn runs. */
static void captured(void (*fn)(void), struct sl_buf *out)
{
    char path[32];
    temp(path, "", 0);
    const int saved = dup(STDERR_FILENO), fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(saved >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    fn();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(fd);
    assert_int_equal(sl_read_file(path, 1 << 20, out), 0);
    unlink(path);
}

static void log_hostile(void)
{
    char text[4001];
    memset(text, 'y', sizeof(text));
    text[4000] = '\0';
    errno = ENOENT;
    sl_error("path %s", "a\r\nsluice: error: forged\x1b[2J\x7f");
    if (errno != ENOENT)
        sl_error("errno was lost");
    sl_debug("not at this level");
    if (sl_error_r(-EACCES, "open %s", "x") != -EACCES)
        sl_error("another error came back");
    sl_error("%s", text);
    sl_error_r(-EACCES, "%s", text);
}

static void test_log_lines_cannot_be_forged(void **state)
{
    (void)state;
    struct sl_buf SL_BUF out = {0};
    struct sl_slice rest, line;
    unsetenv("JOURNAL_STREAM");
    sl_log_setup("test", SL_LOG_INFO);
    captured(log_hostile, &out);
    rest = sl_buf_slice(&out);
    unsigned n = 0;
    while (sl_slice_next(&rest, '\n', &line) && line.n) {
        assert_true(sl_slice_starts(line, SL_S("test: error: ")));
        assert_true(line.n < 2048);
        for (size_t i = 0; i < line.n; i++)
            assert_true((unsigned char)line.p[i] >= 0x20 && line.p[i] != 0x7f);
        n++;
    }
    assert_int_equal(n, 4);
    rest = sl_buf_slice(&out);
    assert_true(sl_slice_next(&rest, '\n', &line) && sl_slice_next(&rest, '\n', &line));
    assert_true(sl_slice_eq(line, SL_S("test: error: open x: Permission denied")));
}

static void test_times(void **state)
{
    (void)state;
    char text[SL_ISO_LEN];
    sl_wall_iso(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    sl_wall_iso(951782399999999999ull, text);
    assert_string_equal(text, "2000-02-28T23:59:59.999Z");
    sl_wall_iso(951782400ull * SL_NS_PER_SEC + 7 * SL_NS_PER_MS, text);
    assert_string_equal(text, "2000-02-29T00:00:00.007Z");
    const uint64_t a = sl_now_ns();
    assert_true(sl_now_ns() >= a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_file),
        cmocka_unit_test(test_write_all_says_why),
        cmocka_unit_test(test_memfds_are_sealed),
        cmocka_unit_test(test_unsealed_is_refused),
        cmocka_unit_test(test_log_lines_cannot_be_forged),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
