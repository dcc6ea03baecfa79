/* SPDX-License-Identifier: Apache-2.0 */
/* Protocols: what a route lets a connection change to, and what an upstream speaks. */
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

static bool _sl_parse_protocol(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    struct sl_upstream *u = out;
    (void)r, (void)n;
    u->h2 = sl_slice_eq(text, SL_S("h2"));
    return u->h2 || sl_slice_eq(text, SL_S("http/1.1"));
}
const struct sl_type sl_type_upstream_protocol = {.kind = SL_T_PARSED,
                                                  .size = 0, /* the whole upstream */
                                                  .what = "\"http/1.1\" or \"h2\"",
                                                  .pattern = "^(http/1\\.1|h2)$",
                                                  .parse = _sl_parse_protocol};

/* The controller's checks speak HTTP/1.1. */
void sl_check_upstream_protocol(struct sl_reader *r, const struct sl_node *n, const struct sl_upstream *u)
{
    const struct sl_node *active = sl_node_get(sl_node_get(n, "health"), "active");
    if (u->h2 && u->health.active.enabled && u->health.active.path)
        sl_read_key_error(r, sl_node_get(active, "path"),
                          "checks speak HTTP/1.1, this upstream h2: without path they only connect");
}
