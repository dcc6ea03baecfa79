/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SL_CONFIG_OCSP_PRIV_H
#define SL_CONFIG_OCSP_PRIV_H

#include "config/reader_priv.h"

#include <openssl/x509.h>

/* Judges c's OCSP response, where it has one, by its chain (leaf first), and sets ocsp_until. */
void sl_check_ocsp(struct sl_reader *r, struct sl_certificate *c, STACK_OF(X509) * chain);

#endif
