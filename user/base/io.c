/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SL_ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int sl_read_file(const char *path, size_t max, struct sl_buf *out)
{
    SL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    for (size_t got = 0;;) {
        int r = sl_buf_reserve(out, 65536);
        if (r < 0)
            return r;
        ssize_t n = read(fd, out->base + out->end, sl_buf_room(out));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        sl_buf_commit(out, (size_t)n);
        got += (size_t)n;
        if (got > max)
            return -EFBIG;
    }
}

int sl_write_all(int fd, const void *p, size_t n)
{
    for (const char *at = p; n;) {
        ssize_t w = write(fd, at, n);
        if (w < 0 && errno != EINTR)
            return -errno;
        if (w > 0) {
            at += w;
            n -= (size_t)w;
        }
    }
    return 0;
}

int sl_memfd_sealed(const char *name, const void *data, size_t n)
{
    SL_CLOSE int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int r = sl_write_all(fd, data, n);
    if (r < 0)
        return r;
    if (fcntl(fd, F_ADD_SEALS, SL_ALL_SEALS) < 0)
        return -errno;
    return SL_TAKE_FD(fd);
}

bool sl_memfd_is_sealed(int fd, size_t max)
{
    struct stat st;
    const int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SL_ALL_SEALS) == SL_ALL_SEALS && fstat(fd, &st) == 0 && st.st_size > 0 &&
           (uint64_t)st.st_size <= max;
}

int sl_memfd_map(int fd, struct sl_slice *out)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &st) < 0)
        return -errno;
    if ((seals & SL_ALL_SEALS) != SL_ALL_SEALS || st.st_size <= 0)
        return -EPERM;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    *out = sl_slice(p, (size_t)st.st_size);
    return 0;
}
