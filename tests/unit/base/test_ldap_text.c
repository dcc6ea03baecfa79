/* SPDX-License-Identifier: Apache-2.0 */
/* Names and filters of a directory: what a stranger types stays a value, and what a policy says is read
 * strictly. */
#include "base/ldap_text.h"
#include "harness/arena.h"

#define unit_test_arena(t) cmocka_unit_test_setup_teardown(t, with_arena, drop_arena)

static void names_escape_what_has_a_meaning(void **state)
{
    (void)state;
    static const struct {
        const char *user, *dn;
    } v[] = {{"alice", "uid=alice,dc=x"},
             {"a.b-c_d@e", "uid=a.b-c_d@e,dc=x"},
             {"a,dc=admin", "uid=a\\2cdc\\3dadmin,dc=x"},
             {"a+cn=b", "uid=a\\2bcn\\3db,dc=x"},
             {"\"a\"", "uid=\\22a\\22,dc=x"},
             {"a\\", "uid=a\\5c,dc=x"},
             {"#61", "uid=\\2361,dc=x"},
             {" a ", "uid=\\20a\\20,dc=x"},
             {"a;b<c>d", "uid=a\\3bb\\3cc\\3ed,dc=x"},
             {"a\nb", "uid=a\\0ab,dc=x"},
             {"\xc3\xa9", "uid=\\c3\\a9,dc=x"},
             {"", "uid=,dc=x"}};
    for (size_t i = 0; i < SL_ARRAY_LEN(v); i++)
        assert_string_equal(sl_ldap_dn(&arena, "uid", sl_slice_str(v[i].user), "dc=x"), v[i].dn);
    assert_string_equal(sl_ldap_dn(&arena, "uid", sl_slice("a\0b", 3), "dc=x"), "uid=a\\00b,dc=x");
}

static void filters_escape_what_has_a_meaning(void **state)
{
    (void)state;
    static const struct {
        const char *user, *filter;
    } v[] = {{"alice", "(uid=alice)"},
             {"*", "(uid=\\2a)"},
             {"a*", "(uid=a\\2a)"},
             {"a)(uid=*", "(uid=a\\29\\28uid\\3d\\2a)"},
             {"a)(|(objectClass=*)", "(uid=a\\29\\28\\7c\\28objectClass\\3d\\2a\\29)"},
             {"\\2a", "(uid=\\5c2a)"},
             {"\xff", "(uid=\\ff)"}};
    for (size_t i = 0; i < SL_ARRAY_LEN(v); i++)
        assert_string_equal(sl_ldap_filter(&arena, NULL, "uid", sl_slice_str(v[i].user)), v[i].filter);
    assert_string_equal(sl_ldap_filter(&arena, NULL, "uid", sl_slice("a\0)", 3)), "(uid=a\\00\\29)");
    assert_string_equal(sl_ldap_filter(&arena, "(objectClass=person)", "uid", SL_S("a|b")),
                        "(&(objectClass=person)(uid=a\\7cb))");
    assert_string_equal(sl_ldap_filter(&arena, NULL, "member:2.5.13.1:", SL_S("uid=a,dc=x")),
                        "(member:2.5.13.1:=uid\\3da\\2cdc\\3dx)");
}

/* Whatever the bytes, what comes out is one value: read back, no byte of it ends the name or the filter. */
static void every_byte_stays_a_value(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        const char user[3] = {'a', (char)c, 'b'};
        const char *filter = sl_ldap_filter(&arena, "(a=b)", "uid", sl_slice(user, 3));
        const char *dn = sl_ldap_dn(&arena, "uid", sl_slice(user, 3), "dc=x");
        unsigned brackets = 0, commas = 0;
        assert_null(sl_ldap_filter_wrong(sl_slice_str(filter)));
        assert_null(sl_ldap_dn_wrong(sl_slice_str(dn)));
        for (const char *p = filter; *p; p++)
            brackets += *p == '(' || *p == ')' || *p == '*';
        for (const char *p = dn; *p; p++)
            commas += *p == ',' || *p == '+' || *p == '=';
        assert_int_equal(brackets, 6);
        assert_int_equal(commas, 3);
    }
}

static void check(const char *(*wrong)(struct sl_slice), const char *const *good, const char *const *bad)
{
    for (; *good; good++)
        if (wrong(sl_slice_str(*good)))
            fail_msg("%s: %s", *good, wrong(sl_slice_str(*good)));
    for (; *bad; bad++)
        if (!wrong(sl_slice_str(*bad)))
            fail_msg("accepted: %s", *bad);
}

static void what_a_name_is(void **state)
{
    (void)state;
    static const char *const good[] = {
        "dc=example",     "ou=people,dc=example,dc=org", "ou=people, dc=example , dc=org",
        "cn=a+sn=b,dc=x", "cn=a\\,b\\2c c,dc=x",         "1.3.6.1=#0402,dc=x",
        "cn=,dc=x",       "cn=J\xc3\xb6rg,dc=x",         NULL};
    static const char *const bad[] = {"",           "example", "dc",     "=x",        "dc=x,",
                                      "dc=x,,dc=y", ",dc=x",   "d c=x",  "cn=a;dc=x", "cn=\"a\"",
                                      "cn=a\\",     "cn=a\\x", "cn=a<b", "cn=a\nb",   "1.2.=x",
                                      "1..2=x",     "cn=a\\2", "-a=b",   NULL};
    check(sl_ldap_dn_wrong, good, bad);
    assert_non_null(sl_ldap_dn_wrong(sl_slice("dc=a\0b", 6)));
}

static void what_a_filter_is(void **state)
{
    (void)state;
    static const char *const good[] = {"(a=b)",
                                       "(a=*)",
                                       "(a=b*c)",
                                       "(a=)",
                                       "(&(a=b)(c=d))",
                                       "(!(a=b))",
                                       "(|(a=b)(&(c>=1)(d<=2)(e~=f)))",
                                       "(a:=b)",
                                       "(a:dn:2.4.6.8:=b)",
                                       "(:1.2.3:=b)",
                                       "(memberOf:1.2.840.113556.1.4.1941:=cn=x,dc=y)",
                                       "(a=\\28\\29\\2a\\5c)",
                                       "(a;lang-de=b)",
                                       NULL};
    static const char *const bad[] = {"",
                                      "a=b",
                                      "(a=b",
                                      "(a=b))",
                                      "(a=b)(c=d)",
                                      "(a)",
                                      "()",
                                      "(&)",
                                      "(!)",
                                      "(!(a=b)(c=d))",
                                      "(a=b(c)",
                                      "(a=\\2)",
                                      "(=b)",
                                      "(a =b)",
                                      "(a>b)",
                                      "(a:b)",
                                      "(a::=b)",
                                      "(&(a=b)",
                                      "(a=\\)",
                                      "((a=b))",
                                      "(&(&(&(&(&(&(&(&(&(a=b))))))))))",
                                      NULL};
    check(sl_ldap_filter_wrong, good, bad);
    assert_non_null(sl_ldap_filter_wrong(sl_slice("(a=\0)", 5)));
}

static void what_an_attribute_is(void **state)
{
    (void)state;
    static const char *const good[] = {"uid", "sAMAccountName", "0.9.2342.19200300.100.1.1", "cn;lang-de",
                                       NULL};
    static const char *const bad[] = {"",   "u id", "uid)",  "uid=", "1.", "-a",
                                      "a*", "cn;",  "cn;;a", "a:b",  NULL};
    check(sl_ldap_attribute_wrong, good, bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(names_escape_what_has_a_meaning),
        unit_test_arena(filters_escape_what_has_a_meaning),
        unit_test_arena(every_byte_stays_a_value),
        unit_test_arena(what_a_name_is),
        unit_test_arena(what_a_filter_is),
        unit_test_arena(what_an_attribute_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
