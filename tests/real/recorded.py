"""A service that is recorded, and a client that reads server-sent events and notes when they come.

serve               prints its port, serves until its input ends
events URL          prints one line of JSON: the events, and how long after the request each came, ms
"""
import http.client
import http.server
import json
import sys
import threading
import time
import urllib.parse

PAUSE = 0.06
EVENTS = 5


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        if path == "/v1/events":
            self.events()
        elif path == "/v1/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half of it")
            self.close_connection = True
        else:
            self.answer(200, {"path": path, "token": "ghp_canary16C7e42F292c6912E7710c83834"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.answer(201, {"got": body.decode(), "client_secret": "canary-in-json"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "session=canary-set-cookie; Path=/")
        self.send_header("X-Internal", "canary-header")
        self.end_headers()
        self.wfile.write(body)

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for n in range(EVENTS):
            event = f"event: delta\ndata: {json.dumps({'n': n, 'text': 'grün'})}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(PAUSE)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"port {server.server_address[1]}", flush=True)
    sys.stdin.read()


def events(url):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.connect()
    began = time.monotonic()
    connection.request("GET", parts.path, headers={"Accept": "text/event-stream"})
    answer = connection.getresponse()
    seen, at, event = [], [], b""
    while line := answer.readline():
        event += line
        if line == b"\n":
            seen.append(event.decode())
            at.append((time.monotonic() - began) * 1000)
            event = b""
    print(json.dumps({"status": answer.status, "type": answer.getheader("content-type"), "events": seen, "at": at}))


command, *words = sys.argv[1:]
{"serve": serve, "events": events}[command](*words)
