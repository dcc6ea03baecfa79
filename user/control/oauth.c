/* SPDX-License-Identifier: Apache-2.0 */
#include "control/oauth_priv.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

static bool _sl_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '*';
}

/* Appendix B of RFC 6749. */
static int _sl_encode(struct sl_buf *b, struct sl_slice s)
{
    static const char hex[] = "0123456789ABCDEF";
    int r = sl_buf_reserve(b, 3 * s.n + 1);
    for (size_t i = 0; r == 0 && i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        const char escaped[] = {'%', hex[c >> 4], hex[c & 15]};
        r = s.p[i] == ' '          ? sl_buf_append(b, "+", 1)
            : _sl_is_plain(s.p[i]) ? sl_buf_append(b, &s.p[i], 1)
                                   : sl_buf_append(b, escaped, sizeof(escaped));
    }
    return r;
}

int sl_oauth_field(struct sl_buf *form, const char *name, struct sl_slice value)
{
    int r = sl_buf_len(form) ? sl_buf_append(form, "&", 1) : 0;
    if (r == 0)
        r = sl_buf_append_slice(form, sl_slice_str(name));
    if (r == 0)
        r = sl_buf_append(form, "=", 1);
    return r < 0 ? r : _sl_encode(form, value);
}

/* Both parts are form-encoded before they are joined, so that a colon in the name is none. */
static int _sl_basic(const struct sl_oauth_question *q, struct sl_buf *out)
{
    struct sl_buf SL_BUF_WIPED pair = {0};
    int r = _sl_encode(&pair, sl_slice_str(q->client_id));
    if (r == 0)
        r = sl_buf_append(&pair, ":", 1);
    if (r == 0)
        r = _sl_encode(&pair, q->client_secret);
    const size_t n = sl_buf_len(&pair);
    if (r == 0)
        r = sl_buf_append(out, "Basic ", 6);
    if (r == 0)
        r = sl_buf_reserve(out, 4 * ((n + 2) / 3) + 1);
    if (r == 0) {
        const int len = EVP_EncodeBlock((unsigned char *)out->base + out->end,
                                        (const unsigned char *)sl_buf_data(&pair), (int)n);
        sl_buf_commit(out, (size_t)len + 1); /* with its NUL */
    }
    return r;
}

/* Made with the first question. */
static struct sl_fetch_pool *_sl_pool(struct sl_errand_job *job)
{
    struct sl_errand_server *s = job->server;
    if (!s->kept)
        s->kept = sl_fetch_pool_new(sl_errand_loop(job), &s->connects);
    return s->kept;
}

static int _sl_start(struct sl_errand_job *job, const struct sl_oauth_question *q, const char *basic,
                     void (*f)(void *, const struct sl_fetch_result *))
{
    struct sl_arena a;
    struct sl_url url;
    sl_arena_init(&a, 0);
    int r = sl_url_parse(&a, sl_slice_str(q->url), &url) ? -EINVAL : 0;
    const struct sl_fetch_request request = {.url = url,
                                             .post = true,
                                             .body = q->form,
                                             .authorization = basic,
                                             .max = SL_ERRAND_ANSWER_MAX,
                                             .timeout = job->server->timeout,
                                             .reach = SL_REACH_NONE,
                                             .named = true,
                                             .tls = job->server->tls,
                                             .pool = _sl_pool(job),
                                             .done = f,
                                             .ctx = job};
    if (r == 0 && !request.pool)
        r = -ENOMEM;
    if (r == 0 && !(job->work = sl_fetch_start(sl_errand_loop(job), sl_errand_resolver(job), &request)))
        r = -ENOMEM;
    sl_arena_free(&a);
    return r;
}

int sl_oauth_ask(struct sl_errand_job *job, const struct sl_oauth_question *q,
                 void (*f)(void *, const struct sl_fetch_result *))
{
    struct sl_buf SL_BUF_WIPED basic = {0};
    const int r = sl_errand_resolver(job) ? _sl_basic(q, &basic) : -ENOMEM;
    return r < 0 ? r : _sl_start(job, q, sl_buf_data(&basic), f);
}

void sl_oauth_cancel(struct sl_errand_job *job)
{
    sl_fetch_cancel(job->work);
}

void sl_oauth_close(struct sl_errand_server *server)
{
    sl_fetch_pool_free(SL_TAKE_PTR(server->kept));
}

unsigned sl_oauth_connections(const struct sl_errand_server *server)
{
    return server->kept ? sl_fetch_pool_connections(server->kept) : 0;
}

/* Which statuses say that it would be no different for another token. */
static bool _sl_is_down(unsigned status)
{
    return status == 401 || status == 403 || status == 404 || status == 429 || status == 502 ||
           status == 503 || status == 504;
}

struct sl_errand_outcome sl_oauth_failed(const struct sl_fetch_result *r, char why[96])
{
    struct sl_errand_outcome o = {.status = SL_ERRAND_FAILED, .why = r->error, .unreachable = true};
    if (r->error)
        return o;
    (void)snprintf(why, 96, "the answer's status is %u%s", r->response->status,
                   r->response->status == 401 ? ": it does not take our client_id and secret" : "");
    o.why = why;
    o.unreachable = _sl_is_down(r->response->status);
    return o;
}
