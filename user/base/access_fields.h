/* SPDX-License-Identifier: Apache-2.0 */
/* What the access log knows of a request: members of its JSON, and variables ($time, …) of its format. */
#ifndef SL_BASE_ACCESS_FIELDS_H
#define SL_BASE_ACCESS_FIELDS_H

#define SL_ACCESS_NUMBERS(X) \
    X(status)                \
    X(duration_us)           \
    X(upstream_us)           \
    X(bytes_in)              \
    X(bytes_out)             \
    X(retries)
#define SL_ACCESS_TEXTS(X) \
    X(correlation_id)      \
    X(client)              \
    X(peer)                \
    X(listener)            \
    X(protocol)            \
    X(method)              \
    X(host)                \
    X(path)                \
    X(route)               \
    X(consumer)            \
    X(tier)                \
    X(upstream)            \
    X(target)              \
    X(reason)              \
    X(detail)              \
    X(user_agent)
#define SL_ACCESS_FIELDS(X) X(time) SL_ACCESS_NUMBERS(X) SL_ACCESS_TEXTS(X)

#endif
