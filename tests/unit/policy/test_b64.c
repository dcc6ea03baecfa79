/* SPDX-License-Identifier: Apache-2.0 */
/* base64url: one spelling for each run of bytes (RFC 7515 section 2, RFC 4648 sections 3.5 and 10). */
#include "policy/b64_priv.h"
#include "policy_test.h"

static void vectors(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},           {"Zg", "f"},          {"Zm8", "fo"},          {"Zm9v", "foo"},
        {"Zm9vYg", "foob"}, {"Zm9vYmE", "fooba"}, {"Zm9vYmFy", "foobar"}, {"--__", "\xfb\xef\xff"}};
    for (size_t i = 0; i < SL_ARRAY_LEN(pairs); i++) {
        struct sl_slice out;
        assert_int_equal(sl_b64_decode_arena(&arena, sl_slice_str(pairs[i][0]), &out), 0);
        assert_slice(out, pairs[i][1]);
        assert_int_equal(out.p[out.n], '\0');
    }
}

static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",    "Zm9vY", "Zg==", "Zm8=",   "Zm 9v", "Zm9v\n",      "Zm+v",
                                      "Zm/v", "Zh",    "Zm9",  "Zm9vYh", "Zm.v",  "\xc3\xa4m9v", "Zm9v="};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        struct sl_slice out;
        assert_int_equal(sl_b64_decode_arena(&arena, sl_slice_str(bad[i]), &out), -EINVAL);
    }
}

/* Each byte at each place, of whole groups and of what is left over, behind letters that are fine. */
static void any_byte_anywhere(void **state)
{
    (void)state;
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t n = 2; n <= 8; n++)
        for (size_t at = 0; n != 5 && at + 1 < n; at++) /* the last one may have bits left: trailing_bits */
            for (unsigned byte = 0; byte < 256; byte++) {
                char text[8] = "AAAAAAAA";
                unsigned char out[SL_B64_MAX(8)];
                size_t len = 0;
                text[at] = (char)byte;
                const char *letter = byte ? strchr(letters, (int)byte) : NULL;
                const int r = sl_b64_decode(sl_slice(text, n), out, &len);
                assert_int_equal(r, letter ? 0 : -EINVAL);
                if (!letter)
                    continue;
                const size_t value = (size_t)(letter - letters), bit = at * 6;
                assert_int_equal(
                    (out[bit / 8] << 8 | (bit / 8 + 1 < len ? out[bit / 8 + 1] : 0)) >> (10 - bit % 8) & 63,
                    value);
            }
}

/* Of the four last characters that a lax decoder reads as the same byte, one is right. */
static void trailing_bits(void **state)
{
    (void)state;
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned two = 0, three = 0;
    for (size_t i = 0; i < 64; i++) {
        struct sl_slice out;
        const char text[] = {'A', letters[i], '\0'}, more[] = {'A', 'A', letters[i], '\0'};
        two += sl_b64_decode_arena(&arena, sl_slice_str(text), &out) == 0;
        three += sl_b64_decode_arena(&arena, sl_slice_str(more), &out) == 0;
    }
    assert_int_equal(two, 4);
    assert_int_equal(three, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {unit_test_arena(vectors), unit_test_arena(refused),
                                       unit_test_arena(any_byte_anywhere), unit_test_arena(trailing_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
