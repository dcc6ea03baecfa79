/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of listeners: certificates, and what clients must show. */
#include "config/reader_priv.h"

#include <openssl/ssl.h>

static const struct sl_field _sl_certificate_fields[] = {
    {"cert", &sl_type_file, offsetof(struct sl_certificate, cert), NULL, SL_F_REQUIRED,
     "PEM file: the certificate, then those between it and the root."},
    {"key", &sl_type_secret, offsetof(struct sl_certificate, key), NULL, SL_F_REQUIRED,
     "Its private key in PEM, as {$file: PATH}."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_certificate = {.kind = SL_T_OBJECT,
                                               .size = sizeof(struct sl_certificate),
                                               .what = "a map of cert and key",
                                               .fields = _sl_certificate_fields};
static const struct sl_type _sl_certificates = {.kind = SL_T_LIST,
                                                .size = sizeof(struct sl_strings),
                                                .what = "a list of {cert, key}",
                                                .item = &_sl_certificate,
                                                .some = true};
static const struct sl_choice _sl_versions[] = {
    {"1.2", TLS1_2_VERSION, false}, {"1.3", TLS1_3_VERSION, false}, {NULL, 0, false}};
static const struct sl_type _sl_version = {.kind = SL_T_CHOICE,
                                           .size = sizeof(int),
                                           .what = "\"1.2\" or \"1.3\", in quotes",
                                           .choices = _sl_versions};
static const struct sl_choice _sl_client_auths[] = {{"none", SL_CLIENT_AUTH_NONE, false},
                                                    {"optional", SL_CLIENT_AUTH_OPTIONAL, false},
                                                    {"required", SL_CLIENT_AUTH_REQUIRED, false},
                                                    {NULL, 0, false}};
static const struct sl_type _sl_client_auth = {.kind = SL_T_CHOICE,
                                               .size = sizeof(enum sl_client_auth),
                                               .what = "one of none, optional, required",
                                               .choices = _sl_client_auths};
static const struct sl_field _sl_tls_fields[] = {
    {"certificates", &_sl_certificates, offsetof(struct sl_tls_config, certificates), NULL, SL_F_REQUIRED,
     "The client's SNI picks one by its names; the first is the default."},
    {"min_version", &_sl_version, offsetof(struct sl_tls_config, min_version), "\"1.2\"", 0,
     "Oldest TLS version that is spoken."},
    {"client_ca", &sl_type_file, offsetof(struct sl_tls_config, client_ca), NULL, 0,
     "PEM file of the authorities that vouch for clients. What stands in it is trusted as it stands; an "
     "intermediate needs no root."},
    {"client_auth", &_sl_client_auth, offsetof(struct sl_tls_config, client_auth), NULL, 0,
     "none: clients are asked for no certificate. optional: they may have none, but one that does not verify "
     "ends the handshake. required: they must have one. Not written: required where client_ca is, else "
     "none."},
    SL_FIELDS_END,
};
static void _sl_finish_tls(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_tls_config *t = out;
    const struct sl_node *ca = sl_node_get(n, "client_ca"), *auth = sl_node_get(n, "client_auth");
    (void)raw;
    t->enabled = true;
    if (ca && !auth)
        t->client_auth = SL_CLIENT_AUTH_REQUIRED;
    else if (!ca && t->client_auth != SL_CLIENT_AUTH_NONE)
        sl_read_key_error(r, auth, "\"client_ca\" is missing: who vouches for the clients' certificates?");
    else if (ca && t->client_auth == SL_CLIENT_AUTH_NONE)
        sl_read_warn(r, ca, "has no effect: client_auth is none");
}
const struct sl_type sl_type_listener_tls = {.kind = SL_T_OBJECT,
                                             .size = sizeof(struct sl_tls_config),
                                             .what = "a map with certificates",
                                             .fields = _sl_tls_fields,
                                             .finish = _sl_finish_tls};
