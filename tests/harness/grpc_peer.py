# SPDX-License-Identifier: Apache-2.0
"""
Both ends of gRPC by Debian's python3-grpcio, to be run in a host: `grpc_peer.py server` prints its port and serves until its
input ends; `grpc_peer.py client ADDRESS CALL…` makes the calls and prints a JSON object for each.

Messages are plain bytes. The service t.S: Echo (unary), Many (n answers to one), Sum (how many came), Chat (each at once),
Fail (INVALID_ARGUMENT before any answer), Half (two answers, then ABORTED), Slow (waits for the client to give up).
"""
import json
import sys
import threading
from concurrent import futures

import grpc

AS_IS = {"request_serializer": None, "response_deserializer": None}


def chat(requests, context):
    for m in requests:
        yield b"got " + m


def fail(request, context):
    context.set_trailing_metadata([("x-why", "because")])
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not 100 % of ä")


def half(request, context):
    yield b"1"
    yield b"2"
    context.abort(grpc.StatusCode.ABORTED, "half way")


def slow(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(60)
    print(json.dumps({"slow ended": True, "left": context.time_remaining() is not None}), flush=True)
    return b"late"


def echo(request, context):
    context.send_initial_metadata([("x-initial", dict(context.invocation_metadata()).get("x-in", ""))])
    context.set_trailing_metadata([("x-trailing", "t"), ("x-bin-bin", b"\0\xff")])
    return request


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Many": grpc.unary_stream_rpc_method_handler(lambda n, c: (b"%d" % i for i in range(int(n)))),
    "Sum": grpc.stream_unary_rpc_method_handler(lambda it, c: b"%d" % sum(len(m) for m in it)),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Half": grpc.unary_stream_rpc_method_handler(half),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
}


def server():
    s = grpc.server(futures.ThreadPoolExecutor(16))
    s.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.S", METHODS),))
    print(s.add_insecure_port("127.0.0.1:0"), flush=True)
    s.start()
    sys.stdin.read()
    s.stop(0).wait()


def status(e):
    return {"code": e.code().name, "details": e.details(), "trailing": {k: str(v) for k, v in e.trailing_metadata() or ()}}


def ordered(call, n):
    """Chat where each message waits for the answer to the one before."""
    turn = threading.Semaphore(1)

    def messages():
        for i in range(n):
            turn.acquire()
            yield b"%d" % i
    got = []
    for m in call(messages()):
        got.append(m.decode())
        turn.release()
    return {"got": got}


def one(channel, name, size, metadata):
    path, body = f"/t.S/{name}", b"x" * size
    if name in ("Many", "Half"):
        got, it = [], channel.unary_stream(path)(b"%d" % size, metadata=metadata, timeout=30)
        try:
            for m in it:
                got.append(m.decode())
        except grpc.RpcError as e:
            return {"got": got, **status(e)}
        return {"got": got, **status(it)}
    if name == "Sum":
        return {"got": channel.stream_unary(path)(iter([body] * 20), metadata=metadata, timeout=30).decode()}
    if name == "Chat":
        return ordered(lambda it: channel.stream_stream(path)(it, metadata=metadata, timeout=30), size)
    answer, call = channel.unary_unary(path).with_call(body, metadata=metadata, timeout=0.5 if name == "Slow" else 30)
    return {"size": len(answer), "same": answer == body, "initial": dict(call.initial_metadata()), **status(call)}


def client(address, calls):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(address, options=options) as channel:
        for call in calls:
            name, size, *metadata = call.split(",")
            try:
                out = one(channel, name, int(size), [tuple(m.split("=", 1)) for m in metadata])
            except grpc.RpcError as e:
                out = status(e)
            print(json.dumps(out), flush=True)


if __name__ == "__main__":
    server() if sys.argv[1] == "server" else client(sys.argv[2], sys.argv[3:])
