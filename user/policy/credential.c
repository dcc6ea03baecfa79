/* SPDX-License-Identifier: Apache-2.0 */
#include "http/uri.h"
#include "policy/credential_priv.h"

#include <errno.h>

/* A credential that is there twice means one thing to us and another to the upstream, so it is refused. */
static void _sl_found(struct sl_credential *c, struct sl_slice value, bool *seen)
{
    if (*seen)
        c->bad = true;
    *seen = true;
    c->value = value;
}

static struct sl_credential _sl_done(struct sl_credential c)
{
    if (c.bad)
        c.value = SL_SLICE_NUL;
    return c;
}

static bool _sl_is_bearer(struct sl_slice value, struct sl_slice *token)
{
    if (value.n < 7 || !sl_slice_ieq(sl_slice(value.p, 7), SL_S("bearer ")))
        return false;
    *token = sl_slice_trim(sl_slice(value.p + 7, value.n - 7));
    return true;
}

bool sl_credential_is_basic(struct sl_slice value, struct sl_slice *text)
{
    if (value.n < 6 || !sl_slice_ieq(sl_slice(value.p, 6), SL_S("basic ")))
        return false;
    *text = sl_slice_trim(sl_slice(value.p + 6, value.n - 6));
    return true;
}

static struct sl_credential _sl_find_basic(const struct sl_headers *h)
{
    struct sl_credential c = {0};
    bool seen = false;
    for (uint32_t i = 0; i < h->n; i++) {
        struct sl_slice value = SL_SLICE_NUL;
        if (h->v[i].removed || h->v[i].id != SL_HDR_AUTHORIZATION)
            continue;
        (void)sl_credential_is_basic(h->v[i].value,
                                     &value); /* of another scheme, but an Authorization all the same */
        _sl_found(&c, value, &seen);
    }
    return _sl_done(c);
}

static struct sl_credential _sl_in_headers(const struct sl_headers *h, struct sl_slice name, bool token)
{
    struct sl_credential c = {0};
    bool seen = false;
    const bool bearer = token && sl_hdr_id(name) == SL_HDR_AUTHORIZATION;
    for (uint32_t i = 0; i < h->n; i++) {
        if (h->v[i].removed || !sl_slice_ieq(h->v[i].name, name))
            continue;
        struct sl_slice value = h->v[i].value;
        if (token && !_sl_is_bearer(value, &value) && bearer)
            value = SL_SLICE_NUL; /* of another scheme, but an Authorization all the same */
        _sl_found(&c, value, &seen);
    }
    return _sl_done(c);
}

/* "a=b; session=TOKEN": RFC 6265 section 4.2.1, and the lax forms that browsers send. */
static bool _sl_cookie_is(struct sl_slice pair, struct sl_slice name, struct sl_slice *value)
{
    pair = sl_slice_trim(pair);
    const ssize_t eq = sl_slice_chr(pair, '=');
    if (eq < 0 || !sl_slice_eq(sl_slice_trim(sl_slice(pair.p, (size_t)eq)), name))
        return false;
    *value = sl_slice_trim(sl_slice(pair.p + eq + 1, pair.n - (size_t)eq - 1));
    return true;
}

static struct sl_credential _sl_in_cookies(const struct sl_headers *h, struct sl_slice name)
{
    struct sl_credential c = {0};
    bool seen = false;
    for (uint32_t i = 0; i < h->n; i++) {
        if (h->v[i].removed || h->v[i].id != SL_HDR_COOKIE)
            continue;
        struct sl_slice rest = h->v[i].value, pair, value;
        while (sl_slice_next(&rest, ';', &pair))
            if (_sl_cookie_is(pair, name, &value))
                _sl_found(&c, value, &seen);
    }
    return _sl_done(c);
}

static struct sl_credential _sl_in_query(struct sl_slice query, struct sl_slice name, struct sl_arena *a)
{
    struct sl_credential c = {0};
    struct sl_slice raw;
    const int r = query.n ? sl_uri_query_get(query, name, &raw) : 0;
    if (r > 0)
        c.bad = sl_uri_decode(a, raw, true, &c.value) < 0;
    else
        c.bad = r < 0;
    return _sl_done(c);
}

static bool _sl_any(const struct sl_credential *c)
{
    return c->bad || c->value.n;
}

static struct sl_credential _sl_find_token(const struct sl_auth *p, const struct sl_request *req,
                                           struct sl_arena *a)
{
    struct sl_credential c = {0};
    if (p->jwt.from_header)
        c = _sl_in_headers(&req->headers, sl_slice_str(p->jwt.from_header), true);
    if (!_sl_any(&c) && p->jwt.from_cookie)
        c = _sl_in_cookies(&req->headers, sl_slice_str(p->jwt.from_cookie));
    if (!_sl_any(&c) && p->jwt.from_query)
        c = _sl_in_query(req->query, sl_slice_str(p->jwt.from_query), a);
    return c;
}

static struct sl_credential _sl_find_key(const struct sl_auth *p, const struct sl_request *req,
                                         struct sl_arena *a)
{
    struct sl_credential c = {0};
    for (size_t i = 0; i < p->key.names.n && !_sl_any(&c); i++) {
        if (p->key.in_header)
            c = _sl_in_headers(&req->headers, p->key.names.v[i], false);
        if (!_sl_any(&c) && p->key.in_query)
            c = _sl_in_query(req->query, p->key.names.v[i], a);
    }
    return c;
}

struct sl_credential sl_credential_find(const struct sl_auth *provider, const struct sl_request *req,
                                        struct sl_arena *a)
{
    if (provider->type == SL_AUTH_MTLS) /* stands in no header */
        return (struct sl_credential){0};
    if (sl_auth_takes_passwords(provider))
        return _sl_find_basic(&req->headers);
    return sl_auth_takes_tokens(provider) ? _sl_find_token(provider, req, a) : _sl_find_key(provider, req, a);
}

/* ---- hiding */

static void _sl_hide_token_header(struct sl_headers *h, struct sl_slice name)
{
    struct sl_slice token;
    if (sl_hdr_id(name) != SL_HDR_AUTHORIZATION) {
        (void)sl_headers_remove(h, name);
        return;
    }
    for (uint32_t i = 0; i < h->n; i++) /* Basic and others may be the upstream's */
        if (h->v[i].id == SL_HDR_AUTHORIZATION && _sl_is_bearer(h->v[i].value, &token))
            h->v[i].removed = true;
}

static int _sl_cookie_without(struct sl_header *h, struct sl_slice name, struct sl_arena *a)
{
    struct sl_slice rest = h->value, pair, value;
    bool found = false;
    while (sl_slice_next(&rest, ';', &pair))
        found |= _sl_cookie_is(pair, name, &value);
    if (!found)
        return 0;
    char *out = sl_arena_alloc(a, h->value.n * 2 + 2);
    size_t n = 0;
    if (!out)
        return -ENOMEM;
    rest = h->value;
    while (sl_slice_next(&rest, ';', &pair)) {
        const struct sl_slice kept = sl_slice_trim(pair);
        if (!kept.n || _sl_cookie_is(pair, name, &value))
            continue;
        if (n) {
            out[n++] = ';';
            out[n++] = ' ';
        }
        memcpy(out + n, kept.p, kept.n);
        n += kept.n;
    }
    h->value = sl_slice(out, n);
    h->removed = n == 0;
    return 0;
}

static int _sl_hide_cookie(struct sl_headers *h, struct sl_slice name, struct sl_arena *a)
{
    for (uint32_t i = 0; i < h->n; i++) {
        if (h->v[i].removed || h->v[i].id != SL_HDR_COOKIE)
            continue;
        const int r = _sl_cookie_without(&h->v[i], name, a);
        if (r < 0)
            return r;
    }
    return 0;
}

static int _sl_hide_token(const struct sl_auth *p, struct sl_request *req, struct sl_arena *a)
{
    if (p->jwt.from_header)
        _sl_hide_token_header(&req->headers, sl_slice_str(p->jwt.from_header));
    if (p->jwt.from_query && req->query.n)
        req->query = sl_uri_query_without(a, req->query, sl_slice_str(p->jwt.from_query));
    return p->jwt.from_cookie ? _sl_hide_cookie(&req->headers, sl_slice_str(p->jwt.from_cookie), a) : 0;
}

static void _sl_hide_basic(struct sl_headers *h)
{
    struct sl_slice text;
    for (uint32_t i = 0; i < h->n; i++)
        if (h->v[i].id == SL_HDR_AUTHORIZATION && sl_credential_is_basic(h->v[i].value, &text))
            h->v[i].removed = true;
}

int sl_credential_hide(const struct sl_auth *provider, struct sl_request *req, struct sl_arena *a)
{
    if (sl_auth_takes_passwords(provider)) {
        if (provider->basic.hide)
            _sl_hide_basic(&req->headers);
        return 0;
    }
    if (sl_auth_takes_tokens(provider))
        return provider->jwt.forward ? 0 : _sl_hide_token(provider, req, a);
    for (size_t i = 0; provider->key.hide && i < provider->key.names.n; i++) {
        if (provider->key.in_header)
            (void)sl_headers_remove(&req->headers, provider->key.names.v[i]);
        if (provider->key.in_query && req->query.n)
            req->query = sl_uri_query_without(a, req->query, provider->key.names.v[i]);
    }
    return 0;
}
