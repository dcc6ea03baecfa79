/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that an authorization server gives out for upstreams: the gateway's own, or in exchange for the
 * client's. */
#include "base/buf.h"
#include "config/reader_priv.h"

#define AT(m) offsetof(struct sl_upstream_auth, m)
/* clang-format off */
#define SERVER_FIELDS                                                                                                                \
    {"token_uri", &sl_type_https, AT(token.url), NULL, SL_F_REQUIRED, "The server's token endpoint."},                               \
    {"client_id", &sl_type_string, AT(token.client_id), NULL, SL_F_REQUIRED,                                                         \
     "Whom the gateway is there (HTTP Basic, RFC 6749 section 2.3.1)."},                                                             \
    {"client_secret", &sl_type_secret, AT(token.client_secret), NULL, SL_F_REQUIRED, "By what it shows that."},                      \
    {"scopes", &sl_type_strings, AT(token.scopes), NULL, 0, "What is asked for. Not written: what the server gives."},               \
    {"audience", &sl_type_string, AT(token.audience), NULL, 0, "Whom the token is for. Not written: it is not said."},               \
    {"header", &sl_type_token_header, AT(header), "\"Authorization\"", 0,                                                            \
     "Where the token stands, over whatever the client sent there: behind \"Bearer\" in Authorization, alone elsewhere."},           \
    {"timeout", &sl_type_fetch_timeout, AT(token.timeout), "\"5s\"", 0,                                                              \
     "How long an answer may take, from the name to the last byte."},                                                                \
    {"tls", &sl_type_fetch_tls, AT(token.ca), NULL, 0, "Whom to trust when it is asked."}
/* clang-format on */
const struct sl_field sl_client_credentials_fields[] = {
    {"type", &sl_type_upstream_auth_type, AT(type), NULL, SL_F_REQUIRED,
     "client_credentials: a token of the gateway's own, which an authorization server gives out (RFC 6749 "
     "section 4.4)."},
    SERVER_FIELDS,
    SL_FIELDS_END,
};
const struct sl_field sl_token_exchange_fields[] = {
    {"type", &sl_type_upstream_auth_type, AT(type), NULL, SL_F_REQUIRED,
     "token_exchange: a token that an authorization server gives out in exchange for the client's (RFC "
     "8693)."},
    SERVER_FIELDS,
    SL_FIELDS_END,
};
#undef AT

/* All that decides which token comes back: who asks for the same shares it. */
static const char *_sl_asked(struct sl_reader *r, const struct sl_upstream_auth *a)
{
    const bool exchange = a->type == SL_UPSTREAM_AUTH_TOKEN_EXCHANGE;
    struct sl_buf SL_BUF b = {0};
    int e = sl_buf_printf(&b, "%s\n%s\n%s", exchange ? "exchange" : "credentials", a->token.client_id,
                          a->token.audience ? a->token.audience : "");
    for (size_t i = 0; e == 0 && i < a->token.scopes.n; i++)
        e = sl_buf_printf(&b, "\n" SL_SFMT, SL_SARG(a->token.scopes.v[i]));
    return e < 0 ? NULL : sl_arena_strdup(&r->scratch, sl_buf_slice(&b));
}

/* A scope is a word of the list that is sent (RFC 6749 section 3.3). */
static void _sl_check_scopes(struct sl_reader *r, const struct sl_node *n, const struct sl_strings *scopes)
{
    const struct sl_node *list = sl_node_get(n, "scopes");
    for (size_t i = 0; list && i < scopes->n; i++)
        if (!scopes->v[i].n || sl_slice_chr(scopes->v[i], ' ') >= 0)
            sl_read_error(r, list, "a scope is one word: write [read, write], not [\"read write\"]");
}

void sl_check_upstream_token(struct sl_reader *r, const struct sl_node *n, struct sl_upstream_auth *a)
{
    const struct sl_node *owner = n->parent, *section = owner ? owner->parent : NULL;
    _sl_check_scopes(r, n, &a->token.scopes);
    sl_read_fetch_ca(r, n, &a->token.ca);
    if (!section || !a->token.url || !a->token.client_id)
        return;
    const char *asked = _sl_asked(r, a);
    const char *name =
        sl_arena_printf(&r->scratch, SL_SFMT "/" SL_SFMT, SL_SARG(section->key), SL_SARG(owner->key));
    if (!asked || !name) {
        r->oom = true;
        return;
    }
    a->token.name = sl_read_keep(r, sl_slice_str(name), false).p;
    a->token.source = sl_schema_source(r, "token", a->token.url, asked);
}
