/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is calling: runs a route's any-of list of providers over a request's credentials, and its coarse
 * authorisation. Credentials are taken out of what the upstream will see; identity headers a client sent are
 * always removed.
 */
#ifndef SL_POLICY_AUTH_H
#define SL_POLICY_AUTH_H

#include "config/snapshot.h"
#include "http/message.h"

#define SL_PASSWORD_MAX 511 /* bytes: what crypt(3) takes */

/* Immutable and counted: a cached token's identity outlives its cache entry while an exchange uses it. */
struct sl_identity {
    unsigned refs;                      /* one process, no threads */
    const struct sl_auth *provider;     /* NULL: there were no credentials, and the route has `anonymous` */
    struct sl_slice consumer_name;      /* n 0: none */
    const struct sl_consumer *consumer; /* NULL: not in the policy */
    const struct sl_tier *tier;         /* never NULL */
    uint64_t credential;                /* hash of the credential, for `by: credential` */
    struct sl_strings roles, scopes;
    struct sl_strings groups;      /* beside those of the consumer */
    struct sl_name_values headers; /* claims_to_headers, ready to set */
    const void *claims;            /* json_t *; for $claim.NAME; NULL: none */
    uint64_t expires_wall_s;
    bool bound; /* believed only beside the certificate of that SHA-256 (RFC 8705 section 3) */
    unsigned char bound_to[32];
    struct sl_arena arena;
};
void sl_identity_unref(struct sl_identity *id);
/* The text of a claim by dotted path, for $claim.NAME; n 0 where absent. Numbers and booleans as JSON text,
 * arrays of strings joined by ','. Lives as long as the identity. */
struct sl_slice sl_identity_claim(const struct sl_identity *id, struct sl_slice path, struct sl_arena *a);

enum sl_auth_result {
    SL_AUTH_OK,                  /* identity set, or public without credentials: identity NULL */
    SL_AUTH_NO_CREDENTIALS,      /* 401 */
    SL_AUTH_INVALID_TOKEN,       /* 401, error="invalid_token" */
    SL_AUTH_INVALID_KEY,         /* 401 */
    SL_AUTH_INVALID_CERTIFICATE, /* 401 */
    SL_AUTH_FORBIDDEN_ROLE,      /* 403 */
    SL_AUTH_FORBIDDEN_SCOPE,
    SL_AUTH_FORBIDDEN_GROUP,
    SL_AUTH_INVALID_PASSWORD, /* 401 */
    SL_AUTH_NO_KEYS,          /* 503: of a provider whose keys are fetched there are none */
    SL_AUTH_UNAVAILABLE,      /* 503: the server that would know cannot be asked */
    SL_AUTH_WAIT, /* no verdict yet: a password is to be hashed, a server is to be asked, or keys may be there
                     that we do not know; the request is untouched */
};

/* A password whose hash is wanted: whether crypt(password, setting) is setting. */
struct sl_password_job {
    const char *setting;
    struct sl_slice password;
    const void *user; /* for sl_auth_again */
    unsigned char hash[32];
    uint32_t provider;
};
/* A credential that a server is to be asked about, by whoever may speak to one. */
struct sl_auth_errand {
    const struct sl_auth *auth; /* of the policy: which server, and how long it may take */
    struct sl_slice credential;
    unsigned char hash[32]; /* for sl_auth_again */
    uint32_t provider;
};
/* What came of asking. */
enum sl_auth_said {
    SL_AUTH_NOT_ASKED,    /* there was no room, or nobody to ask it: nothing is remembered */
    SL_AUTH_SAID_NOTHING, /* it was not reached, or made no sense */
    SL_AUTH_SAID_NO,
    SL_AUTH_SAID_SO, /* what it said is to be read */
};
/* What became of a job or an errand, for the request that is judged again. Zeroed: it is judged for the first
 * time. */
struct sl_auth_again {
    bool sought;     /* keys were asked for: it does not wait for them once more */
    bool known;      /* a password was hashed: ok, provider, user and hash are its */
    uint8_t errands; /* servers that were asked: ok, provider, hash and what follows are of the last one */
    bool ok;
    uint32_t provider;
    const void *user; /* of the policy that the job is of */
    unsigned char hash[32];
    struct sl_identity *identity; /* one reference; NULL: none */
    uint8_t error;                /* why not; for sl_auth_token_reason() */
};
#define SL_AUTH_ERRANDS 4 /* servers that are asked for one request */

struct sl_auth_outcome {
    enum sl_auth_result result;
    struct sl_identity *identity; /* one reference, or NULL */
    struct sl_slice token;        /* of the request, that the identity is of; n 0: it is of none */
    const char *detail;           /* which check failed, static text: for the log, metrics and problem+json */
    const char *challenge;        /* WWW-Authenticate value for a 401, static or in the arena; NULL: none */
    uint8_t token_reason;         /* of SL_AUTH_INVALID_TOKEN: for sl_auth_token_reason() */
    uint64_t source;              /* of SL_AUTH_WAIT: sl_remote_keys.source; 0: none */
    const struct sl_password_job *job;   /* of SL_AUTH_WAIT, in the arena; NULL: none */
    const struct sl_auth_errand *errand; /* likewise */
    bool cached;                         /* token was in the verified-token cache */
    bool verified;                       /* a signature was checked */
    bool anonymous;                      /* without credentials, and so the route's anonymous consumer's */
};

/* The metric name of why a token was refused; NULL past the last. */
const char *sl_auth_token_reason(unsigned reason);

struct sl_authenticator;
int sl_authenticator_new(const struct sl_snapshot *s, struct sl_diag *diag,
                         struct sl_authenticator **out) SL_MUST_CHECK;
void sl_authenticator_free(struct sl_authenticator *a);
/*
 * The keys of the provider whose remote.source that is, as a JWKS text; n 0: it has none any more. Tokens
 * that were verified by its former keys are verified again. 0; -ENOENT: no provider has that source; -EINVAL:
 * not one key of the text is usable, and the former ones stay; -ENOMEM.
 */
int sl_authenticator_set_keys(struct sl_authenticator *a, uint64_t source,
                              struct sl_slice text) SL_MUST_CHECK;
/*
 * What a fetched text is worth to that provider: how many keys it can use, or 0 with what is wrong in why.
 */
size_t sl_auth_usable_keys(const struct sl_auth *provider, struct sl_slice text, char *why, size_t size);
/* Remembers what became of a job, for requests to come. */
void sl_authenticator_settle(struct sl_authenticator *a, const struct sl_auth_again *verdict,
                             uint64_t now_wall_s);
/*
 * Reads what a server said of the credential that provider and hash of *out stand for, remembers it for
 * requests to come, and puts the verdict into *out, whose identity it gives a reference to.
 */
void sl_authenticator_hear(struct sl_authenticator *a, struct sl_slice credential, enum sl_auth_said how,
                           struct sl_slice said, uint64_t now_wall_s, struct sl_auth_again *out);
/* Hands such a verdict to one who waited for it, with a reference of his own. */
void sl_auth_again_tell(struct sl_auth_again *to, const struct sl_auth_again *verdict);
/* Gives the reference back. */
void sl_auth_again_clear(struct sl_auth_again *again);
/*
 * What such a text is worth, before anybody trusts it: false where it is none that an introspection endpoint
 * may say.
 */
bool sl_auth_is_introspection(struct sl_slice text);
/*
 * Authenticates and authorises. On return the credentials that the
 * policy hides are removed from req (headers, cookie, query), as are all identity headers of every provider
 * of the policy; the identity's headers are added. now_wall_s: Unix seconds.
 */
struct sl_auth_outcome sl_authenticate(struct sl_authenticator *a, const struct sl_route *route,
                                       struct sl_request *req, struct sl_arena *arena, uint64_t now_wall_s,
                                       const struct sl_auth_again *again);
/* Whether a route lets everybody in and looks at no credentials: it can require nothing and has no anonymous
 * consumer (config/schema_route.c), so that of all that sl_authenticate does sl_auth_clean is left. */
static inline bool sl_route_is_open(const struct sl_route *route)
{
    return route->is_public && !route->n_auth;
}
/* Whether upstreams are told who is calling by a header of that name. */
bool sl_auth_is_identity_header(const struct sl_authenticator *a, struct sl_slice name);
/* Removes the identity headers of every provider: of requests of open routes, and of a request's trailers,
 * which come after all that. */
void sl_auth_clean(const struct sl_authenticator *a, struct sl_headers *h);

#endif
