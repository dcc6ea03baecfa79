/* SPDX-License-Identifier: Apache-2.0 */
/* The policy's signers: what is published of their keys, for verifiers and for `sluicectl status`. */
#include "control/control_priv.h"

#include "policy/signer.h"

static void _sl_key(void *list, const char *kid, const char *alg, bool signs)
{
    (void)json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "kid", kid, "alg", alg, "signs", signs));
}

json_t *sl_signers_json(const struct sl_control *c)
{
    json_t *list = json_array();
    for (size_t i = 0; c->snapshot && i < c->snapshot->n_signers; i++) {
        const struct sl_signer *s = &c->snapshot->signers[i];
        json_t *keys = json_array();
        if (sl_signer_each(s, _sl_key, keys) < 0) /* they were checked: memory is out */
            (void)json_array_clear(keys);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:o}", "signer", s->name, "issuer", s->issuer, "keys", keys));
    }
    return list;
}

/* ?signer=NAME; without it, the only one. */
static const struct sl_signer *_sl_asked(const struct sl_snapshot *s, struct sl_slice query)
{
    static const struct sl_slice key = {"signer=", 7};
    const struct sl_signer *only = s->n_signers == 1 ? &s->signers[0] : NULL;
    for (size_t i = 0; i < s->n_signers && sl_slice_starts(query, key); i++)
        if (sl_slice_eq(sl_slice(query.p + key.n, query.n - key.n), sl_slice_str(s->signers[i].name)))
            return &s->signers[i];
    return query.n ? NULL : only;
}

void sl_signers_serve(struct sl_admin_client *a)
{
    const struct sl_snapshot *s = a->control->snapshot;
    const struct sl_signer *signer = s ? _sl_asked(s, a->req.query) : NULL;
    SL_BUF struct sl_buf out = {0};
    struct sl_diag diag;
    if (!signer) {
        sl_admin_error(a, s ? 404 : 503,
                       s ? "wanted: /jwks?signer=NAME, of a signer of the policy"
                         : "no policy is in force yet");
        return;
    }
    sl_diag_init(&diag);
    if (sl_signer_jwks(signer, &diag, &out) < 0)
        sl_admin_error(a, 503, "no memory for this answer");
    else
        sl_admin_reply(a, 200, "application/jwk-set+json", sl_buf_slice(&out));
    sl_diag_free(&diag);
}
