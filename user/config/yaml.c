/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML as a policy may use it: the JSON data model in YAML's clothes. What makes YAML dangerous or doubtful
 * is refused by name: anchors and aliases (one line can expand to gigabytes), merge keys, tags, several
 * documents. Only true and false are booleans and only JSON numbers are numbers; other unquoted words which
 * YAML 1.1 reads as a boolean or number (no, on, 0644, 12:30) are marked ambiguous, for the checker to
 * refuse.
 */
#include "config/tree_priv.h"

#include <errno.h>
#include <strings.h>
#include <yaml.h>

static bool _sl_word_in(struct sl_slice s, const char *const *words)
{
    for (; *words; words++)
        if (s.n == strlen(*words) && strncasecmp(s.p, *words, s.n) == 0)
            return true;
    return false;
}

static size_t _sl_span(struct sl_slice s, size_t from, const char *set)
{
    size_t i = from;
    while (i < s.n && s.p[i] && strchr(set, s.p[i]))
        i++;
    return i - from;
}

/* RFC 8259 section 6 */
static bool _sl_is_number(struct sl_slice s)
{
    static const char digits[] = "0123456789";
    size_t i = s.n && s.p[0] == '-', n = _sl_span(s, i, digits);
    if (n == 0 || (n > 1 && s.p[i] == '0'))
        return false;
    i += n;
    if (i < s.n && s.p[i] == '.') {
        n = _sl_span(s, i + 1, digits);
        i += 1 + n;
        if (n == 0)
            return false;
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        i++;
        i += i < s.n && (s.p[i] == '+' || s.p[i] == '-');
        n = _sl_span(s, i, digits);
        i += n;
        if (n == 0)
            return false;
    }
    return i == s.n;
}

/* Numbers of YAML 1.1 that JSON does not know: signs, leading zeros, 0x, 0o, 1_000, 12:30, .5, .inf */
static bool _sl_is_odd_number(struct sl_slice s)
{
    static const char *const special[] = {".inf", "-.inf", "+.inf", ".nan", NULL};
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
    if (_sl_word_in(s, special))
        return true;
    if (i == s.n)
        return false;
    if (s.n - i > 2 && s.p[i] == '0' && strchr("xXoObB", s.p[i + 1]))
        return i + 2 + _sl_span(s, i + 2, "0123456789abcdefABCDEF_") == s.n;
    bool digit = s.p[i] >= '0' && s.p[i] <= '9';
    if (!digit && !(s.p[i] == '.' && s.n - i > 1))
        return false;
    /* sexagesimal: digits and colons, every part behind a colon below 60 (yaml.org/type/int.html) */
    size_t n = _sl_span(s, i, "0123456789_:.");
    size_t dots = 0;
    for (size_t k = i; k < i + n; k++)
        dots += s.p[k] == '.';
    if (i + n == s.n && dots <= 1)
        return true;
    return i + n < s.n && strchr("eE", s.p[i + n]) && dots <= 1 &&
           i + n + 1 + _sl_span(s, i + n + 1, "+-0123456789") == s.n;
}

static enum sl_node_kind _sl_resolve(struct sl_slice s, bool *ambiguous)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", NULL};
    *ambiguous = false;
    if (sl_slice_eq(s, SL_S("true")) || sl_slice_eq(s, SL_S("false")))
        return SL_NODE_BOOL;
    if (s.n == 0 || sl_slice_eq(s, SL_S("~")) || sl_slice_eq(s, SL_S("null")))
        return SL_NODE_NULL;
    if (_sl_is_number(s))
        return SL_NODE_NUMBER;
    *ambiguous = _sl_word_in(s, words) || _sl_is_odd_number(s);
    return SL_NODE_STRING;
}

static unsigned _sl_line(const yaml_mark_t *m)
{
    return (unsigned)m->line + 1;
}
static unsigned _sl_column(const yaml_mark_t *m)
{
    return (unsigned)m->column + 1;
}
#define _sl_fail(b, mark, ...) (sl_builder_error((b), _sl_line(mark), _sl_column(mark), __VA_ARGS__), -EINVAL)

static int _sl_plain_only(struct sl_builder *b, const yaml_event_t *e, const yaml_char_t *anchor,
                          const yaml_char_t *tag)
{
    if (anchor)
        return _sl_fail(b, &e->start_mark, "anchors (&%s) are not allowed in a policy: write the value out",
                        (const char *)anchor);
    if (tag)
        return _sl_fail(b, &e->start_mark, "tags (%s) are not allowed in a policy: leave it out",
                        (const char *)tag);
    return 0;
}

static int _sl_yaml_key(struct sl_builder *b, const yaml_event_t *e, struct sl_slice text, bool plain)
{
    if (plain && sl_slice_eq(text, SL_S("<<")))
        return _sl_fail(b, &e->start_mark, "merge keys (<<) are not allowed in a policy: write the keys out");
    return sl_builder_key(b, text, _sl_line(&e->start_mark), _sl_column(&e->start_mark));
}

static int _sl_scalar(struct sl_builder *b, const yaml_event_t *e)
{
    struct sl_slice text = sl_slice((const char *)e->data.scalar.value, e->data.scalar.length);
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, ambiguous = false;
    int r = _sl_plain_only(b, e, e->data.scalar.anchor, e->data.scalar.tag);
    if (r < 0)
        return r;
    if (memchr(text.p, '\0', text.n))
        return _sl_fail(b, &e->start_mark, "a NUL byte is not allowed in a policy");
    if (sl_builder_in_map(b) && !b->key.p)
        return _sl_yaml_key(b, e, text, plain);
    enum sl_node_kind kind = plain ? _sl_resolve(text, &ambiguous) : SL_NODE_STRING;
    r = sl_builder_scalar(b, kind, text, ambiguous, _sl_line(&e->start_mark), _sl_column(&e->start_mark));
    b->key = SL_SLICE_NUL;
    return r;
}

static int _sl_open(struct sl_builder *b, const yaml_event_t *e, enum sl_node_kind kind)
{
    bool map = kind == SL_NODE_MAP;
    int r = _sl_plain_only(b, e, map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor,
                           map ? e->data.mapping_start.tag : e->data.sequence_start.tag);
    if (r < 0)
        return r;
    if (sl_builder_in_map(b) && !b->key.p)
        return _sl_fail(b, &e->start_mark, "a key must be a plain name, not a map or list");
    r = sl_builder_open(b, kind, _sl_line(&e->start_mark), _sl_column(&e->start_mark));
    b->key = SL_SLICE_NUL;
    return r;
}

/* 1: go on; 0: the stream ends. */
static int _sl_event(struct sl_builder *b, const yaml_event_t *e, unsigned *documents)
{
    int r = 0;
    switch (e->type) {
    case YAML_STREAM_END_EVENT:
        return 0;
    case YAML_DOCUMENT_START_EVENT:
        if ((*documents)++)
            r = _sl_fail(b, &e->start_mark, "a second document: a policy file holds one");
        break;
    case YAML_ALIAS_EVENT:
        r = _sl_fail(b, &e->start_mark, "aliases (*%s) are not allowed in a policy: write the value out",
                     (const char *)e->data.alias.anchor);
        break;
    case YAML_SCALAR_EVENT:
        r = _sl_scalar(b, e);
        break;
    case YAML_MAPPING_START_EVENT:
        r = _sl_open(b, e, SL_NODE_MAP);
        break;
    case YAML_SEQUENCE_START_EVENT:
        r = _sl_open(b, e, SL_NODE_LIST);
        break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        sl_builder_close(b);
        break;
    default:
        break;
    }
    return r < 0 ? r : 1;
}

/* libyaml tells where decoding failed by byte only. */
static yaml_mark_t _sl_mark(struct sl_slice text, size_t offset)
{
    yaml_mark_t m = {0};
    for (size_t i = 0; i < offset && i < text.n; i++) {
        m.column += ((unsigned char)text.p[i] & 0xc0) != 0x80;
        if (text.p[i] == '\n') {
            m.line++;
            m.column = 0;
        }
    }
    return m;
}

static int _sl_syntax(struct sl_builder *b, const yaml_parser_t *p, struct sl_slice text)
{
    if (p->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    if (p->error == YAML_READER_ERROR) {
        yaml_mark_t at = _sl_mark(text, p->problem_offset);
        return _sl_fail(b, &at, "not readable as YAML: %s", p->problem ? p->problem : "bad input");
    }
    const char *context = p->context ? p->context : "";
    return _sl_fail(b, &p->problem_mark, "not YAML: %s%s%s", p->problem ? p->problem : "bad input",
                    *context ? ", " : "", context);
}

int sl_yaml_read(struct sl_builder *b, struct sl_slice text)
{
    yaml_parser_t parser;
    yaml_event_t event;
    unsigned documents = 0;
    int r = 1;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    while (r == 1) {
        if (!yaml_parser_parse(&parser, &event)) {
            r = _sl_syntax(b, &parser, text);
            break;
        }
        r = _sl_event(b, &event, &documents);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return r;
}
