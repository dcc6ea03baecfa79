/* SPDX-License-Identifier: Apache-2.0 */
/* Samples in words and as pcapng, read back block by block; and an answer that is hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/sample_priv.h"

#include <string.h>

#define SAMPLE                                                                                               \
    "{\"number\":7,\"time_ns\":1700000000123456789,\"interface\":\"eth0\",\"listener\":\"main\",\"reason\":" \
    "\"deny_list\",\"passed\":false,\"source\":\"2001:db8::9\",\"source_port\":40000,\"destination\":"       \
    "\"2001:db8::1\",\"destination_port\":443,\"protocol\":6,\"tcp_flags\":18,\"length\":1514,"              \
    "\"data\":\"0102030405ff\"}"

static uint32_t word(const struct sl_buf *b, size_t at)
{
    uint32_t v;
    assert_true(at + 4 <= sl_buf_len(b));
    memcpy(&v, sl_buf_data(b) + at, 4);
    return v;
}

/* Checks both lengths of the block at `at`, and returns where the next one is. */
static size_t next_block(const struct sl_buf *b, size_t at, uint32_t type)
{
    const uint32_t n = word(b, at + 4);
    assert_int_equal(word(b, at), type);
    assert_int_equal(n % 4, 0);
    assert_int_equal(word(b, at + n - 4), n);
    return at + n;
}

static void test_pcapng(void **state)
{
    (void)state;
    struct sl_pcapng p;
    SL_BUF struct sl_buf out = {0};
    json_t *s = json_loads(SAMPLE, 0, NULL);
    assert_int_equal(sl_pcapng_begin(&p, 128, &out), 0);
    assert_int_equal(sl_sample_pcapng(&p, s, &out), 0);
    assert_int_equal(sl_sample_pcapng(&p, s, &out), 0); /* its interface is known now */
    (void)json_object_set_new(s, "interface", json_string("eth1"));
    assert_int_equal(sl_sample_pcapng(&p, s, &out), 0);
    assert_int_equal(word(&out, 8), 0x1a2b3c4d);
    size_t at = next_block(&out, 0, 0x0a0d0d0a);
    assert_int_equal(word(&out, at + 8), 1);                                   /* Ethernet */
    assert_int_equal(word(&out, at + 12), 128);                                /* snaplen */
    assert_memory_equal(sl_buf_data(&out) + at + 16, "\2\0\4\0eth0", 8);       /* if_name */
    assert_memory_equal(sl_buf_data(&out) + at + 24, "\11\0\1\0\11\0\0\0", 8); /* if_tsresol: 10^-9 */
    at = next_block(&out, at, 1);
    assert_int_equal(word(&out, at + 8), 0);
    assert_true(((uint64_t)word(&out, at + 12) << 32 | word(&out, at + 16)) == 1700000000123456789ull);
    assert_int_equal(word(&out, at + 20), 6);
    assert_int_equal(word(&out, at + 24), 1514);
    assert_memory_equal(sl_buf_data(&out) + at + 28, "\1\2\3\4\5\xff\0\0", 8);
    assert_memory_equal(sl_buf_data(&out) + at + 36, "\1\0\27\0deny_list listener=main\0", 28);
    at = next_block(&out, at, 6);
    at = next_block(&out, at, 6);
    at = next_block(&out, at, 1);
    assert_int_equal(word(&out, at + 8), 1);
    at = next_block(&out, at, 6);
    assert_int_equal(at, sl_buf_len(&out));
    json_decref(s);
}

static void test_line(void **state)
{
    (void)state;
    SL_BUF struct sl_buf out = {0};
    json_t *s = json_loads(SAMPLE, 0, NULL);
    static const char want[] = "2023-11-14T22:13:20.123Z deny_list eth0 [2001:db8::9]:40000 > "
                               "[2001:db8::1]:443 tcp SA 1514 B\n";
    assert_int_equal(sl_sample_line(s, &out), 0);
    assert_int_equal(sl_buf_len(&out), sizeof(want) - 1);
    assert_memory_equal(sl_buf_data(&out), want, sizeof(want) - 1);
    json_decref(s);
}

/* What is no sample makes a packet without bytes, and nothing that a terminal would obey. */
static void test_hostile_answer(void **state)
{
    (void)state;
    struct sl_pcapng p;
    SL_BUF struct sl_buf out = {0}, line = {0};
    json_t *s = json_loads("{\"interface\":\"\\u001b[2Jxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\",\"data\":\"zz\","
                           "\"length\":-1,\"protocol\":-5,\"tcp_flags\":[],\"source_port\":1e9}",
                           0, NULL);
    assert_non_null(s);
    assert_int_equal(sl_pcapng_begin(&p, 128, &out), 0);
    for (unsigned i = 0; i < 2 * SL_PCAPNG_INTERFACES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "if%u", i);
        (void)json_object_set_new(s, "interface", json_string(i ? name : "\x1b[2Jxxxxxxxxxxxxxxxxxxxxxx"));
        assert_int_equal(sl_sample_pcapng(&p, s, &out), 0);
        if (i == 0)
            assert_int_equal(sl_sample_line(s, &line), 0);
    }
    assert_int_equal(p.n, SL_PCAPNG_INTERFACES);
    assert_null(memchr(sl_buf_data(&line), 0x1b, sl_buf_len(&line)));
    json_decref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pcapng),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_hostile_answer),
    };
    return cmocka_run_group_tests_name("samples", tests, NULL, NULL);
}
