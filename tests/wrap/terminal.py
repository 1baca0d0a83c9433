"""Runs a command on a terminal of its own and types: WORDS TYPED COMMAND…, in which each of WORDS is waited for before the
keys of the same place in TYPED (both are JSON lists) are typed. Prints what the terminal showed; ends as the command does."""

import json
import os
import pty
import sys

waits, keys = json.loads(sys.argv[1]), json.loads(sys.argv[2])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[3], sys.argv[3:])
shown = seen = b""
while True:
    try:
        read = os.read(terminal, 65536)
    except OSError:  # the other side has ended
        break
    if not read:
        break
    shown, seen = shown + read, seen + read
    while waits and waits[0].encode() in seen:
        seen = seen.split(waits.pop(0).encode(), 1)[1]
        os.write(terminal, keys.pop(0).encode())
print(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
