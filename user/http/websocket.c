/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of the handshake are checked, since what follows a 101 is no longer HTTP: an answer that only
 * looks like one would hand the client a pipe to the upstream, past every route and limit.
 */
#include "http/websocket.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#define SL_KEY_LEN    SL_WEBSOCKET_KEY_LEN
#define SL_ACCEPT_LEN 28 /* 20 bytes in base64 */

static const struct sl_header *_sl_only(const struct sl_headers *h, struct sl_slice name)
{
    const struct sl_header *found = NULL;
    for (uint32_t i = 0; i < h->n; i++) {
        if (h->v[i].removed || !sl_slice_ieq(h->v[i].name, name))
            continue;
        if (found)
            return NULL;
        found = &h->v[i];
    }
    return found;
}

static bool _sl_says(const struct sl_headers *h, struct sl_slice name, struct sl_slice value)
{
    const struct sl_header *f = _sl_only(h, name);
    return f && sl_slice_ieq(f->value, value);
}

/* RFC 6455 section 4.1; by RFC 8441 section 5 the version is all that is left of it. */
bool sl_websocket_asked(const struct sl_request *r)
{
    if (r->extended_connect)
        return _sl_says(&r->headers, SL_S("Sec-WebSocket-Version"), SL_S("13"));
    const struct sl_header *key = _sl_only(&r->headers, SL_S("Sec-WebSocket-Key"));
    return r->upgrade && r->method == SL_METHOD_GET && r->framing == SL_FRAMING_NONE && key &&
           key->value.n == SL_KEY_LEN && _sl_says(&r->headers, SL_S("Sec-WebSocket-Version"), SL_S("13")) &&
           _sl_says(&r->headers, SL_S("Upgrade"), SL_S("websocket"));
}

/* Section 4.2.2, item 5.4 */
static bool _sl_accept_of(struct sl_slice key, unsigned char out[SL_ACCEPT_LEN + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[SL_KEY_LEN + sizeof(guid) - 1];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    memcpy(text, key.p, SL_KEY_LEN);
    memcpy(text + SL_KEY_LEN, guid, sizeof(guid) - 1);
    return EVP_Digest(text, sizeof(text), digest, &n, EVP_sha1(), NULL) == 1 &&
           EVP_EncodeBlock(out, digest, (int)n) == SL_ACCEPT_LEN;
}

int sl_websocket_key(char out[SL_WEBSOCKET_KEY_LEN])
{
    unsigned char nonce[16], text[SL_KEY_LEN + 1];
    if (RAND_bytes(nonce, sizeof(nonce)) != 1 ||
        EVP_EncodeBlock(text, nonce, sizeof(nonce)) != SL_WEBSOCKET_KEY_LEN)
        return -EIO;
    memcpy(out, text, SL_WEBSOCKET_KEY_LEN);
    return 0;
}

struct sl_slice sl_websocket_accept(const struct sl_request *r, struct sl_arena *a)
{
    const struct sl_header *key = _sl_only(&r->headers, SL_S("Sec-WebSocket-Key"));
    unsigned char *text = key && key->value.n == SL_KEY_LEN ? sl_arena_alloc(a, SL_ACCEPT_LEN + 1) : NULL;
    return text && _sl_accept_of(key->value, text) ? sl_slice((const char *)text, SL_ACCEPT_LEN)
                                                   : SL_SLICE_NUL;
}

bool sl_websocket_agreed(const struct sl_request *r, const struct sl_response *res)
{
    unsigned char want[SL_ACCEPT_LEN + 1];
    const struct sl_header *key = _sl_only(&r->headers, SL_S("Sec-WebSocket-Key"));
    const struct sl_header *accept = _sl_only(&res->headers, SL_S("Sec-WebSocket-Accept"));
    return r->upgrade && res->status == 101 && res->upgrade && key && key->value.n == SL_KEY_LEN && accept &&
           _sl_says(&res->headers, SL_S("Upgrade"), SL_S("websocket")) && _sl_accept_of(key->value, want) &&
           sl_slice_eq(accept->value, sl_slice((const char *)want, SL_ACCEPT_LEN));
}
