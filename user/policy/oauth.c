/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/oauth.h"

#include "policy/json_priv.h"

#define SL_LIFETIME_DEFAULT 60 /* s, where the server does not say */
#define SL_LIFETIME_MAX     (86400 * 7)

/* No space and nothing that ends a field: RFC 6750 section 2.1 allows still less. */
static bool _sl_is_visible(struct sl_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return false;
    return s.n != 0;
}

static const char *_sl_read_lifetime(const json_t *j, uint64_t *out)
{
    *out = SL_LIFETIME_DEFAULT;
    if (!j)
        return NULL;
    if (!json_is_integer(j) || json_integer_value(j) < 0)
        return "its expires_in is no whole number of seconds";
    *out = SL_MIN((uint64_t)json_integer_value(j), (uint64_t)SL_LIFETIME_MAX);
    return NULL;
}

const char *sl_oauth_read_token(struct sl_slice body, struct sl_arena *a, struct sl_oauth_token *out)
{
    SL_JSON json_t *j = sl_json_object(body);
    const struct sl_slice token = sl_json_string(j, "access_token");
    if (!j)
        return "its answer is no JSON object";
    if (!token.p)
        return "its answer has no access_token";
    if (token.n > SL_OAUTH_TOKEN_MAX)
        return "its access_token is longer than 16 KiB";
    if (!_sl_is_visible(token))
        return "its access_token cannot stand in a header";
    if (!sl_slice_ieq(sl_json_string(j, "token_type"), SL_S("Bearer")))
        return "its token_type is not Bearer";
    const char *wrong = _sl_read_lifetime(json_object_get(j, "expires_in"), &out->lifetime_s);
    if (!wrong && !(out->text = sl_arena_copy(a, token)).p)
        wrong = "out of memory";
    return wrong;
}

bool sl_oauth_blames_token(struct sl_slice body)
{
    static const char *const ours[] = {"invalid_client", "unauthorized_client", "unsupported_grant_type",
                                       "invalid_scope"};
    SL_JSON json_t *j = sl_json_object(body);
    const struct sl_slice error = sl_json_string(j, "error");
    for (size_t i = 0; i < SL_ARRAY_LEN(ours); i++)
        if (sl_slice_eq(error, sl_slice_str(ours[i])))
            return false;
    return error.n != 0;
}
