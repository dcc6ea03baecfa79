/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of our own: problems (RFC 9457), fixed responses, redirects. */
#include "gateway/exchange_priv.h"

#include <errno.h>

int sl_respond_decorate(struct sl_exchange *ex, const struct sl_transform *extra)
{
    struct sl_headers *h = &ex->res.headers;
    int r = 0;
    if (ex->config->snapshot->correlation_id.echo)
        r = sl_headers_set(h, &ex->arena, ex->config->correlation_header, ex->correlation_id);
    if (r == 0 && ex->n_limits)
        r = sl_limits_headers(ex->limits, ex->n_limits, &ex->verdict, h, &ex->arena);
    if (r == 0 && extra) {
        struct sl_template_vars vars = sl_exchange_vars(ex);
        r = sl_transform_run(extra, &vars, h, &ex->arena);
    }
    return r;
}

static int _sl_write(struct sl_exchange *ex, struct sl_slice body)
{
    int r = sl_headers_set(&ex->res.headers, &ex->arena, SL_S("Date"), sl_worker_date(ex->w));
    if (r == 0)
        r = ex->codec->head(ex);
    if (r == 0 && ex->req.method != SL_METHOD_HEAD && ex->res.framing == SL_FRAMING_LENGTH) {
        r = ex->codec->data(ex, body);
        ex->bytes_out = body.n;
    }
    return r < 0 ? r : ex->codec->end(ex);
}

enum sl_stage_result sl_respond(struct sl_exchange *ex, unsigned status, struct sl_slice body)
{
    bool bodiless = status == 204 || status == 304; /* RFC 9110 section 6.4.1 */
    ex->status = ex->res.status = (uint16_t)status;
    ex->res.reason = sl_slice_str(sl_status_phrase(status));
    ex->res.framing = bodiless ? SL_FRAMING_NONE : SL_FRAMING_LENGTH;
    ex->res.content_length = bodiless ? 0 : body.n;
    ex->res.minor = 1;
    sl_exchange_discard_body(ex);
    if (_sl_write(ex, body) < 0) {
        sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
        return SL_STAGE_RESPOND;
    }
    ex->head_sent = true;
    sl_exchange_complete(ex);
    return SL_STAGE_RESPOND;
}

static int _sl_problem_body(struct sl_exchange *ex, enum sl_proxy_reason why, unsigned status,
                            const char *detail, struct sl_buf *b)
{
    const char digits[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                           (char)('0' + status % 10)};
    const struct sl_slice parts[] = {SL_S("{\"type\":\"urn:sluice:problem:"),
                                     sl_slice_str(sl_proxy_reason_name(why)),
                                     SL_S("\",\"title\":\""),
                                     sl_slice_str(sl_status_phrase(status)),
                                     SL_S("\",\"status\":"),
                                     sl_slice(digits, sizeof(digits)),
                                     SL_S(",\"detail\":\"")};
    int r = sl_bufpool_lend(&ex->w->bufs, b);
    for (size_t i = 0; r == 0 && i < SL_ARRAY_LEN(parts); i++)
        r = sl_buf_append_slice(b, parts[i]);
    if (r == 0)
        r = sl_buf_append_json(b, sl_slice_str(detail));
    if (r == 0)
        r = sl_buf_append_slice(b, SL_S("\",\"correlation_id\":\""));
    if (r == 0) /* made of characters that need no escape, see sl_request_correlate */
        r = sl_buf_append_slice(b, ex->correlation_id);
    return r < 0 ? r : sl_buf_append_slice(b, SL_S("\"}\n"));
}

static enum sl_stage_result _sl_grpc_problem(struct sl_exchange *ex, unsigned status, const char *detail)
{
    if (sl_grpc_refusal(ex, status, detail) == 0 && sl_respond_decorate(ex, NULL) == 0)
        return sl_respond(ex, 200, SL_SLICE_NUL);
    sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
    return SL_STAGE_RESPOND;
}

enum sl_stage_result sl_respond_problem(struct sl_exchange *ex, enum sl_proxy_reason why, unsigned status,
                                        const char *detail)
{
    struct sl_worker *w = ex->w; /* ex may be over before the body's buffer is given back */
    struct sl_buf body = {0};
    ex->why = why;
    ex->detail = detail;
    if (sl_grpc_is(ex))
        return _sl_grpc_problem(ex, status, detail);
    int r =
        sl_headers_set(&ex->res.headers, &ex->arena, SL_S("Content-Type"), SL_S("application/problem+json"));
    if (r == 0)
        r = sl_respond_decorate(ex, NULL);
    if (r == 0)
        r = _sl_problem_body(ex, why, status, detail ? detail : "", &body);
    if (r < 0)
        sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
    else
        (void)sl_respond(ex, status, sl_buf_slice(&body));
    sl_bufpool_return(&w->bufs, &body);
    return SL_STAGE_RESPOND;
}
