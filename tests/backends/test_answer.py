"""An answer ends within its limits, whatever is fed and whenever: by a clock that is only a number."""

from collections.abc import Callable

import pytest

from chatsvc.backends import answer as answers
from chatsvc.backends.answer import (
    MOST_SILENT_TIMEOUTS,
    QUIET_LIMIT_BYTES,
    Answer,
)
from chatsvc.backends.errors import TransientFailure
from chatsvc.backends.receivers import (
    DRAIN_LIMIT_BYTES,
    REFUSAL_LIMIT_BYTES,
    RefusalBody,
    Rest,
)
from chatsvc.model import Finish, Piece
from chatsvc.problems import BackendFailed

SILENT = "The model's server fell silent."
BROKE = "The model's server broke off."
TOO_MUCH = "The model's server sent more than can be kept."


class Lines:
    """A reader of words: `.` finishes, `!` is complete, `#` fails, `-` is nothing; others are text.

    A text that ends in `!` is complete, too. With `quick` texts come by `next_text`.
    """

    linger_s = 2.0

    quick = False

    def __init__(self) -> None:
        self.complete = False
        self.progress = 0
        self.failure: BackendFailed | None = None
        self.finish: Finish | None = None

    def next_text(self, data: bytes) -> str | None:
        text = data.decode()
        quick = self.quick and self.finish is None and data[-1:] not in b"-#.!"
        return text if quick else None

    def feed(self, data: bytes) -> list[Piece]:
        text = data.decode()
        if text.startswith("-"):
            return []
        self.progress += 1
        if text == "#":
            self.failure = BackendFailed("no")
        elif text in (".", "!"):
            self.finish, self.complete = Finish("stop"), text == "!"
        else:
            self.finish, self.complete = None, text.endswith("!")
            return [text]
        return []

    def end(self) -> list[Piece]:
        return ["<end>"]

    def rest(self) -> list[Piece]:
        return ["<rest>"]


@pytest.fixture(params=[False, True], ids=["any", "quick"], autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with texts that come by `feed`, and with texts that come by `next_text`."""
    monkeypatch.setattr(Lines, "quick", request.param)


def answer(
    *fed: str, take: Callable[[Piece], bool] | None = None, timeout: float = 10.0
) -> Answer:
    """Return an answer that began at 0 and was fed a word at each full second from 1 on."""
    made = Answer(Lines(), timeout, 0.0, take)
    for second, word in enumerate(fed, 1):
        made.feed(word.encode(), float(second))
    return made


def test_pieces_wait_in_order_until_they_are_dropped() -> None:
    made = answer("a", "bc")
    assert (list(made.pieces), made.held, made.given) == (["a", "bc"], 3, 2)
    made.drop()
    assert (list(made.pieces), made.held) == (["bc"], 2)
    made.drop()
    assert (list(made.pieces), made.held) == ([], 0)


def test_a_piece_is_taken_only_if_none_waits_before_it() -> None:
    taken: list[Piece] = []

    def take(piece: Piece) -> bool:
        if piece == "no":
            return False
        taken.append(piece)
        return True

    made = answer("a", "no", "b", take=take)
    assert (taken, list(made.pieces)) == (["a"], ["no", "b"])
    made.drop()
    made.feed(b"c", 9.0)
    assert (taken, list(made.pieces)) == (["a"], ["b", "c"])
    made.drop()
    made.drop()
    made.feed(b"d", 9.0)
    assert (taken, list(made.pieces), made.given) == (["a", "d"], [], 5)


def test_what_comes_together_with_the_end_is_kept_for_it() -> None:
    made = answer("a", "b!", take=lambda piece: True)
    assert (list(made.pieces), made.held, made.over) == (["b!", "<rest>"], 8, True)


def test_silence() -> None:
    made = answer("a")
    made.look(10.9)
    assert (made.over, made.deadline) == (False, 11.0)
    made.look(11.0)
    assert made.over and made.failure is not None
    assert (made.failure.detail, made.complete) == (SILENT, False)
    assert list(made.pieces) == ["a", "<rest>"]


def test_what_is_no_progress_postpones_the_end_only_so_far() -> None:
    made = answer("a", *["-"] * 99)
    made.look(100.0)
    assert made.over and made.failure is not None
    made = answer("a", *["-"] * 48)
    made.look(49.0)
    assert (made.over, made.deadline) == (False, 1 + MOST_SILENT_TIMEOUTS * 10.0)


def test_after_the_finish_the_deadline_comes_forward_and_is_no_failure() -> None:
    made = answer("a", ".")
    assert made.deadline == 4.0
    made.look(4.0)
    assert (made.complete, made.finish) == (True, Finish("stop"))


def test_nothing_postpones_the_end_after_the_finish_but_progress() -> None:
    made = answer(".", "-", "-")
    made.look(3.0)
    assert made.complete
    made = answer(".", ".", ".")
    made.look(4.9)
    assert not made.over
    made.look(5.0)
    assert made.complete


def test_content_withdraws_the_finish() -> None:
    made = answer(".", "a")
    made.look(11.9)
    assert not made.over
    made.look(12.0)
    assert made.over and made.failure is not None
    assert made.failure.detail == SILENT


def test_the_timeout_limits_the_wait_after_the_finish_too() -> None:
    assert answer("a", ".", timeout=0.5).deadline == 2.5


@pytest.mark.parametrize(
    ("fed", "end", "detail"),
    [
        (["a"], Answer.break_off, BROKE),
        (["a"], Answer.end, BROKE),
        (["a", "."], Answer.break_off, ""),
        (["a", "."], Answer.end, ""),
        (["a", "!"], Answer.end, ""),
        (["a", "#"], Answer.break_off, "no"),
    ],
)
def test_the_end(fed: list[str], end: Callable[[Answer], None], detail: str) -> None:
    made = answer(*fed)
    end(made)
    assert made.over
    assert (made.failure.detail if made.failure else "") == detail
    assert isinstance(made.failure, TransientFailure) is (detail == BROKE)
    assert list(made.pieces).count("<rest>") == 1
    made.break_off()
    made.end()
    made.look(999.0)
    assert (made.failure.detail if made.failure else "") == detail


def test_too_much_of_nothing() -> None:
    made = answer("a", "-" * QUIET_LIMIT_BYTES)
    assert not made.over
    made.feed(b"-", 3.0)
    assert made.failure is not None and made.failure.detail == TOO_MUCH
    made = answer(".", "-" * (QUIET_LIMIT_BYTES + 1))
    assert made.complete


def test_too_much_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "RESPONSE_LIMIT_BYTES", 6)
    made = answer("abc", "def")
    assert not made.over
    made.feed(b"g", 3.0)
    assert made.failure is not None and made.failure.detail == TOO_MUCH
    assert list(made.pieces) == ["abc", "def", "g", "<rest>"]


def test_what_can_not_be_unpacked() -> None:
    made = answer("a")
    made.fail(BackendFailed("packed"))
    assert made.failure is not None and made.failure.detail == "packed"


def test_time_in_which_nothing_was_read_is_no_silence() -> None:
    made = answer("a")
    made.read_again(100.0)
    made.look(109.0)
    assert not made.over
    made.look(110.0)
    assert made.over


def test_a_refusal_is_cut_and_has_its_time() -> None:
    body = RefusalBody(5.0)
    body.feed(b"x" * 10, 1.0)
    assert (body.over, body.deadline, body.held) == (False, 5.0, 0)
    body.feed(b"x" * REFUSAL_LIMIT_BYTES, 1.0)
    assert body.over and len(body.content) == REFUSAL_LIMIT_BYTES
    for end in (
        RefusalBody.end,
        RefusalBody.break_off,
        lambda b: b.look(5.0),
        lambda b: b.fail(BackendFailed()),
    ):
        body = RefusalBody(5.0)
        end(body)
        assert body.over and not body.complete


def test_the_rest_ends_once() -> None:
    calls: list[int] = []
    rest = Rest(1.0, lambda: calls.append(1))
    rest.feed(b"x" * DRAIN_LIMIT_BYTES, 0.0)
    assert not calls
    rest.feed(b"x", 0.0)
    rest.end()
    rest.look(1.0)
    assert calls == [1] and rest.over
