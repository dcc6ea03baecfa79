/* SPDX-License-Identifier: Apache-2.0 */
/* The packet parser of the XDP program, compiled natively. tests/bpf/test_parse_compare.c compares it with
 * the kernel. */
#include "../../bpf/lib/parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void must(int holds)
{
    if (!holds)
        abort();
}

static void check(enum sl_parsed parsed, const struct sl_packet *p, size_t n)
{
    static const struct sl_addr none;
    must(parsed <= SL_PARSED_NO_PORTS);
    if (parsed != SL_PARSED_PORTS && parsed != SL_PARSED_NO_PORTS)
        return;
    must(p->family == SL_AF_INET || p->family == SL_AF_INET6);
    if (p->family == SL_AF_INET)
        must(memcmp(p->src.bytes + 4, none.bytes, 12) == 0 && memcmp(p->dst.bytes + 4, none.bytes, 12) == 0);
    if (parsed == SL_PARSED_NO_PORTS) {
        must(p->sport_be == 0 && p->dport_be == 0 && p->tcp_flags == 0);
        must(p->flags != 0); /* why there are none */
        must(sl_packet_fault(p, 0) != SL_REASON_COUNT);
        must((sl_packet_fault(p, 1) == SL_REASON_COUNT) ==
             (p->flags == (SL_PACKET_FRAGMENT | SL_PACKET_LATER)));
        return;
    }
    must(p->proto == SL_IP_TCP || p->proto == SL_IP_UDP);
    must(n >= 14 + 20 + 4);
    if (p->proto == SL_IP_TCP && !p->flags)
        must(p->headers >= 14 + 20 + 20);
    if (sl_packet_opens(p))
        must(sl_packet_fault(p, 0) != SL_REASON_COUNT || (p->tcp_flags & (SL_TCP_FIN | SL_TCP_RST)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_packet p;
    memset(&p, 0, sizeof(p));
    /* A copy of the exact size: the sanitizer sees a byte read too far. */
    uint8_t *frame = malloc(size ? size : 1);
    must(frame != NULL);
    memcpy(frame, data, size);
    check(sl_parse(frame, frame + size, &p), &p, size);
    free(frame);
    return 0;
}
