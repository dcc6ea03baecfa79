/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens that the gateway issues: a route that does, and the clients that may ask for them. */
#include "config/reader_priv.h"

/* RFC 6749 section 3.3 */
static const char *_sl_valid_scope(struct sl_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
            return "holds a byte that no scope may hold: printable ASCII but space, '\"' and '\\' is right";
    return s.n == 0 || s.n > 128 ? "is empty, or longer than 128 bytes" : NULL;
}
static const struct sl_type _sl_scope = {.kind = SL_T_TEXT,
                                         .size = sizeof(struct sl_slice),
                                         .what = "a scope such as orders.read",
                                         .valid = _sl_valid_scope,
                                         .pattern = "^[!#-\\[\\]-~]{1,128}$"};
static const struct sl_type _sl_scopes = {.kind = SL_T_LIST,
                                          .size = sizeof(struct sl_strings),
                                          .what = "a list of scopes such as [orders.read]",
                                          .item = &_sl_scope,
                                          .some = true,
                                          .unique = true};
static const struct sl_type _sl_expiration = {.kind = SL_T_DURATION,
                                              .size = sizeof(uint64_t),
                                              .what = "a duration such as \"2h\"",
                                              .pattern = "^[0-9]+(ms|s|m|h|d)$",
                                              .min = "1s",
                                              .max = "1d"};

/* ---- the route */

#define SL_OAUTH2_BODY  16384 /* bytes of a form, where the route says nothing */
#define SL_OAUTH2_LISTS 256
#define REL(m)          (offsetof(struct sl_route, oauth2.m) - offsetof(struct sl_route, oauth2))
static const struct sl_field _sl_oauth2_fields[] = {
    {"signer", &sl_type_signer_ref, REL(signer), NULL, SL_F_REQUIRED, "Who signs the tokens."},
    {"audiences", &sl_type_strings, REL(audiences), NULL, SL_F_REQUIRED,
     "aud: whom they are for (RFC 9068)."},
    {"scopes", &_sl_scopes, REL(scopes), NULL, 0, "What may be asked for. Not written: no scope."},
    {"mandatory_scope", &sl_type_bool, REL(mandatory_scope), "false", 0,
     "Refuse who asks for no scope; else he gets a token without any."},
    {"token_expiration", &_sl_expiration, REL(token_expiration), "\"2h\"", 0, "From iat to exp."},
    SL_FIELDS_END,
};
#undef REL
static void _sl_finish_oauth2(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    const struct sl_oauth2 *o = out;
    (void)raw;
    if (o->mandatory_scope && !o->scopes.n)
        sl_read_error(r, sl_node_get(n, "mandatory_scope"), "nobody could get a token: there are no scopes");
    if (o->scopes.n > SL_OAUTH2_LISTS || o->audiences.n > SL_OAUTH2_LISTS)
        sl_read_error(r, n, "more than %d scopes or audiences", SL_OAUTH2_LISTS);
}
const struct sl_type sl_type_oauth2 = {.kind = SL_T_OBJECT,
                                       .size = sizeof(struct sl_oauth2),
                                       .what = "a map of signer, audiences, scopes",
                                       .fields = _sl_oauth2_fields,
                                       .finish = _sl_finish_oauth2};

/* The endpoint knows its clients by itself: a provider before it would look for other credentials in the same
 * header. */
void sl_check_oauth2_route(struct sl_reader *r, const struct sl_node *n, struct sl_route *route)
{
    const struct sl_node *auth = sl_node_get(n, "auth");
    if (route->action != SL_ACTION_OAUTH2)
        return;
    if (route->n_auth || !route->is_public)
        sl_read_error(r, auth ? auth : n,
                      "the token endpoint authenticates its clients itself: auth: [public] is right");
    if (route->request_body == UINT64_MAX)
        route->request_body = SL_OAUTH2_BODY;
}

/* ---- the clients */

/* RFC 6749 appendix A.1 */
static const char *_sl_valid_client_id(struct sl_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return "holds a byte that no client_id may hold: printable ASCII is right (RFC 6749 appendix "
                   "A.1)";
    return s.n == 0 || s.n > 255 ? "is empty, or longer than 255 bytes" : NULL;
}
static const struct sl_type _sl_client_id = {.kind = SL_T_TEXT,
                                             .size = sizeof(struct sl_slice),
                                             .what = "a client's name",
                                             .valid = _sl_valid_client_id,
                                             .pattern = "^[ -~]{1,255}$"};
#define AT(m) offsetof(struct sl_oauth2_client, m)
static const struct sl_field _sl_client_fields[] = {
    {"client_id", &_sl_client_id, AT(client_id), NULL, SL_F_REQUIRED, "What it calls itself."},
    {"client_secret", &sl_type_key_hash, AT(secret_hash), NULL, SL_F_REQUIRED,
     "SHA-256 of its secret, in hexadecimal; the secret must be a random one."},
    {"scopes", &_sl_scopes, AT(scopes), NULL, 0,
     "What it may ask for, of the route's scopes. Not written: all of them."},
    SL_FIELDS_END,
};
#undef AT
static const struct sl_type _sl_client = {.kind = SL_T_OBJECT,
                                          .size = sizeof(struct sl_oauth2_client),
                                          .what = "a map of client_id and client_secret",
                                          .fields = _sl_client_fields};
const struct sl_type sl_type_oauth2_clients = {.kind = SL_T_LIST,
                                               .size = sizeof(struct sl_strings),
                                               .what = "a list of clients such as [{client_id: …, "
                                                       "client_secret: …}]",
                                               .item = &_sl_client};
