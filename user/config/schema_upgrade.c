/* SPDX-License-Identifier: Apache-2.0 */
/* Protocols that a route lets a connection change to. */
#include "config/reader_priv.h"

static const struct sl_choice _sl_upgrades[] = {{"websocket", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_upgrade = {
    .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = "\"websocket\"", .choices = _sl_upgrades};
const struct sl_type sl_type_upgrade = {.kind = SL_T_LIST,
                                        .size = sizeof(struct sl_strings),
                                        .what = "a list such as [websocket]",
                                        .item = &_sl_upgrade,
                                        .some = true,
                                        .unique = true};
