/* SPDX-License-Identifier: Apache-2.0 */
/* What the guard's maps hold, what its programs cost, and what became of the samples, as metrics. */
#include "control/control_priv.h"
#include "control/metrics_guard_priv.h"
#include "kernel/maps.h"
#include "kernel/samples.h"

#include <stdlib.h>

static void _sl_fills(const json_t *maps, struct sl_metrics *m)
{
    static const struct {
        const char *name, *key, *help;
    } families[] = {{"kernel_map_entries", "entries", "entries of the guard's maps; buckets: an estimate"},
                    {"kernel_map_max_entries", "max", "entries that the guard's maps have room for"}};
    for (size_t f = 0; f < SL_ARRAY_LEN(families); f++) {
        size_t i;
        json_t *map;
        sl_metrics_family(m, families[f].name, "gauge", families[f].help);
        json_array_foreach(maps, i, map)
        {
            sl_metrics_sample(
                m, families[f].name,
                (const char *const[]){"map", json_string_value(json_object_get(map, "map")), NULL},
                json_number_value(json_object_get(map, families[f].key)));
        }
    }
}

static double _sl_program(const json_t *program, bool seconds)
{
    const double n = json_number_value(json_object_get(program, seconds ? "run_ns" : "runs"));
    return seconds ? n / 1e9 : n;
}

/* The kernel counts runs only while kernel.bpf_stats_enabled is 1 (or something like bpftop asks for it): a
 * program that seems never to have run has no series. */
static void _sl_programs(const json_t *programs, struct sl_metrics *m)
{
    static const char *const names[] = {"kernel_program_runs_total", "kernel_program_seconds_total"},
                             *const helps[] = {
                                 "runs of the guard's programs while kernel.bpf_stats_enabled is 1",
                                 "time spent in them"};
    for (size_t f = 0; f < SL_ARRAY_LEN(names); f++) {
        size_t i;
        json_t *p;
        sl_metrics_family(m, names[f], "counter", helps[f]);
        json_array_foreach(programs, i, p)
        {
            if (_sl_program(p, false) > 0)
                sl_metrics_sample(
                    m, names[f],
                    (const char *const[]){"program", json_string_value(json_object_get(p, "program")), NULL},
                    _sl_program(p, f == 1));
        }
    }
}

static void _sl_samples(const struct sl_control *c, struct sl_metrics *m)
{
    struct sl_sample_counts n;
    if (c->args->kernel.sampled < 0 || sl_samples_counts(c->args->kernel.sampled, &n) < 0)
        return;
    const struct {
        const char *result;
        uint64_t n;
    } v[] = {{"taken", n.taken}, {"lost", n.lost}, {"over_rate", n.skipped}};
    sl_metrics_family(m, "kernel_samples_total", "counter",
                      "drops by whether a sample was taken; lost: the ring was full");
    for (size_t i = 0; i < SL_ARRAY_LEN(v); i++)
        sl_metrics_sample(m, "kernel_samples_total", (const char *const[]){"result", v[i].result, NULL},
                          (double)v[i].n);
}

/* ---- listeners */

#define SL_LISTENER_SERIES 6 /* of each: packets and bytes, by three verdicts */

static void _sl_listener_series(struct sl_metrics *m, const char *name, const struct sl_listener_stats *s,
                                bool bytes)
{
    const struct {
        const char *name;
        const struct sl_count *n;
    } verdicts[] = {{"passed", &s->passed}, {"dropped", &s->dropped}, {"would_drop", &s->would_drop}};
    for (size_t v = 0; v < SL_ARRAY_LEN(verdicts); v++)
        sl_metrics_sample(m, bytes ? "kernel_listener_bytes_total" : "kernel_listener_packets_total",
                          (const char *const[]){"listener", name, "verdict", verdicts[v].name, NULL},
                          (double)(bytes ? verdicts[v].n->bytes : verdicts[v].n->packets));
}

static void _sl_add_count(struct sl_count *to, const struct sl_count *n)
{
    to->packets += n->packets;
    to->bytes += n->bytes;
}

/* Rows that there is no room for are added to row 0. Returns how many stay. */
static uint32_t _sl_fold_listeners(struct sl_listener_stats *s, uint32_t slots, uint32_t left)
{
    const uint32_t shown = SL_MIN(slots, SL_MAX(left / SL_LISTENER_SERIES, 1u));
    for (uint32_t i = shown; i < slots; i++) {
        _sl_add_count(&s[0].passed, &s[i].passed);
        _sl_add_count(&s[0].dropped, &s[i].dropped);
        _sl_add_count(&s[0].would_drop, &s[i].would_drop);
    }
    return shown;
}

uint64_t sl_metrics_listeners(const struct sl_control *c, struct sl_metrics *m)
{
    static const char *const names[] = {"kernel_listener_packets_total", "kernel_listener_bytes_total"},
                             *const helps[] = {"packets for a listener by the guard's verdict",
                                               "bytes for a listener by the guard's verdict"};
    const struct sl_slots *names_of = sl_bundle_slots(c->bundle);
    const uint32_t slots = (uint32_t)SL_MIN(sl_slots_count(names_of, SL_SLOT_LISTENER), SL_COUNTER_LISTENERS);
    struct sl_listener_stats s[SL_COUNTER_LISTENERS] = {0};
    for (uint32_t i = 0; i < slots; i++)
        if (sl_maps_listener(c->args->kernel.listener_stats, i, &s[i]) < 0)
            return 0;
    const uint32_t shown = _sl_fold_listeners(s, slots, m->left);
    for (size_t f = 0; f < SL_ARRAY_LEN(names); f++) {
        sl_metrics_family(m, names[f], "counter", helps[f]);
        for (uint32_t i = s[0].passed.packets + s[0].dropped.packets + s[0].would_drop.packets == 0;
             i < shown; i++)
            _sl_listener_series(m, i ? sl_slots_name(names_of, SL_SLOT_LISTENER, i) : "other", &s[i], f == 1);
    }
    return (uint64_t)(slots - shown) * SL_LISTENER_SERIES;
}

/* ---- consumers' bytes */

/* By slot, those of 0 and of what lies past the kernel's table in 0. NULL when memory is out. */
static struct sl_consumer_bytes *_sl_consumer_bytes(const struct sl_control *c, uint32_t slots)
{
    struct sl_consumer_bytes *b = calloc(SL_MAX(slots, 1u), sizeof(*b));
    for (uint32_t i = 0; b && i < slots; i++)
        if (sl_maps_consumer_bytes(c->args->kernel.consumer_bytes, i, &b[i]) < 0)
            break;
    return b;
}

static bool _sl_moved(const struct sl_consumer_bytes *b)
{
    return b->in.packets || b->out.packets;
}

/* Leaves as many rows as there is room for, two series each; the rest is added to row 0. */
static uint64_t _sl_fold(struct sl_consumer_bytes *b, uint32_t slots, uint32_t left)
{
    uint32_t room = left / 2;
    uint64_t folded = 0;
    for (uint32_t i = 1; i < slots; i++) {
        if (!_sl_moved(&b[i]))
            continue;
        if (room > 1) { /* one is for row 0 */
            room--;
            continue;
        }
        b[0].in.packets += b[i].in.packets;
        b[0].in.bytes += b[i].in.bytes;
        b[0].out.packets += b[i].out.packets;
        b[0].out.bytes += b[i].out.bytes;
        b[i] = (struct sl_consumer_bytes){0};
        folded += 2;
    }
    return folded;
}

static void _sl_consumer_family(const struct sl_control *c, struct sl_metrics *m,
                                const struct sl_consumer_bytes *b, uint32_t slots, bool sent)
{
    const char *family = sent ? "kernel_consumer_sent_bytes_total" : "kernel_consumer_received_bytes_total";
    sl_metrics_family(m, family, "counter",
                      sent ? "bytes to a consumer, on the wire" : "bytes from a consumer, on the wire");
    for (uint32_t i = 0; i < slots; i++) {
        const char *name = i ? sl_slots_name(sl_bundle_slots(c->bundle), SL_SLOT_CONSUMER, i) : "other";
        if (name && _sl_moved(&b[i]))
            sl_metrics_sample(m, family, (const char *const[]){"consumer", name, NULL},
                              (double)(sent ? b[i].out.bytes : b[i].in.bytes));
    }
}

uint64_t sl_metrics_consumers(const struct sl_control *c, struct sl_metrics *m)
{
    const uint32_t slots = (uint32_t)sl_slots_count(sl_bundle_slots(c->bundle), SL_SLOT_CONSUMER);
    SL_FREE struct sl_consumer_bytes *b = NULL;
    if (c->args->kernel.consumer_bytes < 0)
        return 0;
    b = _sl_consumer_bytes(c, slots);
    if (!b)
        return 0;
    const uint64_t folded = _sl_fold(b, slots, m->left);
    _sl_consumer_family(c, m, b, slots, false);
    _sl_consumer_family(c, m, b, slots, true);
    return folded;
}

static void _sl_syn_cookies(const struct sl_control *c, struct sl_metrics *m)
{
    static const char *const states[] = {"off", "idle", "missing", "on"};
    const char *state = json_string_value(
        json_object_get(json_object_get(json_object_get(c->state, "kernel"), "syn_cookies"), "state"));
    if (!state)
        return;
    sl_metrics_family(
        m, "kernel_syn_cookies", "gauge",
        "1 for how SYN cookies stand: off, idle (auto, no listener has a bucket), missing (a need), on");
    for (size_t i = 0; i < SL_ARRAY_LEN(states); i++)
        sl_metrics_sample(m, "kernel_syn_cookies", (const char *const[]){"state", states[i], NULL},
                          strcmp(states[i], state) == 0);
}

static void _sl_lists(const struct sl_control *c, struct sl_metrics *m)
{
    static const char *const sources[] = {"policy", "operator", "file"};
    const json_t *kernel = json_object_get(c->state, "kernel");
    size_t i;
    json_t *list;
    sl_metrics_family(m, "kernel_list_entries", "gauge", "ranges that are allowed and denied");
    json_array_foreach(json_object_get(kernel, "lists"), i, list)
    {
        for (unsigned k = 0; k < SL_ARRAY_LEN(sources); k++)
            sl_metrics_sample(m, "kernel_list_entries",
                              (const char *const[]){"list", json_string_value(json_object_get(list, "list")),
                                                    "family",
                                                    json_string_value(json_object_get(list, "family")),
                                                    "source", sources[k], NULL},
                              json_number_value(json_object_get(list, sources[k])));
    }
    sl_metrics_one(m, "kernel_list_bytes", "gauge", "what the ranges of files take in the kernel",
                   json_number_value(json_object_get(kernel, "list_bytes")));
}

void sl_metrics_guard(const struct sl_control *c, struct sl_metrics *m)
{
    const json_t *kernel = json_object_get(c->state, "kernel");
    _sl_fills(json_object_get(kernel, "maps"), m);
    _sl_programs(json_object_get(kernel, "programs"), m);
    _sl_samples(c, m);
    _sl_syn_cookies(c, m);
    _sl_lists(c, m);
}
