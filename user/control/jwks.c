/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of token providers that are fetched: asked for before they grow old, once more where a worker meets a
 * key that nobody knows, and handed to the workers through the supervisor.
 *
 * Invariant: of a provider at most one fetch is under way. What it has is never thrown away by a failure,
 * only by its ceiling (jwks_stale, counted from the last success) or by a set that is valid and has other
 * keys.
 */
#include "control/control_priv.h"
#include "control/fetch_priv.h"

#include "base/io.h"
#include "net/tls.h"
#include "policy/auth.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#define SL_DOCUMENT_BYTES (64 * 1024)
#define SL_WANTED_NS      (30 * SL_NS_PER_SEC) /* between two fetches that workers caused */
#define SL_RETRY_NS       SL_NS_PER_SEC        /* after the first failure; doubled up to a minute */
#define SL_RETRY_MAX_NS   (60 * SL_NS_PER_SEC)
#define SL_SHORTEST_NS    (30 * SL_NS_PER_SEC) /* a Cache-Control asks for no more than this */
#define SL_RESEND_NS      (100 * SL_NS_PER_MS)
#define SL_DROPPED_NS     (5 * SL_NS_PER_SEC)
#define SL_HOPS           3

struct sl_remote {
    struct sl_jwks_all *all;
    const struct sl_auth *auth; /* of all->snapshot */
    SSL_CTX *tls;
    struct sl_fetch *fetch; /* NULL: none is under way */
    struct sl_timer timer;  /* when the next one begins; or, with resend, when the supervisor is told again */
    char *text;             /* what the workers have; NULL: nothing */
    size_t n, usable;       /* bytes, keys */
    uint64_t fetched, deadline, next, wanted; /* CLOCK_MONOTONIC; 0: never */
    uint64_t total[2];                        /* fetched, failed */
    unsigned failures;                        /* in a row */
    bool resend;
    char why[200]; /* of the last failure */
};
struct sl_jwks_all {
    struct sl_control *control;
    struct sl_snapshot *snapshot; /* one reference */
    struct sl_resolver *resolver;
    struct sl_remote *v;
    size_t n;
    uint64_t rng;
};

/* ---- to the workers */

/* whole: with the text, else only its new deadline, and that it was looked for. */
static void _sl_tell(struct sl_remote *r, bool whole)
{
    union sl_ipc m = {.keys = {.h = {.type = SL_IPC_KEYS_FETCHED},
                               .source = r->auth->jwt.remote.source,
                               .deadline_ns = r->deadline,
                               .fetched_ns = r->fetched}};
    SL_CLOSE int fd = whole && r->text ? sl_memfd_sealed("sluice-keys", r->text, r->n) : -1;
    int e = whole && r->text && fd < 0 ? fd : sl_ipc_send(r->all->control->args->ipc_fd, &m, &fd, fd >= 0);
    struct sl_loop *l = &r->all->control->turn;
    if (whole)
        r->resend = e < 0;
    if (whole && e < 0) {
        (void)sl_error_r(e, "auth %s: its keys cannot be handed on; trying again", r->auth->name);
        sl_timer_set(l, &r->timer, l->now + SL_RESEND_NS);
    }
}

/* ---- when the next one is */

static uint64_t _sl_jitter(struct sl_remote *r, uint64_t ns)
{
    uint64_t *x = &r->all->rng;
    *x ^= *x << 13; /* xorshift64: for spreading, never for secrets */
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return ns - (ns / 10 ? *x % (ns / 10) : 0);
}

static bool _sl_directive(struct sl_slice value, struct sl_slice name, struct sl_slice *argument)
{
    struct sl_slice part;
    while (sl_slice_next(&value, ',', &part)) {
        part = sl_slice_trim(part);
        if (part.n < name.n || !sl_slice_ieq(sl_slice(part.p, name.n), name))
            continue;
        *argument = sl_slice(part.p + name.n, part.n - name.n);
        if (!argument->n || argument->p[0] == '=')
            return true;
    }
    return false;
}

/* RFC 9111 section 5.2.2, within bounds: never later than the policy says, never so often that it hurts. */
static uint64_t _sl_fresh(const struct sl_remote *r, const struct sl_response *res)
{
    const uint64_t longest = r->auth->jwt.remote.refresh, shortest = SL_MIN(longest, SL_SHORTEST_NS);
    const struct sl_header *h = sl_headers_find(&res->headers, SL_S("cache-control"));
    const struct sl_header *age = sl_headers_find(&res->headers, SL_S("age"));
    struct sl_slice argument;
    uint64_t s = 0, old = 0;
    if (!h)
        return longest;
    if (_sl_directive(h->value, SL_S("no-store"), &argument) ||
        _sl_directive(h->value, SL_S("no-cache"), &argument))
        return shortest;
    if (!_sl_directive(h->value, SL_S("max-age"), &argument) || argument.n < 2 ||
        sl_slice_u64(sl_slice(argument.p + 1, argument.n - 1), &s) < 0)
        return longest;
    if (age && sl_slice_u64(age->value, &old) == 0)
        s -= SL_MIN(s, old);
    s = SL_MIN(s, longest / SL_NS_PER_SEC + 1);
    return SL_MAX(shortest, SL_MIN(longest, s * SL_NS_PER_SEC));
}

static void _sl_schedule(struct sl_remote *r, uint64_t in)
{
    struct sl_loop *l = &r->all->control->turn;
    r->next = l->now + in;
    sl_timer_set(l, &r->timer, r->next);
}

/* ---- what came of it */

static void _sl_failed(struct sl_remote *r, const char *why)
{
    const bool first = r->failures++ == 0;
    const unsigned doubled = SL_MIN(r->failures - 1, 6u);
    r->fetch = NULL;
    r->total[1]++;
    (void)snprintf(r->why, sizeof(r->why), "%s", why);
    _sl_schedule(r, _sl_jitter(r, SL_MIN(SL_MIN(SL_RETRY_NS << doubled, SL_RETRY_MAX_NS),
                                         r->auth->jwt.remote.refresh)));
    if (first)
        sl_warn("auth %s: its keys cannot be fetched, and %s: %s", r->auth->name,
                r->text ? "those from before serve until jwks_stale" : "there are none from before", why);
    _sl_tell(r, false);
}

static void _sl_succeeded(struct sl_remote *r, const struct sl_response *res, struct sl_slice text,
                          size_t usable)
{
    struct sl_loop *l = &r->all->control->turn;
    const bool same = sl_slice_eq(text, sl_slice(r->text, r->n));
    const bool dropped = l->now + SL_DROPPED_NS >= r->deadline; /* by the workers, or about to be */
    char *own = same ? NULL : malloc(text.n);
    if (!same && !own) {
        _sl_failed(r, "out of memory");
        return;
    }
    if (own) {
        memcpy(own, text.p, text.n);
        free(r->text);
        r->text = own;
        r->n = text.n;
    }
    if (own || r->failures)
        sl_info("auth %s: %zu key%s fetched", r->auth->name, usable, usable == 1 ? "" : "s");
    r->fetch = NULL;
    r->usable = usable;
    r->failures = 0;
    r->why[0] = '\0';
    r->total[0]++;
    r->fetched = l->now;
    r->deadline = l->now + r->auth->jwt.remote.stale;
    _sl_schedule(r, _sl_jitter(r, _sl_fresh(r, res)));
    _sl_tell(r, own || dropped || r->resend);
}

static bool _sl_is_answer(struct sl_remote *r, const struct sl_fetch_result *f)
{
    char why[64];
    if (!f->error && f->response->status == 200)
        return true;
    if (!f->error)
        (void)snprintf(why, sizeof(why), "the answer's status is %u", f->response->status);
    _sl_failed(r, f->error ? f->error : why);
    return false;
}

static void _sl_on_keys(void *ctx, const struct sl_fetch_result *f)
{
    struct sl_remote *r = ctx;
    char why[160] = "";
    if (!_sl_is_answer(r, f))
        return;
    const size_t usable = sl_auth_usable_keys(r->auth, f->body, why, sizeof(why));
    if (usable)
        _sl_succeeded(r, f->response, f->body, usable);
    else
        _sl_failed(r, why);
}

/* ---- asking */

static int _sl_fetch(struct sl_remote *r, const struct sl_url *url, bool named, size_t max,
                     void (*done)(void *, const struct sl_fetch_result *))
{
    const struct sl_remote_keys *k = &r->auth->jwt.remote;
    const struct sl_fetch_request q = {.url = *url,
                                       .max = max,
                                       .timeout = k->timeout,
                                       .hops = SL_HOPS,
                                       .reach = (enum sl_reach)k->redirects,
                                       .named = named,
                                       .tls = r->tls,
                                       .done = done,
                                       .ctx = r};
    r->fetch = sl_fetch_start(&r->all->control->turn, r->all->resolver, &q);
    return r->fetch ? 0 : -ENOMEM;
}

/* OpenID Connect Discovery 1.0 section 4.3: the document must be of the issuer that was asked. */
static const char *_sl_read_document(const struct sl_remote *r, struct sl_slice body, struct sl_arena *a,
                                     struct sl_url *keys)
{
    json_t *doc = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, NULL);
    const char *issuer = json_string_value(json_object_get(doc, "issuer"));
    const char *uri = json_string_value(json_object_get(doc, "jwks_uri"));
    const char *wrong = NULL;
    if (!json_is_object(doc))
        wrong = "the discovery document is no JSON object";
    else if (!issuer || strcmp(issuer, r->auth->jwt.issuer) != 0)
        wrong = "the discovery document is another issuer's";
    else if (!uri)
        wrong = "the discovery document names no jwks_uri";
    else if (sl_url_parse(a, sl_slice_str(uri), keys))
        wrong = "the discovery document's jwks_uri is no https URL";
    json_decref(doc);
    return wrong;
}

static void _sl_on_document(void *ctx, const struct sl_fetch_result *f)
{
    struct sl_remote *r = ctx;
    struct sl_arena a;
    struct sl_url issuer, keys;
    if (!_sl_is_answer(r, f))
        return;
    sl_arena_init(&a, 0);
    const char *wrong = _sl_read_document(r, f->body, &a, &keys);
    wrong = wrong ? wrong : sl_url_parse(&a, sl_slice_str(r->auth->jwt.remote.url), &issuer);
    if (!wrong && !sl_url_same_origin(&issuer, &keys) && r->auth->jwt.remote.redirects == SL_REACH_NONE)
        wrong =
            "the keys are on another host than the issuer (jwks_redirects: public, or any, would go there)";
    if (!wrong && _sl_fetch(r, &keys, sl_url_same_origin(&issuer, &keys), SL_KEYS_BYTES, _sl_on_keys) < 0)
        wrong = "out of memory";
    sl_arena_free(&a);
    if (wrong)
        _sl_failed(r, wrong);
}

/* "https://issuer/tenant/" and "https://issuer/tenant" have the same document. */
static const char *_sl_document_of(const char *issuer, struct sl_arena *a)
{
    size_t n = strlen(issuer);
    while (n && issuer[n - 1] == '/')
        n--;
    return sl_arena_printf(a, "%.*s/.well-known/openid-configuration", (int)n, issuer);
}

static void _sl_start(struct sl_remote *r)
{
    const struct sl_remote_keys *k = &r->auth->jwt.remote;
    struct sl_arena a;
    struct sl_url url;
    if (r->fetch)
        return;
    sl_arena_init(&a, 0);
    const char *text = k->discover ? _sl_document_of(k->url, &a) : k->url;
    const char *wrong = text ? sl_url_parse(&a, sl_slice_str(text), &url) : "out of memory";
    if (!wrong && _sl_fetch(r, &url, true, k->discover ? SL_DOCUMENT_BYTES : SL_KEYS_BYTES,
                            k->discover ? _sl_on_document : _sl_on_keys) < 0)
        wrong = "out of memory";
    sl_arena_free(&a);
    if (wrong)
        _sl_failed(r, wrong);
}

static void _sl_on_timer(struct sl_timer *t)
{
    struct sl_remote *r = SL_CONTAINER_OF(t, struct sl_remote, timer);
    struct sl_loop *l = &r->all->control->turn;
    if (r->resend)
        _sl_tell(r, true);
    if (l->now >= r->next)
        _sl_start(r);
    else if (!r->resend)
        sl_timer_set(l, &r->timer, r->next);
}

static struct sl_remote *_sl_find(const struct sl_control *c, uint64_t source)
{
    struct sl_jwks_all *all = c->jwks;
    for (size_t i = 0; all && i < all->n; i++)
        if (all->v[i].auth->jwt.remote.source == source)
            return &all->v[i];
    return NULL;
}

void sl_jwks_wanted(struct sl_control *c, uint64_t source, bool none)
{
    struct sl_remote *r = _sl_find(c, source);
    if (!r || r->fetch) /* its end is the answer */
        return;
    if (none && r->text && c->turn.now < r->deadline) { /* they crossed its question on their way */
        _sl_tell(r, true);
        return;
    }
    if (r->wanted && c->turn.now < r->wanted + SL_WANTED_NS) {
        _sl_tell(r, false);
        return;
    }
    r->wanted = c->turn.now;
    _sl_start(r);
}

/* ---- all of them */

static void _sl_free_all(struct sl_jwks_all *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++) {
        struct sl_remote *r = &all->v[i];
        sl_fetch_cancel(r->fetch);
        sl_timer_stop(&all->control->turn, &r->timer);
        SSL_CTX_free(r->tls);
        free(r->text);
    }
    sl_resolver_free(all->resolver);
    sl_snapshot_unref(all->snapshot);
    free(all->v);
    free(all);
}

/* A provider that was there before goes on where it was: nothing is asked for again by a reload. */
static void _sl_inherit(struct sl_remote *r, struct sl_jwks_all *former)
{
    for (size_t i = 0; former && i < former->n; i++) {
        struct sl_remote *old = &former->v[i];
        if (old->auth->jwt.remote.source != r->auth->jwt.remote.source)
            continue;
        r->text = SL_TAKE_PTR(old->text);
        r->n = old->n;
        r->usable = old->usable;
        r->fetched = old->fetched;
        r->wanted = old->wanted;
        memcpy(r->total, old->total, sizeof(r->total));
        r->deadline = r->fetched ? r->fetched + r->auth->jwt.remote.stale : 0;
        r->next = SL_MIN(old->next, r->fetched + r->auth->jwt.remote.refresh);
    }
}

static int _sl_add(struct sl_jwks_all *all, const struct sl_auth *auth, struct sl_jwks_all *former)
{
    struct sl_remote *r = &all->v[all->n];
    struct sl_loop *l = &all->control->turn;
    const char *why = "";
    *r = (struct sl_remote){.all = all, .auth = auth};
    sl_timer_init(&r->timer, _sl_on_timer);
    int e = sl_tls_client_new(&(struct sl_tls_client){.ca = auth->jwt.remote.ca.data}, &why, &r->tls);
    if (e < 0)
        return sl_error_r(e, "auth %s: tls: %s", auth->name, why);
    all->n++;
    _sl_inherit(r, former);
    if (r->text)
        _sl_tell(r, true);
    if (r->next > l->now)
        sl_timer_set(l, &r->timer, r->next);
    else
        _sl_start(r);
    return 0;
}

int sl_jwks_start(struct sl_control *c)
{
    struct sl_jwks_all *former = SL_TAKE_PTR(c->jwks), *all = calloc(1, sizeof(*all));
    const struct sl_snapshot *s = c->snapshot;
    int r = all ? 0 : -ENOMEM;
    if (all) {
        *all = (struct sl_jwks_all){
            .control = c, .snapshot = sl_snapshot_ref(c->snapshot), .rng = sl_now_ns() | 1};
        all->v = calloc(s->n_auths + 1, sizeof(*all->v));
        r = all->v ? sl_resolver_new(&c->turn, s->resolv_conf, s->hosts, 0, &all->resolver) : -ENOMEM;
    }
    for (size_t i = 0; r == 0 && i < s->n_auths; i++)
        if (s->auths[i].type == SL_AUTH_JWT && s->auths[i].jwt.remote.source)
            r = _sl_add(all, &s->auths[i], former);
    _sl_free_all(former);
    c->jwks = all;
    return r;
}

/* The workers have them, until the same end. What is fetched now, as by every new process, takes their place.
 */
static void _sl_adopt(struct sl_remote *r, struct sl_slice text, uint64_t fetched, uint64_t deadline)
{
    char why[160] = "", *own = malloc(text.n);
    const size_t usable = own ? sl_auth_usable_keys(r->auth, text, why, sizeof(why)) : 0;
    if (!usable) {
        free(own);
        return;
    }
    memcpy(own, text.p, text.n);
    r->text = own;
    r->n = text.n;
    r->usable = usable;
    r->fetched = fetched;
    r->deadline = fetched + r->auth->jwt.remote.stale;
    if (r->deadline != deadline) /* by the policy that is in force now */
        _sl_tell(r, true);
}

void sl_jwks_take(struct sl_control *c, const struct sl_ipc_keys *m, int fd)
{
    struct sl_remote *r = _sl_find(c, m->source);
    const uint64_t now = sl_now_ns();
    struct sl_slice text = SL_SLICE_NUL;
    if (!r || r->text || m->deadline_ns <= now || m->fetched_ns > now || sl_memfd_map(fd, &text) < 0)
        return;
    _sl_adopt(r, text, m->fetched_ns, m->deadline_ns);
    (void)munmap((void *)(uintptr_t)text.p, text.n);
}

void sl_jwks_stop(struct sl_control *c)
{
    _sl_free_all(SL_TAKE_PTR(c->jwks));
}

/* ---- how they are */

void sl_jwks_each(const struct sl_control *c, sl_jwks_fn f, void *ctx)
{
    const struct sl_jwks_all *all = c->jwks;
    const uint64_t now = sl_now_ns();
    for (size_t i = 0; all && i < all->n; i++) {
        const struct sl_remote *r = &all->v[i];
        f(ctx, &(struct sl_jwks_state){.provider = r->auth->name,
                                       .keys = r->text && now < r->deadline ? r->usable : 0,
                                       .age_s = r->fetched ? (double)(now - r->fetched) / 1e9 : -1,
                                       .fetched = r->total[0],
                                       .failed = r->total[1],
                                       .url = r->auth->jwt.remote.url,
                                       .error = r->why});
    }
}
