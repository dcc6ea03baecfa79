/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of WebSocket (RFC 6455 section 4), as one in between sees it. */
#ifndef SL_HTTP_WEBSOCKET_H
#define SL_HTTP_WEBSOCKET_H

#include "http/message.h"

/* Whether a request asks to become a WebSocket: before its hop-by-hop fields are stripped. */
bool sl_websocket_asked(const struct sl_request *r);
/* A fresh Sec-WebSocket-Key (section 4.1, item 7). 0 or -errno. */
#define SL_WEBSOCKET_KEY_LEN 24 /* 16 bytes in base64 */
int sl_websocket_key(char out[SL_WEBSOCKET_KEY_LEN]) SL_MUST_CHECK;
/* Sec-WebSocket-Accept for the key that r has; p NULL where it has none, or memory is out. */
struct sl_slice sl_websocket_accept(const struct sl_request *r, struct sl_arena *a);
/* Whether a 101 answers that request and no other: before its hop-by-hop fields are stripped. An origin that
 * can be talked into a status of 101 does not know the key. */
bool sl_websocket_agreed(const struct sl_request *r, const struct sl_response *res);

#endif
