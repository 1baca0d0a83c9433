#!/usr/bin/env python3
"""Embed squall in a test: does this client really retry when its connection is reset?

    cargo build && python3 examples/retry_test.py        # SQUALL=/path/to/squall for another binary

Nothing but Python's standard library: squall is a child process, and its control port is plain HTTP and JSON
(docs/control-port.md). The same works from any language.
"""
import json
import os
import socket
import subprocess
import threading
import time
import unittest
import urllib.request

SQUALL = os.environ.get("SQUALL", "target/debug/squall")

# The first connection through the proxy is reset at its first byte; all others are left alone. It ends after 30 s at the
# latest, whoever forgets it. `min_hits` (1 unless written) makes the verdict `invalid` if nobody was hit: a test that
# hit nothing has shown nothing.
SCENARIO = """
name         = "first-connection-dies"
owner        = "the team of the client"
hypothesis   = "a client survives one reset"
environments = ["local"]
seed         = 1
max_duration = "60s"

[[fault]]
kind  = "reset"
proxy = "default"
first = 1
for   = "30s"

[[guard]]
metric = "connection_error_rate"   # by itself: what the fault does is left out
above  = "50%"
"""


def call(address, retries):
    """The code under test: asks once, and again after a connection that died."""
    host, port = address.rsplit(":", 1)
    for left in range(retries, -1, -1):
        try:
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(b"hello")
                answer = connection.recv(5, socket.MSG_WAITALL)
            if answer:
                return answer
            raise ConnectionError("closed without an answer")
        except ConnectionError:
            if left == 0:
                raise


class Squall:
    """`squall serve` in front of one upstream, for the length of a `with`."""

    def __init__(self, upstream):
        command = [SQUALL, "serve", "--listen", "127.0.0.1:0", "--upstream", upstream, "--control", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # it prints where it is: "proxy default ADDRESS -> UPSTREAM", then "control URL" once everything listens
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "proxy":
                self.proxy = rest[1]
            if word == "control":
                self.control = rest[0]
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()  # SIGTERM lifts the faults and lets open connections finish
        self.process.wait(20)
        self.process.stdout.close()

    def ask(self, method, path, body=None, kind="application/json"):
        data = None if body is None else body.encode()
        request = urllib.request.Request(self.control + path, data, {"content-type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def start(self, scenario):
        """Hands in a scenario and starts it. `detach`: without a client that renews its lease; then it needs an end."""
        run = self.ask("POST", "/v1/experiments", scenario, "application/toml")["id"]
        self.ask("POST", f"/v1/experiments/{run}/start", '{"detach": true, "max": "60s"}')
        return run

    def report(self, run):
        """Of a run that is over, or about to be: its last line is written a moment after the last fault was lifted."""
        for _ in range(200):
            if self.ask("GET", f"/v1/experiments/{run}")["verdict"]:
                return self.ask("GET", f"/v1/experiments/{run}/report")
            time.sleep(0.05)
        raise TimeoutError(f"{run} does not end")


def echo():
    """An upstream that gives back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)

    def accept():
        while True:
            threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return "%s:%d" % listener.getsockname()


class Retry(unittest.TestCase):
    def test_a_client_that_retries_survives(self):
        with Squall(echo()) as squall:
            run = squall.start(SCENARIO)
            self.assertEqual(call(squall.proxy, retries=1), b"hello")
            squall.ask("POST", f"/v1/experiments/{run}/abort", "{}")
            tally = squall.report(run)["faults"][0]["tally"]
            self.assertEqual(tally["injected"], 1, "exactly one connection was hit")

    def test_a_client_that_does_not_fails(self):
        with Squall(echo()) as squall:
            squall.start(SCENARIO)
            with self.assertRaises(ConnectionError):
                call(squall.proxy, retries=0)


if __name__ == "__main__":
    unittest.main()
