/* SPDX-License-Identifier: Apache-2.0 */
/* Reason phrases of RFC 9110 section 15 and of the codes that RFC 6585 and RFC 8297 add. */
#include "http/message.h"

const char *sl_status_phrase(unsigned status)
{
    switch (status) {
#define SL_X(code, phrase) \
    case code:             \
        return phrase;
        SL_X(100, "Continue")
        SL_X(101, "Switching Protocols")
        SL_X(103, "Early Hints")
        SL_X(200, "OK")
        SL_X(201, "Created")
        SL_X(202, "Accepted")
        SL_X(203, "Non-Authoritative Information")
        SL_X(204, "No Content")
        SL_X(205, "Reset Content")
        SL_X(206, "Partial Content")
        SL_X(300, "Multiple Choices")
        SL_X(301, "Moved Permanently")
        SL_X(302, "Found")
        SL_X(303, "See Other")
        SL_X(304, "Not Modified")
        SL_X(305, "Use Proxy")
        SL_X(307, "Temporary Redirect")
        SL_X(308, "Permanent Redirect")
        SL_X(400, "Bad Request")
        SL_X(401, "Unauthorized")
        SL_X(402, "Payment Required")
        SL_X(403, "Forbidden")
        SL_X(404, "Not Found")
        SL_X(405, "Method Not Allowed")
        SL_X(406, "Not Acceptable")
        SL_X(407, "Proxy Authentication Required")
        SL_X(408, "Request Timeout")
        SL_X(409, "Conflict")
        SL_X(410, "Gone")
        SL_X(411, "Length Required")
        SL_X(412, "Precondition Failed")
        SL_X(413, "Content Too Large")
        SL_X(414, "URI Too Long")
        SL_X(415, "Unsupported Media Type")
        SL_X(416, "Range Not Satisfiable")
        SL_X(417, "Expectation Failed")
        SL_X(421, "Misdirected Request")
        SL_X(422, "Unprocessable Content")
        SL_X(426, "Upgrade Required")
        SL_X(428, "Precondition Required")
        SL_X(429, "Too Many Requests")
        SL_X(431, "Request Header Fields Too Large")
        SL_X(500, "Internal Server Error")
        SL_X(501, "Not Implemented")
        SL_X(502, "Bad Gateway")
        SL_X(503, "Service Unavailable")
        SL_X(504, "Gateway Timeout")
        SL_X(505, "HTTP Version Not Supported")
#undef SL_X
    default:
        return "";
    }
}
