/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a policy, in JSON and in YAML: no crash, no leak, an error for each refusal; and a policy that
 * is accepted comes out of its sealed memfd the same.
 */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

static void _sl_again(const struct sl_bundle *b, const struct sl_snapshot *s)
{
    struct sl_diag diag;
    struct sl_bundle *copy = NULL;
    struct sl_snapshot *again = NULL;
    int fd = sl_bundle_to_memfd(b);
    sl_diag_init(&diag);
    if (fd < 0 || sl_bundle_from_memfd(fd, &copy) < 0 || sl_snapshot_new(copy, &diag, &again) < 0 ||
        strcmp(s->hash, again->hash) != 0 || s->n_routes != again->n_routes)
        abort();
    sl_snapshot_unref(again);
    sl_bundle_free(copy);
    sl_diag_free(&diag);
    close(fd);
}

static void _sl_one(const char *name, struct sl_slice text)
{
    struct sl_diag diag;
    struct sl_bundle *b = NULL;
    struct sl_snapshot *s = NULL;
    struct sl_buf SL_BUF printed = {0};
    sl_diag_init(&diag);
    int r = sl_bundle_from_text(name, text, &diag, &b);
    if (r == 0)
        r = sl_snapshot_new(b, &diag, &s);
    if ((r == 0) != (diag.errors == 0) || (r == 0) != (s != NULL) || sl_diag_print(&diag, &printed) < 0)
        abort();
    if (s)
        _sl_again(b, s);
    sl_snapshot_unref(s);
    sl_bundle_free(b);
    sl_diag_free(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_slice text = sl_slice((const char *)data, size);
    _sl_one("policy.json", text);
    _sl_one("policy.yaml", text);
    return 0;
}
