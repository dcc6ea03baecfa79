/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sampled drops: read from the guard's ring as they come, the last SL_SAMPLES_KEPT of them kept, and given
 * out by number, so that a client that polls sees each once and knows how many it missed. Numbers begin at
 * the clock, so that they go on counting up when another controller takes over.
 */
#include "kernel/samples.h"
#include "control/control_priv.h"
#include "kernel/maps.h"
#include "kernel/top.h"

#include <errno.h>
#include <stdio.h>

#define SL_SAMPLES_KEPT   1024 /* a power of two */
#define SL_SAMPLES_ANSWER 256  /* in one answer: the client asks again */

struct sl_samples {
    struct sl_control *control;
    struct sl_sample_ring *ring;
    ev_io io;
    uint64_t first, next; /* numbers: kept are [first, next) */
    struct {
        uint64_t wall_ns;
        struct sl_sample s;
    } kept[SL_SAMPLES_KEPT];
};

static void _sl_keep(const struct sl_sample *s, void *arg)
{
    struct sl_samples *k = arg;
    const uint64_t now = sl_now_ns(), ago = now > s->time_ns ? now - s->time_ns : 0;
    k->kept[k->next % SL_SAMPLES_KEPT].wall_ns = sl_wall_ns() - ago;
    k->kept[k->next % SL_SAMPLES_KEPT].s = *s;
    k->next++;
    if (k->next - k->first > SL_SAMPLES_KEPT)
        k->first = k->next - SL_SAMPLES_KEPT;
}

static void _sl_on_ring(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    struct sl_samples *k = io->data;
    sl_samples_read(k->ring);
}

void sl_control_samples_start(struct sl_control *c)
{
    struct sl_samples *k = c->args->kernel.samples >= 0 ? calloc(1, sizeof(*k)) : NULL;
    if (!k)
        return;
    k->first = k->next = sl_wall_ns();
    const int r = sl_samples_open(c->args->kernel.samples, _sl_keep, k, &k->ring);
    if (r < 0) {
        (void)sl_error_r(r, "kernel: samples of drops cannot be read, `sluicectl capture` will show none");
        free(k);
        return;
    }
    k->control = c;
    c->samples = k;
    ev_io_init(&k->io, _sl_on_ring, sl_samples_fd(k->ring), EV_READ);
    k->io.data = k;
    ev_io_start(c->loop, &k->io);
}

void sl_control_samples_stop(struct sl_control *c)
{
    if (!c->samples)
        return;
    ev_io_stop(c->loop, &c->samples->io);
    sl_samples_close(c->samples->ring);
    free(c->samples);
    c->samples = NULL;
}

/* ---- as JSON */

static const char *_sl_interface(const struct sl_control *c, uint32_t ifindex, char text[16])
{
    size_t i;
    json_t *at;
    json_array_foreach(json_object_get(json_object_get(c->state, "kernel"), "interfaces"), i, at)
    {
        const char *name = json_string_value(json_object_get(at, "interface"));
        if (name && json_integer_value(json_object_get(at, "ifindex")) == (json_int_t)ifindex)
            return name;
    }
    (void)snprintf(text, 16, "if%u", ifindex % 1000000000u);
    return text;
}

static const char *_sl_listener(const struct sl_control *c, uint32_t slot)
{
    const char *name =
        slot == SL_NO_LISTENER ? NULL : sl_slots_name(sl_bundle_slots(c->bundle), SL_SLOT_LISTENER, slot);
    return name ? name : "";
}

static json_t *_sl_hex(const uint8_t *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * SL_SAMPLE_BYTES];
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    return json_stringn(text, 2 * n);
}

static json_t *_sl_sample(const struct sl_control *c, uint64_t number, uint64_t wall_ns,
                          const struct sl_sample *s)
{
    char src[SL_IP_STRLEN], dst[SL_IP_STRLEN], name[16];
    const struct sl_ip a = {.family = s->family, .addr = s->src}, b = {.family = s->family, .addr = s->dst};
    (void)sl_ip_text(&a, src);
    (void)sl_ip_text(&b, dst);
    return json_pack("{s:I, s:I, s:s, s:s, s:s, s:b, s:s, s:i, s:s, s:i, s:i, s:i, s:I, s:o}", "number",
                     (json_int_t)number, "time_ns", (json_int_t)wall_ns, "interface",
                     _sl_interface(c, s->ifindex, name), "listener", _sl_listener(c, s->listener), "reason",
                     sl_reason_name((enum sl_reason)s->reason), "passed", s->passed != 0, "source", src,
                     "source_port", (int)ntohs(s->sport_be), "destination", dst, "destination_port",
                     (int)ntohs(s->dport_be), "protocol", (int)s->proto, "tcp_flags", (int)s->tcp_flags,
                     "length", (json_int_t)s->length, "data", _sl_hex(s->data, s->captured));
}

uint64_t sl_samples_before_last(const struct sl_control *c, uint64_t n)
{
    const struct sl_samples *k = c->samples;
    return k ? k->next - 1 - SL_MIN(n, k->next - k->first) : 0;
}

json_t *sl_samples_json(const struct sl_control *c, uint64_t after)
{
    const struct sl_samples *k = c->samples;
    struct sl_sample_counts n = {0};
    json_t *list = json_array();
    if (!k)
        return json_pack("{s:b, s:o}", "sampling", 0, "samples", list);
    uint64_t from = after == SL_SAMPLES_NOW ? k->next : SL_MAX(after + 1, k->first), to = from;
    if (from > k->next) /* of a clock that was set back since */
        from = to = k->first;
    for (; to < k->next && to - from < SL_SAMPLES_ANSWER; to++)
        (void)json_array_append_new(
            list, _sl_sample(c, to, k->kept[to % SL_SAMPLES_KEPT].wall_ns, &k->kept[to % SL_SAMPLES_KEPT].s));
    (void)sl_samples_counts(c->args->kernel.sampled, &n);
    const bool gap = after && after != SL_SAMPLES_NOW && after + 1 < k->first;
    return json_pack("{s:b, s:I, s:I, s:b, s:{s:I, s:I, s:I}, s:o}", "sampling",
                     c->snapshot && c->snapshot->kernel.samples != 0, "next", (json_int_t)(to - 1), "missed",
                     (json_int_t)(gap ? k->first - after - 1 : 0), "more", to < k->next, "counts", "taken",
                     (json_int_t)n.taken, "lost", (json_int_t)n.lost, "skipped", (json_int_t)n.skipped,
                     "samples", list);
}

/* ---- who sends most */

static json_t *_sl_top_entries(const struct sl_control *c, enum sl_top_kind kind, uint64_t now)
{
    struct sl_top_entry e[SL_TOP_MAX];
    json_t *list = json_array();
    const int n = sl_top_read(c->args->kernel.top, kind, now, e, SL_ARRAY_LEN(e));
    for (int i = 0; i < n; i++) {
        char text[SL_IP_STRLEN];
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I, s:I}", "source", sl_cidr_text(&e[i].who, text), "packets_at_least",
                            (json_int_t)e[i].at_least, "packets_at_most", (json_int_t)e[i].at_most));
    }
    return list;
}

json_t *sl_top_sources_json(const struct sl_control *c)
{
    static const char *const counted[] = {"dropped", "all", "off"};
    const uint64_t now = sl_now_ns();
    const enum sl_top_counted what =
        c->args->kernel.top < 0 ? SL_TOP_COUNT_OFF : c->snapshot->kernel.top_sources;
    return json_pack("{s:s, s:f, s:i, s:o, s:o}", "counted", counted[what], "seconds", sl_top_seconds(now),
                     "counted_one_in", SL_TOP_ONE_IN, "sources", _sl_top_entries(c, SL_TOP_SOURCE, now),
                     "prefixes", _sl_top_entries(c, SL_TOP_PREFIX, now));
}
