/* SPDX-License-Identifier: Apache-2.0 */
/* The diagram of states in HACKING.md is what the code allows: drawn here of the edges, and compared. */
#include "base/io.h"
#include "gateway/exchange_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int draw(struct sl_buf *b, const char *title, unsigned n, const char *(*name)(unsigned),
                bool (*edge)(unsigned, unsigned))
{
    int r = sl_buf_printf(b, "```mermaid\n---\ntitle: %s\n---\nstateDiagram-v2\n", title);
    for (unsigned from = 0; r == 0 && from < n; from++)
        for (unsigned to = 0; r == 0 && to < n; to++)
            if (edge(from, to))
                r = sl_buf_printf(b, "    %s --> %s\n", name(from), name(to));
    return r < 0 ? r : sl_buf_append(b, "```\n", 4);
}

static const char *exchange_name(unsigned s)
{
    return sl_exchange_state_name((enum sl_exchange_state)s);
}
static bool exchange_edge(unsigned from, unsigned to)
{
    return sl_exchange_edge((enum sl_exchange_state)from, (enum sl_exchange_state)to);
}
static const char *conn_name(unsigned s)
{
    return sl_conn_state_name((enum sl_conn_state)s);
}
static bool conn_edge(unsigned from, unsigned to)
{
    return sl_conn_edge((enum sl_conn_state)from, (enum sl_conn_state)to);
}

static void the_diagrams_in_the_docs_are_those_of_the_code(void **state)
{
    (void)state;
    SL_BUF struct sl_buf want = {0};
    SL_BUF struct sl_buf docs = {0};
    assert_int_equal(draw(&want, "a client's connection", SL_CONN_STATES, conn_name, conn_edge), 0);
    assert_int_equal(draw(&want, "an exchange", SL_EX_STATES, exchange_name, exchange_edge), 0);
    assert_int_equal(sl_buf_append(&want, "", 1), 0);
    assert_int_equal(sl_read_file("HACKING.md", 1 << 20, &docs), 0);
    assert_int_equal(sl_buf_append(&docs, "", 1), 0);
    if (!strstr(sl_buf_data(&docs), sl_buf_data(&want)))
        print_error("HACKING.md wants, under \"States\":\n%s", sl_buf_data(&want));
    assert_non_null(strstr(sl_buf_data(&docs), sl_buf_data(&want)));
}

/* Every state but the last can be left, and all can be reached from the first. */
static void no_state_is_a_dead_end(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SL_CONN_STATES; s++)
        assert_true(s == SL_CONN_CLOSED || conn_edge(s, SL_CONN_CLOSED));
    for (unsigned s = 0; s < SL_EX_STATES; s++) {
        bool left = false;
        for (unsigned to = 0; to < SL_EX_STATES; to++)
            left |= exchange_edge(s, to);
        assert_true(left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_diagrams_in_the_docs_are_those_of_the_code),
        cmocka_unit_test(no_state_is_a_dead_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
