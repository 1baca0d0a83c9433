"""A gRPC server and client of the usual kind (grpcio), without generated code: messages are bytes.

serve                       prints its port, serves until its input ends
ask HOST PORT               calls each method, prints one line of JSON
unary HOST PORT N           N unary calls in a row, prints how many were right and how long the slowest took
stream HOST PORT N SECONDS  a call that answers with N messages; prints how many came, how it ended, and how long it took
"""

import json
import queue
import sys
import time
from concurrent import futures

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        kinds = {
            "/test.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test.Echo/Up": grpc.stream_unary_rpc_method_handler(up),
            "/test.Echo/Down": grpc.unary_stream_rpc_method_handler(down),
            "/test.Echo/Both": grpc.stream_stream_rpc_method_handler(both),
            "/test.Echo/Fail": grpc.unary_unary_rpc_method_handler(fail),
        }
        return kinds.get(details.method)


def unary(request, context):
    context.send_initial_metadata((("x-head", "1"),))
    context.set_trailing_metadata((("x-tail", "2"),))
    return request


def up(requests, _):
    return str(sum(len(request) for request in requests)).encode()


def down(request, _):
    for n in range(int(request)):
        yield str(n).encode()


def both(requests, _):
    for request in requests:
        yield request


def fail(_, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"port {port}", flush=True)
    sys.stdin.read()
    server.stop(0)


def ask(channel):
    got = {}
    answer, call = channel.unary_unary("/test.Echo/Unary").with_call(b"hello", timeout=30)
    got["unary"] = answer.decode()
    got["head"] = dict(call.initial_metadata()).get("x-head")
    got["tail"] = dict(call.trailing_metadata()).get("x-tail")
    large = bytes(3_000_000)
    got["large"] = channel.unary_unary("/test.Echo/Unary")(large, timeout=30) == large
    got["up"] = channel.stream_unary("/test.Echo/Up")(iter([b"x" * 70_000] * 50), timeout=30).decode()
    got["down"] = sum(1 for _ in channel.unary_stream("/test.Echo/Down")(b"500", timeout=30))

    # one message goes only once the answer to the one before is there: nothing may be kept back
    messages = queue.Queue()
    answers = channel.stream_stream("/test.Echo/Both")(iter(messages.get, None), timeout=30)
    turned = 0
    for n in range(100):
        messages.put(str(n).encode())
        turned += next(answers) == str(n).encode()
    messages.put(None)
    got["turns"] = turned
    try:
        channel.unary_unary("/test.Echo/Fail")(b"", timeout=30)
    except grpc.RpcError as error:
        got["fail"] = [error.code().name, error.details()]
    try:
        channel.unary_unary("/test.Echo/None")(b"", timeout=30)
    except grpc.RpcError as error:
        got["none"] = error.code().name
    print(json.dumps(got), flush=True)


def unaries(channel, count):
    call = channel.unary_unary("/test.Echo/Unary")
    right, slowest, codes = 0, 0.0, {}
    for n in range(count):
        began = time.monotonic()
        try:
            right += call(b"%d" % n, timeout=30) == b"%d" % n
        except grpc.RpcError as error:
            codes[error.code().name] = codes.get(error.code().name, 0) + 1
        slowest = max(slowest, time.monotonic() - began)
    print(json.dumps({"right": right, "slowest": slowest, "codes": codes}), flush=True)


def stream(channel, count, patience):
    call = channel.unary_stream("/test.Echo/Down")(b"%d" % count, timeout=patience)
    got, began = 0, time.monotonic()
    try:
        for message in call:
            assert message == b"%d" % got, message
            got += 1
    except grpc.RpcError:
        pass
    took = time.monotonic() - began
    print(json.dumps({"got": got, "code": call.code().name, "details": call.details(), "took": took}), flush=True)


if __name__ == "__main__":
    what, words = sys.argv[1], sys.argv[2:]
    if what == "serve":
        serve()
    else:
        with grpc.insecure_channel(f"{words[0]}:{words[1]}") as channel:
            if what == "ask":
                ask(channel)
            elif what == "unary":
                unaries(channel, int(words[2]))
            else:
                stream(channel, int(words[2]), float(words[3]))
