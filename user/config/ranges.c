/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.allow and kernel.deny: ranges in the policy itself, and files of them, one range a line, with
 * comments and blank lines.
 *
 * Invariant: what a file says is either taken whole or the policy is refused; each wrong line is told.
 */
#include "config/reader_priv.h"

#include <errno.h>
#include <openssl/evp.h>

#define SL_RANGES_MAX (4u << 20) /* of each family, in all files */

const struct sl_type sl_type_ranges = {
    .kind = SL_T_RANGES,
    .size = sizeof(struct sl_cidrs),
    .what = "a list of addresses, ranges and {$file: PATH}, or one {$file: PATH}",
    .schema = "\"anyOf\":[{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"string\"},"
              "{\"$ref\":\"#/$defs/reference\"}]}},{\"$ref\":\"#/$defs/reference\"}]"};

bool sl_is_range_file(const struct sl_node *n)
{
    struct sl_reference ref;
    bool broken;
    return sl_node_reference(n, &ref, &broken) && !ref.env;
}

void sl_read_ranges(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                    struct sl_cidrs *out)
{
    if (sl_is_range_file(n))
        return;
    if (n->kind != SL_NODE_LIST) {
        sl_read_mismatch(r, type, n);
        return;
    }
    struct sl_cidr *v = sl_read_alloc(r, n->n, sizeof(*v));
    *out = (struct sl_cidrs){v, 0};
    for (const struct sl_node *c = n->first; v && c; c = c->next)
        if (!sl_is_range_file(c))
            sl_read(r, &sl_type_cidr, c, &v[out->n++]);
}

/* ---- the ranges of files */

void sl_ranges_free(struct sl_ranges *r)
{
    if (!r)
        return;
    free(r->v4);
    free(r->v6);
    free(r);
}

void sl_snapshot_drop_ranges(struct sl_snapshot *s)
{
    sl_ranges_free(s->kernel.ranges);
    s->kernel.ranges = NULL;
}

struct sl_range sl_ranges_at(const struct sl_ranges *r, bool ipv6, size_t i)
{
    const uint64_t tail = ipv6 ? r->v6[i].tail : r->v4[i] & UINT32_MAX;
    struct sl_range out = {.len = (unsigned)(tail >> 8), .allow = tail & 1};
    out.hi = ipv6 ? r->v6[i].hi : r->v4[i] & ~(uint64_t)UINT32_MAX;
    out.lo = ipv6 ? r->v6[i].lo : 0;
    return out;
}

struct sl_range_counts sl_ranges_count(const struct sl_ranges *r, bool ipv6)
{
    struct sl_range_counts c = {0};
    const size_t n = r ? (ipv6 ? r->n6 : r->n4) : 0;
    for (size_t i = 0; i < n; i++) {
        if ((ipv6 ? r->v6[i].tail : r->v4[i]) & 1)
            c.allow++;
        else
            c.deny++;
    }
    return c;
}

/* Room for one more. */
static int _sl_room(void **v, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return 0;
    if (n >= SL_RANGES_MAX)
        return -E2BIG;
    const size_t more = *cap ? *cap * 2 : 1024;
    void *p = reallocarray(*v, more, size);
    if (!p)
        return -ENOMEM;
    *v = p;
    *cap = more;
    return 0;
}

static uint64_t _sl_be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static int _sl_add(struct sl_ranges *to, const struct sl_cidr *c, bool allow)
{
    const uint64_t tail = (uint64_t)c->len << 8 | allow, hi = _sl_be64(c->ip.addr.bytes);
    int r;
    if (c->ip.family == SL_AF_INET) {
        r = _sl_room((void **)&to->v4, to->n4, &to->cap4, sizeof(*to->v4));
        if (r == 0)
            to->v4[to->n4++] = hi | tail;
        return r;
    }
    r = _sl_room((void **)&to->v6, to->n6, &to->cap6, sizeof(*to->v6));
    if (r == 0)
        to->v6[to->n6++] = (struct sl_range6){hi, _sl_be64(c->ip.addr.bytes + 8), tail};
    return r;
}

static int _sl_compare4(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int _sl_compare6(const void *a, const void *b)
{
    const struct sl_range6 *x = a, *y = b;
    if (x->hi != y->hi)
        return x->hi < y->hi ? -1 : 1;
    if (x->lo != y->lo)
        return x->lo < y->lo ? -1 : 1;
    return x->tail < y->tail ? -1 : x->tail > y->tail;
}

/* Of a sorted array: the number left when nothing stands twice. */
static size_t _sl_unique(void *v, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    char *p = v;
    size_t kept = n ? 1 : 0;
    for (size_t i = 1; i < n; i++)
        if (compare(p + (kept - 1) * size, p + i * size) != 0)
            memmove(p + kept++ * size, p + i * size, size);
    return kept;
}

/* What the range at hand lies in: the ranges around it, the innermost last. */
struct sl_around {
    unsigned __int128 last[260]; /* of each length at most two, of either verdict */
    bool allow[260];
    size_t n;
};

static bool _sl_covered(struct sl_around *a, const struct sl_range *e)
{
    const unsigned __int128 first = (unsigned __int128)e->hi << 64 | e->lo;
    const unsigned __int128 host = e->len ? ((unsigned __int128)1 << (128 - e->len)) - 1 : 0;
    while (a->n && a->last[a->n - 1] < first)
        a->n--;
    const bool covered = a->n && a->allow[a->n - 1] == e->allow;
    a->last[a->n] = e->len ? first | host : ~(unsigned __int128)0;
    a->allow[a->n++] = e->allow;
    return covered;
}

static void _sl_count_covered(struct sl_ranges *r)
{
    for (unsigned six = 0; six < 2; six++) {
        struct sl_around around = {.n = 0};
        for (size_t i = 0; i < (six ? r->n6 : r->n4); i++) {
            const struct sl_range e = sl_ranges_at(r, six, i);
            r->covered += _sl_covered(&around, &e);
        }
    }
}

static void _sl_seal(struct sl_ranges *r)
{
    const size_t before = r->n4 + r->n6;
    if (r->n4)
        qsort(r->v4, r->n4, sizeof(*r->v4), _sl_compare4);
    if (r->n6)
        qsort(r->v6, r->n6, sizeof(*r->v6), _sl_compare6);
    r->n4 = _sl_unique(r->v4, r->n4, sizeof(*r->v4), _sl_compare4);
    r->n6 = _sl_unique(r->v6, r->n6, sizeof(*r->v6), _sl_compare6);
    r->doubled = before - r->n4 - r->n6;
    _sl_count_covered(r);
}

/* ---- a file */

struct sl_list_line {
    const char *file, *pointer;
    unsigned number;
    struct sl_slice text;
};

static void _sl_line_error(struct sl_reader *r, const struct sl_list_line *l, const char *at,
                           const char *wrong, struct sl_slice shown)
{
    const struct sl_pos pos = {l->file, l->pointer, l->number, (unsigned)(at - l->text.p) + 1};
    if (shown.n)
        sl_diag_error(r->diag, &pos, "\"%.*s%s\" %s", (int)SL_MIN(shown.n, (size_t)60), shown.p,
                      shown.n > 60 ? "…" : "", wrong);
    else
        sl_diag_error(r->diag, &pos, "%s", wrong);
}

static bool _sl_host_bits(struct sl_reader *r, const struct sl_list_line *l, struct sl_slice word)
{
    char right[SL_IP_STRLEN];
    struct sl_cidr c;
    uint64_t len;
    const ssize_t at = sl_slice_chr(word, '/');
    if (at < 0 || sl_ip_parse(sl_slice(word.p, (size_t)at), &c.ip) < 0 ||
        sl_slice_u64(sl_slice(word.p + at + 1, word.n - (size_t)at - 1), &len) < 0)
        return false;
    c.len = (uint8_t)len;
    c.ip = sl_ip_mask(c.ip, c.len);
    const struct sl_pos pos = {l->file, l->pointer, l->number, (unsigned)(word.p - l->text.p) + 1};
    sl_diag_error(r->diag, &pos,
                  "\"" SL_SFMT
                  "\" has bits set behind its prefix: \"%s\" is the range, without \"/%u\" it is "
                  "one address",
                  SL_SARG(word), sl_cidr_text(&c, right), c.len);
    return true;
}

/* Without its comment, and without what surrounds the range. */
static struct sl_slice _sl_word(struct sl_slice line)
{
    const ssize_t comment = sl_slice_chr(line, '#');
    if (comment >= 0)
        line.n = (size_t)comment;
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    return sl_slice_trim(line);
}

static int _sl_line(struct sl_reader *r, struct sl_ranges *to, const struct sl_list_line *l, bool allow)
{
    const struct sl_slice word = _sl_word(l->text);
    struct sl_cidr c;
    if (word.n == 0)
        return 0;
    const int rc = sl_cidr_parse(word, &c);
    if (rc == 0)
        return _sl_add(to, &c, allow);
    if (memchr(word.p, '\0', word.n))
        _sl_line_error(r, l, memchr(word.p, '\0', word.n), "a NUL byte: this is no text file", SL_SLICE_NUL);
    else if (rc != -EDOM || !_sl_host_bits(r, l, word))
        _sl_line_error(
            r, l, word.p,
            "is not an address or range such as \"192.0.2.0/24\" or \"2001:db8::/32\" (one a line; "
            "comments begin with '#')",
            word);
    return 0;
}

static int _sl_lines(struct sl_reader *r, struct sl_ranges *to, struct sl_list_line *l, struct sl_slice text,
                     bool allow)
{
    int rc = 0;
    if (sl_slice_starts(text, SL_S("\xef\xbb\xbf"))) /* a byte order mark, as editors of Windows write it */
        text = sl_slice(text.p + 3, text.n - 3);
    for (l->number = 1; rc == 0 && sl_slice_next(&text, '\n', &l->text); l->number++)
        rc = _sl_line(r, to, l, allow);
    return rc;
}

/* ---- all files of a policy */

struct sl_range_files {
    struct sl_reader *r;
    struct sl_ranges *ranges;
    EVP_MD_CTX *md;
};

static void _sl_file(struct sl_range_files *f, const struct sl_node *n, bool allow)
{
    struct sl_reader *r = f->r;
    struct sl_reference ref;
    bool broken;
    if (!sl_node_reference(n, &ref, &broken) || ref.env)
        return;
    ref.list = true;
    const struct sl_bundle_file *file = sl_read_fetch(r, &ref);
    if (!file)
        return;
    r->s->kernel.n_range_files++;
    if (EVP_DigestUpdate(f->md, &allow, sizeof(allow)) != 1 ||
        EVP_DigestUpdate(f->md, file->digest, sizeof(file->digest)) != 1)
        r->oom = true;
    struct sl_list_line line = {.file = file->key + 1, .pointer = sl_node_pointer(n, r->arena)};
    const size_t before = f->ranges->n4 + f->ranges->n6;
    const unsigned errors = r->diag->errors;
    const int rc = file->lean ? 0 : _sl_lines(r, f->ranges, &line, file->data, allow);
    if (rc == 0 && !file->lean && f->ranges->n4 + f->ranges->n6 == before && r->diag->errors == errors)
        sl_read_warn(r, n, "\"%s\" holds no range: was it cut short?", file->key + 1);
    if (rc == -E2BIG)
        sl_read_error(r, n, "the files have more than %u ranges of one family", SL_RANGES_MAX);
    else if (rc < 0)
        r->oom = true;
}

static void _sl_files(struct sl_range_files *f, const struct sl_node *list, bool allow)
{
    if (!list)
        return;
    _sl_file(f, list, allow);
    for (const struct sl_node *c = list->kind == SL_NODE_LIST ? list->first : NULL; c; c = c->next)
        _sl_file(f, c, allow);
}

static void _sl_finish(struct sl_range_files *f, const struct sl_node *kernel)
{
    struct sl_ranges *v = f->ranges;
    struct sl_kernel *k = &f->r->s->kernel;
    if (k->n_range_files == 0)
        return;
    if (EVP_DigestFinal_ex(f->md, k->ranges_digest, NULL) != 1)
        f->r->oom = true;
    _sl_seal(v);
    if (v->doubled || v->covered) {
        const struct sl_pos pos = sl_node_key_pos(f->r->tree, kernel, &f->r->scratch);
        sl_diag_warn(f->r->diag, &pos,
                     "of the ranges in files %zu stand twice, and %zu lie in a shorter one of the same list",
                     v->doubled, v->covered);
    }
    if (v->n4 + v->n6)
        k->ranges = SL_TAKE_PTR(f->ranges);
}

void sl_check_range_files(struct sl_reader *r, const struct sl_node *kernel)
{
    struct sl_range_files f = {.r = r, .ranges = calloc(1, sizeof(*f.ranges)), .md = EVP_MD_CTX_new()};
    if (f.ranges && f.md && EVP_DigestInit_ex(f.md, EVP_sha256(), NULL) == 1) {
        _sl_files(&f, sl_node_get(kernel, "allow"), true);
        _sl_files(&f, sl_node_get(kernel, "deny"), false);
        _sl_finish(&f, kernel);
    } else {
        r->oom = true;
    }
    sl_ranges_free(f.ranges);
    EVP_MD_CTX_free(f.md);
}
