/* SPDX-License-Identifier: Apache-2.0 */
/* Header lists, names, methods, phrases, and the character table against the text of the RFCs. */
#include "http_test.h"

#include "http/chars_priv.h"

static struct sl_headers list(const char *const *pairs)
{
    struct sl_headers h = {0};
    for (; *pairs; pairs += 2)
        assert_int_equal(sl_headers_add(&h, &arena, sl_slice_str(pairs[0]), sl_slice_str(pairs[1])), 0);
    return h;
}

/* The names that live, in order, joined by spaces. */
static const char *names(const struct sl_headers *h)
{
    static char out[2048];
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < h->n; i++)
        if (!h->v[i].removed)
            n +=
                (size_t)snprintf(out + n, sizeof(out) - n, "%s" SL_SFMT, n ? " " : "", SL_SARG(h->v[i].name));
    return out;
}

static void test_every_known_name_is_found(void **state)
{
    (void)state;
#define SL_X(e, text) {SL_HDR_##e, text},
    static const struct {
        enum sl_hdr id;
        const char *name;
    } all[] = {SL_HTTP_HEADERS(SL_X)};
#undef SL_X
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++) {
        char upper[32], other[32];
        const size_t n = strlen(all[i].name);
        for (size_t k = 0; k <= n; k++)
            upper[k] =
                (char)(all[i].name[k] >= 'a' && all[i].name[k] <= 'z' ? all[i].name[k] - 32 : all[i].name[k]);
        assert_int_equal(sl_hdr_id(sl_slice_str(all[i].name)), all[i].id);
        assert_int_equal(sl_hdr_id(sl_slice_str(upper)), all[i].id);
        for (size_t k = 0; k < n; k++) { /* one letter off is another name */
            memcpy(other, all[i].name, n + 1);
            other[k] = other[k] == 'q' ? 'z' : 'q';
            assert_int_equal(sl_hdr_id(sl_slice_str(other)), SL_HDR_OTHER);
        }
        assert_int_equal(sl_hdr_id(sl_slice(all[i].name, n - 1)), SL_HDR_OTHER);
    }
    assert_int_equal(sl_hdr_id(SL_S("")), SL_HDR_OTHER);
    assert_int_equal(sl_hdr_id(SL_S("X_Forwarded_For")), SL_HDR_OTHER);
}

static void test_find_and_get_skip_the_removed(void **state)
{
    (void)state;
    struct sl_headers h = list((const char *[]){"Host", "a", "X-A", "1", "x-a", "2", "Cookie", "c", NULL});
    assert_slice(sl_headers_find(&h, SL_S("x-A"))->value, "1");
    assert_slice(sl_headers_get(&h, SL_HDR_COOKIE)->value, "c");
    h.v[1].removed = true;
    assert_slice(sl_headers_find(&h, SL_S("X-a"))->value, "2");
    h.v[3].removed = true;
    assert_null(sl_headers_get(&h, SL_HDR_COOKIE));
    assert_null(sl_headers_find(&h, SL_S("cookie")));
    assert_null(sl_headers_find(&h, SL_S("X_A")));
}

static void test_remove_sees_what_cgi_sees(void **state)
{
    (void)state;
    struct sl_headers h = list((const char *[]){"X-User-Id", "1", "X_User_Id", "2", "x-user_ID", "3",
                                                "XUserId", "4", "X-User-Idx", "5", "X--User-Id", "6", NULL});
    assert_int_equal(sl_headers_remove(&h, SL_S("x-user-id")), 3);
    assert_string_equal(names(&h), "XUserId X-User-Idx X--User-Id");
    assert_int_equal(sl_headers_remove(&h, SL_S("X-User-Id")), 0);
}

static void test_set_leaves_one(void **state)
{
    (void)state;
    struct sl_headers h = list((const char *[]){"X-User-Id", "mallory", "x_user_id", "mallory", NULL});
    assert_int_equal(sl_headers_set(&h, &arena, SL_S("X-User-Id"), SL_S("alice")), 0);
    assert_string_equal(names(&h), "X-User-Id");
    assert_slice(sl_headers_find(&h, SL_S("x-user-id"))->value, "alice");
}

static void test_lists_grow(void **state)
{
    (void)state;
    struct sl_headers h = {0};
    char name[200][8];
    for (unsigned i = 0; i < 200; i++) {
        const int n = snprintf(name[i], sizeof(name[i]), "h%u", i);
        assert_int_equal(sl_headers_add(&h, &arena, sl_slice(name[i], (size_t)n), SL_S("v")), 0);
    }
    assert_int_equal(h.n, 200);
    for (unsigned i = 0; i < 200; i++)
        assert_ptr_equal(sl_headers_find(&h, sl_slice_str(name[i])), &h.v[i]);
}

static void test_hop_by_hop(void **state)
{
    (void)state;
    struct sl_headers h = list((const char *[]){"Host",
                                                "a",
                                                "Connection",
                                                "close, X-Once ,, x_twice",
                                                "X-Once",
                                                "1",
                                                "X-Twice",
                                                "2",
                                                "X-Stays",
                                                "3",
                                                "Keep-Alive",
                                                "timeout=5",
                                                "Proxy-Connection",
                                                "keep-alive",
                                                "TE",
                                                "trailers",
                                                "Trailer",
                                                "X-T",
                                                "Transfer-Encoding",
                                                "chunked",
                                                "Upgrade",
                                                "h2c",
                                                "Proxy-Authorization",
                                                "Basic x",
                                                "Proxy-Authenticate",
                                                "Basic",
                                                "Accept",
                                                "*/*",
                                                NULL});
    sl_headers_strip_hop_by_hop(&h, NULL, 0);
    assert_string_equal(names(&h), "Host X-Stays Accept");
}

/* PITFALLS: Connection must not take from the upstream what the gateway vouches for. */
static void test_connection_cannot_name_everything(void **state)
{
    (void)state;
    const struct sl_slice keep[] = {SL_S("X-User-Id"), SL_S("X-Correlation-Id")};
    struct sl_headers h =
        list((const char *[]){"Host", "a", "Authorization", "Bearer x", "Content-Length", "3", "Cookie",
                              "c=d", "X-User-Id", "7", "X-Correlation-Id", "9", "X-Other", "1", "Connection",
                              "host, AUTHORIZATION, content_length, Cookie, x-user-id", "Connection",
                              "X_Correlation_ID, x-other, connection", NULL});
    sl_headers_strip_hop_by_hop(&h, keep, SL_ARRAY_LEN(keep));
    assert_string_equal(names(&h), "Host Authorization Content-Length Cookie X-User-Id X-Correlation-Id");
}

/* "Connection: connection" removes the second Connection field; what it names must go all the same. */
static void test_connection_naming_itself_hides_nothing(void **state)
{
    (void)state;
    struct sl_headers h = list((const char *[]){"Connection", "connection", "Connection", "X-Hop", "X-Hop",
                                                "1", "X-End", "2", NULL});
    sl_headers_strip_hop_by_hop(&h, NULL, 0);
    assert_string_equal(names(&h), "X-End");
}

static void test_methods(void **state)
{
    (void)state;
    for (unsigned m = SL_METHOD_GET; m < SL_METHOD_COUNT; m++)
        assert_int_equal(sl_method_from(sl_slice_str(sl_method_name((enum sl_method)m))), m);
    assert_int_equal(sl_method_from(SL_S("get")), SL_METHOD_OTHER);
    assert_int_equal(sl_method_from(SL_S("GETS")), SL_METHOD_OTHER);
    assert_int_equal(sl_method_from(SL_S("")), SL_METHOD_OTHER);
}

static void test_phrases(void **state)
{
    (void)state;
    assert_string_equal(sl_status_phrase(200), "OK");
    assert_string_equal(sl_status_phrase(429), "Too Many Requests");
    assert_string_equal(sl_status_phrase(505), "HTTP Version Not Supported");
    assert_string_equal(sl_status_phrase(299), "");
    assert_string_equal(sl_status_phrase(0), "");
    for (unsigned e = SL_H1_OK + 1; e < SL_H1_ERROR_COUNT;
         e++) { /* no error answers with a status that has no name */
        assert_true(sl_h1_error_status((enum sl_h1_error)e) >= 400);
        assert_true(*sl_status_phrase(sl_h1_error_status((enum sl_h1_error)e)));
        assert_true(*sl_h1_error_text((enum sl_h1_error)e));
    }
}

static bool is_in(int c, const char *set)
{
    return c && strchr(set, c);
}

static void test_characters_are_those_of_the_rfcs(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        const bool digit = c >= '0' && c <= '9', alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const bool unreserved = digit || alpha || is_in(c, "-._~");
        const unsigned class = sl_ch((char)c);
        assert_int_equal(!!(class & SL_CH_TOKEN), digit || alpha || is_in(c, "!#$%&'*+-.^_`|~"));
        assert_int_equal(!!(class & SL_CH_UNRES), unreserved);
        assert_int_equal(!!(class & SL_CH_HOST), unreserved);
        assert_int_equal(!!(class & SL_CH_PATH), unreserved || is_in(c, "!$&'()*+,;=:@"));
        assert_int_equal(!!(class & SL_CH_HEX), digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
        assert_int_equal(!!(class & SL_CH_GRAPH), c > 0x20 && c < 0x7f);
        assert_int_equal(!!(class & SL_CH_CTL), (c < 0x20 && c != '\t') || c == 0x7f);
    }
}

/* The scan looks at eight bytes at once: every byte at every place of a window, at every length. */
static void test_controls_are_found_wherever_they_stand(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 25; n++) {
        struct sl_slice s = exact(sl_slice("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", n));
        char *p = (char *)s.p;
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                const bool bad = (c < 0x20 && c != '\t') || c == 0x7f;
                p[at] = (char)c;
                assert_ptr_equal(sl_find_ctl(p, p + n), bad ? p + at : p + n);
                assert_int_equal(sl_is_field_value(s), !bad);
            }
            p[at] = at % 3 ? '\t' : (char)0xff; /* what stays behind must not mislead */
        }
        free(p);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    assert_true(sl_is_token(SL_S("X-User_Id!")));
    assert_false(sl_is_token(SL_S("")));
    assert_false(sl_is_token(SL_S("a b")));
    assert_false(sl_is_token(SL_S("a:")));
    assert_false(sl_is_token(SL_S("\x80")));
    assert_true(sl_is_field_value(SL_S("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_every_known_name_is_found),
        unit_test_arena(test_find_and_get_skip_the_removed),
        unit_test_arena(test_remove_sees_what_cgi_sees),
        unit_test_arena(test_set_leaves_one),
        unit_test_arena(test_lists_grow),
        unit_test_arena(test_hop_by_hop),
        unit_test_arena(test_connection_cannot_name_everything),
        unit_test_arena(test_connection_naming_itself_hides_nothing),
        unit_test_arena(test_methods),
        unit_test_arena(test_phrases),
        unit_test_arena(test_characters_are_those_of_the_rfcs),
        unit_test_arena(test_controls_are_found_wherever_they_stand),
        unit_test_arena(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
