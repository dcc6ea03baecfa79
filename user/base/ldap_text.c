/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ldap_text.h"

static bool _sl_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool _sl_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool _sl_is_hex(char c)
{
    return _sl_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* How many bytes at the start are a descr or a numericoid (RFC 4512 section 1.4). */
static size_t _sl_oid(struct sl_slice s)
{
    const bool numeric = s.n && _sl_is_digit(s.p[0]);
    size_t n = 0;
    if (!s.n || (!numeric && !_sl_is_alpha(s.p[0])))
        return 0;
    while (n < s.n && (_sl_is_digit(s.p[n]) || (numeric ? s.p[n] == '.' && s.p[n - 1] != '.'
                                                        : _sl_is_alpha(s.p[n]) || s.p[n] == '-')))
        n++;
    return numeric && s.p[n - 1] == '.' ? 0 : n;
}

/* The same, with options: "userCertificate;binary". */
static size_t _sl_description(struct sl_slice s)
{
    size_t n = _sl_oid(s);
    while (n && n + 1 < s.n && s.p[n] == ';' && (_sl_is_alpha(s.p[n + 1]) || _sl_is_digit(s.p[n + 1])))
        for (n++; n < s.n && (_sl_is_alpha(s.p[n]) || _sl_is_digit(s.p[n]) || s.p[n] == '-');)
            n++;
    return n;
}

const char *sl_ldap_attribute_wrong(struct sl_slice name)
{
    return name.n && _sl_description(name) == name.n
               ? NULL
               : "is no name of an attribute, such as uid or sAMAccountName";
}

/* ---- names */

static struct sl_slice _sl_skip(struct sl_slice s, size_t n)
{
    return sl_slice(s.p + n, s.n - n);
}

/* What follows "attribute=", up to a ',' or '+' that is not escaped; its bytes in *n. */
static const char *_sl_value_wrong(struct sl_slice s, size_t *n)
{
    static const char special[] = " \"#+,;<=>\\";
    for (*n = 0; *n < s.n && s.p[*n] != ',' && s.p[*n] != '+'; ++*n) {
        const char c = s.p[*n];
        if ((unsigned char)c < ' ' || c == '"' || c == ';' || c == '<' || c == '>')
            return "holds a byte that must be escaped there (RFC 4514)";
        if (c != '\\')
            continue;
        if (*n + 2 < s.n && _sl_is_hex(s.p[*n + 1]) && _sl_is_hex(s.p[*n + 2]))
            *n += 2;
        else if (*n + 1 < s.n && memchr(special, s.p[*n + 1], sizeof(special) - 1))
            *n += 1;
        else
            return "has a '\\' that escapes nothing";
    }
    return NULL;
}

const char *sl_ldap_dn_wrong(struct sl_slice dn)
{
    if (!dn.n)
        return "is empty";
    for (size_t n = 0;; dn = _sl_skip(dn, n + 1)) {
        dn = sl_slice_trim(dn); /* "dc=example, dc=org" is how people write it */
        n = _sl_oid(dn);
        if (n == 0 || n == dn.n || dn.p[n] != '=')
            return "has a part that is no attribute=value";
        dn = _sl_skip(dn, n + 1);
        const char *wrong = _sl_value_wrong(dn, &n);
        if (wrong || n == dn.n)
            return wrong;
    }
}

/* Everything but letters, digits and what no rule of RFC 4514 gives a meaning, as two hexadecimal digits. */
static size_t _sl_escape(char *out, struct sl_slice value, const char *plain)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (size_t i = 0; i < value.n; i++) {
        const unsigned char c = (unsigned char)value.p[i];
        if (_sl_is_alpha(value.p[i]) || _sl_is_digit(value.p[i]) || (c && strchr(plain, c))) {
            out[n++] = value.p[i];
            continue;
        }
        out[n++] = '\\';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    return n;
}

static const char *_sl_escaped(struct sl_arena *a, struct sl_slice value)
{
    char *out = sl_arena_alloc(a, value.n * 3 + 1);
    if (out)
        out[_sl_escape(out, value, "-._@")] = '\0';
    return out;
}

const char *sl_ldap_dn(struct sl_arena *a, const char *attribute, struct sl_slice value, const char *base)
{
    const char *escaped = _sl_escaped(a, value);
    return escaped ? sl_arena_printf(a, "%s=%s,%s", attribute, escaped, base) : NULL;
}

/* ---- filters */

static const char *_sl_assertion_wrong(struct sl_slice *s)
{
    size_t n = 0;
    for (; n < s->n && s->p[n] != ')'; n++) {
        if (s->p[n] == '(' || s->p[n] == '\0')
            return "has a value with '(' or NUL in it: \\28 and \\00 are right (RFC 4515)";
        if (s->p[n] != '\\')
            continue;
        if (n + 2 >= s->n || !_sl_is_hex(s->p[n + 1]) || !_sl_is_hex(s->p[n + 2]))
            return "has a '\\' without two hexadecimal digits behind it (RFC 4515)";
        n += 2;
    }
    *s = _sl_skip(*s, n);
    return NULL;
}

/* "attr=", "attr~=", "attr>=", "attr<=", "attr:dn:rule:=" */
static const char *_sl_item_wrong(struct sl_slice *s)
{
    size_t n = _sl_description(*s);
    if (n < s->n && s->p[n] == ':') {
        while (n < s->n && s->p[n] == ':' && s->n - n > 1 && s->p[n + 1] != '=') {
            const size_t rule = _sl_oid(_sl_skip(*s, n + 1));
            if (!rule)
                return "has a matching rule that is none";
            n += 1 + rule;
        }
        n += n < s->n && s->p[n] == ':';
    } else if (n && n < s->n && (s->p[n] == '~' || s->p[n] == '>' || s->p[n] == '<')) {
        n++;
    }
    if (n == 0 || n >= s->n || s->p[n] != '=')
        return "has a part that is no (attribute=value)";
    *s = _sl_skip(*s, n + 1);
    return _sl_assertion_wrong(s);
}

static const char *_sl_filter_wrong(struct sl_slice *s, unsigned depth);

/* The filters behind '&', '|' or '!'. */
static const char *_sl_list_wrong(struct sl_slice *s, unsigned depth)
{
    const bool one = s->p[0] == '!';
    const char *wrong = NULL;
    unsigned n = 0;
    *s = _sl_skip(*s, 1);
    for (; !wrong && s->n && s->p[0] == '('; n++)
        wrong = _sl_filter_wrong(s, depth + 1);
    return wrong          ? wrong
           : n == 0       ? "has a '&', '|' or '!' with no filter behind it"
           : one && n > 1 ? "has a '!' with more than one filter behind it"
                          : NULL;
}

static const char *_sl_filter_wrong(struct sl_slice *s, unsigned depth)
{
    if (depth > SL_LDAP_FILTER_DEPTH)
        return "is nested deeper than 8";
    if (!s->n || s->p[0] != '(')
        return "does not begin with '('";
    *s = _sl_skip(*s, 1);
    const bool list = s->n && (s->p[0] == '&' || s->p[0] == '|' || s->p[0] == '!');
    const char *wrong = list ? _sl_list_wrong(s, depth) : _sl_item_wrong(s);
    if (wrong)
        return wrong;
    if (!s->n || s->p[0] != ')')
        return "has a '(' that is never closed";
    *s = _sl_skip(*s, 1);
    return NULL;
}

const char *sl_ldap_filter_wrong(struct sl_slice filter)
{
    const char *wrong = _sl_filter_wrong(&filter, 0);
    return wrong ? wrong : filter.n ? "goes on behind its last ')'" : NULL;
}

const char *sl_ldap_filter(struct sl_arena *a, const char *filter, const char *attribute,
                           struct sl_slice value)
{
    const char *escaped = _sl_escaped(a, value);
    if (!escaped)
        return NULL;
    return filter ? sl_arena_printf(a, "(&%s(%s=%s))", filter, attribute, escaped)
                  : sl_arena_printf(a, "(%s=%s)", attribute, escaped);
}
