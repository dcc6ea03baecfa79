/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that ask the daemon to do something: apply, deny, allow, forget, detach; and metrics, which only
 * reads. */
#include "base/ip.h"
#include "ctl/ctl_priv.h"
#include "kernel/kernel.h"

#include <errno.h>
#include <string.h>

static bool _sl_ok(const json_t *j)
{
    return json_is_true(json_object_get(j, "ok"));
}

/* What the daemon said beside "ok", to stderr: diagnostics in lines, or one error. */
static void _sl_tell(const json_t *j)
{
    const char *diagnostics = sl_ctl_str(j, "diagnostics"), *error = sl_ctl_str(j, "error");
    struct sl_buf SL_BUF text = {0};
    if (sl_ctl_escape(&text, sl_slice_str(diagnostics), true) < 0)
        return;
    size_t n = sl_buf_len(&text);
    if (n && sl_buf_data(&text)[n - 1] != '\n' && sl_buf_append(&text, "\n", 1) < 0)
        return;
    if (*error && (sl_buf_append(&text, "sluicectl: ", 11) < 0 ||
                   sl_ctl_escape(&text, sl_slice_str(error), false) < 0 || sl_buf_append(&text, "\n", 1) < 0))
        return;
    (void)sl_ctl_print(&text, stderr);
}

int sl_ctl_finish(const struct sl_ctl *ctl, json_t *j, const char *refused, const char *done)
{
    bool ok = _sl_ok(j);
    int r = SL_CTL_OK;
    if (ctl->json) {
        r = sl_ctl_print_json(j);
    } else {
        _sl_tell(j);
        if (ok)
            printf("%s\n", done);
        else
            (void)fprintf(stderr, "sluicectl: %s\n", refused);
    }
    json_decref(j);
    return ok ? r : SL_CTL_FAILED;
}

int sl_ctl_apply(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *trial = NULL;
    const struct sl_ctl_option options[] = {{"--confirm", &trial, NULL}};
    char done[160], span[SL_CTL_UNIT];
    uint64_t ms = 0;
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, options, SL_ARRAY_LEN(options), NULL, 0, &n))
        return SL_CTL_USAGE;
    if (trial && (sl_ctl_duration_ms(trial, &ms) || ms < 1000 || ms > 86400000))
        return sl_ctl_usage(argv[0], "apply: --confirm \"%s\" is no duration from 1s to 24h, as 30s or 5m",
                            trial);
    json_t *body = trial ? json_pack("{s:I}", "confirm_ms", (json_int_t)ms) : NULL;
    json_t *j = sl_ctl_call(ctl, "POST", "/v1/apply", body);
    json_decref(body);
    if (!j)
        return SL_CTL_FAILED;
    int at = snprintf(done, sizeof(done), "applied: version %.0f serves", sl_ctl_num(j, "version"));
    if (json_is_true(json_object_get(j, "trial")))
        (void)snprintf(done + at, sizeof(done) - (size_t)at,
                       "; `sluicectl confirm` within %s keeps it, else the one before comes back",
                       sl_ctl_span((double)ms / 1000, span));
    else if (trial)
        (void)snprintf(done + at, sizeof(done) - (size_t)at,
                       "; it is what served before: nothing to confirm");
    return sl_ctl_finish(ctl, j, "not applied; what was in force goes on serving", done);
}

/* POST without a body or words, answered as apply is. */
static json_t *_sl_step(const struct sl_ctl *ctl, int argc, char **argv, const char *path, int *code)
{
    size_t n;
    *code = SL_CTL_USAGE;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, NULL, 0, &n))
        return NULL;
    *code = SL_CTL_FAILED;
    return sl_ctl_call(ctl, "POST", path, NULL);
}

int sl_ctl_confirm(const struct sl_ctl *ctl, int argc, char **argv)
{
    int code;
    char done[64];
    json_t *j = _sl_step(ctl, argc, argv, "/v1/confirm", &code);
    if (!j)
        return code;
    (void)snprintf(done, sizeof(done), "confirmed: version %.0f stays", sl_ctl_num(j, "version"));
    return sl_ctl_finish(ctl, j, "nothing was confirmed", done);
}

int sl_ctl_rollback(const struct sl_ctl *ctl, int argc, char **argv)
{
    int code;
    char done[160];
    json_t *j = _sl_step(ctl, argc, argv, "/v1/rollback", &code);
    if (!j)
        return code;
    (void)snprintf(
        done, sizeof(done),
        "rolled back: version %.0f serves what was in force before. The policy on disk stays as it "
        "is: the next apply or restart reads it",
        sl_ctl_num(j, "version"));
    return sl_ctl_finish(ctl, j, "nothing was rolled back", done);
}

int sl_ctl_upgrade(const struct sl_ctl *ctl, int argc, char **argv)
{
    int code;
    char done[96];
    json_t *j = _sl_step(ctl, argc, argv, "/v1/upgrade", &code);
    if (!j)
        return code;
    (void)snprintf(done, sizeof(done), "upgraded: pid %.0f serves; the one before drains",
                   sl_ctl_num(j, "pid"));
    return sl_ctl_finish(ctl, j, "not upgraded; what ran goes on serving", done);
}

/* The prefix in its canonical text, or a word on what is wrong with it. */
static int _sl_prefix(const char *verb, const char *given, char text[SL_IP_STRLEN])
{
    struct sl_cidr cidr;
    int r = sl_cidr_parse(sl_slice_str(given), &cidr);
    if (r == 0) {
        (void)sl_cidr_text(&cidr, text);
        return 0;
    }
    const char *slash = strchr(given, '/');
    uint64_t len = 0;
    if (r == -EDOM && slash && sl_ip_parse(sl_slice(given, (size_t)(slash - given)), &cidr.ip) == 0 &&
        sl_slice_u64(sl_slice_str(slash + 1), &len) == 0) {
        cidr.len = (uint8_t)len;
        cidr.ip = sl_ip_mask(cidr.ip, cidr.len);
        return sl_ctl_usage(verb, "%s: \"%s\" has host bits set: did you mean %s, or the address alone?",
                            verb, given, sl_cidr_text(&cidr, text));
    }
    return sl_ctl_usage(
        verb, "%s: \"%s\" is no address or prefix, as 198.51.100.7, 198.51.100.0/24 or 2001:db8::/32", verb,
        given);
}

/* deny and allow: argv[0] says which. */
int sl_ctl_deny(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *given[1], *how_long = NULL, *verb = argv[0];
    const struct sl_ctl_option options[] = {{"--for", &how_long, NULL}};
    char prefix[SL_IP_STRLEN], span[SL_CTL_UNIT], done[160], path[32];
    uint64_t ms = 0;
    size_t n;
    if (sl_ctl_options(verb, argc, argv, options, SL_ARRAY_LEN(options), given, 1, &n))
        return SL_CTL_USAGE;
    if (n == 0)
        return sl_ctl_usage(verb, "%s: which source? Give an address or a prefix", verb);
    if (how_long && (sl_ctl_duration_ms(how_long, &ms) || ms == 0))
        return sl_ctl_usage(verb, "%s: \"%s\" is no duration, as 500ms, 30s, 10m, 1h or 7d", verb, how_long);
    if (_sl_prefix(verb, given[0], prefix))
        return SL_CTL_USAGE;
    json_t *body = json_pack("{s:s, s:I}", "cidr", prefix, "for_ms", (json_int_t)ms);
    (void)snprintf(path, sizeof(path), "/v1/%s", verb);
    json_t *j = sl_ctl_call(ctl, "POST", path, body);
    json_decref(body);
    if (!j)
        return SL_CTL_FAILED;
    (void)snprintf(done, sizeof(done), "%s: %s %s%s", prefix,
                   strcmp(verb, "deny") == 0 ? "denied" : "allowed", ms ? "for " : "until `sluicectl forget`",
                   ms ? sl_ctl_span((double)ms / 1000, span) : "");
    return sl_ctl_finish(ctl, j, "refused; nothing was changed", done);
}

int sl_ctl_forget(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *given[1];
    char prefix[SL_IP_STRLEN], done[160];
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, given, 1, &n))
        return SL_CTL_USAGE;
    if (n == 0)
        return sl_ctl_usage(argv[0], "forget: which source? Give an address or a prefix");
    if (_sl_prefix(argv[0], given[0], prefix))
        return SL_CTL_USAGE;
    json_t *body = json_pack("{s:s}", "cidr", prefix);
    json_t *j = sl_ctl_call(ctl, "POST", "/v1/forget", body);
    json_decref(body);
    if (!j)
        return SL_CTL_FAILED;
    (void)snprintf(done, sizeof(done), "%s: %.0f taken back", prefix, sl_ctl_num(j, "removed"));
    return sl_ctl_finish(ctl, j, "refused; nothing was changed", done);
}

int sl_ctl_metrics(const struct sl_ctl *ctl, int argc, char **argv)
{
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, NULL, 0, &n))
        return SL_CTL_USAGE;
    struct sl_buf SL_BUF raw = {0};
    struct sl_buf SL_BUF text = {0};
    if (sl_ctl_call_text(ctl, "/metrics", &raw) < 0)
        return SL_CTL_FAILED;
    if (ctl->json) { /* the text as one string: what parses Prometheus text wants it as it is */
        json_t *j =
            json_pack("{s:s%}", "metrics", sl_buf_len(&raw) ? sl_buf_data(&raw) : "", sl_buf_len(&raw));
        int r = sl_ctl_print_json(j);
        json_decref(j);
        return r;
    }
    if (sl_ctl_escape(&text, sl_buf_slice(&raw), true) < 0)
        return SL_CTL_FAILED;
    return sl_ctl_print(&text, stdout);
}

/* No daemon answers: what a dead one left is taken away here. */
static int _sl_detach_here(const struct sl_ctl *ctl)
{
    int r = sl_kernel_detach_all();
    if (r < 0) {
        (void)fprintf(stderr, "sluicectl: no daemon answers on %s, and detaching without it failed: %s%s\n",
                      ctl->socket, strerror(-r), r == -EPERM || r == -EACCES ? ". Run as root" : "");
        return SL_CTL_FAILED;
    }
    if (ctl->json)
        printf("{\"ok\": true, \"daemon\": false, \"removed\": %d}\n", r);
    else
        printf("no daemon answers on %s (%s): %s\n", ctl->socket, ctl->socket_from,
               r ? "took the guard off the interfaces and removed its pins"
                 : "nothing of sluice was attached");
    return SL_CTL_OK;
}

int sl_ctl_detach(const struct sl_ctl *ctl, int argc, char **argv)
{
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, NULL, 0, &n))
        return SL_CTL_USAGE;
    int r = sl_ctl_ping(ctl->socket);
    if (r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR)
        return _sl_detach_here(ctl);
    json_t *j = sl_ctl_call(ctl, "POST", "/v1/detach", NULL);
    if (!j)
        return SL_CTL_FAILED;
    return sl_ctl_finish(ctl, j, "refused; the guard stays",
                         "detached: the proxy serves on, without the kernel's guard");
}
