/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a file of ranges: an error for each refusal; what is accepted stands sorted, without doubles
 * and without bits behind a prefix, and comes out of the sealed memfd the same.
 */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

static const char _sl_policy[] = "version: 1\nlisteners: {w: {bind: [\"192.0.2.1:80\"]}}\n"
                                 "routes: {r: {auth: [public], respond: {}}}\n"
                                 "kernel: {mode: off, allow: {$file: allow}, deny: [{$file: deny}]}\n";

static void _sl_must(bool ok)
{
    if (!ok)
        abort();
}

static void _sl_sorted(const struct sl_ranges *r, bool ipv6)
{
    struct sl_range was = {0};
    for (size_t i = 0; i < (ipv6 ? r->n6 : r->n4); i++) {
        const struct sl_range e = sl_ranges_at(r, ipv6, i);
        const unsigned __int128 address = (unsigned __int128)e.hi << 64 | e.lo;
        _sl_must(e.len <= (ipv6 ? 128 : 32) && (e.len == 128 || address << e.len == 0));
        _sl_must(i == 0 || was.hi < e.hi || (was.hi == e.hi && was.lo < e.lo) ||
                 (was.hi == e.hi && was.lo == e.lo &&
                  (was.len < e.len || (was.len == e.len && was.allow < e.allow))));
        was = e;
    }
}

static void _sl_again(const struct sl_bundle *b, const struct sl_snapshot *s)
{
    struct sl_diag diag;
    struct sl_bundle *copy[2] = {NULL, NULL};
    const int fd = sl_bundle_to_memfd(b);
    sl_diag_init(&diag);
    _sl_must(fd >= 0 && sl_bundle_from_memfd(fd, &copy[0]) == 0 &&
             sl_bundle_from_memfd_lean(fd, &copy[1]) == 0);
    for (int i = 0; i < 2; i++) {
        struct sl_snapshot *again = NULL;
        _sl_must(sl_snapshot_new(copy[i], &diag, &again) == 0 && strcmp(again->hash, s->hash) == 0);
        _sl_must((again->kernel.ranges != NULL) == (i == 0 && s->kernel.ranges));
        sl_snapshot_unref(again);
        sl_bundle_free(copy[i]);
    }
    sl_diag_free(&diag);
    close(fd);
}

/* The first byte says how much of the rest is the file of allow. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_diag diag;
    struct sl_bundle *b = NULL;
    struct sl_snapshot *s = NULL;
    struct sl_buf SL_BUF printed = {0};
    if (size == 0)
        return 0;
    const size_t cut = data[0] < size ? data[0] : size - 1;
    sl_diag_init(&diag);
    _sl_must(sl_bundle_from_text("p.yaml", sl_slice(_sl_policy, sizeof(_sl_policy) - 1), &diag, &b) == 0);
    _sl_must(sl_bundle_put_list(b, "allow", sl_slice((const char *)data + 1, cut)) == 0);
    _sl_must(sl_bundle_put_list(b, "deny", sl_slice((const char *)data + 1 + cut, size - 1 - cut)) == 0);
    const int r = sl_snapshot_new(b, &diag, &s);
    _sl_must((r == 0) == (diag.errors == 0) && (r == 0) == (s != NULL) &&
             sl_diag_print(&diag, &printed) == 0);
    if (s && s->kernel.ranges) {
        _sl_sorted(s->kernel.ranges, false);
        _sl_sorted(s->kernel.ranges, true);
    }
    if (s)
        _sl_again(b, s);
    sl_snapshot_unref(s);
    sl_bundle_free(b);
    sl_diag_free(&diag);
    return 0;
}
