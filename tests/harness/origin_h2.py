# SPDX-License-Identifier: Apache-2.0
"""
An origin that speaks HTTP/2 by python3-h2, with prior knowledge or over TLS, and answers as the test says.

answer(request) runs in the connection's thread once a request is whole, or with its head where early is set; it uses
request.head(), data(), trailers(), reset() and the connection's own calls. What it returns, if anything, is the body of a 200.
"""
import socket
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from .wait import until


class Request:
    def __init__(self, conn, stream, headers):
        self.conn, self.stream, self.headers, self.body, self.trailers_got, self.ended = conn, stream, headers, b"", [], False
        self.reset_code = None

    def get(self, name):
        found = [v for n, v in self.headers if n == name]
        return found[0] if len(found) == 1 else found or None

    def head(self, status=200, fields=(), end=False):
        self.conn.h2.send_headers(self.stream, [(":status", str(status)), *fields], end_stream=end)

    def data(self, body, end=True):
        self.conn.queue(self.stream, body, end)

    def trailers(self, fields):
        self.conn.h2.send_headers(self.stream, fields, end_stream=True)

    def reset(self, code=2):
        self.conn.h2.reset_stream(self.stream, code)


class Connection:
    def __init__(self, origin, sock):
        self.origin, self.sock, self.open, self.waiting = origin, sock, {}, {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False,
                                                                       normalize_outbound_headers=False))
        if origin.connect_protocol:  # in its first SETTINGS: later ones are an update
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values={h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        self.lock, self.closed, self.most = threading.RLock(), threading.Event(), 0
        self.goaway = False

    def queue(self, stream, body, end):
        before = self.waiting.pop(stream, (b"", False))[0]
        self.waiting[stream] = (memoryview(bytes(before) + body), end)
        self.pump()

    def pump(self):
        for stream, (body, end) in list(self.waiting.items()):
            while True:
                try:
                    n = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
                except h2.exceptions.StreamClosedError:
                    del self.waiting[stream]
                    break
                if not n and body:
                    self.waiting[stream] = (body, end)
                    break
                done = n == len(body)
                self.h2.send_data(stream, bytes(body[:n]), end_stream=end and done)
                body = body[n:]
                if done:
                    del self.waiting[stream]
                    break

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def serve(self):
        try:
            with self.lock:
                self.h2.initiate_connection()
                if self.origin.settings:
                    self.h2.update_settings(self.origin.settings)
                self.flush()
            while data := self.sock.recv(65536):
                with self.lock:
                    for e in self.h2.receive_data(data):
                        self.event(e)
                    self.pump()
                    self.flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass  # the test sees what came of it
        finally:
            self.close()

    def event(self, e):
        if isinstance(e, h2.events.RequestReceived):
            r = self.open[e.stream_id] = Request(self, e.stream_id, e.headers)
            self.most = max(self.most, sum(not q.ended or q.stream in self.waiting for q in self.open.values()))
            self.origin.heads.append(r)
            if self.origin.early:
                self.origin.early(r)
        elif isinstance(e, h2.events.DataReceived):
            self.open[e.stream_id].body += e.data
            if self.origin.on_data:
                self.origin.on_data(self.open[e.stream_id], e.data)
            if self.origin.credit:
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
        elif isinstance(e, h2.events.TrailersReceived):
            self.open[e.stream_id].trailers_got = e.headers
        elif isinstance(e, h2.events.StreamEnded):
            r = self.open[e.stream_id]
            r.ended = True
            self.origin.requests.append(r)
            body = self.origin.answer(r)
            if body is not None:
                r.head()
                r.data(body)
        elif isinstance(e, h2.events.StreamReset) and e.stream_id in self.open:
            self.open[e.stream_id].reset_code = e.error_code
        elif isinstance(e, h2.events.ConnectionTerminated):
            self.goaway = True

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.closed.set()


class OriginH2:
    def __init__(self, host, answer=lambda r: b"ok\n", tls=None, settings=None, early=None, connect_protocol=False):
        self.answer, self.tls, self.settings, self.early, self.credit, self.on_data = answer, tls, settings, early, True, None
        self.connect_protocol = connect_protocol
        self.connections, self.requests, self.heads = [], [], []
        self._listen = host.listen(0)
        self.target = "%s:%d" % self._listen.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listen.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
        c = Connection(self, sock)
        self.connections.append(c)
        c.serve()

    def wait_requests(self, n):
        until(lambda: len(self.requests) >= n, f"{n} requests at the origin")
        return self.requests[n - 1]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._listen.shutdown(socket.SHUT_RDWR)
        self._listen.close()
        for c in self.connections:
            c.close()
