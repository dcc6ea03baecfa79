/* SPDX-License-Identifier: Apache-2.0 */
/*
 * first POLICY.json PUB.pem TOKENS (a line each, "Bearer " before it): what the gateway spends on tokens that
 * it has never seen (CPU nanoseconds each, of the whole of sl_authenticate), and what OpenSSL alone spends on
 * the same signatures. In one process, in slices that take turns, so that both find the same machine.
 */
#include "base/io.h"
#include "config/config.h"
#include "policy/policy.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SLICE   50
#define SIG_MAX 512
#define BEARER  (sizeof("Bearer ") - 1)

struct token {
    struct sl_slice value;      /* of Authorization */
    struct sl_slice content;    /* what is signed: header and payload */
    unsigned char sig[SIG_MAX]; /* as OpenSSL wants it: DER, where it is ECDSA */
    size_t n_sig;
};

static void fail(const char *what)
{
    (void)fprintf(stderr, "first: %s\n", what);
    exit(1);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sl_policy *policy_of(const char *path)
{
    struct sl_diag diag;
    struct sl_buf text = {0};
    struct sl_bundle *bundle = NULL;
    struct sl_snapshot *snapshot = NULL;
    struct sl_policy *policy = NULL;
    sl_diag_init(&diag);
    if (sl_read_file(path, 1u << 20, &text) < 0 ||
        sl_bundle_from_text("policy.json", sl_buf_slice(&text), &diag, &bundle) < 0 ||
        sl_snapshot_new(bundle, &diag, &snapshot) < 0 || sl_policy_new(snapshot, &diag, &policy) < 0)
        fail("the policy is refused");
    sl_snapshot_unref(snapshot);
    sl_bundle_free(bundle);
    sl_buf_free(&text);
    sl_diag_free(&diag);
    return policy;
}

/* ---- the same signature for OpenSSL */

static size_t unbase64(struct sl_slice s, unsigned char *out)
{
    char padded[2 * SIG_MAX];
    size_t n = 0;
    for (; n < s.n && n < sizeof(padded) - 4; n++)
        padded[n] = (char)(s.p[n] == '-' ? '+' : s.p[n] == '_' ? '/' : s.p[n]);
    const size_t pad = (4 - n % 4) % 4;
    for (size_t i = 0; i < pad; i++)
        padded[n++] = '=';
    const int len = EVP_DecodeBlock(out, (const unsigned char *)padded, (int)n);
    if (len < 0)
        fail("a signature is no base64url");
    return (size_t)len - pad;
}

/* r and s as RFC 7518 section 3.4 puts them, to DER. */
static size_t to_der(const unsigned char *raw, size_t n, unsigned char *out)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)(n / 2), NULL), *s = BN_bin2bn(raw + n / 2, (int)(n / 2), NULL);
    if (!sig || ECDSA_SIG_set0(sig, r, s) != 1)
        fail("out of memory");
    const int len = i2d_ECDSA_SIG(sig, &out);
    ECDSA_SIG_free(sig);
    return (size_t)len;
}

static size_t tokens_of(const char *path, bool ecdsa, struct sl_buf *file, struct token **out)
{
    size_t n = 0, cap = 0;
    struct sl_slice rest, line;
    if (sl_read_file(path, 64u << 20, file) < 0)
        fail("no tokens");
    rest = sl_buf_slice(file);
    while (sl_slice_next(&rest, '\n', &line)) {
        if (!line.n)
            continue;
        if (n == cap && !(*out = realloc(*out, (cap = cap ? cap * 2 : 64) * sizeof(**out))))
            fail("out of memory");
        struct token *t = &(*out)[n++];
        size_t dot = line.n;
        unsigned char raw[2 * SIG_MAX];
        while (line.p[--dot] != '.')
            ;
        t->value = line;
        t->content = sl_slice(line.p + BEARER, dot - BEARER);
        t->n_sig = unbase64(sl_slice(line.p + dot + 1, line.n - dot - 1), raw);
        if (ecdsa)
            t->n_sig = to_der(raw, t->n_sig, t->sig);
        else
            memcpy(t->sig, raw, t->n_sig);
    }
    return n;
}

/* ---- the two contenders */

static void bare(EVP_PKEY *key, const struct token *t)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestVerify(md, t->sig, t->n_sig, (const unsigned char *)t->content.p, t->content.n) != 1)
        fail("OpenSSL refuses a token");
    EVP_MD_CTX_free(md);
}

static void whole(struct sl_policy *policy, struct sl_arena *arena, const struct token *t)
{
    struct sl_request req = {.method = SL_METHOD_GET, .path = SL_S("/"), .target = SL_S("/")};
    if (sl_headers_add(&req.headers, arena, SL_S("authorization"), t->value) < 0)
        fail("out of memory");
    struct sl_auth_outcome o = sl_authenticate(policy->auth, &policy->snapshot->routes[0], &req, arena,
                                               (uint64_t)time(NULL), &(struct sl_auth_again){.sought = true});
    if (o.result != SL_AUTH_OK || o.cached)
        fail("a token is refused, or was seen before");
    sl_identity_unref(o.identity);
    sl_arena_reset(arena);
}

int main(int argc, char **argv)
{
    struct sl_buf file = {0};
    struct token *tokens = NULL;
    struct sl_arena arena;
    FILE *pem = argc == 4 ? fopen(argv[2], "r") : NULL;
    EVP_PKEY *key = pem ? PEM_read_PUBKEY(pem, NULL, NULL, NULL) : NULL;
    if (!key)
        fail("usage: first POLICY.json PUB.pem TOKENS");
    struct sl_policy *policy = policy_of(argv[1]);
    const size_t n = tokens_of(argv[3], EVP_PKEY_is_a(key, "EC"), &file, &tokens);
    uint64_t ours = 0, theirs = 0;
    sl_arena_init(&arena, 16u << 10);
    for (size_t i = 0; i + SLICE <= n; i += SLICE) {
        const uint64_t a = cpu_ns();
        for (size_t k = 0; k < SLICE; k++)
            whole(policy, &arena, &tokens[i + k]);
        const uint64_t b = cpu_ns();
        for (size_t k = 0; k < SLICE; k++)
            bare(key, &tokens[i + k]);
        ours += b - a;
        theirs += cpu_ns() - b;
    }
    (void)printf("{\"whole_ns\":%.0f,\"verify_ns\":%.0f}\n", (double)ours / (double)(n / SLICE * SLICE),
                 (double)theirs / (double)(n / SLICE * SLICE));
    sl_policy_free(policy);
    sl_arena_free(&arena);
    EVP_PKEY_free(key);
    sl_buf_free(&file);
    free(tokens);
    (void)fclose(pem);
    return 0;
}
