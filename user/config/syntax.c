/* SPDX-License-Identifier: Apache-2.0 */
/* What texts must look like: names, headers, hosts, paths. Each says what is wrong, or NULL. */
#include "config/reader_priv.h"

static bool _sl_only(struct sl_slice s, const char *set)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
              (s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] && strchr(set, s.p[i]))))
            return false;
    return true;
}

static const char *_sl_not_empty(struct sl_slice s)
{
    return s.n ? NULL : "is empty";
}

const char *sl_valid_plain(struct sl_slice s)
{
    if (s.n > 1024)
        return "is longer than 1024 bytes";
    return sl_slice_has_control(s) ? "holds a control byte" : _sl_not_empty(s);
}

const char *sl_valid_body(struct sl_slice s)
{
    return s.n > (64u << 10) ? "is longer than 64 KiB" : NULL;
}

/* RFC 9110 section 5.6.2 */
const char *sl_valid_token(struct sl_slice s)
{
    if (s.n > 128)
        return "is longer than 128 bytes";
    if (!_sl_only(s, "!#$%&'*+-.^_`|~"))
        return "holds a byte that HTTP does not allow in a token: letters, digits and !#$%&'*+-.^_`|~ are";
    return _sl_not_empty(s);
}

/* Framing and hop-by-hop fields are the proxy's own: a policy that set them would split requests
 * (RFC 9112 section 6, RFC 9110 section 7.6.1). */
const char *sl_valid_header(struct sl_slice s)
{
    static const char *const own[] = {"connection", "content-length", "keep-alive",        "proxy-connection",
                                      "te",         "trailer",        "transfer-encoding", "upgrade",
                                      "expect"};
    for (size_t i = 0; i < SL_ARRAY_LEN(own); i++)
        if (sl_slice_ieq(s, sl_slice_str(own[i])))
            return "is a header that the gateway writes itself, for framing or for one hop";
    return sl_valid_token(s);
}

const char *sl_valid_header_value(struct sl_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return "holds a control byte";
    if (s.n > 8192)
        return "is longer than 8 KiB";
    return sl_slice_trim(s).n == s.n ? NULL : "begins or ends with a space";
}

const char *sl_valid_name(struct sl_slice s)
{
    if (s.n == 0 || s.n > 64)
        return "must have 1 to 64 characters";
    return _sl_only(s, "._-") ? NULL : "may hold letters, digits, '.', '_' and '-' only";
}

/* Consumers are named by claims that others chose: "auth0|5f7c", "https://svc.example". */
const char *sl_valid_consumer(struct sl_slice s)
{
    if (s.n == 0 || s.n > 256)
        return "must have 1 to 256 bytes";
    return sl_slice_has_control(s) ? "holds a control byte" : NULL;
}

const char *sl_valid_interface(struct sl_slice s)
{
    if (s.n == 0 || s.n > 15)
        return "is no interface name: 1 to 15 characters";
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 0x20 || s.p[i] == '/' || s.p[i] == ':' || s.p[i] == 0x7f)
            return "is no interface name: no spaces, '/' or ':'";
    return NULL;
}

static const char *_sl_valid_label(struct sl_slice s)
{
    if (s.n == 0)
        return "has an empty label: no dot at the begin or end, and none twice";
    if (s.n > 63)
        return "has a label longer than 63 characters";
    if (!_sl_only(s, "-_"))
        return "holds a character that no host name has (write other scripts as xn--…)";
    return s.p[0] == '-' || s.p[s.n - 1] == '-' ? "has a label that begins or ends with '-'" : NULL;
}

const char *sl_valid_sni(struct sl_slice s)
{
    struct sl_slice rest = s, label;
    const char *wrong = NULL;
    struct sl_ip ip;
    if (sl_ip_parse(s, &ip) == 0)
        return NULL;
    if (s.n == 0 || s.n > 253)
        return "is no host name: 1 to 253 characters";
    if (s.p[s.n - 1] == '.')
        return "ends with a dot: leave it out";
    while (!wrong && sl_slice_next(&rest, '.', &label))
        wrong = _sl_valid_label(label);
    return wrong;
}

const char *sl_valid_host(struct sl_slice s)
{
    struct sl_ip ip;
    bool v6 = s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';
    if (sl_slice_eq(s, SL_S("*")))
        return "matches all: leave hosts out for that";
    if (v6)
        return sl_ip_parse(sl_slice(s.p + 1, s.n - 2), &ip) == 0 ? NULL : "is no IPv6 address";
    if (sl_slice_chr(s, ':') >= 0)
        return "carries a port or scheme: hosts are matched without (IPv6 addresses stand in brackets)";
    if (sl_slice_chr(s, '/') >= 0)
        return "carries a path: write that under paths";
    if (sl_slice_starts(s, SL_S("*.")))
        s = sl_slice(s.p + 2, s.n - 2);
    if (sl_slice_chr(s, '*') >= 0)
        return "has a '*' that is not the whole first label: \"*.example.org\" is right";
    return sl_valid_sni(s);
}

/* Paths are compared with the normal form (http/uri.h): what no normal form has can never match. */
static const char *_sl_valid_literal(struct sl_slice s)
{
    struct sl_slice rest = s, segment;
    if (s.n == 0 || s.p[0] != '/')
        return "must begin with '/' (or \"=/exact\", \"~^/regex$\")";
    if (s.n > 2048)
        return "is longer than 2048 bytes";
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f || strchr("?#\\\"<>^`{|}", s.p[i]))
            return "holds a character that is not matched literally: no space, '?', '#', '\\', quotes, "
                   "braces or "
                   "non-ASCII (write %XX, or a regular expression behind '~')";
    for (size_t i = 0; i + 1 < s.n; i++)
        if (s.p[i] == '/' && s.p[i + 1] == '/')
            return "holds \"//\", which is refused in requests";
    while (sl_slice_next(&rest, '/', &segment))
        if (sl_slice_eq(segment, SL_S(".")) || sl_slice_eq(segment, SL_S("..")))
            return "holds a \".\" or \"..\" segment, which requests have lost before they are matched";
    return NULL;
}

static bool _sl_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

static const char *_sl_valid_escapes(struct sl_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%')
            continue;
        if (i + 2 >= s.n || !_sl_hex(s.p[i + 1]) || !_sl_hex(s.p[i + 2]))
            return "holds a '%' without two upper-case hexadecimal digits";
        char hex[3] = {s.p[i + 1], s.p[i + 2], '\0'};
        char c = (char)strtol(hex, NULL, 16);
        if (c && _sl_only(sl_slice(&c, 1), "-._~"))
            return "escapes a character that is compared unescaped (letters, digits, - . _ ~)";
        if (strcmp(hex, "2F") == 0 || strcmp(hex, "5C") == 0 || strcmp(hex, "00") == 0)
            return "holds %2F, %5C or %00, which are refused in requests";
    }
    return NULL;
}

const char *sl_valid_path(struct sl_slice s)
{
    if (s.n && s.p[0] == '~')
        return s.n > 2048 ? "is longer than 2048 bytes" : s.n == 1 ? "is an empty regular expression" : NULL;
    if (s.n && s.p[0] == '=')
        s = sl_slice(s.p + 1, s.n - 1);
    const char *wrong = _sl_valid_literal(s);
    return wrong ? wrong : _sl_valid_escapes(s);
}

const char *sl_valid_prefix(struct sl_slice s)
{
    const char *wrong = _sl_valid_literal(s);
    if (!wrong && s.p[s.n - 1] == '/')
        return "ends with '/': whole segments are stripped, so leave it out";
    return wrong ? wrong : _sl_valid_escapes(s);
}

const char *sl_valid_method(struct sl_slice s)
{
    const char *wrong = sl_valid_token(s);
    for (size_t i = 0; !wrong && i < s.n; i++)
        if (s.p[i] >= 'a' && s.p[i] <= 'z')
            wrong = "is in lower case: methods are case-sensitive (RFC 9110 section 9.1), write GET";
    return wrong;
}
