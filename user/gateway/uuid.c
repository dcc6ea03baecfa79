/* SPDX-License-Identifier: Apache-2.0 */
/* Random UUIDs (RFC 9562 section 5.4), one getrandom() for 256 of them: an id must not tell how many there
 * were. */
#include "gateway/worker_priv.h"

#include <errno.h>
#include <string.h>
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

/* The two digits of each byte. */
#define SL_ROW(h) \
    h "0" h "1" h "2" h "3" h "4" h "5" h "6" h "7" h "8" h "9" h "a" h "b" h "c" h "d" h "e" h "f"
static const char _sl_hex[] =
    SL_ROW("0") SL_ROW("1") SL_ROW("2") SL_ROW("3") SL_ROW("4") SL_ROW("5") SL_ROW("6") SL_ROW("7")
        SL_ROW("8") SL_ROW("9") SL_ROW("a") SL_ROW("b") SL_ROW("c") SL_ROW("d") SL_ROW("e") SL_ROW("f");

int sl_uuid_new(struct sl_uuid_source *u, char out[SL_UUID_LEN])
{
    static const uint8_t at[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    int r = u->used + 16 > sizeof(u->bytes) ? _sl_refill(u) : 0;
    if (r < 0)
        return r;
    uint8_t *b = u->bytes + u->used;
    u->used += 16;
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < 16; i++)
        memcpy(out + at[i], _sl_hex + (size_t)2 * b[i], 2);
    out[8] = out[13] = out[18] = out[23] = '-';
    return 0;
}
