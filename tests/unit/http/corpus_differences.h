/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where we read a case of the http1-llhttp corpus otherwise than llhttp, on purpose: what we make of it (in
 * the words of corpus.py; "!" and an error's name for a refusal) and why. A row that no longer differs fails
 * the test too.
 */
#ifndef SL_TEST_CORPUS_DIFFERENCES_H
#define SL_TEST_CORPUS_DIFFERENCES_H

struct difference {
    const char *name, *ours, *why;
};

static const struct difference differences[] = {
    {"connection.md: No restart when keep-alive is off (1.0)", "PUT /url 0\n",
     "RFC 9112 9.6: what follows the last request of a connection is not read, so it is no error"},
    {"connection.md: CRLF between requests, explicit `close`", "POST / 4\n", "as above"},
    {"connection.md: CRLF between requests, explicit `close` followed by tab", "POST / 4\n", "as above"},
    {"connection.md: Resetting flags when keep-alive is off (1.0, lenient)", "PUT /url 0\n",
     "as above: llhttp was told to go on"},
    {"connection.md: CRLF between requests, explicit `close` (lenient)", "POST / 4\n",
     "as above: llhttp was told to go on"},
    {"connection.md: CRLF between requests, implicit `keep-alive`", "!leading_bytes",
     "RFC 9112 2.2 lets a server ignore an empty line before a request; we refuse what stands before one"},
    {"pipelining.md: Should parse multiple events", "!leading_bytes", "as above"},
    {"sample.md: Prefix newline", "!leading_bytes", "as above"},
    {"sample.md: Request starting with CRLF", "!leading_bytes", "as above"},
    {"uri.md: Host terminated by a query string", "!leading_bytes",
     "as above: the case ends in one CRLF more than a head"},
    {"connection.md: Multiple tokens with folding and LWS", "GET /demo 0\n…\n",
     "RFC 9110 7.8: an upgrade happens with 101, not with the request; what follows is HTTP until then"},
    {"connection.md: Upgrade GET request", "GET /demo 0\n…\n", "as above"},
    {"connection.md: Upgrade POST request", "POST /demo 15\n…\n", "as above"},
    {"connection.md: Emitting part of body and pausing", "PUT /url 4\n…\n",
     "the fifth byte begins the next request (RFC 9112 6.3); llhttp's test pauses before it"},
    {"content-length.md: Tabs in `Content-Length` (surrounding)", "!llhttp",
     "RFC 9110 5.6.3 allows the tab; the llhttp that we build with (8.1) does not, and both must agree"},
    {"invalid.md: HTTP protocol and ANNOUNCE method", "ANNOUNCE /music/sweet/music 0\n",
     "RFC 9110 9.1: any token is a method; routes say which are allowed"},
    {"invalid.md: Invalid method", "MKCOLA / 0\n", "as above"},
    {"method.md: CONNECT request", "!connect", "RFC 9110 9.3.6: a gateway makes no tunnels"},
    {"method.md: CONNECT request with CAPS", "!connect", "as above"},
    {"method.md: CONNECT with body", "!connect", "as above"},
    {"uri.md: Underscore in hostname", "!connect", "as above"},
    {"method.md: M-SEARCH request", "!target", "RFC 9112 3.2.4: '*' is for OPTIONS"},
    {"method.md: PRI request HTTP2", "!target", "as above, and RFC 9113 3.4: no HTTP/2 here"},
    {"method.md: SOURCE request with ICE", "!request_line", "RFC 9112 2.3: HTTP only"},
    {"method.md: OPTIONS request with RTSP", "!request_line", "as above"},
    {"method.md: ANNOUNCE request with RTSP", "!request_line", "as above"},
    {"sample.md: No HTTP version", "!request_line", "RFC 9112 3: HTTP/0.9 is not spoken"},
    {"sample.md: curl GET", "!host",
     "RFC 9110 4.2.3, 7.2: Host is \"0.0.0.0=5000\", no host and port that two servers would split alike"},
    {"sample.md: Firefox GET", "!host", "as above"},
    {"transfer-encoding.md: Trailing headers", "!trailer",
     "RFC 9110 6.5.1: Content-Type must not come as a trailer"},
    {"transfer-encoding.md: No extension after semicolon", "POST /chunked_w_unicorns_after_length 2\n",
     "RFC 9112 7.1.1: extensions are skipped, bounded, and not forwarded; only how their line ends matters"},
    {"transfer-encoding.md: Unbalanced chunk extensions quoting", "…\n", "as above"},
    {"transfer-encoding.md: POST with `chunked` as last transfer-encoding", "!transfer_encoding",
     "RFC 9112 6.1: codings other than chunked may be refused; each is a chance to disagree"},
    {"transfer-encoding.md: POST with `chunked` as last transfer-encoding (multiple headers)",
     "!transfer_encoding", "as above"},
    {"uri.md: Fragment in URI", "!target", "RFC 9112 3.2: a target has no fragment"},
    {"uri.md: `host:port` and basic auth", "!target",
     "RFC 9110 4.2.4: user information in an http target is refused"}};

#endif
