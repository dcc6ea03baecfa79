/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict JSON reader (RFC 8259) that keeps places: no comments, no trailing commas, no doubled keys, valid
 * UTF-8, paired surrogates, no NUL. Iterative: depth is the builder's, never the stack's.
 */
#include "config/tree_priv.h"

#include <errno.h>

struct sl_json {
    struct sl_builder *b;
    const char *at, *end, *line_start;
    const char *counted; /* column is that of this byte: a policy may be one line of megabytes */
    unsigned line, column;
    struct sl_buf text; /* of the string being read */
};

/* Columns count characters, as editors do. */
static unsigned _sl_column(struct sl_json *j, const char *p)
{
    if (p < j->counted || j->counted < j->line_start) {
        j->counted = j->line_start;
        j->column = 1;
    }
    for (; j->counted < p; j->counted++)
        j->column += ((unsigned char)*j->counted & 0xc0) != 0x80;
    return j->column;
}

#define _sl_fail(j, p, ...) (sl_builder_error((j)->b, (j)->line, _sl_column((j), (p)), __VA_ARGS__), -EINVAL)

static void _sl_space(struct sl_json *j)
{
    for (; j->at < j->end; j->at++) {
        if (*j->at == '\n') {
            j->line++;
            j->line_start = j->at + 1;
        } else if (*j->at != ' ' && *j->at != '\t' && *j->at != '\r') {
            return;
        }
    }
}

/* What stands at the place, for an error message. */
static int _sl_unexpected(struct sl_json *j, const char *wanted)
{
    if (j->at == j->end)
        return _sl_fail(j, j->at, "the file ends here: expected %s", wanted);
    if (*j->at == '/' || *j->at == '#')
        return _sl_fail(j, j->at, "JSON has no comments: expected %s", wanted);
    if (*j->at == '\'')
        return _sl_fail(j, j->at, "JSON strings stand in double quotes: expected %s", wanted);
    unsigned char c = (unsigned char)*j->at;
    if (c < 0x20 || c >= 0x7f)
        return _sl_fail(j, j->at, "unexpected byte 0x%02x: expected %s", c, wanted);
    return _sl_fail(j, j->at, "unexpected '%c': expected %s", c, wanted);
}

static int _sl_hex4(const char *p, const char *end, unsigned *out)
{
    unsigned v = 0;
    if (end - p < 4)
        return -EINVAL;
    for (int i = 0; i < 4; i++) {
        char c = sl_lower(p[i]);
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
            return -EINVAL;
        v = v * 16 + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = v;
    return 0;
}

static int _sl_put_utf8(struct sl_buf *out, unsigned c)
{
    char u[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        u[i] = (char)(0x80 | (c & 0x3f));
    u[0] = (char)(lead[n] | c);
    return sl_buf_append(out, u, n);
}

/* \uXXXX behind the 'u'; a high surrogate wants its low one (RFC 8259 section 7). */
static int _sl_unicode(struct sl_json *j, const char *escape)
{
    unsigned c, low;
    if (_sl_hex4(j->at, j->end, &c) < 0)
        return _sl_fail(j, escape, "\\u wants four hexadecimal digits");
    j->at += 4;
    if (c == 0)
        return _sl_fail(j, escape, "\\u0000 is not allowed in a policy");
    if (c >= 0xdc00 && c <= 0xdfff)
        return _sl_fail(j, escape, "a low surrogate without its high one");
    if (c >= 0xd800 && c <= 0xdbff) {
        if (j->end - j->at < 6 || j->at[0] != '\\' || j->at[1] != 'u' ||
            _sl_hex4(j->at + 2, j->end, &low) < 0 || low < 0xdc00 || low > 0xdfff)
            return _sl_fail(j, escape, "a high surrogate without its low one");
        j->at += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    return _sl_put_utf8(&j->text, c);
}

static int _sl_escape(struct sl_json *j)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *escape = j->at++;
    if (j->at == j->end)
        return _sl_fail(j, escape, "the file ends within a string");
    char c = *j->at++;
    if (c == 'u')
        return _sl_unicode(j, escape);
    const char *known = c ? strchr(from, c) : NULL;
    if (!known)
        return _sl_fail(j, escape, "unknown escape: \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX are known");
    return sl_buf_append(&j->text, &to[known - from], 1);
}

/* The string at the quote, into j->text. */
static int _sl_string(struct sl_json *j)
{
    const char *quote = j->at++;
    j->text.start = j->text.end = 0;
    for (;;) {
        const char *from = j->at;
        while (j->at < j->end && (unsigned char)*j->at >= 0x20 && (unsigned char)*j->at < 0x80 &&
               *j->at != '"' && *j->at != '\\')
            j->at++;
        int r = sl_buf_append(&j->text, from, (size_t)(j->at - from));
        if (r < 0)
            return r;
        if (j->at == j->end)
            return _sl_fail(j, quote, "this string does not end");
        if (*j->at == '"') {
            j->at++;
            return 0;
        }
        if (*j->at == '\\') {
            r = _sl_escape(j);
        } else if ((unsigned char)*j->at < 0x20) {
            r = _sl_fail(j, j->at,
                         "control byte 0x%02x within a string: write it as an escape, or end the string",
                         (unsigned char)*j->at);
        } else {
            size_t n = sl_slice_utf8(sl_slice(j->at, (size_t)(j->end - j->at)));
            r = n ? sl_buf_append(&j->text, j->at, n) : _sl_fail(j, j->at, "not UTF-8");
            j->at += n;
        }
        if (r < 0)
            return r;
    }
}

static size_t _sl_digits(const char **p, const char *end)
{
    const char *from = *p;
    while (*p < end && **p >= '0' && **p <= '9')
        (*p)++;
    return (size_t)(*p - from);
}

static int _sl_number(struct sl_json *j)
{
    const char *from = j->at, *p = from + (*from == '-');
    const char *digits = p;
    bool ok = _sl_digits(&p, j->end) > 0;
    if (ok && *digits == '0' && p - digits > 1)
        return _sl_fail(j, from, "a number does not begin with 0");
    if (ok && p < j->end && *p == '.') {
        p++;
        ok = _sl_digits(&p, j->end) > 0;
    }
    if (ok && p < j->end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < j->end && (*p == '+' || *p == '-');
        ok = _sl_digits(&p, j->end) > 0;
    }
    if (!ok)
        return _sl_fail(j, from, "not a JSON number");
    j->at = p;
    return sl_builder_scalar(j->b, SL_NODE_NUMBER, sl_slice(from, (size_t)(p - from)), false, j->line,
                             _sl_column(j, from));
}

static int _sl_word(struct sl_json *j)
{
    static const struct {
        struct sl_slice word;
        enum sl_node_kind kind;
    } words[] = {{{"true", 4}, SL_NODE_BOOL}, {{"false", 5}, SL_NODE_BOOL}, {{"null", 4}, SL_NODE_NULL}};
    struct sl_slice rest = sl_slice(j->at, (size_t)(j->end - j->at));
    for (size_t i = 0; i < SL_ARRAY_LEN(words); i++) {
        if (!sl_slice_starts(rest, words[i].word))
            continue;
        j->at += words[i].word.n;
        return sl_builder_scalar(j->b, words[i].kind, words[i].word, false, j->line, _sl_column(j, rest.p));
    }
    return _sl_unexpected(j, "a value");
}

static int _sl_key(struct sl_json *j)
{
    if (j->at == j->end || *j->at != '"')
        return _sl_unexpected(j, "a key in double quotes");
    unsigned column = _sl_column(j, j->at);
    int r = _sl_string(j);
    if (r == 0)
        r = sl_builder_key(j->b, sl_buf_slice(&j->text), j->line, column);
    if (r < 0)
        return r;
    _sl_space(j);
    if (j->at == j->end || *j->at != ':')
        return _sl_unexpected(j, "':'");
    j->at++;
    _sl_space(j);
    return 0;
}

/* A scalar, or the opening of a container; *opened then. */
static int _sl_value(struct sl_json *j, bool *opened)
{
    *opened = false;
    if (j->at == j->end)
        return _sl_unexpected(j, "a value");
    unsigned column = _sl_column(j, j->at);
    if (*j->at == '{' || *j->at == '[') {
        *opened = true;
        enum sl_node_kind kind = *j->at == '{' ? SL_NODE_MAP : SL_NODE_LIST;
        j->at++;
        return sl_builder_open(j->b, kind, j->line, column);
    }
    if (*j->at == '"') {
        int r = _sl_string(j);
        return r < 0
                   ? r
                   : sl_builder_scalar(j->b, SL_NODE_STRING, sl_buf_slice(&j->text), false, j->line, column);
    }
    return *j->at == '-' || (*j->at >= '0' && *j->at <= '9') ? _sl_number(j) : _sl_word(j);
}

/* Behind a value: closes what ends here. 1: another value follows; 0: the document is whole. */
static int _sl_after(struct sl_json *j)
{
    while (j->b->depth) {
        char close = sl_builder_in_map(j->b) ? '}' : ']';
        _sl_space(j);
        if (j->at < j->end && *j->at == ',') {
            j->at++;
            _sl_space(j);
            if (j->at < j->end && *j->at == close)
                return _sl_fail(j, j->at, "a comma before '%c': JSON has none after the last value", close);
            return 1;
        }
        if (j->at == j->end || *j->at != close)
            return _sl_unexpected(j, close == '}' ? "',' or '}'" : "',' or ']'");
        j->at++;
        sl_builder_close(j->b);
    }
    return 0;
}

static int _sl_document(struct sl_json *j)
{
    int r = 1;
    while (r == 1) {
        bool opened = false;
        _sl_space(j);
        r = sl_builder_in_map(j->b) ? _sl_key(j) : 0;
        if (r == 0)
            r = _sl_value(j, &opened);
        if (r < 0)
            return r;
        _sl_space(j);
        if (opened && j->at < j->end && *j->at != '}' && *j->at != ']')
            r = 1;
        else
            r = _sl_after(j);
    }
    _sl_space(j);
    if (r == 0 && j->at < j->end)
        return _sl_fail(j, j->at, "more text after the end of the policy");
    return r;
}

int sl_json_read(struct sl_builder *b, struct sl_slice text)
{
    struct sl_json j = {.b = b, .at = text.p, .end = text.p + text.n, .line = 1, .column = 1};
    j.line_start = j.counted = text.p;
    if (sl_slice_starts(text, SL_S("\xef\xbb\xbf")))
        return _sl_fail(&j, j.at, "begins with a byte order mark: JSON has none (RFC 8259 section 8.1)");
    int r = sl_buf_reserve(&j.text, 256);
    if (r == 0)
        r = _sl_document(&j);
    sl_buf_wipe(&j.text);
    return r;
}
