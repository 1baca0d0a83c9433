"""Draws docs/first-run.svg: a terminal in which squall is run for the first time, with what it really prints, when it prints it.

    python3 docs/first-run.py target/release/squall > docs/first-run.svg

Nothing is made up: the commands below are run, and each line of their output is shown as long after the command as it came.
A service of this script's answers in Stripe's place, so that no network is needed.
"""
import html
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time

PAY = '''import json, urllib.request

request = urllib.request.Request("https://api.stripe.com/v1/charges", data=b"amount=1999&currency=eur")
with urllib.request.urlopen(request, timeout=10) as answer:
    print("paid:", json.load(answer)["id"])
'''
COMMANDS = [
    "cat pay.py",
    "squall wrap --map api.stripe.com=127.0.0.1:{port} -- python3 pay.py",
    "squall wrap --map api.stripe.com=127.0.0.1:{port} --error 503 --first 1 -- python3 pay.py 2>&1 | grep -v '^  '",
]
# Reading takes longer than running.
PAUSE, WIDTH, LINE, LETTER = 2.0, 124, 19, 8.0


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"id": "ch_3Nf8Qe2LkX01", "status": "succeeded"}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def lines(command, place):
    """The lines of a command's output, and how long after its start each came, seconds."""
    began = time.monotonic()
    shell = subprocess.Popen(["sh", "-c", command], cwd=place, env=ENVIRONMENT, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in shell.stdout:
        yield time.monotonic() - began, line.rstrip("\n")
    shell.wait()


def session(place, port):
    """What is on the screen at the end: when each line came, what it says, and whether it was typed."""
    at, shown = 0.5, []
    for command in COMMANDS:
        command = command.format(port=port)
        shown.append((at, "$ " + command, True))
        last = 0.0
        for last, line in lines(command, place):
            while True:
                shown.append((at + 0.6 + last, line[:WIDTH], False))
                line = line[WIDTH:]
                if not line:
                    break
        shown.append((at + 0.6 + last, "", False))
        at += 0.6 + last + PAUSE
    return shown


def draw(shown):
    width, height = int(WIDTH * LETTER) + 40, len(shown) * LINE + 40
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">')
    print("<title>The first run of squall wrap: it looks, then a fault shows what the program makes of it</title>")
    print("<style>text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre; "
          "animation: show 1ms both } .typed { fill: #a3be8c } @keyframes show { from { opacity: 0 } } "
          "@media (prefers-reduced-motion) { text { animation: none } }</style>")
    print(f'<rect width="{width}" height="{height}" rx="8" fill="#20242c"/>')
    for row, (at, line, typed) in enumerate(shown):
        kind = ' class="typed"' if typed else ""
        y = 30 + row * LINE
        print(f'<text x="20" y="{y}"{kind} style="animation-delay:{at:.2f}s" xml:space="preserve">{html.escape(line)}</text>')
    print("</svg>")


squall = os.path.abspath(sys.argv[1])
with tempfile.TemporaryDirectory() as place:
    programs, work, state = (os.path.join(place, name) for name in ("bin", "shop", "state"))
    for directory in (programs, work, state):
        os.mkdir(directory)
    os.symlink(squall, os.path.join(programs, "squall"))
    with open(os.path.join(work, "pay.py"), "w") as file:
        file.write(PAY)
    ENVIRONMENT = os.environ | {"PATH": programs + os.pathsep + os.environ["PATH"], "XDG_STATE_HOME": state,
                                "XDG_RUNTIME_DIR": state}
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    draw(session(work, service.server_address[1]))
