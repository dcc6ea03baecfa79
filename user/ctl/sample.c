/* SPDX-License-Identifier: Apache-2.0 */
/* One sampled drop, as the admin API gives it, in words and as a packet of pcapng. */
#include "ctl/sample_priv.h"

#include "base/clock.h"
#include "sluice/abi.h"

#include <string.h>

static const char *_sl_protocol(const json_t *s, char out[8])
{
    const unsigned proto = (unsigned)sl_ctl_num(s, "protocol");
    if (proto == 6 || proto == 17)
        return proto == 6 ? "tcp" : "udp";
    (void)snprintf(out, 8, "ip%u", proto % 1000);
    return out;
}

/* "SA": the letters that tcpdump writes */
static const char *_sl_flags(const json_t *s, char out[9])
{
    static const char letters[] = "FSRPAUEC";
    const unsigned flags = (unsigned)sl_ctl_num(s, "tcp_flags");
    size_t n = 0;
    for (unsigned i = 0; i < 8; i++)
        if (flags & 1u << i)
            out[n++] = letters[i];
    out[n] = '\0';
    return out;
}

void sl_sample_endpoint(const json_t *s, bool source, char out[SL_SAMPLE_ENDPOINT])
{
    const char *address = sl_ctl_str(s, source ? "source" : "destination");
    const unsigned port = (unsigned)sl_ctl_num(s, source ? "source_port" : "destination_port");
    if (port == 0)
        (void)snprintf(out, SL_SAMPLE_ENDPOINT, "%s", address);
    else
        (void)snprintf(out, SL_SAMPLE_ENDPOINT, strchr(address, ':') ? "[%s]:%u" : "%s:%u", address,
                       port % 65536);
}

const char *sl_sample_kind(const json_t *s, char out[SL_SAMPLE_KIND])
{
    char flags[9], proto[8];
    (void)_sl_flags(s, flags);
    (void)snprintf(out, SL_SAMPLE_KIND, "%s%s%s", _sl_protocol(s, proto), *flags ? " " : "", flags);
    return out;
}

static uint64_t _sl_time(const json_t *s)
{
    return (uint64_t)json_integer_value(json_object_get(s, "time_ns"));
}

int sl_sample_line(const json_t *s, struct sl_buf *out)
{
    char time[SL_ISO_LEN], from[SL_SAMPLE_ENDPOINT], to[SL_SAMPLE_ENDPOINT], kind[SL_SAMPLE_KIND];
    struct sl_buf SL_BUF line = {0};
    sl_wall_iso(_sl_time(s), time);
    sl_sample_endpoint(s, true, from);
    sl_sample_endpoint(s, false, to);
    int r = sl_buf_printf(&line, "%s %s%s %s %s > %s %s %.0f B", time,
                          json_is_true(json_object_get(s, "passed")) ? "would drop: " : "",
                          sl_ctl_str(s, "reason"), sl_ctl_str(s, "interface"), from, to,
                          sl_sample_kind(s, kind), sl_ctl_num(s, "length"));
    if (r == 0)
        r = sl_ctl_escape(out, sl_buf_slice(&line), false);
    return r < 0 ? r : sl_buf_append(out, "\n", 1);
}

static int _sl_nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* How many bytes, up to where it is no more hexadecimal. */
static uint32_t _sl_unhex(const char *text, uint8_t out[SL_SAMPLE_BYTES])
{
    uint32_t n = 0;
    for (; n < SL_SAMPLE_BYTES && text[0] && text[1]; text += 2) {
        const int high = _sl_nibble(text[0]), low = _sl_nibble(text[1]);
        if (high < 0 || low < 0)
            break;
        out[n++] = (uint8_t)(high << 4 | low);
    }
    return n;
}

int sl_sample_pcapng(struct sl_pcapng *p, const json_t *s, struct sl_buf *out)
{
    uint8_t data[SL_SAMPLE_BYTES];
    char comment[160];
    const char *listener = sl_ctl_str(s, "listener");
    (void)snprintf(comment, sizeof(comment), "%s%s%s%s",
                   json_is_true(json_object_get(s, "passed")) ? "would drop: " : "", sl_ctl_str(s, "reason"),
                   *listener ? " listener=" : "", listener);
    const uint32_t n = _sl_unhex(sl_ctl_str(s, "data"), data);
    const struct sl_pcapng_packet packet = {.interface = sl_ctl_str(s, "interface"),
                                            .time_ns = _sl_time(s),
                                            .data = data,
                                            .captured = n,
                                            .length = SL_MAX((uint32_t)sl_ctl_num(s, "length"), n),
                                            .comment = comment};
    return sl_pcapng_packet(p, &packet, out);
}
