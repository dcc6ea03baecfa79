/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and queries: a normal form is a fixed point and hides no separator; a parameter that was taken out is
 * gone. */
#include "http/uri.h"

#include "base/macros.h"

#include <assert.h>

static bool has(struct sl_slice s, const char *text)
{
    return memmem(s.p, s.n, text, strlen(text)) != NULL;
}

static void check_path(struct sl_arena *a, struct sl_slice path)
{
    struct sl_slice again, query;
    assert(path.n && path.p[0] == '/');
    assert(sl_uri_normalize(a, path, &again, &query) == 0);
    assert(sl_slice_eq(path, again) && !query.p);
    static const char *const never[] = {"//", "/./", "/../", "%2F", "%5C", "%2f",  "%5c", "%00",
                                        "\\", "#",   "?",    " ",   "%2E", "/..;", "/.;"};
    for (size_t i = 0; i < SL_ARRAY_LEN(never); i++)
        assert(!has(path, never[i]));
    for (size_t i = 0; i < path.n; i++)
        assert(path.p[i] > 0x20 && path.p[i] < 0x7f);
}

static void check_query(struct sl_arena *a, struct sl_slice query, struct sl_slice name)
{
    struct sl_slice value, decoded;
    const int found = sl_uri_query_get(query, name, &value);
    if (found == 1)
        (void)sl_uri_decode(a, value, true, &decoded);
    const struct sl_slice rest = sl_uri_query_without(a, query, name);
    assert(sl_uri_query_get(rest, name, &value) == 0 ||
           !rest.n); /* an empty query still has the empty parameter */
    assert(found != 0 || sl_slice_eq(rest, query));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sl_slice in = sl_slice((const char *)data, size);
    struct sl_slice path, query;
    struct sl_arena a;
    sl_arena_init(&a, 0);
    if (sl_uri_normalize(&a, in, &path, &query) == 0) {
        check_path(&a, path);
        check_query(&a, query, SL_S("k"));
    }
    const size_t n = size ? data[0] % 8 : 0; /* and any bytes at all as name and query */
    if (size > n)
        check_query(&a, sl_slice(in.p + n, size - n), sl_slice(in.p, n));
    (void)sl_uri_decode(&a, in, false, &path);
    sl_arena_free(&a);
    return 0;
}
