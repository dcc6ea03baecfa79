/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests go where, for whom, and how they are changed on the way. */
#include "config/reader_priv.h"

#define END                          \
    {                                \
        NULL, NULL, 0, NULL, 0, NULL \
    }

/* ---- what a route matches */

static const struct sl_type _sl_host = {.kind = SL_T_TEXT,
                                        .size = sizeof(struct sl_slice),
                                        .what = "a host name",
                                        .valid = sl_valid_host,
                                        .lower = true};
static const struct sl_type _sl_hosts = {.kind = SL_T_LIST,
                                         .size = sizeof(struct sl_strings),
                                         .what =
                                             "a list of hosts such as [api.example.com, \"*.example.org\"]",
                                         .item = &_sl_host,
                                         .some = true,
                                         .unique = true};

static const struct sl_type _sl_path;

static bool _sl_parse_path(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    struct sl_path_match *p = out;
    const char *wrong = sl_valid_path(text);
    p->pos = sl_read_pos(r, n);
    if (wrong) {
        sl_read_error(r, n, "%s %s", sl_read_shown(r, &_sl_path, n), wrong);
        return true;
    }
    p->kind = text.p[0] == '=' ? SL_PATH_EXACT : text.p[0] == '~' ? SL_PATH_REGEX : SL_PATH_PREFIX;
    if (p->kind != SL_PATH_PREFIX)
        text = sl_slice(text.p + 1, text.n - 1);
    p->text = sl_read_keep(r, text, false);
    return true;
}
static const struct sl_type _sl_path = {.kind = SL_T_PARSED,
                                        .size = sizeof(struct sl_path_match),
                                        .what = "a path: \"/prefix\", \"=/exact\" or \"~^/regex$\"",
                                        .pattern = "^(/|=/|~.)",
                                        .parse = _sl_parse_path};
static const struct sl_type _sl_paths = {.kind = SL_T_LIST,
                                         .size = sizeof(struct sl_strings),
                                         .what = "a list of paths such as [/v1/orders]",
                                         .item = &_sl_path,
                                         .some = true,
                                         .unique = true};
static const struct sl_type _sl_method = {.kind = SL_T_TEXT,
                                          .size = sizeof(struct sl_slice),
                                          .what = "a method",
                                          .valid = sl_valid_method,
                                          .pattern = "^[!#$%&'*+.^_`|~0-9A-Z-]+$"};
static const struct sl_type _sl_methods = {.kind = SL_T_LIST,
                                           .size = sizeof(struct sl_strings),
                                           .what = "a list of methods such as [GET, POST]",
                                           .item = &_sl_method,
                                           .some = true,
                                           .unique = true};

/* ---- what it does */

static const struct sl_type _sl_upstream_ref = {.kind = SL_T_REF,
                                                .size = sizeof(void *),
                                                .what = "the name of an upstream",
                                                .names = SL_NAMES_UPSTREAM,
                                                .one = "upstream"};

/* The share of an upstream, which the key names. */
static bool _sl_parse_share(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    struct sl_split *split = out;
    uint64_t share;
    if (n->kind != SL_NODE_NUMBER || sl_parse_u64(SL_T_INT, text, &share) < 0)
        return false;
    if (share > UINT16_MAX)
        sl_read_error(r, n, SL_SFMT " is out of range: from 0 to %d", SL_SARG(text), UINT16_MAX);
    split->weight = (uint32_t)share;
    split->upstream = sl_map_get(&r->names[SL_NAMES_UPSTREAM], n->key);
    if (!split->upstream)
        sl_read_key_error(r, n, "there is no upstream named \"" SL_SFMT "\" in this policy", SL_SARG(n->key));
    return true;
}
static const struct sl_type _sl_share = {.kind = SL_T_PARSED,
                                         .size = sizeof(struct sl_split),
                                         .what = "a number",
                                         .schema =
                                             "\"type\": \"integer\", \"minimum\": 0, \"maximum\": 65535",
                                         .parse = _sl_parse_share,
                                         .also_number = true};
static const struct sl_type _sl_split = {.kind = SL_T_NAMED,
                                         .size = sizeof(struct sl_strings),
                                         .what = "a map of upstreams to their shares",
                                         .key = &sl_type_name,
                                         .item = &_sl_share,
                                         .some = true};
static const struct sl_type _sl_prefix = {
    .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = "a path", .valid = sl_valid_prefix};
static const struct sl_field _sl_rewrite_fields[] = {
    {"strip_prefix", &_sl_prefix, 0, NULL, SL_F_REQUIRED, "Whole segments taken off the path's begin."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_rewrite = {
    .kind = SL_T_OBJECT, .what = "a map with strip_prefix", .fields = _sl_rewrite_fields};

/* ---- whom it serves */

static const struct sl_type _sl_auth_ref = {.kind = SL_T_REF,
                                            .size = sizeof(void *),
                                            .what = "the name of an auth provider, or public",
                                            .names = SL_NAMES_AUTH,
                                            .one = "auth provider",
                                            .word = "public"};
static const struct sl_type _sl_auth_refs = {.kind = SL_T_LIST,
                                             .size = sizeof(struct sl_strings),
                                             .what = "a list of auth providers, or [public]",
                                             .item = &_sl_auth_ref,
                                             .some = true,
                                             .unique = true};
static const struct sl_type _sl_anonymous = {.kind = SL_T_REF,
                                             .size = sizeof(void *),
                                             .what = "the name of a consumer",
                                             .names = SL_NAMES_CONSUMER,
                                             .one = "consumer"};
#define AT(m) offsetof(struct sl_method_needs, m)
static const struct sl_field _sl_needs_fields[] = {
    {"roles", &sl_type_strings, AT(roles), NULL, 0, "One of these roles."},
    {"scopes", &sl_type_strings, AT(scopes), NULL, 0, "One of these scopes."},
    {"groups", &sl_type_strings, AT(groups), NULL, 0, "One of these groups."},
    SL_FIELDS_END,
};
#undef AT
static const struct sl_type _sl_needs = {.kind = SL_T_OBJECT,
                                         .size = sizeof(struct sl_method_needs),
                                         .what = "a map of roles, scopes, groups",
                                         .fields = _sl_needs_fields};
static const struct sl_type _sl_method_key = {
    .kind = SL_T_TEXT, .what = "method", .valid = sl_valid_method, .pattern = "^[!#$%&'*+.^_`|~0-9A-Z-]+$"};
static const struct sl_type _sl_methods_need = {.kind = SL_T_NAMED,
                                                .size = sizeof(struct sl_strings),
                                                .what = "a map of methods",
                                                .key = &_sl_method_key,
                                                .item = &_sl_needs,
                                                .some = true};
#define REL(m) (offsetof(struct sl_route, m) - offsetof(struct sl_route, require_roles))
static const struct sl_field _sl_require_fields[] = {
    {"roles", &sl_type_strings, REL(require_roles), NULL, 0, "One of these roles."},
    {"scopes", &sl_type_strings, REL(require_scopes), NULL, 0, "One of these scopes."},
    {"groups", &sl_type_strings, REL(require_groups), NULL, 0, "One of these groups."},
    {"methods", &_sl_methods_need, REL(require_methods), NULL, 0,
     "What requests of one method need beside that, as {POST: {scopes: [write]}}."},
    SL_FIELDS_END,
};
#undef REL
static const struct sl_type _sl_require = {
    .kind = SL_T_OBJECT, .what = "a map of roles, scopes, groups, methods", .fields = _sl_require_fields};
#define REL(m) (offsetof(struct sl_route, m) - offsetof(struct sl_route, sources_allow))
static const struct sl_field _sl_sources_fields[] = {
    {"allow", &sl_type_cidrs, REL(sources_allow), NULL, 0,
     "Only from these. Not written or empty: from all."},
    {"deny", &sl_type_cidrs, REL(sources_deny), NULL, 0, "Not from these, even where allowed."},
    SL_FIELDS_END,
};
#undef REL
static const struct sl_type _sl_sources = {
    .kind = SL_T_OBJECT, .what = "a map of allow, deny", .fields = _sl_sources_fields};

#define REL(m) (offsetof(struct sl_route, timeouts.m) - offsetof(struct sl_route, timeouts))
static const struct sl_field _sl_timeout_fields[] = {
    {"connect", &sl_type_duration, REL(connect), "\"1s\"", 0, "Until the upstream has taken the connection."},
    {"first_byte", &sl_type_duration, REL(first_byte), "\"30s\"", 0,
     "From the end of the request to the first byte of the answer."},
    {"idle", &sl_type_duration, REL(idle), "\"30s\"", 0, "Without a byte of the answer."},
    {"total", &sl_type_duration_or_none, REL(total), "\"0s\"", 0, "The whole exchange; 0s: no such limit."},
    SL_FIELDS_END,
};
#undef REL
static const struct sl_type _sl_timeouts = {
    .kind = SL_T_OBJECT, .what = "a map of durations", .fields = _sl_timeout_fields};

/* ---- headers on their way */

static const struct sl_type _sl_header_item = {.kind = SL_T_TEXT,
                                               .size = sizeof(struct sl_slice),
                                               .what = "a header name",
                                               .valid = sl_valid_header,
                                               .pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"};
static const struct sl_type _sl_header_list = {.kind = SL_T_LIST,
                                               .size = sizeof(struct sl_strings),
                                               .what = "a list of header names",
                                               .item = &_sl_header_item,
                                               .unique = true};
static const struct sl_type _sl_renames = {.kind = SL_T_PAIRS,
                                           .size = sizeof(struct sl_name_values),
                                           .what = "a map of header names to header names",
                                           .key = &sl_type_header,
                                           .item = &_sl_header_item};
#define AT(m) offsetof(struct sl_header_ops, m)
static const struct sl_field _sl_ops_fields[] = {
    {"remove", &_sl_header_list, AT(remove), NULL, 0, "Taken out, first of all."},
    {"rename", &_sl_renames, AT(rename), NULL, 0, "Old names to new ones, then."},
    {"set", &sl_type_header_values, AT(set), NULL, 0,
     "Written over what was there; values may hold variables."},
    {"add", &sl_type_header_values, AT(add), NULL, 0, "Added to what is there, last."},
    SL_FIELDS_END,
};
#undef AT

/* Host is what virtual hosting behind us goes by: it may be set, never lost or doubled (RFC 9112 3.2). */
static void _sl_finish_ops(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    static const char *const ops[] = {"remove", "rename", "add"};
    (void)raw, (void)out;
    for (size_t i = 0; i < SL_ARRAY_LEN(ops); i++) {
        const struct sl_node *op = sl_node_get(n, ops[i]);
        for (const struct sl_node *c = op ? op->first : NULL; c; c = c->next)
            if (sl_slice_ieq(op->kind == SL_NODE_LIST ? c->text : c->key, SL_S("host")))
                sl_read_key_error(r, c, "Host can be set, but not be part of %s: a request has one", ops[i]);
    }
}
static const struct sl_type _sl_ops = {.kind = SL_T_OBJECT,
                                       .what = "a map of remove, rename, set, add",
                                       .fields = _sl_ops_fields,
                                       .finish = _sl_finish_ops};
static const struct sl_type _sl_body_bytes = {.kind = SL_T_SIZE,
                                              .size = sizeof(uint64_t),
                                              .what = "a size such as \"32KiB\" or \"1MiB\"",
                                              .pattern = "^[0-9]+(B|KiB|MiB|GiB|TiB)$",
                                              .max = "1024TiB"};
#define REL(m) (offsetof(struct sl_route, m) - offsetof(struct sl_route, request_body))
static const struct sl_field _sl_request_fields[] = {
    {"body", &_sl_body_bytes, REL(request_body), NULL, 0, "Largest body. Not written: the listener's."},
    {"headers", &_sl_ops, REL(request_headers), NULL, 0, "Changes before the upstream sees it."},
    SL_FIELDS_END,
};
#undef REL
static const struct sl_type _sl_request = {
    .kind = SL_T_OBJECT, .what = "a map of body, headers", .fields = _sl_request_fields};
static const struct sl_field _sl_response_fields[] = {
    {"headers", &_sl_ops, 0, NULL, 0, "Changes before the client sees it."},
    {"json", NULL, 0, NULL, SL_F_NOT_BUILT, ""},
    SL_FIELDS_END,
};
static const struct sl_type _sl_response = {
    .kind = SL_T_OBJECT, .what = "a map with headers", .fields = _sl_response_fields};

/* ---- routes */

struct sl_route_raw {
    struct sl_route r;
    struct sl_strings methods;
    struct {
        const struct sl_auth **v; /* sl_ref_word: public */
        size_t n;
    } auth;
};
#define AT(m) offsetof(struct sl_route_raw, m)
static const struct sl_field _sl_route_fields[] = {
    {"hosts", &_sl_hosts, AT(r.hosts), NULL, 0, "Hosts, as sent or \"*.suffix\". Not written: any."},
    {"paths", &_sl_paths, AT(r.paths), NULL, 0,
     "\"/prefix\" of whole segments, \"=/exact\" or \"~regex\". Not written: any."},
    {"methods", &_sl_methods, AT(methods), NULL, 0, "Methods. Not written: any."},
    {"headers", &sl_type_header_values, AT(r.headers), NULL, 0, "Headers that must have these values."},
    {"upstream", &_sl_upstream_ref, AT(r.upstream), NULL, 0, "Pass the request on."},
    {"split", &_sl_split, AT(r.split), NULL, 0,
     "Pass requests on to several upstreams, in these shares: {orders-v1: 95, orders-v2: 5}. 0 is none."},
    {"respond", &sl_type_respond, AT(r.respond), NULL, 0, "Answer here."},
    {"redirect", &sl_type_redirect, AT(r.redirect), NULL, 0, "Send the client elsewhere."},
    {"jwks", &sl_type_signer_ref, AT(r.jwks), NULL, 0,
     "Give out the public keys of this signer (RFC 7517). Methods not written: GET, HEAD."},
    {"oauth2", &sl_type_oauth2, AT(r.oauth2), NULL, 0,
     "Issue access tokens to the consumers' clients, by the client credentials grant (RFC 6749 section 4.4). "
     "Method not written: POST."},
    {"rewrite", &_sl_rewrite, AT(r.strip_prefix), NULL, 0, "Change the path for the upstream."},
    {"auth", &_sl_auth_refs, AT(auth), NULL, SL_F_REQUIRED,
     "Any one of these providers; \"public\" must be said for no credentials."},
    {"anonymous", &_sl_anonymous, AT(r.anonymous), NULL, 0,
     "The consumer that requests without any credentials are of. Not written: they are refused, or where "
     "\"public\" was said nobody's."},
    {"require", &_sl_require, AT(r.require_roles), NULL, 0, "What the identity must have, one of each list."},
    {"sources", &_sl_sources, AT(r.sources_allow), NULL, 0, "Addresses that may ask."},
    {"rate_limit", &sl_type_rate_limit, AT(r.rate_limit), NULL, 0,
     "The route's own limit, beside the tier's."},
    {"in_flight", &sl_type_in_flight, AT(r.in_flight), NULL, 0,
     "Requests at once on the route, beside the tier's."},
    {"timeouts", &_sl_timeouts, AT(r.timeouts), "{}", 0, "How long the upstream may take."},
    {"retries", &sl_type_retries, AT(r.retries), NULL, 0,
     "Try again what failed, where that is safe. Not written: only a connection that could not be made, "
     "once, "
     "to another target; and a kept one that had died."},
    {"upstream_auth", &sl_type_upstream_auth, AT(r.upstream_auth), NULL, 0,
     "What the upstream is shown of who asks. Not written: what the upstream's own upstream_auth says."},
    {"upgrade", &sl_type_upgrade, AT(r.upgrade), NULL, 0,
     "Protocols that a connection may change to, when client and upstream agree: [websocket]. Not written: "
     "none."},
    {"request", &_sl_request, AT(r.request_body), NULL, 0, "The request on its way to the upstream."},
    {"response", &_sl_response, AT(r.response_headers), NULL, 0, "The answer on its way back."},
    {"cors", NULL, 0, NULL, SL_F_NOT_BUILT, ""},
    {"openapi", NULL, 0, NULL, SL_F_NOT_BUILT, ""},
    {"grpc", NULL, 0, NULL, SL_F_NOT_BUILT, ""},
    {"scripts", NULL, 0, NULL, SL_F_NOT_BUILT, ""},
    {"compress", NULL, 0, NULL, SL_F_NOT_BUILT, ""},
    SL_FIELDS_END,
};
#undef AT

/* Bit i + 1 is that of enum sl_method (http/message.h), whose order this is. */
static const char *const _sl_method_names[] = {"GET",     "HEAD",  "POST",    "PUT",  "DELETE",
                                               "OPTIONS", "PATCH", "CONNECT", "TRACE"};

static void _sl_take_methods(struct sl_reader *r, const struct sl_strings *methods, struct sl_route *route)
{
    route->other_methods.v = sl_read_alloc(r, methods->n, sizeof(struct sl_slice));
    for (size_t i = 0; route->other_methods.v && i < methods->n; i++) {
        size_t k = 0;
        while (k < SL_ARRAY_LEN(_sl_method_names) &&
               !sl_slice_eq(methods->v[i], sl_slice_str(_sl_method_names[k])))
            k++;
        if (k < SL_ARRAY_LEN(_sl_method_names))
            route->methods |= 1u << (k + 1);
        else
            route->other_methods.v[route->other_methods.n++] = methods->v[i];
    }
}

static void _sl_take_auth(struct sl_reader *r, const struct sl_route_raw *raw, struct sl_route *route)
{
    route->auth = sl_read_alloc(r, raw->auth.n, sizeof(const struct sl_auth *));
    for (size_t i = 0; route->auth && i < raw->auth.n; i++) {
        if ((const char *)raw->auth.v[i] == sl_ref_word)
            route->is_public = true;
        else if (raw->auth.v[i])
            route->auth[route->n_auth++] = raw->auth.v[i];
    }
}

static void _sl_check_split(struct sl_reader *r, const struct sl_node *split, const struct sl_route *route)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < route->n_split; i++)
        sum += route->split[i].weight;
    if (route->n_split && sum == 0 && r->diag->errors == 0)
        sl_read_error(r, split, "every share is 0: one upstream must get requests");
}

static void _sl_take_action(struct sl_reader *r, const struct sl_node *n, struct sl_route *route)
{
    const struct sl_node *v[] = {sl_node_get(n, "upstream"), sl_node_get(n, "respond"),
                                 sl_node_get(n, "redirect"), sl_node_get(n, "split"),
                                 sl_node_get(n, "jwks"),     sl_node_get(n, "oauth2")};
    static const enum sl_action actions[] = {SL_ACTION_UPSTREAM, SL_ACTION_RESPOND, SL_ACTION_REDIRECT,
                                             SL_ACTION_UPSTREAM, SL_ACTION_JWKS,    SL_ACTION_OAUTH2};
    const struct sl_node *first = NULL;
    for (unsigned i = 0; i < SL_ARRAY_LEN(v); i++) {
        if (v[i] && first)
            sl_read_key_error(r, v[i], "a route does one thing: \"" SL_SFMT "\" stands at %s",
                              SL_SARG(first->key), sl_read_place(r, first));
        if (v[i] && !first) {
            first = v[i];
            route->action = actions[i];
        }
    }
    if (!first)
        sl_read_key_error(r, n, "a route needs one of upstream, split, respond, redirect, jwks, oauth2");
    if (v[3])
        _sl_check_split(r, v[3], route);
}

/* What the gateway answers by itself has its own methods; the router refuses the others by 405. */
static void _sl_take_own_methods(struct sl_reader *r, const struct sl_node *n, struct sl_route *route)
{
    const uint32_t get = 1u << 1 | 1u << 2, post = 1u << 3; /* as in _sl_method_names */
    const uint32_t own = route->action == SL_ACTION_JWKS ? get : post;
    const struct sl_node *methods = sl_node_get(n, "methods");
    if (route->action != SL_ACTION_JWKS && route->action != SL_ACTION_OAUTH2)
        return;
    if (!methods)
        route->methods = own;
    else if (route->methods & ~own || route->other_methods.n)
        sl_read_error(r, methods,
                      own == get ? "keys are asked for by GET and HEAD"
                                 : "tokens are asked for by POST (RFC 6749 section 3.2)");
}

static bool _sl_strips(const struct sl_path_match *p, struct sl_slice prefix)
{
    return p->kind == SL_PATH_REGEX || p->text.n == 0 ||
           (sl_slice_starts(p->text, prefix) && (p->text.n == prefix.n || p->text.p[prefix.n] == '/'));
}

static void _sl_check_rewrite(struct sl_reader *r, const struct sl_node *n, const struct sl_route *route)
{
    const struct sl_node *rewrite = sl_node_get(n, "rewrite"), *strip = sl_node_get(rewrite, "strip_prefix");
    if (!strip || route->strip_prefix.n == 0)
        return;
    if (route->action != SL_ACTION_UPSTREAM)
        sl_read_key_error(r, rewrite, "rewrite is for what goes to an upstream");
    for (size_t i = 0; i < route->n_paths; i++)
        if (!_sl_strips(&route->paths[i], route->strip_prefix))
            sl_read_warn(r, strip, "paths/%zu does not begin with this: nothing is stripped there", i);
}

/* Both say what becomes of a request without credentials. */
static void _sl_check_anonymous(struct sl_reader *r, const struct sl_node *n, const struct sl_route *route)
{
    const struct sl_node *anonymous = sl_node_get(n, "anonymous");
    if (anonymous && route->is_public)
        sl_read_key_error(r, anonymous,
                          "\"public\" under auth says that requests without credentials are nobody's: "
                          "leave out one of them");
}

/* What is required must be something that one of the providers can tell. */
static void _sl_check_require(struct sl_reader *r, const struct sl_node *n, const struct sl_route *route)
{
    const struct sl_node *require = sl_node_get(n, "require"), *auth = sl_node_get(n, "auth");
    bool roles = false, scopes = false;
    if (!require || !auth || auth->kind != SL_NODE_LIST)
        return;
    for (size_t i = 0; i < route->n_auth; i++) {
        roles |= sl_auth_takes_tokens(route->auth[i]) && route->auth[i]->jwt.roles_claim;
        scopes |= sl_auth_takes_tokens(route->auth[i]);
    }
    if (route->is_public && auth->n == 1)
        sl_read_key_error(
            r, require, "a public route has no identity to require anything of: name a provider under auth");
    else if (route->require_roles.n && !roles && route->n_auth + route->is_public == auth->n)
        sl_read_error(r, sl_node_get(require, "roles"),
                      "none of this route's providers knows roles: one of type jwt or introspection with "
                      "roles_claim does");
    else if (route->require_scopes.n && !scopes && route->n_auth + route->is_public == auth->n)
        sl_read_error(r, sl_node_get(require, "scopes"),
                      "none of this route's providers knows scopes: one of type jwt or introspection does");
}

static void _sl_check_forwarded(struct sl_reader *r, const struct sl_node *n, const struct sl_route *route)
{
    static const struct {
        const char *key, *are;
    } keys[] = {{"retries", "retries are"}, {"upgrade", "upgrade is"}, {"upstream_auth", "upstream_auth is"}};
    for (size_t i = 0; i < SL_ARRAY_LEN(keys) && route->action != SL_ACTION_UPSTREAM; i++)
        if (sl_node_get(n, keys[i].key))
            sl_read_key_error(r, sl_node_get(n, keys[i].key), "%s for what goes to an upstream", keys[i].are);
}

static void _sl_finish_route(struct sl_reader *r, const struct sl_node *n, void *raw_, void *out)
{
    struct sl_route_raw *raw = raw_;
    struct sl_route *route = out;
    const struct sl_node *request = sl_node_get(n, "request");
    raw->r.name = route->name;
    raw->r.pos = route->pos;
    *route = raw->r;
    if (!sl_node_get(request, "body"))
        route->request_body = UINT64_MAX;
    _sl_take_methods(r, &raw->methods, route);
    _sl_take_auth(r, raw, route);
    _sl_take_action(r, n, route);
    _sl_take_own_methods(r, n, route);
    sl_check_oauth2_route(r, n, route);
    _sl_check_rewrite(r, n, route);
    _sl_check_forwarded(r, n, route);
    _sl_check_anonymous(r, n, route);
    _sl_check_require(r, n, route);
}

static const struct sl_type _sl_route = {.kind = SL_T_OBJECT,
                                         .size = sizeof(struct sl_route),
                                         .what = "a map with upstream and auth",
                                         .fields = _sl_route_fields,
                                         .raw = sizeof(struct sl_route_raw),
                                         .finish = _sl_finish_route};
const struct sl_type sl_type_routes = {.kind = SL_T_NAMED,
                                       .size = sizeof(struct sl_strings),
                                       .what = "a map of routes by name",
                                       .key = &sl_type_name,
                                       .item = &_sl_route,
                                       .some = true};
