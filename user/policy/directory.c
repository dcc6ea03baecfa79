/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users of a directory (LDAP): what is asked of it, by whoever may, and who somebody is by its answer: the
 * user's name as the directory has it, then groups, each with a NUL behind it.
 */
#include "base/clock.h"
#include "policy/auth_priv.h"
#include "policy/directory_priv.h"
#include "policy/identity_priv.h"

static bool _sl_is_utf8(struct sl_slice s)
{
    while (s.n) {
        const size_t n = sl_slice_utf8(s);
        if (!n)
            return false;
        s = sl_slice(s.p + n, s.n - n);
    }
    return true;
}

/* "user:password": the colon ends the user's name (RFC 7617 section 2). */
bool sl_directory_question(struct sl_arena *a, struct sl_slice basic, struct sl_slice *out)
{
    struct sl_slice user, password;
    if (sl_basic_decode(a, basic, &user, &password) < 0 || !user.n || !password.n || !_sl_is_utf8(user))
        return false;
    *out = sl_slice(user.p, user.n + 1 + password.n); /* both stand in one text */
    return true;
}

static bool _sl_take_groups(struct sl_identity *id, struct sl_slice rest)
{
    struct sl_slice group;
    size_t n = 0;
    for (size_t i = 0; i < rest.n; i++)
        n += rest.p[i] == '\0';
    id->groups.v = sl_arena_alloc(&id->arena, (n + 1) * sizeof(*id->groups.v));
    while (id->groups.v && id->groups.n < n && sl_slice_next(&rest, '\0', &group)) {
        const struct sl_slice own = sl_arena_copy(&id->arena, group);
        if (!own.p)
            return false;
        id->groups.v[id->groups.n++] = own;
    }
    return id->groups.v != NULL;
}

static struct sl_identity *_sl_identity(const struct sl_authenticator *a, const struct sl_provider *p,
                                        const unsigned char hash[32], struct sl_slice said)
{
    struct sl_slice name;
    struct sl_identity *id = said.n && said.p[said.n - 1] == '\0' ? sl_identity_new(p->cfg, hash) : NULL;
    if (!id)
        return NULL;
    (void)sl_slice_next(&said, '\0', &name);
    id->consumer_name = sl_arena_copy(&id->arena, name);
    id->consumer = sl_map_get(&a->snapshot->consumers_by_name, name);
    id->tier = id->consumer ? id->consumer->tier : a->snapshot->anonymous;
    if (name.n && id->consumer_name.p && _sl_take_groups(id, said))
        return id;
    sl_identity_unref(id);
    return NULL;
}

void sl_directory_hear(struct sl_authenticator *a, const struct sl_provider *p, enum sl_auth_said how,
                       struct sl_slice said, uint64_t now, struct sl_auth_again *out)
{
    const uint64_t cap = p->cfg->basic.cache / SL_NS_PER_SEC;
    const bool refused = how == SL_AUTH_SAID_NO;
    if (how == SL_AUTH_SAID_SO)
        out->identity = _sl_identity(a, p, out->hash, said);
    out->ok = out->identity != NULL;
    out->error = out->ok ? SL_DIRECTORY_OK : refused ? SL_DIRECTORY_REFUSED : SL_DIRECTORY_SILENT;
    if (out->ok && cap)
        sl_cache_keep(&a->cache, sl_slice((const char *)out->hash, sizeof(out->hash)), out->provider, now,
                      now + cap, out->identity);
    if (!out->ok && how != SL_AUTH_NOT_ASKED)
        sl_cache_refuse(&a->cache, out->hash, out->provider,
                        now + (refused ? SL_REFUSED_SECONDS : SL_UNHEARD_SECONDS), out->error);
}
