/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JWS vectors that others wrote (Wycheproof, RFC 7520, 8037, 7797), read in place from $SLUICE_DATA; skipped
 * where they are not there. All that Wycheproof calls invalid must be refused, all that it calls valid and is
 * of our algorithms accepted.
 */
#include "base/io.h"
#include "policy/json_priv.h"
#include "policy/jwt.h"
#include "policy_test.h"

static const struct sl_strings all_algorithms = {(struct sl_slice[]){{"RS256", 5},
                                                                     {"RS384", 5},
                                                                     {"RS512", 5},
                                                                     {"PS256", 5},
                                                                     {"PS384", 5},
                                                                     {"PS512", 5},
                                                                     {"ES256", 5},
                                                                     {"ES384", 5},
                                                                     {"ES512", 5},
                                                                     {"EdDSA", 5},
                                                                     {"HS256", 5},
                                                                     {"HS384", 5},
                                                                     {"HS512", 5}},
                                                 13};

static json_t *load(const char *name)
{
    const char *dir = getenv("SLUICE_DATA");
    struct sl_buf text = {0};
    char *path = sl_arena_printf(&arena, "%s/%s", dir ? dir : "../shared/data", name);
    if (sl_read_file(path, 4 << 20, &text) < 0) {
        sl_buf_free(&text);
        return NULL;
    }
    json_t *j = json_loadb(sl_buf_data(&text), sl_buf_len(&text), 0, NULL);
    sl_buf_free(&text);
    assert_non_null(j);
    return j;
}

static struct sl_slice jwks_of(json_t *jwk)
{
    json_t *set = json_pack("{s:[O]}", "keys", jwk);
    char *text = json_dumps(set, JSON_COMPACT);
    char *own = sl_arena_strdup(&arena, sl_slice_str(text));
    free(text);
    json_decref(set);
    return sl_slice_str(own);
}

static const char *verify(struct sl_slice jwks, const json_t *jws, struct sl_slice *payload)
{
    if (!json_is_string(jws))
        return "not compact";
    return sl_jwt_verify_jwks(jwks, sl_slice_str(json_string_value(jws)), &all_algorithms, &arena, payload);
}

/*
 * "valid" in Wycheproof though a '?' was put into the token's text, which a decoder that skips what it does
 * not know would read over. RFC 7515 section 5.2, steps 2 and 6: it is decoded "following the restriction
 * that no line breaks, whitespace, or other additional characters have been used", and a token of which a
 * step fails "MUST be rejected".
 */
static bool is_lax(const json_t *t)
{
    const char *comment = json_string_value(json_object_get(t, "comment"));
    return strcmp(comment, "InvalidCharacterInsertedInHeader") == 0 ||
           strcmp(comment, "InvalidCharacterInsertedInPayload") == 0;
}

/*
 * "valid" as well, though the key says "alg": "PS256" (RFC 7517 section 4.4) and the token PS384. RFC 8725
 * section 3.1: "each key MUST be used with exactly one algorithm, and this MUST be checked when the
 * cryptographic operation is performed". They verify only once the key says nothing of itself.
 */
static bool is_of_another_alg(const json_t *group)
{
    const char *comment = json_string_value(json_object_get(group, "comment"));
    const char *alg = json_string_value(json_object_get(json_object_get(group, "public"), "alg"));
    return alg && strncmp(comment, "rfc7520", 7) == 0 && (!strcmp(alg, "PS256"));
}

/*
 * "invalid", but letter for letter the token of tcId 357, which is "valid": the padding that these two are
 * about got lost on the way, so that no verifier can agree with all three. With it they are refused, as RFC
 * 7515 section 2 has it ("with all trailing '=' characters omitted").
 */
static bool is_mislabelled(const json_t *t)
{
    const char *comment = json_string_value(json_object_get(t, "comment"));
    return !strcmp(comment, "invalidBase64Padding") || !strcmp(comment, "invalidBase64PaddingInPayload");
}

static void check_mislabelled(struct sl_slice jwks, const char *token)
{
    struct sl_slice payload;
    for (const char *dot = strchr(token, '.'); dot; dot = strchr(dot + 1, '.')) {
        const char *padded = sl_arena_printf(&arena, "%.*s=%s", (int)(dot - token), token, dot);
        assert_non_null(sl_jwt_verify_jwks(jwks, sl_slice_str(padded), &all_algorithms, &arena, &payload));
    }
    assert_null(sl_jwt_verify_jwks(jwks, sl_slice_str(token), &all_algorithms, &arena, &payload));
}

struct counts {
    unsigned invalid, valid, lax, pinned, mislabelled;
};

static void check_vector(json_t *group, const json_t *t, struct counts *n)
{
    struct sl_slice payload;
    json_t *jwk = json_object_get(group, "public");
    jwk = jwk ? jwk : json_object_get(group, "private");
    const char *wrong = verify(jwks_of(jwk), json_object_get(t, "jws"), &payload);
    const bool valid = strcmp(json_string_value(json_object_get(t, "result")), "valid") == 0;
    if (is_lax(t)) {
        assert_non_null(wrong);
        n->lax++;
        return;
    }
    if (is_mislabelled(t)) {
        check_mislabelled(jwks_of(jwk), json_string_value(json_object_get(t, "jws")));
        n->mislabelled++;
        return;
    }
    if (valid && is_of_another_alg(group)) {
        assert_non_null(wrong);
        assert_int_equal(json_object_del(jwk, "alg"), 0);
        wrong = verify(jwks_of(jwk), json_object_get(t, "jws"), &payload);
        n->pinned++;
    }
    if (valid != (wrong == NULL))
        fail_msg("tcId %d %s: %s, want %s", (int)json_integer_value(json_object_get(t, "tcId")),
                 json_string_value(json_object_get(t, "comment")), wrong ? wrong : "accepted",
                 valid ? "accepted" : "refused");
    n->valid += valid;
    n->invalid += !valid;
}

static void wycheproof(void **state)
{
    (void)state;
    size_t i, k;
    json_t *group, *t;
    struct counts n = {0};
    json_t *all = load("jose-wycheproof/json_web_signature_test.json");
    if (!all)
        skip();
    json_array_foreach(json_object_get(all, "testGroups"), i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, t)
        {
            check_vector(group, t, &n);
        }
    }
    assert_int_equal(n.invalid + n.valid + n.lax + n.mislabelled,
                     json_integer_value(json_object_get(all, "numberOfTests")));
    assert_int_equal(n.lax, 2);
    assert_int_equal(n.pinned, 2);
    assert_int_equal(n.mislabelled, 2);
    print_message("%u refused, %u accepted (%u without the key's alg), %u lax ones refused\n", n.invalid,
                  n.valid, n.pinned, n.lax);
    json_decref(all);
}

static void cookbook_accepts(const char *file)
{
    struct sl_slice payload;
    json_t *j = load(file);
    if (!j)
        skip();
    json_t *input = json_object_get(j, "input");
    json_t *compact = json_object_get(json_object_get(j, "output"), "compact");
    const struct sl_slice jwks = jwks_of(json_object_get(input, "key"));
    assert_null(verify(jwks, compact, &payload));
    assert_slice(payload, json_string_value(json_object_get(input, "payload")));

    /* one bit of the signature or one letter of the payload, and it is another token */
    char *bad = sl_arena_strdup(&arena, sl_slice_str(json_string_value(compact)));
    bad[strlen(bad) - 10] ^= 1;
    assert_non_null(sl_jwt_verify_jwks(jwks, sl_slice_str(bad), &all_algorithms, &arena, &payload));
    bad[strlen(bad) - 10] ^= 1;
    *(strchr(bad, '.') + 2) ^= 1;
    assert_non_null(sl_jwt_verify_jwks(jwks, sl_slice_str(bad), &all_algorithms, &arena, &payload));
    json_decref(j);
}

static void cookbook_rs256(void **state)
{
    (void)state;
    cookbook_accepts("jose-cookbook/4_1.rsa_v15_signature.json");
}

static void cookbook_ps384(void **state)
{
    (void)state;
    cookbook_accepts("jose-cookbook/4_2.rsa-pss_signature.json");
}

static void cookbook_es512(void **state)
{
    (void)state;
    cookbook_accepts("jose-cookbook/4_3.ecdsa_signature.json");
}

static void cookbook_hs256(void **state)
{
    (void)state;
    cookbook_accepts("jose-cookbook/4_4.hmac-sha2_integrity_protection.json");
}

static void cookbook_ed25519(void **state)
{
    (void)state;
    cookbook_accepts("jose-cookbook/jws.json");
}

/* RFC 7797: what is signed is the payload's own bytes. A compact token made of the same parts is refused. */
static void cookbook_b64_false(void **state)
{
    (void)state;
    struct sl_slice payload;
    json_t *j = load("jose-cookbook/4.2.hmac-sha2_b64_false.json");
    if (!j)
        skip();
    const json_t *signing = json_object_get(j, "signing");
    const char *token =
        sl_arena_printf(&arena, "%s.%s", json_string_value(json_object_get(signing, "sig-input")),
                        json_string_value(json_object_get(signing, "sig")));
    const struct sl_slice jwks = jwks_of(json_object_get(json_object_get(j, "input"), "key"));
    assert_non_null(sl_jwt_verify_jwks(jwks, sl_slice_str(token), &all_algorithms, &arena, &payload));
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(wycheproof),         unit_test_arena(cookbook_rs256),
        unit_test_arena(cookbook_ps384),     unit_test_arena(cookbook_es512),
        unit_test_arena(cookbook_hs256),     unit_test_arena(cookbook_ed25519),
        unit_test_arena(cookbook_b64_false),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
