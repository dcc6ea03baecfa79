/* SPDX-License-Identifier: Apache-2.0 */
/* What tells where a connection came from: a PROXY header that is taken fills its length exactly and has
 * addresses, and what Forwarded names lies within the field. */
#include "http/forwarded.h"
#include "net/proxy_v2.h"

#include <assert.h>

static void check_header(struct sl_slice in)
{
    struct sl_proxy_v2 p;
    if (sl_proxy_v2_parse(in, &p) != 0)
        return;
    assert(sl_proxy_v2_length(in) == (ssize_t)in.n && in.n <= SL_PROXY_V2_HEAD + SL_PROXY_V2_MAX);
    assert(p.local == (p.source.len == 0) && p.source.sa.sa_family == p.destination.sa.sa_family);
}

static void check_field(struct sl_slice in)
{
    struct sl_slice from[SL_FORWARDED_MAX];
    for (int n = sl_forwarded_for(in, from); n-- > 0;)
        assert(!from[n].p || (from[n].p >= in.p && from[n].p + from[n].n <= in.p + in.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char with[SL_PROXY_V2_HEAD + SL_PROXY_V2_MAX];
    const struct sl_slice in = sl_slice((const char *)data, size);
    check_header(in);
    check_field(in);
    if (size < 2 || size - 2 > SL_PROXY_V2_MAX)
        return 0;
    memcpy(with, "\r\n\r\n\0\r\nQUIT\n", 12); /* no luck is needed for what every header begins with */
    memcpy(with + 12, data, 2);
    with[14] = (char)((size - 2) >> 8);
    with[15] = (char)(size - 2);
    memcpy(with + SL_PROXY_V2_HEAD, data + 2, size - 2);
    check_header(sl_slice(with, SL_PROXY_V2_HEAD + size - 2));
    return 0;
}
