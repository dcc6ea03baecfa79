/* SPDX-License-Identifier: Apache-2.0 */
/* Forms, and what a token endpoint makes of them: an answer that is JSON, and never a token. */
#include "policy/form.h"
#include "policy/json_priv.h"
#include "policy/oauth2.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void _sl_ask(struct sl_slice form, struct sl_arena *a)
{
    static struct sl_minter *minter;
    static struct sl_snapshot none;
    static const struct sl_oauth2_clients clients;
    static const struct sl_oauth2 cfg;
    struct sl_diag diag;
    struct sl_request req = {0};
    struct sl_oauth2_outcome o;
    sl_diag_init(&diag);
    if ((!minter && sl_minter_new(&none, &diag, &minter) < 0) ||
        sl_headers_add(&req.headers, a, SL_S("Content-Type"), SL_S("application/x-www-form-urlencoded")) <
            0 ||
        sl_headers_add(&req.headers, a, SL_S("Authorization"), form) < 0)
        abort();
    for (unsigned i = 0; i < 2; i++) { /* with what came as the client's credentials too, then without */
        req.headers.v[1].removed = i;
        if (sl_oauth2_token(minter, &clients, &cfg, &req, form, a, 1, &o) < 0 || o.error == SL_OAUTH2_OK)
            abort();
        SL_JSON json_t *j = sl_json_object(o.body);
        if (!j || !sl_json_string(j, "error").n)
            abort();
    }
    sl_diag_free(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_arena a;
    struct sl_form f;
    const struct sl_slice all = sl_slice((const char *)data, size);
    sl_arena_init(&a, 0);
    if (sl_form_parse(&a, all, &f) == 0)
        for (size_t i = 0; i < f.n; i++)
            if (sl_form_get(&f, f.v[i].name).p != f.v[i].value.p) /* else a name stands twice */
                abort();
    _sl_ask(all, &a);
    sl_arena_free(&a);
    return 0;
}
