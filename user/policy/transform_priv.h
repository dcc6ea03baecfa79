/* SPDX-License-Identifier: Apache-2.0 */
/* Templates as a list of pieces. */
#ifndef SL_POLICY_TRANSFORM_PRIV_H
#define SL_POLICY_TRANSFORM_PRIV_H

#include "policy/transform.h"

enum sl_piece_kind {
    SL_PIECE_TEXT,
    SL_PIECE_CORRELATION_ID,
    SL_PIECE_TIME_MS,
    SL_PIECE_TIME_ISO,
    SL_PIECE_CLIENT_IP,
    SL_PIECE_CONSUMER,
    SL_PIECE_TIER,
    SL_PIECE_ROUTE,
    SL_PIECE_REQUEST_ID,
    SL_PIECE_HOST,
    SL_PIECE_PATH,
    SL_PIECE_QUERY,
    SL_PIECE_REQUEST_URI,
    SL_PIECE_CLAIM,
};
struct sl_piece {
    enum sl_piece_kind kind;
    struct sl_slice text; /* of TEXT; the claim's path of CLAIM */
};
struct sl_template {
    struct sl_piece *v;
    size_t n;
    struct sl_arena arena;
};

#endif
