/* SPDX-License-Identifier: Apache-2.0 */
/* Providers of identity: what the files that hold their tables share. */
#ifndef SL_CONFIG_SCHEMA_AUTH_PRIV_H
#define SL_CONFIG_SCHEMA_AUTH_PRIV_H

#include "config/reader_priv.h"

/* What a provider is read into, before it is put together. */
struct sl_auth_raw {
    struct sl_auth a;
    struct sl_strings verify, in;
    struct sl_name_values claims;
    unsigned type;
};
#define SL_AUTH_AT(m) offsetof(struct sl_auth_raw, m)

/* ---- schema_auth.c */
extern const struct sl_type sl_type_auth_type, sl_type_realm;

/* ---- schema_ldap.c */
extern const struct sl_field sl_ldap_fields[];
/* What takes more than one of its values to judge; fills what is made of them. */
void sl_finish_ldap(struct sl_reader *r, const struct sl_node *n, struct sl_auth *a);
/* Before anything is read: whether it is a provider of type ldap; whether one whose connections are TLS. */
bool sl_schema_is_ldap_tls(const struct sl_node *auth);

#endif
