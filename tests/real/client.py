"""A Redis client: client.py HOST PORT COMMAND ARGUMENTS… prints one line of JSON at the end."""

import hashlib
import json
import sys
import threading
import time

import redis

host, port, command, *words = sys.argv[1:]
never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)


def connect(timeout=20.0):
    return redis.Redis(
        host=host, port=int(port), socket_timeout=timeout, single_connection_client=True, retry=never
    )


def value(n):
    """A few bytes to a few hundred KB of no repeating pattern, the same in every process."""
    size = 1 + (n * n * 7) % (300_000 if n % 50 == 0 else 3_000)
    block = hashlib.sha256(str(n).encode()).digest()
    return (block * (size // 32 + 1))[:size]


def write(count):
    """In pipelines, from four threads."""

    def part(start):
        client = connect()
        for first in range(start, count, 400):
            with client.pipeline(transaction=False) as pipeline:
                for n in range(first, min(first + 100, count)):
                    pipeline.set(f"value:{n}", value(n))
                assert all(pipeline.execute())

    failures = []

    def guarded(start):
        try:
            part(start)
        except Exception as error:  # told to the test
            failures.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(start,)) for start in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"failures": failures}


def read(count):
    client = connect()
    return {"equal": sum(client.get(f"value:{n}") == value(n) for n in range(count))}


def ping(seconds):
    """One PING after another; a new connection after an error."""
    client = connect()
    client.ping()
    print("connected")
    pings, errors = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            client.ping()
            pings.append(time.monotonic() - began)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            errors.append(type(error).__name__ + ": " + str(error))
            client.close()
            time.sleep(0.02)
            try:
                client = connect()
                client.ping()
            except (redis.ConnectionError, redis.TimeoutError) as failed:
                errors.append(type(failed).__name__ + ": " + str(failed))
    return {"pings": pings, "errors": errors}


def store(count):
    """SETs until one fails; how many were acknowledged, and the error."""
    client = connect()
    for n in range(count):
        try:
            client.set(f"stored:{n}", n)
        except redis.ConnectionError as error:
            return {"acknowledged": n, "error": str(error)}
    return {"acknowledged": count, "error": None}


def stored(count):
    client = connect()
    return {"equal": sum(client.get(f"stored:{n}") == str(n).encode() for n in range(count))}


def fetch(size):
    """One large value, and how long it took."""
    client = connect()
    client.set("large", b"x" * size)
    began = time.monotonic()
    got = client.get("large")
    return {"equal": got == b"x" * size, "seconds": time.monotonic() - began}


print(json.dumps(globals()[command](*map(float if command == "ping" else int, words))))
