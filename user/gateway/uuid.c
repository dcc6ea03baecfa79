/* SPDX-License-Identifier: Apache-2.0 */
/* Random UUIDs (RFC 9562 section 5.4), one getrandom() for 256 of them: an id must not tell how many there
 * were. */
#include "gateway/worker_priv.h"

#include <errno.h>
#include <sys/random.h>

static int _sl_refill(struct sl_uuid_source *u)
{
    for (size_t got = 0; got < sizeof(u->bytes);) {
        ssize_t n = getrandom(u->bytes + got, sizeof(u->bytes) - got, 0);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            got += (size_t)n;
    }
    u->used = 0;
    return 0;
}

int sl_uuid_new(struct sl_uuid_source *u, char out[SL_UUID_LEN])
{
    static const char hex[] = "0123456789abcdef";
    int r = u->used + 16 > sizeof(u->bytes) ? _sl_refill(u) : 0;
    if (r < 0)
        return r;
    uint8_t *b = u->bytes + u->used;
    u->used += 16;
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        out[at++] = hex[b[i] >> 4];
        out[at++] = hex[b[i] & 15];
    }
    return 0;
}
