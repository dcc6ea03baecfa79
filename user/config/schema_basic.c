/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User names and hashed passwords of consumers. Which hashes there are is what the system's crypt(5) knows,
 * and `check` says so of each: a hash that no password could ever match would only be found out at night.
 */
#include "config/reader_priv.h"

#include <crypt.h>

#define SL_BCRYPT_MAX 14 /* beyond it one password takes seconds */

/* RFC 7617 section 2: no colon, no control characters. */
static const char *_sl_valid_user(struct sl_slice s)
{
    if (s.n == 0 || s.n > 255)
        return "is empty, or longer than 255 bytes";
    if (sl_slice_chr(s, ':') >= 0)
        return "holds a colon, which ends the user's name (RFC 7617)";
    return sl_valid_plain(s);
}
static const struct sl_type _sl_user = {.kind = SL_T_TEXT, .what = "user name", .valid = _sl_valid_user};

/* "$2b$12$…": 0 where it is no bcrypt. */
static unsigned _sl_bcrypt_cost(const char *hash)
{
    if (hash[0] != '$' || hash[1] != '2' || !hash[2] || hash[3] != '$' || !hash[4] || !hash[5])
        return 0;
    return (unsigned)((hash[4] - '0') * 10 + hash[5] - '0');
}

/* crypt_checksalt(3) looks at the beginning only. The shortest digest behind the last '$' has 43 characters.
 */
static bool _sl_is_whole(struct sl_slice hash)
{
    const char *last = strrchr(hash.p, '$');
    if (hash.p[0] == '$' && hash.p[1] == '2')
        return hash.n == 60;
    return last && strlen(last + 1) >= 43;
}

static bool _sl_parse_hash(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    const struct sl_slice hash = sl_read_keep(r, text, true);
    *(struct sl_slice *)out = hash;
    if (!hash.p)
        return true;
    const int known =
        hash.n < CRYPT_OUTPUT_SIZE && strlen(hash.p) == hash.n ? crypt_checksalt(hash.p) : CRYPT_SALT_INVALID;
    if (known == CRYPT_SALT_METHOD_LEGACY || (hash.n && hash.p[0] != '$'))
        sl_read_error(
            r, n,
            "this is no hash of crypt(5), or one of a method that is long broken: bcrypt ($2b$) and "
            "yescrypt ($y$) are right");
    else if (known != CRYPT_SALT_OK && sl_slice_starts(hash, SL_S("$argon2")))
        sl_read_error(
            r, n, "this system's crypt(3) does not know argon2: bcrypt ($2b$) and yescrypt ($y$) it knows");
    else if (known != CRYPT_SALT_OK)
        sl_read_error(r, n,
                      "this system's crypt(3) does not know this hash: bcrypt ($2b$) and yescrypt ($y$) are "
                      "right, as of `mkpasswd` or `htpasswd -nB`");
    else if (!_sl_is_whole(hash))
        sl_read_error(r, n, "this hash is not whole: no password has it");
    else if (_sl_bcrypt_cost(hash.p) > SL_BCRYPT_MAX)
        sl_read_warn(r, n, "a cost of more than %d takes a worker seconds for one password", SL_BCRYPT_MAX);
    return true;
}
static const struct sl_type _sl_hash = {.kind = SL_T_PARSED,
                                        .size = sizeof(struct sl_slice),
                                        .what = "a hashed password such as \"$2b$12$…\" (crypt(5))",
                                        .secret = true,
                                        .parse = _sl_parse_hash};
const struct sl_type sl_type_users = {.kind = SL_T_PAIRS,
                                      .size = sizeof(struct sl_name_values),
                                      .what = "a map of users to hashed passwords",
                                      .key = &_sl_user,
                                      .item = &_sl_hash};
