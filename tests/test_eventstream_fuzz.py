"""The event-stream parser under atheris, guided by coverage, against the reference."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import require_module

FUZZ = """
import sys
import atheris
with atheris.instrument_imports(include=["chatsvc.eventstream"]):
    from chatsvc.eventstream import EventStreamParser
from tests.test_eventstream import parse, reference

def once(data):
    step = data[0] % 7 + 1 if data else 1
    stream = data[1:]
    chunks = [stream[i:i + step] for i in range(0, len(stream), step)]
    if parse(chunks) != reference(stream):
        raise AssertionError((step, stream))

atheris.Setup(sys.argv, once)
atheris.Fuzz()
"""
SEEDS = [
    b"\x00\xef\xbb\xbfid: r:1\r\nevent: failed\r\ndata: \xf0\x9f\x91\xa8\r\n\r\n",
    b"\x01: t=1\n\nretry: 10\ndata\ndata:\n\nid: a\0b\n\n",
]


def test_fuzzed(tmp_path: Path) -> None:
    require_module("atheris")
    corpus = str(tmp_path)
    for number, seed in enumerate(SEEDS):
        with open(f"{corpus}/{number}", "wb") as file:
            file.write(seed)
    result = subprocess.run(
        [sys.executable, "-c", FUZZ, "-runs=20000", "-seed=1", "-max_len=96", corpus],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    assert "Done 20000 runs" in result.stderr
