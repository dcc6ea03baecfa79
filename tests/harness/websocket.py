# SPDX-License-Identifier: Apache-2.0
"""
WebSockets that are not ours: a server of python3-websockets; a client over HTTP/2 (RFC 8441) of python3-h2, and an origin
likewise, whose messages python3-websockets makes and reads.
"""
import asyncio
import base64
import hashlib
import threading
import time

import h2.config
import h2.connection
import h2.events
import websockets
from websockets.connection import CLIENT, SERVER, Connection
from websockets.frames import Opcode

from .origin_h2 import OriginH2
from .policy import merge, serving, upstream


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def switch(accept, *more):
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: WebSocket", f"Sec-WebSocket-Accept: {accept}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def echoing(r):
    """For an Origin: agrees at once, then sends back what comes."""
    r.conn.send(switch(accept_of(r.get("Sec-WebSocket-Key"))))
    while data := r.conn.sock.recv(65536):
        r.conn.received += data
        r.conn.send(data)


class EchoServer:
    """On HTTP/1.1; sends back each message, and closes with 1001 at "bye"."""

    def __init__(self, host):
        self._loop, ready, listening = asyncio.new_event_loop(), threading.Event(), host.listen(0)
        self.target = "127.0.0.1:%d" % listening.getsockname()[1]
        self._over = self._loop.create_future()

        async def serve():
            async def handler(ws):
                async for message in ws:
                    if message == "bye":
                        await ws.close(1001, "leaving")
                    else:
                        await ws.send(message)
            async with websockets.serve(handler, sock=listening, subprotocols=["chat"], max_size=None):
                ready.set()
                await self._over
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serve(),))
        self._thread.start()
        assert ready.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._loop.call_soon_threadsafe(self._over.set_result, None)
        self._thread.join(30)


class EchoH2(OriginH2):
    """On HTTP/2, which it announces; sends back each message."""

    def __init__(self, host, **kw):
        super().__init__(host, answer=self._ended, early=self._asked, connect_protocol=True, **kw)
        self.on_data = self._data

    def _asked(self, r):
        r.ws = Connection(SERVER, max_size=None)
        r.head(200, [("sec-websocket-protocol", "chat")])

    def _data(self, r, data):
        r.ws.receive_data(data)
        for f in r.ws.events_received():
            if f.opcode in (Opcode.TEXT, Opcode.BINARY):
                (r.ws.send_text if f.opcode == Opcode.TEXT else r.ws.send_binary)(f.data)
        for out in r.ws.data_to_send():
            r.data(out, end=not out)  # nothing: all is said

    def _ended(self, r):
        r.data(b"")


class WebSocketH2:
    """
    One WebSocket on a connection of its own. Whatever waits reads, and so takes what comes; credit False: without
    giving the gateway its window back; ws None: what comes is only counted, in bytes.
    """

    def __init__(self, sock, tls=None, sni=None, timeout=30):
        sock.settimeout(timeout)
        self.sock = tls.wrap_socket(sock, server_hostname=sni) if tls else sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.ws = Connection(CLIENT, max_size=None)
        self.credit, self.timeout, self.scheme = True, timeout, "https" if tls else "http"
        self.headers, self.frames, self.held, self.bytes = None, [], 0, 0
        self.ended, self.reset, self.goaway, self.settled = False, None, False, False
        self.h2.initiate_connection()
        self._send()
        self.until(lambda: self.settled, "SETTINGS")
        self.announced = self.h2.remote_settings.enable_connect_protocol == 1

    def _send(self):
        self.sock.sendall(self.h2.data_to_send())

    def _read(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("the gateway closed")
        for e in self.h2.receive_data(data):
            if isinstance(e, h2.events.RemoteSettingsChanged):
                self.settled = True
            elif isinstance(e, h2.events.ResponseReceived):
                self.headers = e.headers
            elif isinstance(e, h2.events.DataReceived):
                self._data(e)
            elif isinstance(e, h2.events.StreamEnded):
                self.ended = True
                if self.ws:
                    self.ws.receive_eof()
            elif isinstance(e, h2.events.StreamReset):
                self.reset = e.error_code
            elif isinstance(e, h2.events.ConnectionTerminated):
                self.goaway = True
        self._send()

    def _data(self, e):
        if not self.credit:
            self.held += e.flow_controlled_length
        elif e.flow_controlled_length:
            self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
        if self.ws:
            self.ws.receive_data(e.data)
            self.frames += self.ws.events_received()
        self.bytes += len(e.data)

    def give_credit(self):
        self.credit = True
        self.h2.acknowledge_received_data(self.held, self.stream)
        self.held = 0
        self._send()

    def until(self, probe, what):
        end = time.monotonic() + self.timeout
        while not probe():
            assert time.monotonic() < end, f"{what} did not come"
            self._read()

    def get(self, name):
        return next((v for n, v in self.headers if n == name), None)

    def open(self, path="/chat", fields=(), authority="api.test"):
        """The answer's status."""
        self.stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(self.stream, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", self.scheme), (":authority", authority),
                                           (":path", path), ("sec-websocket-version", "13"), *fields])
        self._send()
        self.until(lambda: self.headers is not None or self.reset is not None, "the answer")
        return int(self.get(":status")) if self.headers else None

    def flush(self):
        """Frames that are made, as windows let them go."""
        for data in self.ws.data_to_send():
            while data:
                n = min(self.h2.local_flow_control_window(self.stream), self.h2.max_outbound_frame_size, len(data))
                if not n:
                    self._read()
                    continue
                self.h2.send_data(self.stream, data[:n])
                self._send()
                data = data[n:]

    def send(self, message):
        if isinstance(message, str):
            self.ws.send_text(message.encode())
        else:
            self.ws.send_binary(message)
        self.flush()

    def recv(self, opcode=None):
        """The next frame, which is a message's, or of that opcode."""
        want = (opcode,) if opcode is not None else (Opcode.TEXT, Opcode.BINARY)
        self.until(lambda: self.frames or self.ended or self.reset is not None, "a frame")
        f = self.frames.pop(0)
        assert f.fin and f.opcode in want, f
        return f.data.decode() if f.opcode == Opcode.TEXT else f.data

    def ping(self):
        self.ws.send_ping(b"here?")
        self.flush()
        assert self.recv(Opcode.PONG) == b"here?"

    def shut(self):
        """END_STREAM."""
        self.h2.end_stream(self.stream)
        self._send()

    def close(self):
        """The closing handshake, begun here."""
        self.ws.send_close(1000)
        self.flush()
        self.recv(Opcode.CLOSE)
        self.until(lambda: self.ended, "END_STREAM")
        assert self.ws.close_code == 1000 and self.reset in (None, 0)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()


def policy(origin, upstream_keys=None, **over):
    """One route that takes WebSocket, of both versions of HTTP, with a log."""
    base = serving(origin, listeners={"main": {"protocols": ["h2", "http/1.1"]}}, upstreams={"origin": upstream(origin, **(upstream_keys or {}))},
                   routes={"all": {"upgrade": ["websocket"]}}, observe={"access_log": {"format": "json", "path": "-"}})
    return merge(base, over)


def connect(c, *, protocol="websocket", drop=(), extra=(), end=False, method="CONNECT"):
    """Sends an extended CONNECT on an HTTP/2 connection of harness.h2, as told, and gives its stream."""
    s = c.id()
    fields = [(":method", method), (":protocol", protocol), (":scheme", "http"), (":authority", "api.test"), (":path", "/chat"), ("sec-websocket-version", "13"), *extra]
    c.send(c.head(s, [f for f in fields if f[0] not in drop], end=end))
    return s
