/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the HTTP/1.1 codec share: the guard, what the fields say, and llhttp's opinion of the
 * same bytes. */
#ifndef SL_HTTP_H1_PRIV_H
#define SL_HTTP_H1_PRIV_H

#include "http/h1.h"

#define SL_H1_CONNECTION_OPTIONS 32 /* each one costs a walk over the fields when they are stripped */

/* The head as the guard takes it: everything before p is taken. */
struct sl_h1_cursor {
    const char *p, *end;
};

/* What the fields of one message say about its framing and its connection. */
struct sl_h1_facts {
    const struct sl_header *host;
    uint64_t length;
    uint32_t connection_options;
    uint8_t minor;
    bool response; /* set by the caller, as minor is */
    bool has_length, chunked, close, keep_alive, upgrade_option, upgrade_field, expect;
};

/* h1_guard.c: lines and fields. The cursor moves past what was taken. */
enum sl_h1_error sl_h1_guard_request_line(struct sl_h1_cursor *c, const struct sl_h1_limits *limits,
                                          struct sl_request *out);
enum sl_h1_error sl_h1_guard_status_line(struct sl_h1_cursor *c, struct sl_response *out);
/* All fields and the empty line; what follows it is an error. */
enum sl_h1_error sl_h1_guard_fields(struct sl_h1_cursor *c, struct sl_arena *a,
                                    const struct sl_h1_limits *limits, struct sl_headers *h);

/* h1_fields.c */
/* SL_H1_OK, or which field that frames is spelled so that servers which speak CGI would read it as one. */
enum sl_h1_error sl_h1_disguised(struct sl_slice name);
enum sl_h1_error sl_h1_read_facts(const struct sl_headers *h, struct sl_h1_facts *f);

/* h1_target.c: path, query and authority of a request whose line and fields are parsed. */
enum sl_h1_error sl_h1_read_target(struct sl_arena *a, const struct sl_header *host, struct sl_request *r);

/* h1_llhttp.c: SL_H1_LLHTTP unless llhttp reads the very same head. */
enum sl_h1_error sl_h1_confirm_request(struct sl_slice head, const struct sl_request *r,
                                       const struct sl_h1_facts *f);
enum sl_h1_error sl_h1_confirm_response(struct sl_slice head, const struct sl_response *r,
                                        const struct sl_h1_facts *f);

#endif
