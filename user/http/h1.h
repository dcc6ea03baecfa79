/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 codec (RFC 9112): a guard of our own that refuses what llhttp lets pass, llhttp in strict mode
 * behind it, body decoding without copies, and the writers. Pure: bytes in, messages and bytes out, no
 * sockets.
 */
#ifndef SL_HTTP_H1_H
#define SL_HTTP_H1_H

#include "base/buf.h"
#include "http/message.h"

struct sl_h1_limits {
    uint32_t head;         /* bytes of the whole head; 431 past it */
    uint32_t header_count; /* 431 past it */
    uint32_t target;       /* bytes of the request target; 414 past it */
};

/* Why a message was refused: X(enumerator, metric name, status for the client, detail for the client) */
#define SL_H1_ERRORS(X)                                                                            \
    X(BARE_LF, "bare_lf", 400, "a line ends in LF without CR")                                     \
    X(BARE_CR, "bare_cr", 400, "CR without LF")                                                    \
    X(LEADING_BYTES, "leading_bytes", 400, "bytes before the request line")                        \
    X(REQUEST_LINE, "request_line", 400, "malformed request line")                                 \
    X(METHOD, "method", 400, "the method is not a token")                                          \
    X(TARGET, "target", 400, "malformed or ambiguous request target")                              \
    X(TARGET_TOO_LONG, "target_too_long", 414, "the request target is too long")                   \
    X(VERSION, "version", 505, "only HTTP/1.0 and HTTP/1.1 are spoken here")                       \
    X(CONNECT, "connect", 405, "CONNECT is refused")                                               \
    X(PROTOCOL, "protocol", 501, "the only protocol that CONNECT may name is websocket")           \
    X(FIELD_NAME, "field_name", 400, "a field name is not a token")                                \
    X(FIELD_VALUE, "field_value", 400, "a field value has a control character")                    \
    X(FOLD, "fold", 400, "line folding")                                                           \
    X(HOST_MISSING, "host_missing", 400, "no Host field")                                          \
    X(HOST_DOUBLED, "host_doubled", 400, "more than one Host field")                               \
    X(HOST, "host", 400, "malformed Host, or other than the target's authority")                   \
    X(CONTENT_LENGTH, "content_length", 400, "malformed or doubled Content-Length")                \
    X(TRANSFER_ENCODING, "transfer_encoding", 400, "Transfer-Encoding other than exactly chunked") \
    X(TE_AND_CL, "te_and_cl", 400, "Transfer-Encoding beside Content-Length")                      \
    X(TE_ON_10, "te_on_10", 400, "Transfer-Encoding on HTTP/1.0")                                  \
    X(EXPECT, "expect", 417, "an expectation other than 100-continue")                             \
    X(TOO_MANY_HEADERS, "too_many_headers", 431, "too many header fields")                         \
    X(HEAD_TOO_LARGE, "head_too_large", 431, "the header block is too large")                      \
    X(STATUS_LINE, "status_line", 502, "malformed status line")                                    \
    X(CHUNK, "chunk", 400, "malformed chunk")                                                      \
    X(TRAILER, "trailer", 400, "malformed or forbidden trailer field")                             \
    X(PSEUDO, "pseudo", 400, "a pseudo-header field is missing, doubled, unknown or out of place") \
    X(CONNECTION_FIELD, "connection_field", 400, "a field that HTTP/2 does not have")              \
    X(BODY_LENGTH, "body_length", 400, "the body is not as long as Content-Length says")           \
    X(TRUNCATED, "truncated", 400, "the message ended early")                                      \
    X(LLHTTP, "llhttp", 400, "malformed message")                                                  \
    X(NO_MEMORY, "no_memory", 503, "out of memory")

enum sl_h1_error {
    SL_H1_OK,
#define SL_X(e, name, status, text) SL_H1_##e,
    SL_H1_ERRORS(SL_X)
#undef SL_X
        SL_H1_ERROR_COUNT
};
const char *sl_h1_error_name(enum sl_h1_error e);
unsigned sl_h1_error_status(enum sl_h1_error e);
const char *sl_h1_error_text(enum sl_h1_error e);

/*
 * Looks for the end of a head in data, from *scanned on (bytes already looked at in an earlier call; 0 at
 * first; updated). >0: the head's length including the empty line; 0: not complete; <0: -(enum sl_h1_error).
 */
ssize_t sl_h1_head_end(struct sl_slice data, size_t *scanned, const struct sl_h1_limits *limits);
/* Parses one complete head. Slices point into head (or the arena, where normalised). SL_H1_OK or why not. */
enum sl_h1_error sl_h1_parse_request(struct sl_arena *a, struct sl_slice head,
                                     const struct sl_h1_limits *limits, struct sl_request *out);
/* request_method decides on a body (HEAD, CONNECT). 1xx heads parse too; the caller skips them. */
enum sl_h1_error sl_h1_parse_response(struct sl_arena *a, struct sl_slice head,
                                      const struct sl_h1_limits *limits, enum sl_method request_method,
                                      struct sl_response *out);

/* A body being decoded. Trailers are checked (no framing or identity fields) and dropped, unless the caller
 * sets keep after sl_h1_body_init. */
#define SL_H1_TRAILER_COUNT 100
struct sl_h1_body {
    enum sl_framing framing;
    uint64_t left; /* of the body, or of the chunk */
    uint8_t state; /* private to h1_body.c */
    uint8_t digits;
    bool done;
    uint32_t line;   /* bytes of the chunk line or trailers so far, capped */
    uint32_t excess; /* bytes of chunk lines beyond what their chunks' sizes explain, capped */
    uint64_t total;
    struct sl_arena *keep; /* takes the trailers; NULL: they are dropped */
    char *text;            /* private to h1_body.c */
    uint32_t n_text;
};
void sl_h1_body_init(struct sl_h1_body *b, enum sl_framing framing, uint64_t content_length);
/*
 * Takes bytes of `in`: *used of them were eaten, of which *data (a slice into in, may be empty) is payload.
 * Call again with the rest until *used is 0 or b->done. At EOF of the peer call sl_h1_body_eof.
 */
enum sl_h1_error sl_h1_body_feed(struct sl_h1_body *b, struct sl_slice in, size_t *used,
                                 struct sl_slice *data);
/* The trailers of a body that is done, added to out; slices point into keep. */
enum sl_h1_error sl_h1_body_trailers(const struct sl_h1_body *b, struct sl_headers *out);
/* The peer closed: SL_H1_OK where the body may end so, else SL_H1_TRUNCATED. */
enum sl_h1_error sl_h1_body_eof(struct sl_h1_body *b);

/* Writers: append a head to out, live headers only, framing regenerated from the message's framing and
 * content_length (Content-Length, Transfer-Encoding and Connection in headers are skipped). 0 or -ENOMEM. */
int sl_h1_write_request(struct sl_buf *out, const struct sl_request *r);
/* close: adds Connection: close. */
int sl_h1_write_response(struct sl_buf *out, const struct sl_response *r, bool close);
/* Body bytes, as one chunk where the framing is chunked; none are nothing, since an empty chunk would be the
 * last. 0 or -ENOMEM. */
#define SL_H1_CHUNK_OVERHEAD 32 /* "SIZE\r\n" and "\r\n" */
int sl_h1_write_data(struct sl_buf *out, struct sl_slice data, bool chunked);
/* The last chunk, and the trailers behind it. 0 or -ENOMEM. */
int sl_h1_write_last(struct sl_buf *out, const struct sl_headers *trailers);
/* "SIZE\r\n" before a chunk's data; the caller writes the data and then "\r\n". */
int sl_h1_write_chunk_head(struct sl_buf *out, size_t n);

#endif
