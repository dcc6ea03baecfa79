/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token endpoint for the client credentials grant (RFC 6749 sections 3.2, 4.4, 5): judges a request, and
 * makes the access token (RFC 9068). Clients are the consumers'.
 */
#ifndef SL_POLICY_OAUTH2_H
#define SL_POLICY_OAUTH2_H

#include "base/hash.h"
#include "config/snapshot.h"
#include "http/message.h"
#include "policy/mint.h"

/* X(enumerator, error code of RFC 6749 section 5.2, status) */
#define SL_OAUTH2_ERRORS(X)                             \
    X(INVALID_REQUEST, "invalid_request", 400)          \
    X(INVALID_CLIENT, "invalid_client", 401)            \
    X(UNSUPPORTED_GRANT, "unsupported_grant_type", 400) \
    X(INVALID_SCOPE, "invalid_scope", 400)
enum sl_oauth2_error {
    SL_OAUTH2_OK,
#define SL_X(e, name, status) SL_OAUTH2_##e,
    SL_OAUTH2_ERRORS(SL_X)
#undef SL_X
        SL_OAUTH2_ERROR_COUNT
};
/* "" for SL_OAUTH2_OK; NULL past the last. */
const char *sl_oauth2_error_name(unsigned e);
unsigned sl_oauth2_error_status(enum sl_oauth2_error e);

/* The clients of a policy, by client_id. */
struct sl_oauth2_clients {
    struct sl_map by_id;
    struct sl_oauth2_known {
        const struct sl_oauth2_client *client;
        const struct sl_consumer *consumer;
    } * v;
};
/* 0 or -ENOMEM. */
int sl_oauth2_clients_build(const struct sl_snapshot *s, struct sl_oauth2_clients *out) SL_MUST_CHECK;
void sl_oauth2_clients_free(struct sl_oauth2_clients *c);

struct sl_oauth2_outcome {
    enum sl_oauth2_error error;
    const char *detail;                 /* of error: static, and fit for error_description */
    struct sl_slice body;               /* of the answer, in the arena: JSON, whatever the error */
    const struct sl_consumer *consumer; /* whose client asked; NULL: it did not show itself */
};
/* form: the request's body. 0; -ENOMEM, -EIO: no answer could be made. */
int sl_oauth2_token(struct sl_minter *m, const struct sl_oauth2_clients *clients, const struct sl_oauth2 *cfg,
                    const struct sl_request *req, struct sl_slice form, struct sl_arena *a, uint64_t now_s,
                    struct sl_oauth2_outcome *out) SL_MUST_CHECK;
/* An identity for the log and the counters: one reference, or NULL when memory is out. */
struct sl_identity *sl_oauth2_identity(const struct sl_consumer *consumer);

#endif
