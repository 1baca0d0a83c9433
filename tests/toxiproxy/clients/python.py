"""toxiproxy-python, unmodified: everything it can do, against the API and upstream of the command line."""

import socket
import sys
import time

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists


def refuses(what, call):
    try:
        call()
    except what:
        return
    raise AssertionError(f"{what} was expected")


host, port, upstream = sys.argv[1], int(sys.argv[2]), sys.argv[3]
server = Toxiproxy()
server.update_api_consumer(host, port)
assert server.running() and b"2.12.0" in server.version()

proxy = server.create(name="echo", upstream=upstream, listen="127.0.0.1:0")
assert proxy.enabled and proxy.upstream == upstream
refuses(ProxyExists, lambda: server.create(name="echo", upstream=upstream))
address = tuple(server.get_proxy("echo").listen.rsplit(":", 1))
address = (address[0], int(address[1]))


def echo():
    with socket.create_connection(address, timeout=20) as line:
        began = time.monotonic()
        line.sendall(b"hello")
        assert line.recv(5, socket.MSG_WAITALL) == b"hello"
        return time.monotonic() - began


echo()
proxy.add_toxic(type="latency", attributes={"latency": 200, "jitter": 20})
proxy.add_toxic(name="up", type="bandwidth", stream="upstream", toxicity=0.5, attributes={"rate": 1000})
assert set(proxy.toxics()) == {"latency_downstream", "up"}
assert proxy.get_toxic("up").toxicity == 0.5
assert echo() >= 0.18
refuses(InvalidToxic, lambda: proxy.add_toxic(type="no such type"))
refuses(NotFound, lambda: proxy.destroy_toxic("no such toxic"))
proxy.destroy_toxic("latency_downstream")
assert proxy.get_toxic("latency_downstream") is None
with proxy.down():
    try:
        echo()
        raise AssertionError("a disabled proxy answered")
    except ConnectionRefusedError:
        pass
echo()
server.reset()
assert proxy.toxics() == {}
assert len(server.populate([{"name": "second", "listen": "127.0.0.1:0", "upstream": upstream}])) == 1
server.destroy_all()
assert server.proxies() == {}
print("done")
