/* SPDX-License-Identifier: Apache-2.0 */
/* See pcapng_priv.h; numbers of sections are the draft's (draft-ietf-opsawg-pcapng-02). */
#include "ctl/pcapng_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SL_SHB = 0x0a0d0d0a, SL_IDB = 1, SL_EPB = 6 };            /* block types, section 4 */
enum { SL_OPT_END = 0, SL_OPT_COMMENT = 1 };                     /* section 3.5 */
enum { SL_SHB_USERAPPL = 4, SL_IF_NAME = 2, SL_IF_TSRESOL = 9 }; /* sections 4.1 and 4.2 */
#define SL_LINKTYPE_ETHERNET 1

/* A block is made of words; its length stands before and behind it (section 3.1). */
static int _sl_u32(struct sl_buf *b, uint32_t v)
{
    return sl_buf_append(b, &v, sizeof(v));
}

/* Bytes up to the next multiple of 4. */
static int _sl_padded(struct sl_buf *b, const void *p, size_t n)
{
    static const char zero[4];
    const int r = sl_buf_append(b, p, n);
    return r < 0 ? r : sl_buf_append(b, zero, -n & 3);
}

static int _sl_option(struct sl_buf *b, uint16_t code, const void *p, size_t n)
{
    const uint16_t head[2] = {code, (uint16_t)n};
    const int r = sl_buf_append(b, head, sizeof(head));
    return r < 0 ? r : _sl_padded(b, p, n);
}

static int _sl_block(struct sl_buf *out, uint32_t type, const struct sl_buf *body)
{
    const uint32_t total = (uint32_t)sl_buf_len(body) + 12;
    int r = _sl_u32(out, type);
    if (r == 0)
        r = _sl_u32(out, total);
    if (r == 0)
        r = sl_buf_append(out, sl_buf_data(body), sl_buf_len(body));
    return r < 0 ? r : _sl_u32(out, total);
}

int sl_pcapng_begin(struct sl_pcapng *p, uint32_t snaplen, struct sl_buf *out)
{
    struct sl_buf SL_BUF body = {0};
    const struct { /* byte order by the magic, version 1.0, a section of unknown length */
        uint32_t magic;
        uint16_t major, minor;
        int64_t length;
    } head = {0x1a2b3c4d, 1, 0, -1};
    static const char application[] = "sluicectl " SL_VERSION;
    *p = (struct sl_pcapng){.snaplen = snaplen};
    int r = sl_buf_append(&body, &head, sizeof(head));
    if (r == 0)
        r = _sl_option(&body, SL_SHB_USERAPPL, application, sizeof(application) - 1);
    if (r == 0)
        r = _sl_option(&body, SL_OPT_END, "", 0);
    return r < 0 ? r : _sl_block(out, SL_SHB, &body);
}

static int _sl_interface_block(const struct sl_pcapng *p, const char *name, struct sl_buf *out)
{
    struct sl_buf SL_BUF body = {0};
    const uint16_t link[2] = {SL_LINKTYPE_ETHERNET, 0};
    const uint8_t nanoseconds = 9;
    int r = sl_buf_append(&body, link, sizeof(link));
    if (r == 0)
        r = _sl_u32(&body, p->snaplen);
    if (r == 0)
        r = _sl_option(&body, SL_IF_NAME, name, strlen(name));
    if (r == 0)
        r = _sl_option(&body, SL_IF_TSRESOL, &nanoseconds, 1);
    if (r == 0)
        r = _sl_option(&body, SL_OPT_END, "", 0);
    return r < 0 ? r : _sl_block(out, SL_IDB, &body);
}

/* Its number, written as a block at its first packet. -ENOMEM. */
static int _sl_interface(struct sl_pcapng *p, const char *name, struct sl_buf *out, uint32_t *id)
{
    char cut[sizeof(p->interfaces[0])];
    (void)snprintf(cut, sizeof(cut), "%s", name);
    for (*id = 0; *id < p->n; ++*id)
        if (strcmp(p->interfaces[*id], cut) == 0)
            return 0;
    if (p->n == SL_PCAPNG_INTERFACES)
        return *id = p->n - 1, 0;
    memcpy(p->interfaces[p->n++], cut, sizeof(cut));
    return _sl_interface_block(p, cut, out);
}

int sl_pcapng_packet(struct sl_pcapng *p, const struct sl_pcapng_packet *k, struct sl_buf *out)
{
    struct sl_buf SL_BUF body = {0};
    uint32_t id;
    int r = _sl_interface(p, k->interface, out, &id);
    const uint32_t head[5] = {id, (uint32_t)(k->time_ns >> 32), (uint32_t)k->time_ns, k->captured, k->length};
    if (r == 0)
        r = sl_buf_append(&body, head, sizeof(head));
    if (r == 0)
        r = _sl_padded(&body, k->data, k->captured);
    if (r == 0 && k->comment)
        r = _sl_option(&body, SL_OPT_COMMENT, k->comment, SL_MIN(strlen(k->comment), (size_t)1024));
    if (r == 0)
        r = _sl_option(&body, SL_OPT_END, "", 0);
    return r < 0 ? r : _sl_block(out, SL_EPB, &body);
}
