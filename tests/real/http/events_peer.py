"""A server of server-sent events, and a client of the usual kind (httpx and httpx-sse).

serve                       prints its port, serves until its input ends: GET /events sends ten events (or those behind
                            Last-Event-ID), GET /turns sends one after each POST /go
hear URL SILENCE PATIENCE   prints the events that come as a line of JSON, how the stream ended, and how long it took; gives up
                            after SILENCE seconds without a byte, or PATIENCE in all
turns BASE N                asks for each event only once the one before is there; prints how many came
"""

import asyncio
import json
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import httpx_sse

COUNT = 10
GO = queue.Queue()


def event(n):
    """Every kind of line there is: a comment, a name, data on two lines, an id, CR LF in one of them."""
    if n % 3 == 0:
        return f': comment\nid: {n}\ndata: {{"n":{n}}}\n\n'
    if n % 3 == 1:
        return f'event: named\r\nid: {n}\r\ndata: {{"n":\r\ndata: {n}}}\r\n\r\n'
    return f'id:{n}\ndata:{{"n":{n},"text":"grün"}}\n\n'


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def begin(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("cache-control", "no-store")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_GET(self):
        self.begin()
        try:
            if self.path == "/turns":
                while GO.get():
                    self.chunk("data: turn\n\n")
            else:
                self.chunk("retry: 50\n")  # part of the first event
                for n in range(int(self.headers.get("last-event-id") or -1) + 1, COUNT):
                    text = event(n)
                    self.chunk(text[:5])  # chunks are no events
                    self.chunk(text[5:])
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def do_POST(self):
        GO.put(self.headers["x-more"] == "yes")
        self.send_response(204)
        self.end_headers()


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    print(f"port {server.server_address[1]}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


async def hear(url, silence, patience):
    events, comments, end, began = [], 0, "complete", time.monotonic()

    async def listen():
        nonlocal comments
        timeout = httpx.Timeout(20, read=silence)
        async with httpx.AsyncClient(timeout=timeout) as client:
            async with httpx_sse.aconnect_sse(client, "GET", url) as source:
                async for sse in source.aiter_sse():
                    if sse.data:
                        events.append([sse.event, sse.data, sse.id])
                    else:
                        comments += 1  # no event has no data, but to httpx-sse there is one behind each comment

    try:
        await asyncio.wait_for(listen(), patience)
    except asyncio.TimeoutError:
        end = "open"
    except (httpx.HTTPError, httpx_sse.SSEError) as error:
        end = type(error).__name__
    print(json.dumps({"events": events, "comments": comments, "end": end, "took": time.monotonic() - began}), flush=True)


async def turns(base, count):
    came = 0
    async with httpx.AsyncClient(timeout=20) as client:
        async with httpx_sse.aconnect_sse(client, "GET", base + "/turns") as source:
            events = source.aiter_sse()
            for _ in range(count):
                await client.post(base + "/go", headers={"x-more": "yes"})
                came += (await anext(events)).data == "turn"
            await client.post(base + "/go", headers={"x-more": "no"})
            rest = [sse async for sse in events]
    print(json.dumps({"came": came, "rest": len(rest)}), flush=True)


if __name__ == "__main__":
    what, words = sys.argv[1], sys.argv[2:]
    if what == "serve":
        serve()
    elif what == "hear":
        asyncio.run(hear(words[0], float(words[1]), float(words[2])))
    else:
        asyncio.run(turns(words[0], int(words[1])))
