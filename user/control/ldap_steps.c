/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a question to a directory: a few steps, each of which is one message and its answer. (Bind as
 * who searches,) find the user's entry, bind as it, then read it or look for its groups. Read _sl_next() for
 * the order.
 */
#include "control/ldap_priv.h"

#include "base/ldap_text.h"

/* ---- what is sent */

static enum sl_ldap_bound _sl_searcher(const struct sl_auth *a)
{
    return a->ldap.bind_dn ? SL_BOUND_SERVICE : SL_BOUND_NOBODY;
}

static enum sl_ldap_step _sl_next(const struct sl_ldap_link *k)
{
    const struct sl_auth *a = k->config->auth;
    switch (k->ask->step) {
    case SL_STEP_BEGIN:
        return !a->ldap.search ? SL_STEP_BIND : k->bound == _sl_searcher(a) ? SL_STEP_FIND : SL_STEP_SERVICE;
    case SL_STEP_SERVICE:
        return SL_STEP_FIND;
    case SL_STEP_FIND:
        return SL_STEP_BIND;
    case SL_STEP_BIND:
        if (!a->ldap.search)
            return SL_STEP_READ;
        return !a->ldap.groups.base_dn ? SL_STEP_END
               : a->ldap.bind_dn       ? SL_STEP_SERVICE_AGAIN
                                       : SL_STEP_GROUPS;
    case SL_STEP_READ:
        return a->ldap.groups.base_dn ? SL_STEP_GROUPS : SL_STEP_END;
    case SL_STEP_SERVICE_AGAIN:
        return SL_STEP_GROUPS;
    default:
        return SL_STEP_END;
    }
}

static int _sl_send_service(struct sl_ldap_link *k, const char **why)
{
    const struct sl_auth *a = k->config->auth;
    k->bound = SL_BOUND_NOBODY;
    return sl_ldap_link_bind(k, a->ldap.bind_dn ? a->ldap.bind_dn : "", a->ldap.bind_password.data, why);
}

static int _sl_send_find(struct sl_ldap_link *k, const char **why)
{
    const struct sl_auth *a = k->config->auth;
    struct sl_ldap_ask *q = k->ask;
    const char *filter = sl_ldap_filter(&q->arena, a->ldap.filter, a->ldap.attribute, q->user);
    return filter ? sl_ldap_link_search(k, a->ldap.base_dn, LDAP_SCOPE_SUBTREE, filter, a->ldap.attribute, 2,
                                        why)
                  : 0;
}

static int _sl_send_bind(struct sl_ldap_link *k, const char **why)
{
    const struct sl_auth *a = k->config->auth;
    struct sl_ldap_ask *q = k->ask;
    k->bound = SL_BOUND_NOBODY; /* also after one that fails */
    if (!q->dn)
        q->dn = sl_ldap_dn(&q->arena, a->ldap.attribute, q->user, a->ldap.base_dn);
    return q->dn ? sl_ldap_link_bind(k, q->dn, q->password, why) : 0;
}

static int _sl_send_groups(struct sl_ldap_link *k, const char **why)
{
    const struct sl_auth *a = k->config->auth;
    struct sl_ldap_ask *q = k->ask;
    /* RFC 2307 section 5.3: the one attribute for members that holds user names */
    const bool by_name = sl_slice_ieq(sl_slice_str(a->ldap.groups.member), SL_S("memberUid"));
    const char *filter =
        sl_ldap_filter(&q->arena, NULL, a->ldap.groups.member, by_name ? q->name : sl_slice_str(q->dn));
    return filter ? sl_ldap_link_search(k, a->ldap.groups.base_dn, LDAP_SCOPE_SUBTREE, filter,
                                        a->ldap.groups.attribute, SL_LDAP_GROUPS, why)
                  : 0;
}

static int _sl_send(struct sl_ldap_link *k, const char **why)
{
    const struct sl_auth *a = k->config->auth;
    switch (k->ask->step) {
    case SL_STEP_SERVICE:
    case SL_STEP_SERVICE_AGAIN:
        return _sl_send_service(k, why);
    case SL_STEP_FIND:
        return _sl_send_find(k, why);
    case SL_STEP_BIND:
        return _sl_send_bind(k, why);
    case SL_STEP_READ:
        return sl_ldap_link_search(k, k->ask->dn, LDAP_SCOPE_BASE, "(objectClass=*)", a->ldap.attribute, 1,
                                   why);
    default:
        return _sl_send_groups(k, why);
    }
}

static void _sl_refuse(struct sl_ldap_link *k)
{
    sl_ldap_verdict(k, &(struct sl_ldap_result){.verdict = SL_LDAP_REFUSED});
}

static void _sl_accept(struct sl_ldap_link *k)
{
    struct sl_ldap_ask *q = k->ask;
    struct sl_buf SL_BUF names = {0};
    if (sl_buf_append_slice(&names, q->name) < 0 || sl_buf_append(&names, "", 1) < 0 ||
        sl_buf_append_slice(&names, sl_buf_slice(&q->groups)) < 0)
        sl_ldap_fail(k, false, "", "out of memory");
    else
        sl_ldap_verdict(k,
                        &(struct sl_ldap_result){.verdict = SL_LDAP_ACCEPTED, .names = sl_buf_slice(&names)});
}

void sl_ldap_go_on(struct sl_ldap_link *k)
{
    const char *why = "out of memory";
    k->ask->step = _sl_next(k);
    k->ask->entries = 0;
    if (k->ask->step == SL_STEP_END) {
        _sl_accept(k);
        return;
    }
    k->sent = _sl_send(k, &why);
    if (!k->sent)
        sl_ldap_fail(k, false, "asking it", why);
}

/* ---- what comes back */

static struct sl_slice _sl_value(struct sl_arena *a, const struct berval *v)
{
    return sl_arena_copy(a, sl_slice(v->bv_val, v->bv_len));
}

/* Of a user, that is: it goes into headers and logs. */
static bool _sl_is_name(struct sl_slice s)
{
    return s.n > 0 && !sl_slice_has_control(s);
}

/* One name for one user, however he types it: as the directory has it. Of several, the one that he meant. */
static void _sl_take_name(struct sl_ldap_ask *q, struct berval **values)
{
    q->name = SL_SLICE_NUL;
    for (size_t i = 0; values && values[i]; i++) {
        const struct sl_slice v = sl_slice(values[i]->bv_val, values[i]->bv_len);
        if (!_sl_is_name(v) || (q->name.n && !sl_slice_ieq(v, q->user)))
            continue;
        q->name = _sl_value(&q->arena, values[i]);
    }
}

static void _sl_take_user(struct sl_ldap_link *k, LDAPMessage *m)
{
    struct sl_ldap_ask *q = k->ask;
    struct berval **values = ldap_get_values_len(k->ld, m, k->config->auth->ldap.attribute);
    char *dn = ldap_get_dn(k->ld, m);
    q->dn = dn ? sl_arena_strdup(&q->arena, sl_slice_str(dn)) : NULL;
    _sl_take_name(q, values);
    ldap_memfree(dn);
    ldap_value_free_len(values);
}

static void _sl_take_group(struct sl_ldap_link *k, LDAPMessage *m)
{
    struct sl_ldap_ask *q = k->ask;
    struct berval **values = ldap_get_values_len(k->ld, m, k->config->auth->ldap.groups.attribute);
    for (size_t i = 0; values && values[i]; i++) {
        const struct sl_slice v = sl_slice(values[i]->bv_val, values[i]->bv_len);
        if (!v.n || memchr(v.p, '\0', v.n))
            continue;
        if (sl_buf_append_slice(&q->groups, v) < 0 || sl_buf_append(&q->groups, "", 1) < 0)
            break; /* the group is not his then: that refuses, and gives nothing */
    }
    ldap_value_free_len(values);
}

static void _sl_entry(struct sl_ldap_link *k, LDAPMessage *m)
{
    k->ask->entries++;
    if (k->ask->step == SL_STEP_GROUPS)
        _sl_take_group(k, m);
    else
        _sl_take_user(k, m);
}

/* Whether it is the user who is at fault, or his entry (locked, without a password), and not the directory.
 */
static bool _sl_is_refusal(int code)
{
    static const int codes[] = {LDAP_INVALID_CREDENTIALS,  LDAP_NO_SUCH_OBJECT,      LDAP_INVALID_DN_SYNTAX,
                                LDAP_INAPPROPRIATE_AUTH,   LDAP_INSUFFICIENT_ACCESS, LDAP_INVALID_SYNTAX,
                                LDAP_CONSTRAINT_VIOLATION, LDAP_UNWILLING_TO_PERFORM};
    for (size_t i = 0; i < SL_ARRAY_LEN(codes); i++)
        if (codes[i] == code)
            return true;
    return false;
}

/* Else it may be something about this one user, which must not keep others from being asked about. */
static bool _sl_is_down(int code)
{
    return code == LDAP_BUSY || code == LDAP_UNAVAILABLE;
}

static void _sl_bound(struct sl_ldap_link *k, int code)
{
    const struct sl_auth *a = k->config->auth;
    const bool user = k->ask->step == SL_STEP_BIND;
    if (code == LDAP_SUCCESS) {
        k->bound = user ? SL_BOUND_USER : (unsigned)_sl_searcher(a);
        sl_ldap_go_on(k);
    } else if (user && _sl_is_refusal(code)) {
        _sl_refuse(k);
    } else {
        sl_ldap_fail(k, true,
                     user              ? "a user's bind"
                     : a->ldap.bind_dn ? "the bind of bind_dn"
                                       : "a bind as nobody",
                     ldap_err2string(code));
    }
}

/* The user's entry: there must be one, and no more. With an empty name a bind would be nobody's. */
static void _sl_found(struct sl_ldap_link *k, int code)
{
    const struct sl_ldap_ask *q = k->ask;
    const bool read = q->step == SL_STEP_READ;
    if (code != LDAP_SUCCESS && code != LDAP_SIZELIMIT_EXCEEDED && (!read || code != LDAP_NO_SUCH_OBJECT))
        sl_ldap_fail(k, _sl_is_down(code), "looking for a user", ldap_err2string(code));
    else if (read && (q->entries != 1 || !q->name.n))
        sl_ldap_fail(k, false, "",
                     "a user cannot read his own entry: bind_dn, which searches, is right there");
    else if (q->entries != 1 || code == LDAP_SIZELIMIT_EXCEEDED)
        _sl_refuse(k); /* nobody has that name, or who has it cannot be told */
    else if (!q->dn || !*q->dn || !q->name.n)
        sl_ldap_fail(k, false, "looking for a user", "it shows no value of `attribute`");
    else
        sl_ldap_go_on(k);
}

static void _sl_grouped(struct sl_ldap_link *k, int code)
{
    if (code == LDAP_SIZELIMIT_EXCEEDED)
        sl_ldap_fail(k, false, "looking for groups", "it gives out no more of one user's");
    else if (code != LDAP_SUCCESS && code != LDAP_NO_SUCH_OBJECT)
        sl_ldap_fail(k, _sl_is_down(code), "looking for groups", ldap_err2string(code));
    else
        sl_ldap_go_on(k);
}

static void _sl_result(struct sl_ldap_link *k, LDAPMessage *m)
{
    int code = LDAP_OTHER;
    if (ldap_parse_result(k->ld, m, &code, NULL, NULL, NULL, NULL, 0) != LDAP_SUCCESS) {
        sl_ldap_fail(k, true, "", "what it sends is no LDAP");
        return;
    }
    switch (k->ask->step) {
    case SL_STEP_SERVICE:
    case SL_STEP_SERVICE_AGAIN:
    case SL_STEP_BIND:
        _sl_bound(k, code);
        break;
    case SL_STEP_GROUPS:
        _sl_grouped(k, code);
        break;
    default:
        _sl_found(k, code);
    }
}

void sl_ldap_answer(struct sl_ldap_link *k, LDAPMessage *m)
{
    const bool searches =
        (k->ask->step == SL_STEP_FIND || k->ask->step == SL_STEP_READ || k->ask->step == SL_STEP_GROUPS);
    const ber_tag_t type = (ber_tag_t)ldap_msgtype(m);
    if (searches && type == LDAP_RES_SEARCH_ENTRY)
        _sl_entry(k, m);
    else if (type == (searches ? LDAP_RES_SEARCH_RESULT : LDAP_RES_BIND))
        _sl_result(k, m);
    else if (!searches || type != LDAP_RES_SEARCH_REFERENCE)
        sl_ldap_fail(k, true, "", "it answers something else than was asked");
}
