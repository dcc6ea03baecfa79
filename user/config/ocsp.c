/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an authority says of a certificate's standing (RFC 6960), as a file beside it: that it is about this
 * certificate, signed by who may say so, and news. One that is out of date is a warning: it is not stapled,
 * and clients do without, as they would if there were none.
 */
#include "config/ocsp_priv.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <time.h>

#define SL_CLOCKS_S 300 /* by how much clocks may differ */

static uint64_t _sl_seconds(const ASN1_TIME *t)
{
    struct tm tm;
    const time_t s = t && ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
    return s > 0 ? (uint64_t)s : 0;
}

static OCSP_BASICRESP *_sl_basic(struct sl_reader *r, const struct sl_blob *blob)
{
    const unsigned char *p = (const unsigned char *)blob->data.p;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)blob->data.n);
    OCSP_BASICRESP *basic = NULL;
    if (!response)
        sl_diag_error(r->diag, &blob->pos,
                      "is no OCSP response in DER, as `openssl ocsp -respout` writes it");
    else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        sl_diag_error(r->diag, &blob->pos, "is the answer of a responder that had none: %s",
                      OCSP_response_status_str(OCSP_response_status(response)));
    else if (!(basic = OCSP_response_get1_basic(response)))
        sl_diag_error(r->diag, &blob->pos, "is no basic OCSP response");
    OCSP_RESPONSE_free(response);
    return basic;
}

/* By the serial number, and where the chain has the issuer, by its name and key as well. */
static OCSP_SINGLERESP *_sl_about(OCSP_BASICRESP *basic, X509 *leaf, const X509 *issuer)
{
    OCSP_CERTID *want = issuer ? OCSP_cert_to_id(NULL, leaf, issuer) : NULL;
    OCSP_SINGLERESP *found = NULL;
    for (int i = 0; i < OCSP_resp_count(basic) && !found; i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
        ASN1_INTEGER *serial = NULL;
        const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(one);
        (void)OCSP_id_get0_info(NULL, NULL, NULL, &serial, (OCSP_CERTID *)(uintptr_t)id);
        if (want ? OCSP_id_cmp(want, id) == 0
                 : serial && ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) == 0)
            found = one;
    }
    OCSP_CERTID_free(want);
    return found;
}

static bool _sl_is_signed(OCSP_BASICRESP *basic, STACK_OF(X509) * chain)
{
    X509_STORE *store = X509_STORE_new();
    bool ok = store && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
              X509_STORE_add_cert(store, sk_X509_value(chain, 1)) == 1 &&
              OCSP_basic_verify(basic, chain, store, 0) == 1;
    X509_STORE_free(store);
    return ok;
}

static void _sl_judge(struct sl_reader *r, struct sl_certificate *c, OCSP_SINGLERESP *one)
{
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    const int status = OCSP_single_get0_status(one, NULL, NULL, &from, &until);
    const uint64_t now = (uint64_t)time(NULL), begins = _sl_seconds(from), ends = _sl_seconds(until);
    if (status != V_OCSP_CERTSTATUS_GOOD)
        sl_diag_error(r->diag, &c->ocsp.pos, "says that the certificate is %s", OCSP_cert_status_str(status));
    else if (begins > now + SL_CLOCKS_S)
        sl_diag_warn(r->diag, &c->ocsp.pos,
                     "is from the future, and is not stapled: is this host's clock right?");
    else if (until && ends <= now)
        sl_diag_warn(r->diag, &c->ocsp.pos, "is out of date, and is not stapled: fetch it anew");
    else
        c->ocsp_until = until ? ends : UINT64_MAX;
}

void sl_check_ocsp(struct sl_reader *r, struct sl_certificate *c, STACK_OF(X509) * chain)
{
    OCSP_BASICRESP *basic = c->ocsp.data.n ? _sl_basic(r, &c->ocsp) : NULL;
    if (!basic)
        return;
    const bool issued = sk_X509_num(chain) > 1;
    OCSP_SINGLERESP *one = _sl_about(basic, sk_X509_value(chain, 0), issued ? sk_X509_value(chain, 1) : NULL);
    if (!one)
        sl_diag_error(r->diag, &c->ocsp.pos, "is about another certificate");
    else if (issued && !_sl_is_signed(basic, chain))
        sl_diag_error(r->diag, &c->ocsp.pos,
                      "is not signed by the certificate's issuer, or by whom it named for that");
    else
        _sl_judge(r, c, one);
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
}
