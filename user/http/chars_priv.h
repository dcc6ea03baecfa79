/* SPDX-License-Identifier: Apache-2.0 */
/* Character classes of RFC 9110 and RFC 3986, one bit each in one table, and the scan that stops at control
 * bytes. */
#ifndef SL_HTTP_CHARS_PRIV_H
#define SL_HTTP_CHARS_PRIV_H

#include <stddef.h>
#include <stdint.h>

#define SL_CH_TOKEN 0x01u /* tchar, RFC 9110 section 5.6.2 */
#define SL_CH_PATH  0x02u /* pchar without '%', RFC 3986 section 3.3 */
#define SL_CH_HOST  0x04u /* what we take in a host name: letters, digits, "-._~" */
#define SL_CH_UNRES 0x08u /* unreserved, RFC 3986 section 2.3 */
#define SL_CH_HEX   0x10u
#define SL_CH_GRAPH 0x20u /* visible ASCII, 0x21 to 0x7e */
#define SL_CH_CTL   0x40u /* control bytes but the tab; DEL */

extern const uint8_t sl_chars[256];

static inline unsigned sl_ch(char c)
{
    return sl_chars[(unsigned char)c];
}

/* Of a character that is SL_CH_HEX. */
static inline unsigned sl_hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* The first byte in [p, end) that no field value may hold (RFC 9110 section 5.5: controls but the tab, DEL),
 * or end. */
const char *sl_find_ctl(const char *p, const char *end);

/* The first LF in [p, end), or NULL. Lines are short: this is memchr() without its start-up. */
const char *sl_find_lf(const char *p, const char *end);

#endif
