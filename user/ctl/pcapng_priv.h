/* SPDX-License-Identifier: Apache-2.0 */
/* Writing pcapng (draft-ietf-opsawg-pcapng): one section, an interface block at each interface's first
 * packet, nanoseconds, a comment with each packet. Pure: blocks are appended to a buffer. */
#ifndef SL_CTL_PCAPNG_PRIV_H
#define SL_CTL_PCAPNG_PRIV_H

#include "base/buf.h"

#define SL_PCAPNG_INTERFACES 64 /* beyond: counted to the last */

struct sl_pcapng {
    char interfaces[SL_PCAPNG_INTERFACES][16];
    uint32_t n;
    uint32_t snaplen;
};

struct sl_pcapng_packet {
    const char *interface;
    uint64_t time_ns; /* since 1970 */
    const uint8_t *data;
    uint32_t captured, length; /* bytes there, bytes of the frame */
    const char *comment;
};

/* The section's header. 0 or -ENOMEM, as the next. */
int sl_pcapng_begin(struct sl_pcapng *p, uint32_t snaplen, struct sl_buf *out) SL_MUST_CHECK;
int sl_pcapng_packet(struct sl_pcapng *p, const struct sl_pcapng_packet *packet,
                     struct sl_buf *out) SL_MUST_CHECK;

#endif
