/* SPDX-License-Identifier: Apache-2.0 */
/* Files and descriptors, read and written whole. */
#ifndef SL_BASE_IO_H
#define SL_BASE_IO_H

#include "base/buf.h"

/* Appends the file to out; -EFBIG past max bytes, else 0 or -errno. */
int sl_read_file(const char *path, size_t max, struct sl_buf *out) SL_MUST_CHECK;
/* All n bytes or -errno; EINTR is retried. */
int sl_write_all(int fd, const void *p, size_t n) SL_MUST_CHECK;
/* A memfd that holds data, sealed against every change (F_SEAL_*): the fd, or -errno. The caller closes it.
 */
int sl_memfd_sealed(const char *name, const void *data, size_t n) SL_MUST_CHECK;
/* Whether fd is such a memfd, of 1 to max bytes. */
bool sl_memfd_is_sealed(int fd, size_t max);
/* Maps an fd that must be a fully sealed memfd, read-only: 0 with *out borrowed until munmap; -EPERM
 * unsealed. */
int sl_memfd_map(int fd, struct sl_slice *out) SL_MUST_CHECK;

#endif
