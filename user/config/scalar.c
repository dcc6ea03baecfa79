/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units: whole, decimal, without sign or overflow. */
#include "config/reader_priv.h"

#include "base/clock.h"
#include <errno.h>

struct sl_unit {
    struct sl_slice name;
    uint64_t factor;
};

/* "5s" with the unit from the table. */
static int _sl_with_unit(struct sl_slice s, const struct sl_unit *units, size_t n, uint64_t *out)
{
    size_t digits = 0;
    uint64_t v;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    int r = sl_slice_u64(sl_slice(s.p, digits), &v);
    if (r < 0)
        return r;
    struct sl_slice unit = sl_slice(s.p + digits, s.n - digits);
    for (size_t i = 0; i < n; i++)
        if (sl_slice_eq(unit, units[i].name))
            return __builtin_mul_overflow(v, units[i].factor, out) ? -ERANGE : 0;
    return -EINVAL;
}

#define _SL_SEC SL_NS_PER_SEC
static const struct sl_unit _sl_durations[] = {
    {{"ms", 2}, SL_NS_PER_MS},  {{"s", 1}, _SL_SEC},         {{"m", 1}, 60 * _SL_SEC},
    {{"h", 1}, 3600 * _SL_SEC}, {{"d", 1}, 86400 * _SL_SEC},
};
static const struct sl_unit _sl_sizes[] = {
    {{"B", 1}, 1},
    {{"KiB", 3}, 1ull << 10},
    {{"MiB", 3}, 1ull << 20},
    {{"GiB", 3}, 1ull << 30},
    {{"TiB", 3}, 1ull << 40},
};

int sl_parse_duration(struct sl_slice s, uint64_t *ns)
{
    return _sl_with_unit(s, _sl_durations, SL_ARRAY_LEN(_sl_durations), ns);
}

int sl_parse_size(struct sl_slice s, uint64_t *bytes)
{
    return _sl_with_unit(s, _sl_sizes, SL_ARRAY_LEN(_sl_sizes), bytes);
}

int sl_parse_rate(struct sl_slice s, bool bytes, struct sl_rate *out)
{
    ssize_t at = sl_slice_chr(s, '/');
    if (at < 0)
        return -EINVAL;
    struct sl_slice count = sl_slice(s.p, (size_t)at), per = sl_slice(s.p + at + 1, s.n - (size_t)at - 1);
    struct sl_rate rate = {0};
    int r = bytes ? sl_parse_size(count, &rate.count) : sl_slice_u64(count, &rate.count);
    for (size_t i = 1; r == 0 && i < SL_ARRAY_LEN(_sl_durations); i++) /* not per ms */
        if (sl_slice_eq(per, _sl_durations[i].name))
            rate.per_ns = _sl_durations[i].factor;
    if (r == 0 && rate.per_ns == 0)
        r = -EINVAL;
    if (r == 0)
        *out = rate;
    return r;
}

int sl_parse_u64(enum sl_type_kind kind, struct sl_slice s, uint64_t *out)
{
    if (kind == SL_T_DURATION)
        return sl_parse_duration(s, out);
    if (kind == SL_T_SIZE)
        return sl_parse_size(s, out);
    return sl_slice_u64(s, out);
}
