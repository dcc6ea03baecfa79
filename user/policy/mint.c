/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token's payload is written as JSON text up to its times: that text is also what the token is found by,
 * so that all requests which would say the same are shown the same token. Variables that are of one request
 * alone would have each of them signed, and are refused.
 */
#include "policy/mint_priv.h"

#include "base/buf.h"
#include "base/clock.h"
#include "policy/claims_priv.h"
#include "policy/identity_priv.h"
#include "policy/token_priv.h"
#include "policy/transform_priv.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>

#define SL_AHEAD_S 30 /* so long before its end a token is not used any more; a quarter of a short life */

struct sl_minter {
    const struct sl_snapshot *snapshot;
    struct sl_jose jose;
    struct sl_signer_keys *signers; /* as in the snapshot */
    struct sl_buf *jwks;            /* likewise: what is published of them */
    struct sl_minted_cache cache;
    struct sl_buf says; /* what the token in the making says */
};
struct sl_own_claim {
    struct sl_slice name;
    struct sl_template *value;
};
struct sl_mint {
    struct sl_minter *minter;
    const struct sl_upstream_auth *cfg;
    const struct sl_signer_keys *signer;
    struct sl_buf fixed;         /* {"iss":…,"aud":… */
    struct sl_own_claim *claims; /* sub first */
    size_t n_claims;
    uint64_t lifetime_s, ahead_s;
};

/* ---- signers */

static int _sl_open_signers(struct sl_minter *m, struct sl_diag *diag)
{
    const struct sl_snapshot *s = m->snapshot;
    int r = 0;
    m->signers = calloc(s->n_signers + 1, sizeof(*m->signers));
    m->jwks = calloc(s->n_signers + 1, sizeof(*m->jwks));
    if (!m->signers || !m->jwks)
        return -ENOMEM;
    for (size_t i = 0; r != -ENOMEM && i < s->n_signers; i++) {
        int e = sl_signer_open(&m->jose, &s->signers[i], diag, &m->signers[i]);
        if (e == 0)
            e = sl_signer_print(&m->signers[i], &m->jwks[i]);
        r = e < 0 ? e : r;
    }
    return r;
}

int sl_minter_new(const struct sl_snapshot *s, struct sl_diag *diag, struct sl_minter **out)
{
    struct sl_minter *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->snapshot = s;
    int r = sl_jose_init(&m->jose);
    if (r == 0 && s->n_signers && RAND_bytes((unsigned char *)&m->cache.seed, sizeof(m->cache.seed)) != 1)
        r = -EIO;
    if (r == 0)
        r = _sl_open_signers(m, diag);
    *out = m; /* also where a key is wrong: what else is wrong is to be told too */
    return r;
}

void sl_minter_free(struct sl_minter *m)
{
    if (!m)
        return;
    sl_minted_free(&m->cache);
    for (size_t i = 0; m->signers && i < m->snapshot->n_signers; i++)
        sl_signer_close(&m->signers[i]);
    for (size_t i = 0; m->jwks && i < m->snapshot->n_signers; i++)
        sl_buf_free(&m->jwks[i]);
    free(m->signers);
    free(m->jwks);
    sl_buf_free(&m->says);
    sl_jose_free(&m->jose);
    free(m);
}

struct sl_slice sl_minter_jwks(const struct sl_minter *m, const struct sl_signer *signer)
{
    return sl_buf_slice(&m->jwks[signer - m->snapshot->signers]);
}

/* ---- compiling what a token says */

static bool _sl_is_of_one_request(enum sl_piece_kind kind)
{
    return kind != SL_PIECE_TEXT && kind != SL_PIECE_CONSUMER && kind != SL_PIECE_TIER &&
           kind != SL_PIECE_ROUTE && kind != SL_PIECE_CLAIM;
}

static int _sl_add_claim(struct sl_mint *t, struct sl_slice name, struct sl_slice value,
                         const struct sl_pos *pos, struct sl_diag *diag)
{
    struct sl_own_claim *c = &t->claims[t->n_claims];
    c->name = name;
    const int r = sl_template_new(value, pos, diag, &c->value);
    if (r < 0)
        return r;
    t->n_claims++;
    for (size_t i = 0; i < c->value->n; i++)
        if (_sl_is_of_one_request(c->value->v[i].kind)) {
            sl_diag_error(diag, pos,
                          "a token serves many requests, so it cannot tell of one: $consumer, $tier, $route "
                          "and $claim.NAME may stand in \"" SL_SFMT "\"",
                          SL_SARG(name));
            return -EINVAL;
        }
    return 0;
}

static int _sl_compile(struct sl_mint *t, struct sl_diag *diag)
{
    const struct sl_upstream_auth *cfg = t->cfg;
    t->claims = calloc(cfg->sign.claims.n + 1, sizeof(*t->claims));
    if (!t->claims)
        return -ENOMEM;
    int r = sl_claims_begin(&t->fixed, cfg->sign.signer->issuer, &cfg->sign.audiences);
    if (r == 0)
        r = _sl_add_claim(t, SL_S("sub"), cfg->sign.subject, &cfg->pos, diag);
    for (size_t i = 0; r != -ENOMEM && i < cfg->sign.claims.n; i++) {
        const struct sl_name_value *c = &cfg->sign.claims.v[i];
        const int e = _sl_add_claim(t, c->name, c->value, &c->pos, diag);
        r = e < 0 ? e : r;
    }
    return r;
}

int sl_mint_new(struct sl_minter *m, const struct sl_upstream_auth *cfg, struct sl_diag *diag,
                struct sl_mint **out)
{
    *out = NULL;
    if (cfg->type != SL_UPSTREAM_AUTH_SIGN)
        return 0;
    struct sl_mint *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->minter = m;
    t->cfg = cfg;
    t->signer = &m->signers[cfg->sign.signer - m->snapshot->signers];
    t->lifetime_s = cfg->sign.lifetime / SL_NS_PER_SEC;
    t->ahead_s = SL_MIN(t->lifetime_s / 4, (uint64_t)SL_AHEAD_S);
    const int r = _sl_compile(t, diag);
    if (r == 0)
        *out = t;
    else
        sl_mint_free(t);
    return r;
}

void sl_mint_free(struct sl_mint *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_claims; i++)
        sl_template_free(t->claims[i].value);
    free(t->claims);
    sl_buf_free(&t->fixed);
    free(t);
}

/* ---- minting */

/* A value of another type than text, as it is. */
static int _sl_json_member(struct sl_buf *b, struct sl_slice name, const json_t *value)
{
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17);
    const size_t n = json_dumpb(value, NULL, 0, flags);
    if (!n || n > SL_TOKEN_MAX)
        return n ? -EMSGSIZE : -ENOMEM;
    int r = sl_claims_name(b, name);
    if (r == 0)
        r = sl_buf_reserve(b, n);
    if (r < 0)
        return r;
    (void)json_dumpb(value, b->base + b->end, n, flags);
    sl_buf_commit(b, n);
    return 0;
}

static int _sl_member(struct sl_buf *b, const struct sl_own_claim *c, const struct sl_template_vars *vars,
                      struct sl_arena *a)
{
    const struct sl_template *t = c->value;
    if (t->n == 1 && t->v[0].kind == SL_PIECE_CLAIM && vars->identity) {
        const json_t *claim = sl_claim_get(vars->identity->claims, t->v[0].text);
        if (claim && !json_is_string(claim))
            return json_is_null(claim) ? 0 : _sl_json_member(b, c->name, claim);
    }
    const struct sl_slice text = sl_template_run(t, vars, a);
    if (!text.p)
        return -ENOMEM;
    if (!text.n)
        return 0;
    return sl_claims_text(b, c->name, text);
}

static int _sl_say(const struct sl_mint *t, const struct sl_template_vars *vars, struct sl_arena *a,
                   struct sl_buf *b)
{
    b->start = b->end = 0;
    int r = sl_buf_append_slice(b, sl_buf_slice(&t->fixed));
    for (size_t i = 0; r == 0 && i < t->n_claims; i++)
        r = _sl_member(b, &t->claims[i], vars, a);
    return r == 0 && sl_buf_len(b) > SL_TOKEN_MAX / 2 ? -EMSGSIZE : r;
}

struct sl_slice sl_upstream_auth_value(const struct sl_upstream_auth *auth, struct sl_slice token,
                                       struct sl_arena *a)
{
    if (!sl_upstream_auth_is_bearer(auth))
        return sl_arena_copy(a, token);
    return sl_slice_str(sl_arena_printf(a, "Bearer " SL_SFMT, SL_SARG(token)));
}

static int _sl_sign(struct sl_mint *t, uint64_t now, struct sl_arena *a, struct sl_slice *value)
{
    struct sl_buf *b = &t->minter->says;
    const size_t says = sl_buf_len(b);
    const int r = sl_claims_end(b, now, t->lifetime_s);
    if (r < 0)
        return r;
    const struct sl_slice token = sl_signer_sign(&t->minter->jose, t->signer, "JWT", sl_buf_slice(b), a);
    b->end = b->start + says;
    if (!token.p)
        return -EIO;
    if (token.n > SL_TOKEN_MAX)
        return -EMSGSIZE;
    *value = sl_upstream_auth_value(t->cfg, token, a);
    return value->p ? 0 : -ENOMEM;
}

int sl_mint(struct sl_mint *t, const struct sl_template_vars *vars, uint64_t now_s, struct sl_arena *a,
            struct sl_slice *value, bool *reused)
{
    struct sl_minter *m = t->minter;
    int r = _sl_say(t, vars, a, &m->says);
    if (r < 0)
        return r;
    const struct sl_slice known = sl_minted_find(&m->cache, t, sl_buf_slice(&m->says), now_s);
    *reused = known.p != NULL;
    if (known.p) { /* its place may be another's before this exchange is over */
        *value = sl_arena_copy(a, known);
        return value->p ? 0 : -ENOMEM;
    }
    r = _sl_sign(t, now_s, a, value);
    if (r == 0)
        sl_minted_keep(&m->cache, t, sl_buf_slice(&m->says), *value, now_s,
                       now_s + t->lifetime_s - t->ahead_s);
    return r;
}

struct sl_slice sl_minter_access_token(struct sl_minter *m, const struct sl_signer *signer,
                                       struct sl_slice claims, struct sl_arena *a)
{
    return sl_signer_sign(&m->jose, &m->signers[signer - m->snapshot->signers], "at+jwt", claims, a);
}

int sl_minter_hash(struct sl_minter *m, struct sl_slice secret, unsigned char out[32])
{
    return sl_jose_sha256(&m->jose, secret, out);
}
