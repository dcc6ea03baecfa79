/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a client's connection (conn_priv.h says what they are), and the one function that moves it.
 * Invariant: w->idle holds exactly the connections in IDLE, the longest idle one first. */
#include "gateway/exchange_priv.h"

#include <assert.h>

const char *sl_conn_state_name(enum sl_conn_state s)
{
    static const char *const names[] = {"proxied",  "handshake", "idle",   "head",
                                        "exchange", "streams",   "linger", "closed"};
    return s < SL_CONN_STATES ? names[s] : "?";
}

bool sl_conn_edge(enum sl_conn_state from, enum sl_conn_state to)
{
    static const unsigned legal[SL_CONN_STATES] = {
        [SL_CONN_PROXIED] = 1u << SL_CONN_HANDSHAKE | 1u << SL_CONN_IDLE | 1u << SL_CONN_CLOSED,
        [SL_CONN_HANDSHAKE] = 1u << SL_CONN_IDLE | 1u << SL_CONN_STREAMS | 1u << SL_CONN_CLOSED,
        [SL_CONN_IDLE] =
            1u << SL_CONN_HEAD | 1u << SL_CONN_EXCHANGE | 1u << SL_CONN_STREAMS | 1u << SL_CONN_CLOSED,
        [SL_CONN_HEAD] = 1u << SL_CONN_EXCHANGE | 1u << SL_CONN_STREAMS | 1u << SL_CONN_CLOSED,
        [SL_CONN_STREAMS] = 1u << SL_CONN_LINGER | 1u << SL_CONN_CLOSED,
        [SL_CONN_EXCHANGE] = 1u << SL_CONN_IDLE | 1u << SL_CONN_LINGER | 1u << SL_CONN_CLOSED,
        [SL_CONN_LINGER] = 1u << SL_CONN_CLOSED,
    };
    return legal[from] >> to & 1;
}

void sl_conn_set_state(struct sl_conn *c, enum sl_conn_state to)
{
    assert(sl_conn_edge(c->state, to));
    if (c->state == SL_CONN_IDLE)
        sl_list_remove(&c->idle);
    c->state = to;
    if (to == SL_CONN_IDLE)
        sl_list_push_back(&c->w->idle, &c->idle);
}
