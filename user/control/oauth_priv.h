/* SPDX-License-Identifier: Apache-2.0 */
/* Asking an OAuth server: a form, and who asks (RFC 6749 section 2.3.1). */
#ifndef SL_CONTROL_OAUTH_PRIV_H
#define SL_CONTROL_OAUTH_PRIV_H

#include "control/errand_priv.h"
#include "control/fetch_priv.h"

/* One more parameter (application/x-www-form-urlencoded); 0 or -ENOMEM. */
int sl_oauth_field(struct sl_buf *form, const char *name, struct sl_slice value) SL_MUST_CHECK;
struct sl_oauth_question {
    const char *url, *client_id;
    struct sl_slice client_secret;
    struct sl_slice form;
};
/* Asks for a job of that server, over a connection that is kept with it, maybe twice: f is called with the
 * answer, and ends it. Stands in job->work. 0 or -errno.
 */
int sl_oauth_ask(struct sl_errand_job *job, const struct sl_oauth_question *q,
                 void (*f)(void *job, const struct sl_fetch_result *r)) SL_MUST_CHECK;
void sl_oauth_cancel(struct sl_errand_job *job);
void sl_oauth_close(struct sl_errand_server *server);
unsigned sl_oauth_connections(const struct sl_errand_server *server);
/* What is told where the answer is none of 200; why has room for the text. */
struct sl_errand_outcome sl_oauth_failed(const struct sl_fetch_result *r, char why[96]);

#endif
