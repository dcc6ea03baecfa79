/* SPDX-License-Identifier: Apache-2.0 */
/* Finding credentials in a request, and taking them out of it. */
#ifndef SL_POLICY_CREDENTIAL_PRIV_H
#define SL_POLICY_CREDENTIAL_PRIV_H

#include "config/snapshot.h"
#include "http/message.h"

struct sl_credential {
    struct sl_slice value; /* n 0: none, or bad */
    bool bad;              /* given more than once in one place, or not decodable */
};

/* Whether an Authorization is of the scheme Basic (RFC 7617), with what stands behind it. */
bool sl_credential_is_basic(struct sl_slice value, struct sl_slice *text);
/* What the provider would go by: of a token header, cookie, query in this order; of a key the first name that
 * is there. Empty ones count as none. */
struct sl_credential sl_credential_find(const struct sl_auth *provider, const struct sl_request *req,
                                        struct sl_arena *a);
/* Takes them out of headers, cookies and query, wherever the provider would have looked. 0 or -ENOMEM. */
int sl_credential_hide(const struct sl_auth *provider, struct sl_request *req,
                       struct sl_arena *a) SL_MUST_CHECK;

#endif
