/* SPDX-License-Identifier: Apache-2.0 */
/* What a Redis says that someone else writes to: an event that is taken is in its ranges, and told again is
 * the same. Words are parted by zero bytes; with a leading byte of 1, only the values are given. */
#include "control/cluster_event_priv.h"

#include <assert.h>
#include <string.h>

static size_t split(struct sl_slice in, struct sl_slice *words, size_t first, size_t step)
{
    struct sl_slice part;
    size_t n = first;
    for (; n < SL_EVENT_WORDS && sl_slice_next(&in, '\0', &part); n += step)
        words[n] = part;
    return n;
}

static void check(const struct sl_slice *words, size_t n)
{
    struct sl_cluster_event e, again;
    struct sl_slice out[SL_EVENT_WORDS];
    char room[SL_EVENT_TEXT];
    if (sl_cluster_event_parse(words, n, &e) != 0)
        return;
    assert(sl_ipc_shared_ok(&e.what) && memchr(e.host, '\0', sizeof(e.host)) && *e.host);
    sl_cluster_event_words(&e, room, out);
    assert(sl_cluster_event_parse(out, SL_EVENT_WORDS, &again) == 0);
    assert(again.what.kind == e.what.kind && again.what.left_ns == e.what.left_ns &&
           again.what.level == e.what.level && again.what.effect == e.what.effect &&
           again.what.prefix.len == e.what.prefix.len && sl_ip_eq(&again.what.prefix.ip, &e.what.prefix.ip) &&
           strcmp(again.what.consumer, e.what.consumer) == 0 && strcmp(again.host, e.host) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_cluster_event e = {.what = {.kind = SL_SHARED_REVOKED, .prefix.ip.family = SL_AF_INET},
                                 .host = "h"};
    struct sl_slice words[SL_EVENT_WORDS];
    char room[SL_EVENT_TEXT];
    uint64_t ms;
    const struct sl_slice in = sl_slice((const char *)data, size);
    (void)sl_cluster_id_parse(in, &ms);
    if (size && data[0] == 1) { /* no luck is needed for the names of the fields */
        sl_cluster_event_words(&e, room, words);
        (void)split(sl_slice(in.p + 1, in.n - 1), words, 1, 2);
        check(words, SL_EVENT_WORDS);
    } else {
        check(words, split(in, words, 0, 1));
    }
    return 0;
}
