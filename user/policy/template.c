/* SPDX-License-Identifier: Apache-2.0 */
/* "$route at $time_iso": parsed once into pieces, put together per exchange. */
#include "base/clock.h"
#include "policy/transform_priv.h"

#include <errno.h>

static const struct {
    struct sl_slice name;
    enum sl_piece_kind kind;
} _sl_variables[] = {
    {{"correlation_id", 14}, SL_PIECE_CORRELATION_ID},
    {{"time_ms", 7}, SL_PIECE_TIME_MS},
    {{"time_iso", 8}, SL_PIECE_TIME_ISO},
    {{"client_ip", 9}, SL_PIECE_CLIENT_IP},
    {{"consumer", 8}, SL_PIECE_CONSUMER},
    {{"tier", 4}, SL_PIECE_TIER},
    {{"route", 5}, SL_PIECE_ROUTE},
    {{"request_id", 10}, SL_PIECE_REQUEST_ID},
    {{"host", 4}, SL_PIECE_HOST},
    {{"path", 4}, SL_PIECE_PATH},
    {{"query", 5}, SL_PIECE_QUERY},
    {{"request_uri", 11}, SL_PIECE_REQUEST_URI},
};

/* ---- parsing */

static bool _sl_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t _sl_word(struct sl_slice s, bool dashes)
{
    size_t n = 0;
    while (n < s.n && (_sl_is_word(s.p[n]) || (dashes && s.p[n] == '-')))
        n++;
    return n;
}

/* A claim's dotted path; a dot that ends a sentence is not of it. */
static size_t _sl_claim_path(struct sl_slice s)
{
    size_t n = _sl_word(s, true);
    while (n && n + 1 < s.n && s.p[n] == '.') {
        const size_t more = _sl_word(sl_slice(s.p + n + 1, s.n - n - 1), true);
        if (!more)
            break;
        n += 1 + more;
    }
    return n;
}

/* How far two short names are apart: letters to insert, delete or replace. */
static size_t _sl_distance(struct sl_slice a, struct sl_slice b)
{
    size_t row[32];
    if (b.n >= SL_ARRAY_LEN(row) || a.n >= SL_ARRAY_LEN(row))
        return SL_ARRAY_LEN(row);
    for (size_t k = 0; k <= b.n; k++)
        row[k] = k;
    for (size_t i = 1; i <= a.n; i++) {
        size_t before = row[0];
        row[0] = i;
        for (size_t k = 1; k <= b.n; k++) {
            const size_t replace = before + (a.p[i - 1] != b.p[k - 1]);
            before = row[k];
            row[k] = SL_MIN(SL_MIN(row[k], row[k - 1]) + 1, replace);
        }
    }
    return row[b.n];
}

static void _sl_unknown(struct sl_slice name, const struct sl_pos *pos, struct sl_diag *diag)
{
    size_t best = 4, found = SL_ARRAY_LEN(_sl_variables);
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_variables); i++) {
        const size_t d = _sl_distance(name, _sl_variables[i].name);
        if (d < best && d < name.n) {
            best = d;
            found = i;
        }
    }
    if (name.n == 0)
        sl_diag_error(diag, pos, "'$' without a variable's name: \"$$\" is a dollar");
    else if (found < SL_ARRAY_LEN(_sl_variables))
        sl_diag_error(diag, pos, "unknown variable $" SL_SFMT "; did you mean $%s?", SL_SARG(name),
                      _sl_variables[found].name.p);
    else
        sl_diag_error(diag, pos,
                      "unknown variable $" SL_SFMT
                      ": there are $correlation_id $time_ms $time_iso $client_ip $consumer $tier $route "
                      "$claim.NAME $request_id $host $path $query $request_uri",
                      SL_SARG(name));
}

/* s: what stands behind a '$'. Returns how much of it was the variable; -EINVAL. */
static ssize_t _sl_variable(struct sl_slice s, struct sl_piece *out, const struct sl_pos *pos,
                            struct sl_diag *diag)
{
    if (s.n && s.p[0] == '$') {
        *out = (struct sl_piece){SL_PIECE_TEXT, sl_slice(s.p, 1)};
        return 1;
    }
    if (sl_slice_starts(s, SL_S("claim."))) {
        const size_t n = _sl_claim_path(sl_slice(s.p + 6, s.n - 6));
        *out = (struct sl_piece){SL_PIECE_CLAIM, sl_slice(s.p + 6, n)};
        if (n)
            return (ssize_t)(6 + n);
    }
    const struct sl_slice name = sl_slice(s.p, _sl_word(s, false));
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_variables); i++) {
        if (sl_slice_eq(_sl_variables[i].name, name)) {
            *out = (struct sl_piece){_sl_variables[i].kind, SL_SLICE_NUL};
            return (ssize_t)name.n;
        }
    }
    _sl_unknown(name, pos, diag);
    return -EINVAL;
}

static int _sl_parse(struct sl_template *t, struct sl_slice text, const struct sl_pos *pos,
                     struct sl_diag *diag)
{
    while (text.n) {
        const ssize_t dollar = sl_slice_chr(text, '$');
        const size_t plain = dollar < 0 ? text.n : (size_t)dollar;
        if (plain)
            t->v[t->n++] = (struct sl_piece){SL_PIECE_TEXT, sl_slice(text.p, plain)};
        if (dollar < 0)
            break;
        text = sl_slice(text.p + plain + 1, text.n - plain - 1);
        const ssize_t used = _sl_variable(text, &t->v[t->n], pos, diag);
        if (used < 0)
            return -EINVAL;
        t->n++;
        text = sl_slice(text.p + used, text.n - (size_t)used);
    }
    return 0;
}

int sl_template_new(struct sl_slice text, const struct sl_pos *pos, struct sl_diag *diag,
                    struct sl_template **out)
{
    struct sl_template *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    sl_arena_init(&t->arena, 256);
    const struct sl_slice own = sl_arena_copy(&t->arena, text);
    t->v = sl_arena_alloc(&t->arena, (text.n + 1) * sizeof(*t->v)); /* a piece has at least one character */
    const int r = own.p && t->v ? _sl_parse(t, own, pos, diag) : -ENOMEM;
    if (r < 0) {
        sl_template_free(t);
        return r;
    }
    *out = t;
    return 0;
}

void sl_template_free(struct sl_template *t)
{
    if (!t)
        return;
    sl_arena_free(&t->arena);
    free(t);
}

/* ---- running */

#define SL_SCRATCH 32 /* holds a time */

static struct sl_slice _sl_time_ms(uint64_t wall_ns, char scratch[SL_SCRATCH])
{
    return sl_slice(scratch, (size_t)(sl_put_u64(scratch, wall_ns / SL_NS_PER_MS) - scratch));
}

static struct sl_slice _sl_tier(const struct sl_template_vars *v)
{
    if (v->tier.n)
        return v->tier;
    return v->identity ? sl_slice_str(v->identity->tier->name) : SL_SLICE_NUL;
}

static struct sl_slice _sl_value(const struct sl_piece *piece, const struct sl_template_vars *v,
                                 struct sl_arena *a, char scratch[SL_SCRATCH])
{
    switch (piece->kind) {
    case SL_PIECE_TEXT:
        return piece->text;
    case SL_PIECE_CORRELATION_ID:
        return v->correlation_id;
    case SL_PIECE_TIME_MS:
        return _sl_time_ms(v->wall_ns, scratch);
    case SL_PIECE_TIME_ISO:
        sl_wall_iso(v->wall_ns, scratch);
        return sl_slice_str(scratch);
    case SL_PIECE_CLIENT_IP:
        return v->client_ip;
    case SL_PIECE_CONSUMER:
        return v->identity ? v->identity->consumer_name : SL_SLICE_NUL;
    case SL_PIECE_TIER:
        return _sl_tier(v);
    case SL_PIECE_ROUTE:
        return v->route;
    case SL_PIECE_REQUEST_ID:
        return v->request_id;
    case SL_PIECE_HOST:
        return v->host;
    case SL_PIECE_PATH:
    case SL_PIECE_REQUEST_URI:
        return v->path;
    case SL_PIECE_QUERY:
        return v->query;
    case SL_PIECE_CLAIM:
        return v->identity ? sl_identity_claim(v->identity, piece->text, a) : SL_SLICE_NUL;
    }
    return SL_SLICE_NUL;
}

static int _sl_append(struct sl_slice *out, size_t *cap, struct sl_slice s, struct sl_arena *a)
{
    char *p = (char *)out->p;
    if (*cap - out->n < s.n) {
        *cap = (out->n + s.n) * 2 + 64;
        p = sl_arena_alloc(a, *cap);
        if (!p)
            return -ENOMEM;
        if (out->n)
            memcpy(p, out->p, out->n);
        out->p = p;
    }
    for (size_t i = 0; i < s.n; i++) { /* a line break in a value would be a header of its own */
        const unsigned char c = (unsigned char)s.p[i];
        if ((c >= 0x20 && c != 0x7f) || c == '\t')
            p[out->n++] = (char)c;
    }
    return 0;
}

struct sl_slice sl_template_run(const struct sl_template *t, const struct sl_template_vars *vars,
                                struct sl_arena *a)
{
    struct sl_slice out = {"", 0};
    size_t cap = 0;
    if (t->n == 1 && t->v[0].kind == SL_PIECE_TEXT)
        return t->v[0].text;
    for (size_t i = 0; i < t->n; i++) {
        char scratch[SL_SCRATCH];
        int r = _sl_append(&out, &cap, _sl_value(&t->v[i], vars, a, scratch), a);
        if (r == 0 && t->v[i].kind == SL_PIECE_REQUEST_URI && vars->query.p)
            r = _sl_append(&out, &cap, SL_S("?"), a) < 0 ? -ENOMEM : _sl_append(&out, &cap, vars->query, a);
        if (r < 0)
            return SL_SLICE_NUL;
    }
    return out;
}
