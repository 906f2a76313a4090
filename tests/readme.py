"""The examples of the README, for tests that run them, and a folder to run them in."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BIN = Path(sys.executable).parent
"""Where the programs of the environment are, `chatsvc` among them."""

BLOCKS = re.findall(
    r"^ *```(\w+)\n(.*?)^ *```", README.read_text(), re.MULTILINE | re.DOTALL
)
"""The language and the text of each example."""


def blocks(language: str, holding: str) -> list[str]:
    """Return the README's examples in `language` that contain `holding`; there must be one."""
    found = [text for kind, text in BLOCKS if kind == language and holding in text]
    assert found, f"the README has no {language} example with {holding}"
    return found


def names_its_file(example: str) -> str:
    """Return the name of the file that an example says it is, in its first line; else ""."""
    found = re.match(r"# (\w+\.py)\n", example)
    return found[1] if found else ""


class EmptyFolder:
    """The place of somebody who follows the README: nothing is there but what the examples write.

    The command is the installed one. No variable of the tests changes what it does: there is no
    `PYTHONPATH`, no setting and no key.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        assert not any(path.iterdir())
        self.path = path
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CHATSVC_", "OPENAI_", "PYTHONPATH"))
        }
        self.environment["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"

    def write(self, example: str, name: str = "") -> str:
        """Write an example into the file that it names, or into `name`; return the file's name."""
        file = name or names_its_file(example)
        assert file, "the example does not say which file it is"
        (self.path / file).write_text(example)
        return file

    def run(self, script: str, port: str = "3000", timeout: float = 30) -> str:
        """Run an example in a shell, against the service on `port`, and return its output.

        Raises `CalledProcessError`, which has the output too, when it fails.
        """
        done = subprocess.run(
            ["bash", "-euc", script.replace(":3000", f":{port}")],
            capture_output=True,
            cwd=self.path,
            env=self.environment,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            print(done.stdout.decode(), done.stderr.decode(), sep="\n")
        done.check_returncode()
        return done.stdout.decode()

    @contextmanager
    def serving(self, example: str, *flags: str) -> Iterator[Service]:
        """Start the last line of an example, with more flags, until the context ends.

        It listens on a free port, or on the Unix socket of `--uds`.
        """
        line = example.strip().splitlines()[-1].strip()
        words = [*shlex.split(line), *flags]
        if "--uds" not in words:
            words += ["--port", "0"]
        with subprocess.Popen(
            # The shell finds the command, and is replaced by it: signals reach the service.
            ["bash", "-euc", f"exec {shlex.join(words)}"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.path,
            env=self.environment,
        ) as process:
            try:
                yield Service(process)
            finally:
                process.terminate()


class Service:
    """A service that the installed command runs; `line` is the first that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.line = self.next_line()
        assert self.line.startswith("chatsvc is running on "), self.line
        self.url = self.line.split()[-1]
        self.port = self.url.rpartition(":")[2]

    def next_line(self) -> str:
        """Return the next line of what it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()
