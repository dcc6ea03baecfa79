/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets as the gateway uses them: non-blocking, close-on-exec, no Nagle. */
#ifndef SL_NET_SOCKET_H
#define SL_NET_SOCKET_H

#include "base/ip.h"
#include <stdbool.h>

#define SL_SILENT_SECONDS 1 /* that a connection whose client says nothing is left in the kernel */

/* A listener has a connection to accept once its client has sent something, or was silent for so long: all
 * that is spoken here begins with the client, and one who only connects costs no descriptor and no memory.
 * What connections inherit: no Nagle; and, where with_answer, that a request is acknowledged by its answer
 * instead of by a segment of its own, until sl_socket_ack_now. Asked again it changes what later connections
 * inherit. At worst it is not so. */
void sl_socket_listener(int listener, bool with_answer);
/* From now on who says nothing is there to be accepted too: at once, or, who has connected already, in the
 * course of SL_SILENT_SECONDS. Before a listener is closed, which resets them. */
void sl_socket_take_silent(int listener);
/* More is needed before an answer can go out, and the peer may wait for the acknowledgement to send it. */
void sl_socket_ack_now(int fd);
/* Takes one connection: the fd with *peer, or -errno (-EAGAIN: none there). */
int sl_socket_accept(int listener, struct sl_sockaddr *peer);
/* Begins to connect: the fd with *done saying whether it is through already, or -errno. */
int sl_socket_connect(const struct sl_sockaddr *to, bool *done);
/* What became of a connect: 0 or -errno. */
int sl_socket_error(int fd);
/* The socket's own address: 0 or -errno. */
int sl_socket_local(int fd, struct sl_sockaddr *out);
/* What leaves the socket leaves at no more than so many bytes a second; UINT64_MAX: no limit. 0 or -errno. */
int sl_socket_pace(int fd, uint64_t bytes_per_second);
/* The next close sends RST and drops what is unsent. */
void sl_socket_reset_on_close(int fd);
/* What the peer has done, whatever of its bytes is unread. */
enum sl_peer {
    SL_PEER_THERE,
    SL_PEER_SAID_FIN, /* it sends no more */
    SL_PEER_GONE,     /* nor does it take any */
};
enum sl_peer sl_socket_peer(int fd);
/* Bytes that have come and are not read; of TCP alone. */
size_t sl_socket_unread(int fd);
/* Whether the peer has not sent a byte yet; of TCP alone, and false where the kernel does not tell. */
bool sl_socket_is_silent(int fd);
/* The socket's SO_COOKIE: no other socket of this boot has it. 0: not known. */
uint64_t sl_socket_cookie(int fd);
/* Bytes of the stream that the peer's kernel has acknowledged, the SYN counted in; UINT64_MAX where unknown.
 */
uint64_t sl_socket_acked(int fd);

#endif
