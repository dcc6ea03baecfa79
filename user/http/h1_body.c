/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies (RFC 9112 sections 6 and 7), decoded where they lie. Chunk lines and trailers are eaten byte by
 * byte, so they may be cut anywhere; payload is handed on in slices of the input.
 *
 *   SIZE → EXT… → SIZE_LF → DATA → DATA_CR → DATA_LF → SIZE
 *   SIZE_LF (size 0) → TRAILER → NAME → VALUE → VALUE_LF → TRAILER;  TRAILER → END_LF → done
 *
 * Invariant: a refused body stays refused; a chunk line or a trailer section that is too long is refused
 * however slowly it comes.
 */
#include "http/chars_priv.h"
#include "http/h1.h"

#define SL_CHUNK_DIGITS 16   /* 64 bits */
#define SL_CHUNK_LINE   1024 /* bytes of one chunk line, extensions included */
#define SL_CHUNK_EXCESS 16384
#define SL_TRAILERS     8192 /* bytes of all trailers */

enum _sl_body_state {
    SL_BODY_SIZE,
    SL_BODY_EXT_SPACE, /* white space before ';' */
    SL_BODY_EXT,
    SL_BODY_SIZE_LF,
    SL_BODY_DATA,
    SL_BODY_DATA_CR,
    SL_BODY_DATA_LF,
    SL_BODY_TRAILER, /* at the start of a trailer line */
    SL_BODY_NAME,
    SL_BODY_VALUE,
    SL_BODY_VALUE_LF,
    SL_BODY_END_LF,
    SL_BODY_REFUSED,
};

void sl_h1_body_init(struct sl_h1_body *b, enum sl_framing framing, uint64_t content_length)
{
    *b = (struct sl_h1_body){.framing = framing};
    if (framing == SL_FRAMING_LENGTH)
        b->left = content_length;
    b->done = framing == SL_FRAMING_NONE || (framing == SL_FRAMING_LENGTH && content_length == 0);
}

static void _sl_start_line(struct sl_h1_body *b)
{
    b->state = SL_BODY_SIZE;
    b->left = 0;
    b->digits = 0;
    b->line = 0;
}

static enum sl_h1_error _sl_size_digit(struct sl_h1_body *b, char c)
{
    if (++b->digits > SL_CHUNK_DIGITS)
        return SL_H1_CHUNK;
    b->left = b->left << 4 | sl_hex(c);
    return SL_H1_OK;
}

/* After the size: an extension, which is skipped (section 7.1.1), or the end of the line. */
static enum sl_h1_error _sl_size_byte(struct sl_h1_body *b, char c)
{
    if (b->state == SL_BODY_SIZE && (sl_ch(c) & SL_CH_HEX))
        return _sl_size_digit(b, c);
    if (b->digits == 0)
        return SL_H1_CHUNK;
    if (c == ';')
        b->state = SL_BODY_EXT;
    else if (c == ' ' || c == '\t')
        b->state = SL_BODY_EXT_SPACE;
    else if (c == '\r' && b->state == SL_BODY_SIZE)
        b->state = SL_BODY_SIZE_LF;
    else
        return c == '\n' ? SL_H1_BARE_LF : SL_H1_CHUNK;
    return SL_H1_OK;
}

static enum sl_h1_error _sl_ext_byte(struct sl_h1_body *b, char c)
{
    if (c == '\r')
        b->state = SL_BODY_SIZE_LF;
    else if (sl_ch(c) & SL_CH_CTL)
        return c == '\n' ? SL_H1_BARE_LF : SL_H1_CHUNK;
    return SL_H1_OK;
}

/* The size is known. A sender that wraps each byte in a long chunk line makes us work for nothing: the bytes
 * of lines are held against those of data, and may exceed them by a fixed budget over the whole body. */
static enum sl_h1_error _sl_size_done(struct sl_h1_body *b)
{
    const uint64_t earned = 16 + SL_MIN(b->left, (uint64_t)SL_CHUNK_EXCESS);
    b->excess = b->excess + b->line > earned ? (uint32_t)(b->excess + b->line - earned) : 0;
    if (b->left > INT64_MAX - b->total || b->excess > SL_CHUNK_EXCESS)
        return SL_H1_CHUNK;
    b->state = b->left ? SL_BODY_DATA : SL_BODY_TRAILER;
    b->line = 0;
    return SL_H1_OK;
}

static enum sl_h1_error _sl_trailer_name(struct sl_h1_body *b, char c)
{
    if (b->state == SL_BODY_TRAILER) { /* left holds the hash of the name from here on */
        b->left = SL_TRAILER_HASH;
        b->state = SL_BODY_NAME;
        if (c == ':')
            return SL_H1_TRAILER;
    }
    if (c == ':') {
        b->state = SL_BODY_VALUE;
        return sl_trailer_forbidden(b->left) ? SL_H1_TRAILER : SL_H1_OK;
    }
    b->left = sl_trailer_hash(b->left, c);
    return sl_ch(c) & SL_CH_TOKEN ? SL_H1_OK : SL_H1_TRAILER;
}

static enum sl_h1_error _sl_trailer_byte(struct sl_h1_body *b, char c)
{
    if (c == '\n')
        return SL_H1_BARE_LF;
    if (b->state == SL_BODY_TRAILER && c == '\r')
        b->state = SL_BODY_END_LF;
    else if (b->state != SL_BODY_VALUE)
        return _sl_trailer_name(b, c);
    else if (c == '\r')
        b->state = SL_BODY_VALUE_LF;
    else if (sl_ch(c) & SL_CH_CTL)
        return SL_H1_TRAILER;
    return SL_H1_OK;
}

/* c must end the line that a CR began to end. */
static enum sl_h1_error _sl_line_end(struct sl_h1_body *b, char c)
{
    if (c != '\n')
        return SL_H1_BARE_CR;
    if (b->state == SL_BODY_SIZE_LF)
        return _sl_size_done(b);
    if (b->state == SL_BODY_DATA_LF)
        _sl_start_line(b);
    else if (b->state == SL_BODY_VALUE_LF)
        b->state = SL_BODY_TRAILER;
    else
        b->done = true;
    return SL_H1_OK;
}

static enum sl_h1_error _sl_chunked_byte(struct sl_h1_body *b, char c)
{
    switch (b->state) {
    case SL_BODY_SIZE:
    case SL_BODY_EXT_SPACE:
        return _sl_size_byte(b, c);
    case SL_BODY_EXT:
        return _sl_ext_byte(b, c);
    case SL_BODY_DATA_CR:
        b->state = SL_BODY_DATA_LF;
        return c == '\r' ? SL_H1_OK : SL_H1_CHUNK;
    case SL_BODY_TRAILER:
    case SL_BODY_NAME:
    case SL_BODY_VALUE:
        return _sl_trailer_byte(b, c);
    case SL_BODY_SIZE_LF:
    case SL_BODY_DATA_LF:
    case SL_BODY_VALUE_LF:
    case SL_BODY_END_LF:
        return _sl_line_end(b, c);
    default:
        return SL_H1_CHUNK;
    }
}

/* A byte of a trailer field, which the caps bound: the empty line is none. */
static enum sl_h1_error _sl_keep(struct sl_h1_body *b, uint8_t before, char c)
{
    if (!b->keep || (before != SL_BODY_VALUE_LF && (b->state < SL_BODY_NAME || b->state > SL_BODY_VALUE_LF)))
        return SL_H1_OK;
    if (!b->text)
        b->text = sl_arena_alloc(b->keep, SL_TRAILERS + 1);
    if (!b->text)
        return SL_H1_NO_MEMORY;
    b->text[b->n_text++] = c;
    return SL_H1_OK;
}

enum sl_h1_error sl_h1_body_trailers(const struct sl_h1_body *b, struct sl_headers *out)
{
    struct sl_slice text = sl_slice(b->text, b->n_text), line;
    while (sl_slice_next(&text, '\n', &line) && line.n) {
        const size_t colon = (size_t)sl_slice_chr(line, ':'); /* each has one, or it had been refused */
        const struct sl_slice value = sl_slice_trim(sl_slice(line.p + colon + 1, line.n - colon - 2));
        if (out->n >= SL_H1_TRAILER_COUNT)
            return SL_H1_TOO_MANY_HEADERS;
        if (sl_headers_add(out, b->keep, sl_slice(line.p, colon), value) < 0)
            return SL_H1_NO_MEMORY;
    }
    return SL_H1_OK;
}

static enum sl_h1_error _sl_within_caps(const struct sl_h1_body *b)
{
    if (b->state < SL_BODY_DATA)
        return b->line > SL_CHUNK_LINE ? SL_H1_CHUNK : SL_H1_OK;
    return b->line > SL_TRAILERS ? SL_H1_TRAILER : SL_H1_OK;
}

/* Takes payload of what is left, from in on. */
static size_t _sl_take_payload(struct sl_h1_body *b, struct sl_slice in, struct sl_slice *data)
{
    const size_t n = in.n < b->left ? in.n : (size_t)b->left;
    *data = sl_slice(in.p, n);
    b->left -= n;
    b->total += n;
    return n;
}

static enum sl_h1_error _sl_feed_chunked(struct sl_h1_body *b, struct sl_slice in, size_t *used,
                                         struct sl_slice *data)
{
    size_t i = 0;
    while (i < in.n && !b->done && b->state != SL_BODY_DATA) {
        const uint8_t before = b->state;
        enum sl_h1_error e = _sl_chunked_byte(b, in.p[i]);
        b->line++;
        if (e == SL_H1_OK)
            e = _sl_within_caps(b);
        if (e == SL_H1_OK)
            e = _sl_keep(b, before, in.p[i]);
        i++;
        if (e != SL_H1_OK) {
            b->state = SL_BODY_REFUSED;
            return e;
        }
    }
    if (b->state == SL_BODY_DATA) {
        i += _sl_take_payload(b, sl_slice(in.p + i, in.n - i), data);
        if (b->left == 0)
            b->state = SL_BODY_DATA_CR;
    }
    *used = i;
    return SL_H1_OK;
}

enum sl_h1_error sl_h1_body_feed(struct sl_h1_body *b, struct sl_slice in, size_t *used,
                                 struct sl_slice *data)
{
    *used = 0;
    *data = SL_SLICE_NUL;
    if (b->done || in.n == 0)
        return SL_H1_OK;
    switch (b->framing) {
    case SL_FRAMING_CHUNKED:
        return _sl_feed_chunked(b, in, used, data);
    case SL_FRAMING_LENGTH:
        *used = _sl_take_payload(b, in, data);
        b->done = b->left == 0;
        return SL_H1_OK;
    case SL_FRAMING_EOF:
        *data = in;
        *used = in.n;
        b->total += in.n;
        return SL_H1_OK;
    default:
        return SL_H1_OK;
    }
}

enum sl_h1_error sl_h1_body_eof(struct sl_h1_body *b)
{
    if (b->framing == SL_FRAMING_EOF)
        b->done = true;
    return b->done ? SL_H1_OK : SL_H1_TRUNCATED;
}
