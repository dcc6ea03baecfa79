/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fields of a head say about where the message ends and what becomes of the connection.
 * Invariant: at most one of length and chunked holds, each said once and in one way (RFC 9112 section 6).
 */
#include "http/h1_priv.h"

/*
 * A server that speaks CGI reads Transfer_Encoding as Transfer-Encoding. No honest client sends that, so such
 * a spelling of a field that frames or routes counts as a malformed field of that name.
 */
enum sl_h1_error sl_h1_disguised(struct sl_slice name)
{
    static const struct {
        struct sl_slice name;
        enum sl_h1_error error;
    } fields[] = {{{"transfer-encoding", 17}, SL_H1_TRANSFER_ENCODING},
                  {{"content-length", 14}, SL_H1_CONTENT_LENGTH}};
    if (name.n > 17 || sl_slice_chr(name, '_') < 0)
        return SL_H1_OK;
    char text[17];
    for (size_t i = 0; i < name.n; i++)
        text[i] = name.p[i] == '_' ? '-' : name.p[i];
    for (unsigned i = 0; i < SL_ARRAY_LEN(fields); i++)
        if (sl_slice_ieq(sl_slice(text, name.n), fields[i].name))
            return fields[i].error;
    return SL_H1_OK;
}

/* RFC 9112 section 6.3: one number, once. Equal doubles could be merged; they are refused. */
static enum sl_h1_error _sl_length(struct sl_slice v, struct sl_h1_facts *f)
{
    if (f->has_length || sl_slice_u64(v, &f->length) < 0 || f->length > INT64_MAX)
        return SL_H1_CONTENT_LENGTH;
    f->has_length = true;
    return SL_H1_OK;
}

/* RFC 9112 section 7: other codings would have to be understood by all on the way to agree on the end. */
static enum sl_h1_error _sl_coding(struct sl_slice v, struct sl_h1_facts *f)
{
    if (f->chunked || !sl_slice_is(v, SL_S("chunked")))
        return SL_H1_TRANSFER_ENCODING;
    f->chunked = true;
    return SL_H1_OK;
}

static enum sl_h1_error _sl_connection(struct sl_slice list, struct sl_h1_facts *f)
{
    struct sl_slice option;
    while (sl_slice_next(&list, ',', &option)) {
        option = sl_slice_trim(option);
        if (++f->connection_options > SL_H1_CONNECTION_OPTIONS)
            return SL_H1_TOO_MANY_HEADERS;
        f->close |= sl_slice_is(option, SL_S("close"));
        f->keep_alive |= sl_slice_is(option, SL_S("keep-alive"));
        f->upgrade_option |= sl_slice_is(option, SL_S("upgrade"));
    }
    return SL_H1_OK;
}

static enum sl_h1_error _sl_fact(const struct sl_header *h, struct sl_h1_facts *f)
{
    if (f->response && (h->id == SL_HDR_HOST || h->id == SL_HDR_EXPECT)) /* they mean nothing there */
        return SL_H1_OK;
    switch (h->id) {
    case SL_HDR_HOST:
        if (f->host)
            return SL_H1_HOST_DOUBLED;
        f->host = h;
        return SL_H1_OK;
    case SL_HDR_CONTENT_LENGTH:
        return _sl_length(h->value, f);
    case SL_HDR_TRANSFER_ENCODING:
        return _sl_coding(h->value, f);
    case SL_HDR_CONNECTION:
        return _sl_connection(h->value, f);
    case SL_HDR_UPGRADE:
        f->upgrade_field = true;
        return SL_H1_OK;
    case SL_HDR_EXPECT:
        f->expect = true;
        return sl_slice_is(h->value, SL_S("100-continue")) ? SL_H1_OK : SL_H1_EXPECT;
    case SL_HDR_OTHER:
        return sl_h1_disguised(h->name);
    default:
        return SL_H1_OK;
    }
}

enum sl_h1_error sl_h1_read_facts(const struct sl_headers *h, struct sl_h1_facts *f)
{
    for (uint32_t i = 0; i < h->n; i++) {
        const enum sl_h1_error e = _sl_fact(&h->v[i], f);
        if (e != SL_H1_OK)
            return e;
    }
    if (f->chunked && f->minor == 0) /* RFC 9112 section 6.1: the framing is faulty */
        return SL_H1_TE_ON_10;
    return f->chunked && f->has_length ? SL_H1_TE_AND_CL : SL_H1_OK;
}
