/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Corpora that nobody here wrote, read as the gateway reads a connection: message after message, each refused
 * or taken whole. tests/unit/http/corpus.py turns their files into records; SLUICE_DATA names their folder,
 * and where that is absent the tests are skipped.
 */
#include "corpus_differences.h"
#include "http_test.h"

#include "base/buf.h"

#include <limits.h>
#include <sys/wait.h>

struct record {
    char kind[48], name[256];
    struct sl_slice bytes, want;
};

/* What was read off a connection: a line "METHOD TARGET BODY-LENGTH" for each whole message. */
struct reading {
    struct sl_buf seen;
    struct sl_buf forwarded; /* the heads as an upstream gets them */
    unsigned messages;
    enum sl_h1_error error;
    enum sl_h1_error late; /* open within a head that will be refused however it ends */
    bool open;             /* bytes ran out within a message */
    bool closed;           /* the last message was the connection's last */
};

static void free_reading(struct reading *r)
{
    sl_buf_free(&r->seen);
    sl_buf_free(&r->forwarded);
}

static enum sl_h1_error read_body(struct sl_h1_body *b, struct sl_slice *in)
{
    struct sl_slice data;
    size_t used = 1;
    enum sl_h1_error e = SL_H1_OK;
    while (e == SL_H1_OK && !b->done && used) {
        e = sl_h1_body_feed(b, *in, &used, &data);
        *in = sl_slice(in->p + used, in->n - used);
    }
    return e;
}

/* Bytes ran out within a head: would it be refused, if it ended here? */
static enum sl_h1_error read_unfinished(struct sl_slice in)
{
    struct sl_request req;
    struct sl_buf text = {0};
    assert_int_equal(sl_buf_printf(&text, SL_SFMT "\r\n\r\n", SL_SARG(in)), 0);
    size_t scanned = 0;
    const ssize_t n = sl_h1_head_end(sl_buf_slice(&text), &scanned, &limits);
    const enum sl_h1_error e =
        n > 0 ? sl_h1_parse_request(&arena, sl_slice(sl_buf_data(&text), (size_t)n), &limits, &req)
              : (enum sl_h1_error) - n;
    sl_buf_free(&text);
    return e == SL_H1_HOST_MISSING ? SL_H1_OK : e;
}

static enum sl_h1_error read_one(struct sl_slice *in, struct reading *out)
{
    struct sl_request req;
    struct sl_h1_body body;
    size_t scanned = 0;
    const ssize_t n = sl_h1_head_end(*in, &scanned, &limits);
    out->open = n == 0;
    out->late = n == 0 ? read_unfinished(*in) : SL_H1_OK;
    if (n <= 0)
        return (enum sl_h1_error) - n;
    enum sl_h1_error e = sl_h1_parse_request(&arena, sl_slice(in->p, (size_t)n), &limits, &req);
    if (e != SL_H1_OK)
        return e;
    assert_int_equal(sl_h1_write_request(&out->forwarded, &req), 0);
    *in = sl_slice(in->p + n, in->n - (size_t)n);
    sl_h1_body_init(&body, req.framing, req.content_length);
    e = read_body(&body, in);
    out->open = e == SL_H1_OK && !body.done;
    if (e != SL_H1_OK || out->open)
        return e;
    out->messages++;
    out->closed = !req.keep_alive;
    return sl_buf_printf(&out->seen, SL_SFMT " " SL_SFMT " %llu\n", SL_SARG(req.method_name),
                         SL_SARG(req.target), (unsigned long long)body.total) < 0
               ? SL_H1_NO_MEMORY
               : SL_H1_OK;
}

static struct reading read_all(struct sl_slice bytes)
{
    struct reading r = {0};
    struct sl_slice in = exact(bytes), rest = in;
    while (rest.n && r.error == SL_H1_OK && !r.open && !r.closed)
        r.error = read_one(&rest, &r);
    free((char *)in.p);
    return r;
}

/* ---- records */

static FILE *open_corpus(const char *kind)
{
    char command[PATH_MAX * 3];
    const char *data = getenv("SLUICE_DATA");
    (void)snprintf(command, sizeof(command), "exec /usr/bin/python3 tests/unit/http/corpus.py %s '%s'", kind,
                   data ? data : "../shared/data");
    FILE *f = popen(command, "r");
    assert_non_null(f);
    return f;
}

/* False at the end. The slices are the caller's to free. */
static bool next_record(FILE *f, struct record *r)
{
    size_t name, bytes, want;
    if (fscanf(f, "%47s %zu %zu %zu", r->kind, &name, &bytes, &want) != 4)
        return false;
    assert_int_equal(fgetc(f), '\n');
    assert_true(name < sizeof(r->name));
    char *p = malloc(bytes + 1), *q = malloc(want + 1);
    assert_true(p && q && fread(r->name, 1, name, f) == name && fread(p, 1, bytes, f) == bytes &&
                fread(q, 1, want, f) == want);
    r->name[name] = '\0';
    r->bytes = sl_slice(p, bytes);
    r->want = sl_slice(q, want);
    return true;
}

static void free_record(struct record *r)
{
    free((char *)r->bytes.p);
    free((char *)r->want.p);
}

/* 77 is corpus.py's "not there". */
static void close_corpus(FILE *f, const char *kind, unsigned records)
{
    const int status = pclose(f);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skipped: no http1-%s corpus\n", kind);
        skip();
    }
    assert_int_equal(status, 0);
    assert_true(records > 0);
}

/* ---- http1-desync */

struct tally {
    const char *tier;
    unsigned refused, taken, wrong;
};

/*
 * "Compliant", and refused all the same. RFC 9112 section 6.1 lets a server refuse codings that it does not
 * understand, and every coding but chunked is one more chance for two servers to disagree on the end.
 * Section 3.2: a target is ASCII, has no fragment, and is not empty.
 */
static bool refused_on_purpose(const char *name, enum sl_h1_error error)
{
    static const struct {
        const char *name;
        enum sl_h1_error error;
    } cases[] = {
        {"more-compliant-tests.yaml: Correct TE OK", SL_H1_TRANSFER_ENCODING},
        {"more-compliant-tests.yaml: Transfer-Encoding: identity and chunked OK", SL_H1_TRANSFER_ENCODING},
        {"more-compliant-tests.yaml: Multiple transfer encoding headers in a single request OK",
         SL_H1_TRANSFER_ENCODING},
        {"more-compliant-tests.yaml: TE with custom parameters OK", SL_H1_TRANSFER_ENCODING},
        {"rfc-compliant.yaml: Different Transfer-Encoding headers", SL_H1_TRANSFER_ENCODING},
        {"rfc-compliant.yaml: Different Transfer-Encoding headers combined", SL_H1_TRANSFER_ENCODING},
        {"rfc-compliant.yaml: Transfer-Encoding with a param: chunked;custom_param", SL_H1_TRANSFER_ENCODING},
        {"rfc-compliant.yaml: Compliant URL", SL_H1_TARGET},
        {"rfc-compliant.yaml: International in URI", SL_H1_TARGET},
        {"rfc-compliant.yaml: Empty URI", SL_H1_REQUEST_LINE},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
        if (strcmp(name, cases[i].name) == 0)
            return error == cases[i].error;
    return false;
}

/* No Severe case has any effect. Of all others, what is taken is one message, its hidden request is payload
 * or is refused, and an upstream would read the forwarded head as we read the received one. */
static void judge_desync(const struct record *r, struct tally *t)
{
    struct reading got = read_all(r->bytes);
    const bool severe = strcmp(r->kind, "Severe") == 0;
    if (severe && got.messages + sl_buf_len(&got.forwarded) > 0)
        fail_msg("%s: severe, but forwarded", r->name);
    const struct sl_slice forwarded = sl_buf_slice(&got.forwarded);
    if (got.messages > 1 || (forwarded.n && memmem(forwarded.p, forwarded.n, "hidden", 6)))
        fail_msg("%s: more than one message:\n" SL_SFMT, r->name, SL_SARG(forwarded));
    if (got.open)
        fail_msg("%s: a whole message left us waiting", r->name);
    const bool taken = got.messages > 0;
    taken ? t->taken++ : t->refused++;
    if (taken) {
        struct sl_request again;
        struct sl_buf twice = {0};
        assert_error(sl_h1_parse_request(&arena, sl_buf_slice(&got.forwarded), &limits, &again), SL_H1_OK);
        assert_int_equal(sl_h1_write_request(&twice, &again), 0);
        assert_true(sl_slice_eq(sl_buf_slice(&twice), sl_buf_slice(&got.forwarded)));
        sl_buf_free(&twice);
    }
    if (!taken && strcmp(r->kind, "Compliant") == 0 && !refused_on_purpose(r->name, got.error))
        t->wrong++, print_error("%s: compliant, but refused: %s\n", r->name, sl_h1_error_name(got.error));
    free_reading(&got);
}

static void test_desync(void **state)
{
    (void)state;
    struct tally tallies[] = {
        {.tier = "Compliant"}, {.tier = "Acceptable"}, {.tier = "Ambiguous"}, {.tier = "Severe"}};
    struct record r;
    unsigned n = 0;
    FILE *f = open_corpus("desync");
    for (; next_record(f, &r); n++) {
        size_t i = 0;
        while (i < SL_ARRAY_LEN(tallies) && strcmp(r.kind, tallies[i].tier) != 0)
            i++;
        assert_true(i < SL_ARRAY_LEN(tallies));
        judge_desync(&r, &tallies[i]);
        free_record(&r);
        sl_arena_reset(&arena);
    }
    close_corpus(f, "desync", n);
    for (size_t i = 0; i < SL_ARRAY_LEN(tallies); i++) {
        print_message("%-10s %3u refused, %3u taken\n", tallies[i].tier, tallies[i].refused,
                      tallies[i].taken);
        assert_true(tallies[i].refused + tallies[i].taken > 0);
        assert_int_equal(tallies[i].wrong, 0);
    }
}

/* ---- http1-llhttp */

/* Where Host is missing from message number n: behind its request line; the authority of an absolute target
 * is the Host to add there. */
static size_t host_place(struct sl_slice all, unsigned n, struct sl_slice *host)
{
    size_t line = 0, at = 0;
    for (unsigned i = 0; i <= n; i++) {
        const char *end = memmem(all.p + at, all.n - at, " HTTP/1.1\r\n", 11);
        assert_non_null(end);
        line = at;
        at = (size_t)(end - all.p) + 11;
    }
    const char *scheme = memmem(all.p + line, at - line, " http://", 8);
    *host = scheme ? sl_slice(scheme + 8, strcspn(scheme + 8, "/?# ")) : SL_S("corpus.test");
    return at;
}

/* The cases were written without Host, which we demand (RFC 9112 section 3.2): it is put in where it alone is
 * missing. */
static struct reading read_with_host(struct sl_slice bytes)
{
    struct reading r = read_all(bytes);
    struct sl_buf text = {0};
    assert_int_equal(sl_buf_append_slice(&text, bytes), 0);
    for (unsigned tries = 0; r.error == SL_H1_HOST_MISSING && tries < 8; tries++) {
        struct sl_buf with = {0};
        struct sl_slice host, all = sl_buf_slice(&text);
        const size_t at = host_place(all, r.messages, &host);
        assert_int_equal(sl_buf_append(&with, all.p, at), 0);
        assert_int_equal(sl_buf_printf(&with, "Host: " SL_SFMT "\r\n", SL_SARG(host)), 0);
        assert_int_equal(sl_buf_append(&with, all.p + at, all.n - at), 0);
        sl_buf_free(&text);
        text = with;
        free_reading(&r);
        r = read_all(sl_buf_slice(&text));
    }
    sl_buf_free(&text);
    return r;
}

static const struct difference *find_difference(const char *name)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(differences); i++)
        if (strcmp(differences[i].name, name) == 0)
            return &differences[i];
    return NULL;
}

/* Our outcome in the words of the corpus, or "!" and why. */
static void describe(struct reading *r)
{
    if (r->error != SL_H1_OK) {
        sl_buf_free(&r->seen);
        assert_int_equal(sl_buf_printf(&r->seen, "!%s", sl_h1_error_name(r->error)), 0);
    } else if (r->open) {
        assert_int_equal(sl_buf_append_slice(&r->seen, SL_S("…\n")), 0);
    }
}

/* What llhttp takes only when told to be lenient, nobody should. */
static bool agrees(const struct reading *r, const char *kind, struct sl_slice want)
{
    if (sl_slice_starts(want, SL_S("!")) || strstr(kind, "lenient"))
        return r->error != SL_H1_OK || r->late != SL_H1_OK;
    return sl_slice_eq(sl_buf_slice(&r->seen), want);
}

static unsigned judge_llhttp(const struct record *r, unsigned *used)
{
    struct reading got = read_with_host(r->bytes);
    const struct difference *d = find_difference(r->name);
    describe(&got);
    const struct sl_slice seen = sl_buf_slice(&got.seen);
    unsigned bad = 0;
    if (d) {
        (*used)++;
        if (!sl_slice_eq(seen, sl_slice_str(d->ours)) || agrees(&got, r->kind, r->want))
            bad = 1;
    } else if (!agrees(&got, r->kind, r->want)) {
        bad = 1;
    }
    if (bad)
        print_error("%s [%s]: ours \"" SL_SFMT "\", llhttp's \"" SL_SFMT "\"\n", r->name, r->kind,
                    SL_SARG(seen), SL_SARG(r->want));
    free_reading(&got);
    return bad;
}

static void test_llhttp(void **state)
{
    (void)state;
    struct record r;
    unsigned n = 0, used = 0, bad = 0;
    FILE *f = open_corpus("llhttp");
    for (; next_record(f, &r); n++) {
        bad += judge_llhttp(&r, &used);
        free_record(&r);
        sl_arena_reset(&arena);
    }
    close_corpus(f, "llhttp", n);
    print_message("%u cases, %u read otherwise on purpose\n", n, used);
    assert_int_equal(bad, 0);
    assert_int_equal(used, SL_ARRAY_LEN(differences));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_desync),
        unit_test_arena(test_llhttp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
