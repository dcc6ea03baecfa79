/* SPDX-License-Identifier: Apache-2.0 */
/* Users and passwords that a directory judges. */
#ifndef SL_POLICY_DIRECTORY_PRIV_H
#define SL_POLICY_DIRECTORY_PRIV_H

#include "policy/auth_priv.h"

/* Stands in sl_auth_again.error, and in the cache of what was refused. */
enum sl_directory_error { SL_DIRECTORY_OK, SL_DIRECTORY_REFUSED, SL_DIRECTORY_SILENT };

/*
 * What the directory is to be asked about an Authorization of Basic, in the arena. False: nothing, since it
 * is wrong by itself. An empty password is: a bind with it would succeed for everybody (RFC 4513
 * section 5.1.2).
 */
bool sl_directory_question(struct sl_arena *a, struct sl_slice basic, struct sl_slice *out);
/* Reads an answer, remembers what it said, and puts the verdict into *out, whose provider and hash are set.
 */
void sl_directory_hear(struct sl_authenticator *a, const struct sl_provider *p, enum sl_auth_said how,
                       struct sl_slice said, uint64_t now, struct sl_auth_again *out);

#endif
