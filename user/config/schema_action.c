/* SPDX-License-Identifier: Apache-2.0 */
/* What a route answers by itself. */
#include "config/reader_priv.h"

#define REL(base, m) (offsetof(struct sl_route, base.m) - offsetof(struct sl_route, base))
static const struct sl_type _sl_status = {
    .kind = SL_T_INT, .size = sizeof(unsigned), .what = "a status", .min = "200", .max = "599"};
static const struct sl_type _sl_body = {
    .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = "a string", .valid = sl_valid_body};
static const struct sl_field _sl_respond_fields[] = {
    {"status", &_sl_status, REL(respond, status), "200", 0, "Status of the answer."},
    {"body", &_sl_body, REL(respond, body), "\"\"", 0, "Body of the answer."},
    {"headers", &sl_type_header_values, REL(respond, headers), NULL, 0, "Headers of the answer."},
    SL_FIELDS_END,
};
static void _sl_finish_respond(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    unsigned status = *(unsigned *)out; /* the first member */
    const struct sl_node *body = sl_node_get(n, "body");
    (void)raw;
    if ((status == 204 || status == 304) && body && body->text.n)
        sl_read_error(r, body, "an answer of %u has no body (RFC 9110 section 6.4.1)", status);
}
const struct sl_type sl_type_respond = {.kind = SL_T_OBJECT,
                                        .what = "a map of status, body, headers",
                                        .fields = _sl_respond_fields,
                                        .finish = _sl_finish_respond};

static bool _sl_parse_redirect_status(struct sl_reader *r, const struct sl_node *n, struct sl_slice text,
                                      void *out)
{
    uint64_t v;
    (void)r;
    if (n->kind != SL_NODE_NUMBER || sl_slice_u64(text, &v) < 0 ||
        !(v == 301 || v == 302 || v == 303 || v == 307 || v == 308))
        return false;
    *(unsigned *)out = (unsigned)v;
    return true;
}
static const struct sl_type _sl_redirect_status = {.kind = SL_T_PARSED,
                                                   .size = sizeof(unsigned),
                                                   .what = "one of 301, 302, 303, 307, 308",
                                                   .also_number = true,
                                                   .parse = _sl_parse_redirect_status,
                                                   .schema = "\"enum\":[301,302,303,307,308]"};
static const char *_sl_valid_location(struct sl_slice s)
{
    return s.n ? sl_valid_header_value(s) : "is empty";
}
static const struct sl_type _sl_location = {
    .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = "a string", .valid = _sl_valid_location};
static const struct sl_field _sl_redirect_fields[] = {
    {"status", &_sl_redirect_status, REL(redirect, status), "302", 0, "Status of the answer."},
    {"location", &_sl_location, REL(redirect, location), NULL, SL_F_REQUIRED,
     "Where to: a URL, with variables such as $host and $request_uri."},
    SL_FIELDS_END,
};
#undef REL
const struct sl_type sl_type_redirect = {
    .kind = SL_T_OBJECT, .what = "a map of status and location", .fields = _sl_redirect_fields};
