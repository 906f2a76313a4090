"""The command line: what it takes, what it refuses and how (PROTOCOL.md section 8)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import chatsvc.serve
import chatsvc.workers
from chatsvc import __version__
from chatsvc.cli import NOT_ON_WINDOWS, main
from chatsvc.settings import Settings


@pytest.fixture
def remarks() -> list[str]:
    """What the service was to say of how it was started."""
    return []


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, remarks: list[str]) -> list[Settings]:
    """The settings that the service was started with; it isn't started here."""
    found: list[Settings] = []

    def serve(settings: Settings, *, remarks: list[str]) -> None:
        found.append(settings)
        said.extend(remarks)

    def serve_workers(settings: Settings, remarks: list[str]) -> int:
        serve(settings, remarks=remarks)
        return 0

    said = remarks
    monkeypatch.setattr(chatsvc.serve, "serve", serve)
    monkeypatch.setattr(chatsvc.workers, "serve_workers", serve_workers)
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--port", "0", "--pace=0"],
        ["--port", "0", "--pace=0"],
        ["--pace=0", "--port=0"],
    ],
)
def test_a_flag_without_a_command_is_one_of_serve(
    words: list[str], served: list[Settings]
) -> None:
    assert main(words) == 0
    assert served == [Settings(port=0, pace=0)]


def test_no_word_at_all_serves(served: list[Settings]) -> None:
    assert main([]) == 0
    assert served == [Settings()]


def test_a_variable_has_the_flags_name_and_a_flag_wins(
    served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATSVC_MAX_REPLY", "64KiB")
    monkeypatch.setenv("CHATSVC_MAX_MESSAGE", "1KiB")
    assert main(["--max-message", "2KiB"]) == 0
    assert served == [Settings(max_reply=65536, max_message=2048)]


@pytest.mark.parametrize("between", [", ", ",", " ", "  ,\n"])
def test_a_variable_with_several_values_has_commas_and_spaces_between(
    between: str, served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("https://a.example", "https://b.example")
    monkeypatch.setenv("CHATSVC_ALLOW_ORIGIN", between.join(both))
    assert main([]) == 0
    assert main(["--allow-origin", both[1], "--allow-origin", both[0]]) == 0
    assert [settings.allow_origin for settings in served] == [both, both[::-1]]


@pytest.mark.parametrize(
    ("words", "variables", "line"),
    [
        (["--nope"], {}, "chatsvc: No such option*--nope*"),
        (["serve", "--nope=1"], {}, "chatsvc: No such option*--nope*"),
        (["ask", "--nope", "hi"], {}, "chatsvc ask: No such option*--nope*"),
        (["nope"], {}, "chatsvc: COMMAND takes serve, ask, doctor, deploy, not 'nope'"),
        (["serve", "nope"], {}, "chatsvc: *nope*"),
        (["ask"], {}, "chatsvc ask: *MESSAGE*"),
        (["ask", "hi", "there"], {}, "chatsvc ask: *there*"),
        (["doctor"], {}, "chatsvc doctor: *URL*"),
        (["doctor", "x"], {}, "chatsvc doctor: URL takes a URL, *, not 'x'"),
        (["--pace"], {}, "chatsvc: --pace takes a number of seconds, 0 or more"),
        (["--host", "--port", "1"], {}, "chatsvc: --host takes an address"),
        (["ask", "hi", "--url"], {}, "chatsvc ask: --url takes a URL, as *"),
        (["--open=yes"], {}, "chatsvc: --open takes nothing"),
        (["--open", "yes"], {}, "chatsvc: *yes*"),
        (["--admin-port"], {}, "chatsvc: --admin-port takes a port, as 9000, or *"),
        (["--log-format=x"], {}, "chatsvc: --log-format takes one of text, json, *"),
        ([], {"DRAIN": "x"}, "chatsvc: CHATSVC_DRAIN takes a number of seconds, *"),
        (["--backend=x"], {}, "chatsvc: --backend takes echo, *, not 'x'"),
        ([], {"BACKEND": "x"}, "chatsvc: CHATSVC_BACKEND takes echo, *, not 'x'"),
        (["--workers=2", "--store=x"], {}, "chatsvc: --store takes memory *'x'"),
        (["--workers=2"], {"STORE": "x"}, "chatsvc: CHATSVC_STORE takes memory *"),
        (
            ["ask", "--transport", "pigeon", "hi"],
            {},
            "chatsvc ask: --transport takes one of auto, sse, *, not 'pigeon'",
        ),
        (["ask", "hi"], {"URL": "x"}, "chatsvc ask: CHATSVC_URL takes a URL, *"),
        (
            ["doctor", "http://h"],
            {"SECONDS": "0"},
            "chatsvc doctor: CHATSVC_SECONDS takes a number from 1 to 600, not '0'",
        ),
    ],
)
def test_what_is_refused_is_one_line_that_names_it_and_what_it_takes(
    words: list[str],
    variables: dict[str, str],
    line: str,
    served: list[Settings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"CHATSVC_{name}", value)
    assert main(words) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    begin, *others = line.split("*")
    assert errors.startswith(begin)
    assert all(other in errors for other in others)
    assert not served


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], ["serve", "ask", "doctor", "--version", "--max-reply SIZE", "Limits:"]),
        (["serve"], ["--max-reply SIZE", "(default 256KiB)", "CHATSVC_API_KEYS"]),
        (["--port", "0"], ["--max-reply SIZE"]),
        (["ask"], ["MESSAGE", "--url URL", "ndjson", "CHATSVC_API_KEY"]),
        (["doctor"], ["URL", "--seconds SECONDS", "(default 4)", "CHATSVC_SECONDS"]),
    ],
)
def test_help(
    words: list[str], shown: list[str], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, flag]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    assert all(text in out for text in shown)
    assert max(map(len, out.splitlines())) <= 80


def test_help_on_a_terminal_that_is_not_utf_8() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chatsvc", "--help"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"--context-headers HEADER,?" in done.stdout


@pytest.mark.sampled
@pytest.mark.parametrize("workers", ["1", "2"])
def test_unknown_variables_are_passed_on_and_refuse_nothing(
    workers: str,
    served: list[Settings],
    remarks: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHATSVC_MAX_REPLIS", "1")
    monkeypatch.setenv("CHATSVC_URL", "of another command")
    assert main(["--workers", workers]) == 0
    [line] = remarks
    assert line.endswith("did you mean CHATSVC_MAX_REPLIES?")
    assert len(served) == 1


@pytest.mark.sampled
@pytest.mark.parametrize("words", [["ask", "hi"], ["doctor", "http://127.0.0.1:1"]])
def test_a_client_says_it_of_unknown_variables(
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CHATSVC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CHATSVC_APIKEY", "s3cret")
    assert main(words) == 1
    line = capsys.readouterr().err.splitlines()[0]
    assert line == (
        f"chatsvc {words[0]}: CHATSVC_APIKEY is no variable of chatsvc: "
        "did you mean CHATSVC_API_KEY?"
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"chatsvc {__version__}\n"


@pytest.mark.sampled
@pytest.mark.parametrize("words", [[], ["serve", "--workers", "2"], ["--port", "0"]])
def test_on_windows_the_service_says_in_one_line_that_it_does_not_run_there(
    words: list[str],
    served: list[Settings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(words) == 1
    out, errors = capsys.readouterr()
    assert (out, served) == ("", [])
    [line] = errors.splitlines()
    assert "does not run on Windows" in line
    assert "WSL 2" in line


def test_on_windows_no_module_that_serves_is_imported() -> None:
    """Some of them can't be: Windows has not all that they import."""
    program = (
        "import sys, chatsvc.cli; sys.platform = 'win32'; status = chatsvc.cli.main([]);"
        "assert 'chatsvc.serve' not in sys.modules; sys.exit(status)"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [NOT_ON_WINDOWS]


def test_a_message_that_begins_with_a_dash_stands_behind_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["ask", "-5 + 3"]) == 2
    assert "-- goes before" in capsys.readouterr().err
    assert main(["ask", "--url=http://127.0.0.1:1", "--", "-5 + 3"]) == 1
    assert "can't reach 127.0.0.1:1" in capsys.readouterr().err
