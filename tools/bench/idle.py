# SPDX-License-Identifier: Apache-2.0
"""idle.py PORT N: N TLS connections to 127.0.0.1, one request on each, kept until a line comes in. Prints N once all are answered."""
import resource
import signal
import socket
import ssl
import sys

signal.alarm(300)
port, n = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (n + 64, max(n + 64, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
held, answered = [], 0
for _ in range(n):
    s = ctx.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="gw.test")
    s.sendall(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
    answered += s.recv(4096).startswith(b"HTTP/1.1 200")
    held.append(s)
print(answered, flush=True)
sys.stdin.readline()
