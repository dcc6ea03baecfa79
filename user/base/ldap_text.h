/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a directory is asked by, as text: names of entries (RFC 4514) and filters (RFC 4515). Whatever a
 * stranger typed gets into them by the escaping ones alone, so that it can be nothing but a value.
 */
#ifndef SL_BASE_LDAP_TEXT_H
#define SL_BASE_LDAP_TEXT_H

#include "base/arena.h"
#include "base/slice.h"

#define SL_LDAP_FILTER_DEPTH 8

/* NULL where right, else what is wrong with it ("has a part without '='"). An empty name is wrong too. */
const char *sl_ldap_dn_wrong(struct sl_slice dn);
const char *sl_ldap_filter_wrong(struct sl_slice filter);
/* "uid", "1.2.840.113556.1.4.221", with options behind ';' (RFC 4512 section 2.5). */
const char *sl_ldap_attribute_wrong(struct sl_slice name);

/* "attribute=VALUE,base", VALUE escaped (RFC 4514 section 2.4). NULL when memory is out. */
const char *sl_ldap_dn(struct sl_arena *a, const char *attribute, struct sl_slice value, const char *base);
/* "(attribute=VALUE)", or "(&FILTER(attribute=VALUE))" where filter is not NULL; VALUE escaped (RFC 4515
 * section 3). attribute may end in a matching rule ("member:2.5.13.1:"). NULL when memory is out. */
const char *sl_ldap_filter(struct sl_arena *a, const char *filter, const char *attribute,
                           struct sl_slice value);

#endif
