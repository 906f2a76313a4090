"""A child that renders in no time, but for texts that say what it is to do.

usage: python fake_child.py LOG

It appends each text to the file LOG when it begins with it.
"""

from __future__ import annotations

import os
import sys
import time

from chatsvc.rendering.frames import HEAD, Kind, frame


def main() -> None:
    """Answer until stdin ends."""
    out = sys.stdout.buffer
    if os.path.exists(f"{sys.argv[1]}.broken"):
        sys.exit(1)
    out.write(frame(Kind.READY, ""))
    out.flush()
    while len(head := sys.stdin.buffer.read(HEAD.size)) == HEAD.size:
        size, kind = HEAD.unpack(head)
        text = sys.stdin.buffer.read(size).decode()
        with open(sys.argv[1], "a") as log:
            log.write(f"{Kind(kind).name} {text}\n")
        if text.startswith("slow"):
            time.sleep(0.05)
        elif text == "hang" or (text == "hang in colour" and kind == Kind.COLOURED):
            time.sleep(1000)
        elif text == "die" or (text == "die in colour" and kind == Kind.COLOURED):
            sys.exit(1)
        answer = frame(Kind.HTML, f"<p>{text}</p>")
        if text == "fail":
            answer = frame(Kind.FAILED, "ZeroDivisionError")
        elif text == "die in the answer":
            out.write(answer[:-3])
            out.flush()
            sys.exit(1)
        out.write(answer)
        out.flush()


if __name__ == "__main__":
    main()
