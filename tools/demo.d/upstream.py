#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's upstream: answers with the request as it arrived, so that one sees what the gateway made of it."""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive: the gateway pools its connections
    wbufsize = -1  # head and body in one segment
    disable_nagle_algorithm = True

    def do_GET(self):
        body = json.dumps({"path": self.path, "headers": dict(self.headers.items())}, indent=1).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer.request_queue_size = 256
ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
