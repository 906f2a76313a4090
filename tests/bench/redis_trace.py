"""The trace of what nodes send to Redis for replies, as something that can be sent again by others.

A recording is full of names and times: ids of replies, names of nodes, times of leases. `Trace` has a
gap for each, so that any number of copies of the same nodes and replies can be played side by side and
one after another, at another time.

The names of the keys are those of `chatsvc.stores.redis.keys`; nothing else is known of what is sent.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import NamedTuple

from .redis_recorder import Command
from .resp import Refusal, Value, command

HOUR_US = 3_600_000_000
"""Microseconds of an hour. A number is taken for a time if it is within one of when it was sent."""

_REPLY = re.compile(rb"chatsvc:\{\d+\}:([\w-]{22})(?::.*)?", re.DOTALL)
_NODE = re.compile(rb"chatsvc:\{\d+\}:bell:(\w+)")
_RUN = re.compile(rb"[\w-]{12,}")
_DIGITS = re.compile(rb"\d{13}|\d{16}")
_STATUS = re.compile(rb"[a-z]+(?= |$)")

Gap = tuple[str, int]
"""What goes into a gap: `name` and which, or `us` or `ms` and how much later than when it is sent."""


@dataclass(frozen=True)
class Form:
    """A text with gaps, as a format of bytes with a `%b` for each of them."""

    text: bytes
    gaps: tuple[Gap, ...]

    def filled(self, names: Sequence[bytes], now_us: int) -> bytes:
        """Return the text with these names, as it is sent at a time (microseconds since 1970)."""
        values = []
        for kind, value in self.gaps:
            if kind == "name":
                values.append(names[value])
            else:
                unit_us = 1 if kind == "us" else 1000
                values.append(b"%d" % (now_us // unit_us + value))
        return self.text % tuple(values)


class Expected(NamedTuple):
    """What a command is to be answered: its `status`, or None for any answer.

    `pattern` matches such an answer as it is sent, in one step; an answer that it does not match may
    be right, too.
    """

    pattern: re.Pattern[bytes]
    status: Value


@dataclass(frozen=True)
class Read:
    """One stream of an XREAD: the form of its name, and the recorded time (µs) of the id.

    The time is None for `0-0`, which reads the stream from its beginning. `of_reply` is whether it
    is a reply's own stream, and none that all replies share.
    """

    stream: Form
    after_us: int | None
    of_reply: bool


@dataclass(frozen=True)
class Step:
    """What a node sends in one write, `at_us` microseconds after the beginning.

    `node` is its number, and `answers` has what each of the commands is to be answered. `reads` are
    the streams if it is an XREAD: their names and ids follow behind `form`.
    """

    at_us: int
    node: int
    form: Form
    answers: tuple[Expected, ...]
    reads: tuple[Read, ...] = ()


def status(answer: Value) -> Value:
    """Return what an answer says, without what differs each time: ids, positions and times."""
    if isinstance(answer, Refusal):
        return answer.split(b" ")[0]
    if isinstance(answer, list):
        return [status(value) for value in answer]
    if isinstance(answer, bytes):
        found = _STATUS.match(answer)
        return found[0] if found else b""
    return b""


@cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern)


ANY = Expected(_compiled(rb"[+:][^\r]*\r\n|[$*]-1\r\n"), None)
"""What a command is to be answered whose answer is not compared."""


def expected(sent: Command) -> Expected:
    """Return what a command is to be answered, by what it was answered."""
    if sent.words[0] != b"EVALSHA":
        return ANY
    return Expected(_compiled(_pattern(sent.answer)), status(sent.answer))


def _pattern(answer: Value) -> bytes:
    """Return the pattern of all answers that differ from one in numbers only."""
    if isinstance(answer, list):
        return rb"\*%d\r\n" % len(answer) + b"".join(map(_pattern, answer))
    if isinstance(answer, int):
        return rb":-?\d+\r\n"
    if answer is None:
        return rb"[$*]-1\r\n"
    text = rb"\d+".join(map(re.escape, re.split(rb"\d+", answer)))
    return rb"\$\d+\r\n%b\r\n" % text


class Trace:
    """A recording with gaps: what nodes send before `begin_us`, and from then on.

    `before` are the steps by which they connect and begin, `steps` those that follow, over
    `length_us`. `scripts` are the sources that Redis is to have. `replies` is how many replies begin
    within the steps, `at_once` how many run at a time on average, and `commands` how many commands
    the steps have.
    """

    def __init__(self, commands: Iterable[Command], begin_us: int) -> None:
        sent = list(commands)
        words = [word for each in sent for word in each.words]
        self._names = _Names(words)
        self._nodes = self._names.nodes_of(sent)
        loads = [each for each in sent if each.words[:2] == (b"SCRIPT", b"LOAD")]
        self.scripts = list(dict.fromkeys(each.words[2] for each in loads))
        steps = list(self._steps(sent, begin_us))
        self.before = [step for step in steps if step.at_us < 0]
        self.steps = [step for step in steps if step.at_us >= 0]
        self.length_us = self.steps[-1].at_us + 1 if self.steps else 0
        self.begin_us = begin_us
        self.commands = sum(len(step.answers) for step in self.steps)
        lives = list(self._names.lives(sent, begin_us))
        self.replies = len(lives)
        self.at_once = sum(lives) / max(1, self.length_us)

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self._names.nodes)

    def names(self, copy: int, turn: int) -> list[bytes]:
        """Return all names in a copy's turn: those of its nodes stay, its replies are new ones."""
        nodes = [_other(name, f"{copy}") for name in self._names.nodes]
        replies = [_other(name, f"{copy} {turn}") for name in self._names.replies]
        return nodes + replies

    def _steps(self, sent: list[Command], begin_us: int) -> Iterator[Step]:
        by_write = groupby(sent, lambda each: (each.connection, each.write))
        for (connection, _), group in by_write:
            commands = [each for each in group if not _is_of_scripts(each)]
            if not commands or connection not in self._nodes:
                continue
            node = self._nodes[connection]
            at_us = commands[0].at_us - begin_us
            first = commands[0]
            if first.words[0] == b"XREAD" and len(commands) == 1:
                yield self._read(at_us, node, first)
                continue
            answers = tuple(map(expected, commands))
            yield Step(at_us, node, self._names.form(commands), answers)

    def _read(self, at_us: int, node: int, sent: Command) -> Step:
        words = sent.words
        behind = words.index(b"STREAMS") + 1
        count = (len(words) - behind) // 2
        options = list(words[1:behind])
        if b"BLOCK" in options:
            # What comes later is there when the next one asks, and a wait would hold that up: the
            # replay's time is not that of the recording.
            options[options.index(b"BLOCK") + 1] = b"1"
        reads = tuple(
            Read(
                self._names.word(stream, sent.at_us),
                _time_of(id),
                _REPLY.fullmatch(stream) is not None,
            )
            for stream, id in zip(
                words[behind : behind + count], words[behind + count :], strict=True
            )
        )
        text = command(words[0], *options).partition(b"\r\n")[2]
        form = Form(b"*%d\r\n%b" % (len(words), text), ())  # no word of it has a `%`
        return Step(at_us, node, form, (ANY,), reads)


def _is_of_scripts(sent: Command) -> bool:
    """Return whether a command loads a script, or was not run for want of it."""
    unknown = isinstance(sent.answer, Refusal) and sent.answer.startswith(b"NOSCRIPT")
    return unknown or sent.words[0] == b"SCRIPT"


def _time_of(entry_id: bytes) -> int | None:
    """Return the time (µs) of the id of an entry; None for `0-0`."""
    return int(entry_id.split(b"-")[0]) * 1000 or None


def _other(name: bytes, salt: str) -> bytes:
    """Return another name of the same length and kind, the same one for the same salt."""
    digest = hashlib.blake2b(name, key=salt.encode(), digest_size=16)
    if len(name) < 22:
        return digest.hexdigest().encode()[: len(name)]
    return base64.urlsafe_b64encode(digest.digest())[: len(name)]


class _Names:
    """The names in a recording: of its nodes, then of its replies."""

    def __init__(self, words: Iterable[bytes]) -> None:
        nodes: dict[bytes, None] = {}
        replies: dict[bytes, None] = {}
        for word in words:
            if found := _NODE.fullmatch(word):
                nodes[found[1]] = None
            elif found := _REPLY.fullmatch(word):
                replies[found[1]] = None
        self.nodes, self.replies = list(nodes), list(replies)
        self._numbers = {name: i for i, name in enumerate([*nodes, *replies])}
        self._lengths = sorted({len(name) for name in self._numbers}, reverse=True)

    def nodes_of(self, sent: Iterable[Command]) -> dict[int, int]:
        """Return which node has each connection: the one that is named over it first.

        A connection over which none is named was made in vain, and is left out.
        """
        nodes: dict[int, int] = {}
        for each in sent:
            if each.connection not in nodes:
                for word in each.words:
                    for _, _, number in self._found(word):
                        if number < len(self.nodes):
                            nodes.setdefault(each.connection, number)
        return nodes

    def lives(self, sent: Iterable[Command], begin_us: int) -> Iterator[int]:
        """Yield for each reply that is first named after the beginning how long it is named (µs)."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for each in sent:
            if each.words[0] != b"XREAD":
                for word in each.words:
                    for _, _, number in self._found(word):
                        first.setdefault(number, each.at_us)
                        last[number] = each.at_us
        for number, at_us in first.items():
            if number >= len(self.nodes) and at_us >= begin_us:
                yield last[number] - at_us

    def word(self, word: bytes, at_us: int) -> Form:
        """Return the form of one word that was sent at a time."""
        literals, gaps = [b""], list[Gap]()
        self._add(word, at_us, literals, gaps)
        return _form(literals, gaps)

    def form(self, commands: Iterable[Command]) -> Form:
        """Return the form of commands as they are sent."""
        literals, gaps = [b""], list[Gap]()
        for each in commands:
            literals[-1] += b"*%d\r\n" % len(each.words)
            for word in each.words:
                literals[-1] += b"$%d\r\n" % len(word)
                self._add(word, each.at_us, literals, gaps)
                literals[-1] += b"\r\n"
        return _form(literals, gaps)

    def _add(
        self, word: bytes, at_us: int, literals: list[bytes], gaps: list[Gap]
    ) -> None:
        if _DIGITS.fullmatch(word):
            unit_us, kind = (1, "us") if len(word) == 16 else (1000, "ms")
            later = int(word) - at_us // unit_us
            if abs(later) * unit_us < HOUR_US:
                gaps.append((kind, later))
                literals.append(b"")
                return
        end = 0
        for begin, behind, number in self._found(word):
            literals[-1] += word[end:begin]
            gaps.append(("name", number))
            literals.append(b"")
            end = behind
        literals[-1] += word[end:]

    def _found(self, word: bytes) -> Iterator[tuple[int, int, int]]:
        """Yield where names begin and end in a word, and which; also amid other bytes."""
        for run in _RUN.finditer(word):
            at = run.start()
            while at < run.end():
                for length in self._lengths:
                    number = self._numbers.get(word[at : at + length])
                    if number is not None:
                        yield at, at + length, number
                        at += length
                        break
                else:
                    at += 1


def _form(literals: list[bytes], gaps: list[Gap]) -> Form:
    text = b"%b".join(literal.replace(b"%", b"%%") for literal in literals)
    return Form(text, tuple(gaps))
