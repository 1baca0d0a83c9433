"""A server and a client for networks made by tests.

serve PORT...          answers each connection with the address that it sees, then sends back what it gets
ask ADDRESS PORT       prints the answer ("refused" if there is none) and how long a word took to come back, ms
heard ADDRESS PORT     prints the line that comes after the answer, though nothing was said
hold ADDRESS PORT      the same for each line read, on one connection
"""
import socket, socketserver, sys, threading, time


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            self.request.sendall(self.client_address[0].removeprefix("::ffff:").encode() + b"\n")
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


def serve(ports):
    servers = [Server(("::", int(port)), Echo) for port in ports]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def word(stream):
    began = time.monotonic()
    stream.sendall(b"ping")
    got = b""
    while len(got) < 4:
        data = stream.recv(4 - len(got))
        if not data:
            raise ConnectionResetError
        got += data
    assert got == b"ping", got
    return (time.monotonic() - began) * 1000


def line(stream):
    seen = b""
    while not seen.endswith(b"\n"):
        data = stream.recv(1)
        if not data:
            raise ConnectionResetError
        seen += data
    return seen.decode().strip()


def connect(address, port):
    stream = socket.create_connection((address, int(port)), 30)
    return stream, line(stream)


def heard(address, port):
    print(line(connect(address, port)[0]), flush=True)


def ask(address, port):
    try:
        stream, seen = connect(address, port)
        print(seen, round(word(stream)), flush=True)
    except (ConnectionError, TimeoutError):
        print("refused", flush=True)


def hold(address, port):
    stream, seen = connect(address, port)
    print("connected", seen, flush=True)
    for line in sys.stdin:
        print(line.strip(), round(word(stream)), flush=True)


command, *words = sys.argv[1:]
{"serve": lambda *ports: serve(ports), "ask": ask, "heard": heard, "hold": hold}[command](*words)
