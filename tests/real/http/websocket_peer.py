"""A WebSocket server and client of the usual kind (websockets).

serve                       prints its port, sends every message back, tells how each connection ended; until its input ends
ask HOST PORT               messages of several kinds and lengths, fragments, ping and pong; prints what came as a line of JSON
close HOST PORT CODE REASON says goodbye; prints nothing else
hear HOST PORT N            sends the texts "0", "1" … up to N-1, and bytes as the last; prints the texts that came back before those,
                            how the connection ended before them, and how long it took
ping HOST PORT              prints whether a ping was answered before a message that was sent after it
"""

import asyncio
import json
import sys
import time

import websockets

LARGE = 3_000_000
END = b"end"


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    except websockets.ConnectionClosed:
        pass
    finally:
        await connection.wait_closed()
        print(f"closed {connection.close_code} {connection.close_reason}", flush=True)


async def serve():
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=2 * LARGE, ping_interval=None) as server:
        print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def ask(connection):
    got = {}
    for name, message in [
        ("text", "grüße"),
        ("bytes", bytes(range(256))),
        ("empty", ""),
        ("middle", "m" * 70_000),
        ("large", b"\xa5" * LARGE),
    ]:
        await connection.send(message)
        got[name] = await connection.recv() == message
    await connection.send(["one ", "two ", "three"])  # three frames of one message
    got["fragments"] = await connection.recv()
    sent = [str(n) for n in range(1000)]
    for message in sent:
        await connection.send(message)
    got["order"] = [await connection.recv() for _ in sent] == sent
    await asyncio.wait_for(await connection.ping(b"anybody?"), 20)
    got["compressed"] = [extension.name for extension in connection.protocol.extensions]
    return got


async def hear(connection, count):
    got, end = [], None
    began = time.monotonic()
    try:
        for n in range(count):
            await connection.send(str(n))
        await connection.send(END)
        while (message := await asyncio.wait_for(connection.recv(), 20)) != END:
            got.append(message)
    except websockets.ConnectionClosed as closed:
        end = [closed.rcvd.code, closed.rcvd.reason] if closed.rcvd else "broken"
    return {"got": got, "end": end, "took": time.monotonic() - began}


async def ping(connection):
    answer = await connection.ping()
    await connection.send("still there")  # what comes back for it comes behind an answer to the ping
    after = await asyncio.wait_for(connection.recv(), 20)
    await asyncio.sleep(0)
    return {"answered": answer.done(), "after": after}


async def client(what, host, port, *words):
    url = f"ws://{host}:{port}/"
    # frames are asserted one by one: they are compressed in `ask` only
    compression = "deflate" if what == "ask" else None
    options = {"max_size": 2 * LARGE, "ping_interval": None, "compression": compression, "close_timeout": 5}
    async with websockets.connect(url, **options) as connection:
        if what == "close":
            await connection.close(int(words[0]), words[1])
        elif what == "ask":
            print(json.dumps(await ask(connection)), flush=True)
        elif what == "hear":
            print(json.dumps(await hear(connection, int(words[0]))), flush=True)
        elif what == "ping":
            print(json.dumps(await ping(connection)), flush=True)


if __name__ == "__main__":
    what, words = sys.argv[1], sys.argv[2:]
    asyncio.run(serve() if what == "serve" else client(what, *words))
