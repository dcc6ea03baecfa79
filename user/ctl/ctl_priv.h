/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs of sluicectl share: how it was called, how it talks to the daemon, and how it prints.
 * Everything that came from the daemon passes sl_ctl_escape or a table cell before it reaches a terminal:
 * names in a policy, and paths in a log, may carry escape bytes.
 */
#ifndef SL_CTL_CTL_PRIV_H
#define SL_CTL_CTL_PRIV_H

#include "base/buf.h"
#include <jansson.h>
#include <stdio.h>

enum sl_ctl_exit { SL_CTL_OK = 0, SL_CTL_FAILED = 1, SL_CTL_USAGE = 2, SL_CTL_DIFFERS = 2 };

struct sl_ctl {
    const char *socket;
    char socket_default[108]; /* as long as sun_path */
    const char *socket_from;  /* who named it, for error messages */
    bool json;
    bool help;
    bool quiet; /* failures are returned, not said */
    int argc;   /* what is left: the verb and its own arguments */
    char **argv;
};

struct sl_ctl_verb {
    const char *name;
    const char *args; /* as shown in the help */
    const char *brief;
    const char *text; /* the rest of `sluicectl help VERB`, lines of their own */
    int (*run)(const struct sl_ctl *ctl, int argc, char **argv); /* argv[0] is the verb */
};

/* ---- args.c */
const struct sl_ctl_verb *sl_ctl_verb_find(const char *name);
/* Takes --socket, --json and --help off argv, wherever they stand; the rest stays in order. 0 or
 * SL_CTL_USAGE. */
int sl_ctl_args_parse(struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_run(int argc, char **argv);
/* Says on stderr what is wrong with the call and how the verb is called; SL_CTL_USAGE. */
int sl_ctl_usage(const char *verb, const char *fmt, ...) SL_PRINTF(2, 3);

/* The options of one verb, as `--name VALUE`, `--name=VALUE` or a plain `--name`. */
struct sl_ctl_option {
    const char *name;   /* with its dashes */
    const char **value; /* NULL: takes none */
    bool *given;        /* may be NULL where value is not */
};
/* Fills the options and *operands (borrowed, at most max, counted in *n). 0 or SL_CTL_USAGE, said. */
int sl_ctl_options(const char *verb, int argc, char **argv, const struct sl_ctl_option *options,
                   size_t n_options, const char **operands, size_t max, size_t *n);

/* ---- client.c */
#define SL_CTL_REPLY_MAX (64u << 20)
struct sl_ctl_reply {
    unsigned status;
    struct sl_slice body; /* within the buffer that was parsed */
};
/*
 * Reads one HTTP/1.1 response out of all bytes so far. 1: whole, *reply filled; 0: more is needed; -EPROTO:
 * not a response that sluiced sends; -EFBIG: longer than SL_CTL_REPLY_MAX. eof: no more will come.
 */
int sl_ctl_reply_parse(struct sl_slice bytes, bool eof, struct sl_ctl_reply *reply);
/* One request on a new connection, within timeout_ms in all. bytes holds the response. 0 or -errno. */
int sl_ctl_exchange(const char *socket, const char *method, const char *path, struct sl_slice body,
                    int timeout_ms, struct sl_buf *bytes, struct sl_ctl_reply *reply);
/*
 * The same, answered in JSON. NULL: it failed, and stderr says how and what would be right. An answer of 4xx
 * or 5xx that carries "ok" is returned for the caller to report; others are reported here. The caller owns
 * the result.
 */
json_t *sl_ctl_call(const struct sl_ctl *ctl, const char *method, const char *path, const json_t *body);
/* The same for an answer in text, appended to out. 0, or -1 with stderr told. */
int sl_ctl_call_text(const struct sl_ctl *ctl, const char *path, struct sl_buf *out);
/* Whether a daemon takes connections on the socket: 0 or -errno, silent. */
int sl_ctl_ping(const char *socket);

/* ---- text.c */
#define SL_CTL_UNIT 24
/* Appends s with control bytes (C0, DEL, C1) and invalid UTF-8 as \xNN; newlines too unless keep_newlines. */
int sl_ctl_escape(struct sl_buf *out, struct sl_slice s, bool keep_newlines);
/* Columns that s takes on a terminal: code points. s holds no control bytes. */
size_t sl_ctl_width(struct sl_slice s);
/* Bytes of s that fit into `columns`, never within a code point. */
size_t sl_ctl_cut(struct sl_slice s, size_t columns);
/* "950" "12.3k" "4.0M": at most 4 digits. */
const char *sl_ctl_count(double v, char out[SL_CTL_UNIT]);
/* "950 B" "1.5 KiB" */
const char *sl_ctl_bytes(double v, char out[SL_CTL_UNIT]);
/* "0.8s" "59s" "3m12s" "5h07m" "2d03h" */
const char *sl_ctl_span(double seconds, char out[SL_CTL_UNIT]);
/* "850us" "1.2ms" "3.4s"; "-" below zero */
const char *sl_ctl_latency(double seconds, char out[SL_CTL_UNIT]);
/* "500ms" "10s" "10m" "1h" "7d" as ms: 0 or -EINVAL. */
int sl_ctl_duration_ms(const char *s, uint64_t *out);
/* Prints what out holds to f, whole; 0 or SL_CTL_FAILED with stderr told (a full disk, a closed pipe). */
int sl_ctl_print(const struct sl_buf *out, FILE *f);
/* The JSON, indented and in ASCII, to standard output. As above. */
int sl_ctl_print_json(const json_t *j);
/* One JSON on one line, flushed. */
int sl_ctl_print_json_line(const json_t *j);

/* ---- table.c: columns that line up */
#define SL_CTL_COLUMNS 16
struct sl_ctl_table {
    struct sl_arena *arena;
    size_t n; /* columns */
    struct {
        const char *title; /* a leading ">" aligns right */
        size_t width;
    } columns[SL_CTL_COLUMNS];
    struct sl_slice *cells; /* rows of n */
    size_t rows, cap;
};
void sl_ctl_table_init(struct sl_ctl_table *t, struct sl_arena *arena, const char *const *titles, size_t n);
/* Texts are copied and escaped; NULL is "-". 0 or -ENOMEM. */
int sl_ctl_table_row(struct sl_ctl_table *t, const char *const *texts) SL_MUST_CHECK;
/* Appends title row and rows, each after indent spaces; no trailing spaces. 0 or -ENOMEM. */
int sl_ctl_table_print(const struct sl_ctl_table *t, unsigned indent, struct sl_buf *out) SL_MUST_CHECK;
void sl_ctl_table_free(struct sl_ctl_table *t);

/* ---- admin.c */
/* The end of every request that changes something: JSON as it came, or the line; exit by "ok". Frees j. */
int sl_ctl_finish(const struct sl_ctl *ctl, json_t *j, const char *refused, const char *done);

/* ---- consumers.c */
/* The path of one consumer's usage (NULL: all), NUL-terminated. 0 or -ENOMEM. */
int sl_ctl_consumers_path(const char *name, struct sl_buf *out);

/* ---- upstreams.c */
int sl_ctl_upstreams_text(const json_t *list, struct sl_buf *out);

/* ---- JSON, read without trust: what is absent or of another type is 0 or "" */
double sl_ctl_num(const json_t *j, const char *key);
const char *sl_ctl_str(const json_t *j, const char *key);

/*
 * ---- the verbs, and what they read of the admin API; keys that are absent read as 0, "" or nothing:
 * /v1/policy     {"version", "hash", "values": what sl_bundle_print_values writes}
 * /v1/status     {"version", "hash", "uptime_seconds", "supervisor": {"pid"}, "controller": {"pid"},
 *                 "workers": [{"index", "pid", "version", "restarts"}],
 *                 "jwks": [{"provider", "url", "keys", "age_seconds" or null, "failed", "error"}],
 *                 "trial": {"waits", "left_ms", "former": the version that a rollback brings back, or 0},
 *                 "kernel": {"shadow", "features": [{"name", "present", "without"}], "interfaces":
 * [{"interface", "xdp": "native|generic|none", "tc"}], "maps": [{"map", "entries", "max"}], "programs":
 * [{"program", "runs", "run_ns"}], "syn_cookies": {"policy": "auto|always|off", "state":
 * "off|idle|missing|on", "why"}}} /v1/penalties  {"penalties": [{"source", "effect": "flow|connect|source",
 * "left_ms", "level", "rejections", "manual", "consumer", "rule", "from"}], "denies": [{"source", "left_ms"
 * or null, "from"}]} /v1/top        {"kernel": {REASON:
 * {"packets", "bytes", "would_drop_packets", "would_drop_bytes", "drops", "answers"}}, "listeners": {NAME:
 * {counters by field name, "kernel": {"passed": {"packets", "bytes"}, "dropped": {…}, "would_drop": {…}}}},
 * "routes": {NAME: {"codes": {"2xx": N, …}, "reasons": {REASON: N}, "bytes_in", "bytes_out", "seconds":
 * {"buckets": [N, …]}}},
 * "histogram_bounds_seconds": [S, …], "tiers": {NAME:
 * {"admitted", "limited", "penalties"}}, "upstreams": …,
 * "consumers": {NAME: {"in": {"packets", "bytes"}, "out": …}}}
 * /v1/consumers[?name=N]  {"consumers": [{"consumer", "tier", "in_policy", "limits": [{"limit", "window",
 * "quota", "remaining", "reset_ms", "admitted", "refused", "shared"}]}], "left_out"}
 * /v1/suggest    {"since_s", "watched_s", "without", "ceiling": {"key", "per_second"} or null, "limits":
 * [{"section": "limits|tiers|consumers|routes", "name", "by", "shadow", "cluster", "file", "line", "askers":
 * ["consumer|name|address"], "windows": [{"window", "limit", "peak", "p99", "busy", "watched", "bound",
 * "bound_of", "bound_days", "bound_days_of"}]}]}
 * /v1/upstreams  {"upstreams": [{"name", "breaker": "none|closed|open|half_open", "breaker_left_ms",
 * "pending", "retries", "ejections", "panics", "targets": [{"target", "weight", "state":
 *                 "healthy|unhealthy|ejected|drained", "left_ms", "active", "requests", "failures"}]}]}
 * /v1/top/sources  {"counted": "dropped|all|off", "seconds": what the counts are of, "sources": [{"source",
 *                 "packets_at_least", "packets_at_most"}], "prefixes": the same}
 * /v1/samples?after=N|now  or ?last=N {"sampling": are drops sampled, "next": N to ask for next, "more":
 * there are more already, "missed": gone before they were asked for, "counts": {"taken", "lost", "skipped"},
 * "samples": [{"number", "time_ns", "interface", "listener", "reason", "passed", "source", "source_port",
 * "destination", "destination_port", "protocol", "tcp_flags", "length", "data": hexadecimal}]}
 */
int sl_ctl_check(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_diff(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_schema(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_apply(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_confirm(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_rollback(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_upgrade(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_status(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_explain(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_consumers(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_suggest(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_drain(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_top(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_deny(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_forget(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_penalties(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_metrics(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_capture(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_jwt(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_detach(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_version(const struct sl_ctl *ctl, int argc, char **argv);
int sl_ctl_help(const struct sl_ctl *ctl, int argc, char **argv);

#endif
