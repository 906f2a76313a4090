"""Limits of one rendering: what a text may cost, and the account of what is left.

Nothing over a limit is an error or is lost: it is shown as plain text (PROTOCOL.md section 2).
"""

from __future__ import annotations

import time
from collections.abc import Callable

PHASE_TIME_S = 0.25
"""Seconds of CPU that each of the three phases of a rendering may take: blocks, inlines, HTML.

They are enough for 20 KiB of the densest Markdown, and for 256 KiB of prose. What a phase leaves,
the next one may use.
"""

MAX_CELLS = 10_000
"""Cells that all tables of a text may have. Eight KiB of Markdown can ask for 65,000: a row that has
too few cells is filled up with empty ones."""

MAX_NESTING = 20
"""Levels of blocks within blocks; a quotation is one, an item of a list two."""

MAX_INLINE_NESTING = 64
"""Levels of emphasis and links within one paragraph."""

MAX_PARAGRAPH = 32 * 1024
"""Code points of a paragraph, a heading or a cell up to which its emphasis and links are looked for:
some rules search or copy all that follows, from every place."""

MAX_ADDRESS = 4096
"""Characters of a link's address. One that is defined once may be used ten thousand times."""

MAX_COLOURED_BLOCK = 8 * 1024
"""Characters of a code block up to which it is coloured: some lexers take quadratic time."""

MAX_COLOURED = 32 * 1024
"""Characters of code that are coloured in one text."""

MAX_FORMULA = 2000
"""Characters of a formula up to which it is set as one."""

MAX_FORMULA_NESTING = 64
"""Levels of braces within a formula, and of elements within its MathML."""

MAX_MATHML = 64 * 1024
"""Characters of MathML of one formula. A few characters of TeX can ask for fifty times as many."""

OUTPUT_FACTOR = 16
"""Characters of HTML that each character of the text may become."""

OUTPUT_ALLOWANCE = 64 * 1024
"""Characters of HTML beyond that."""

CALLS_PER_LOOK = 32
"""Calls of `Budget.check_time` for each look at the clock, which is a system call."""


class OverLimit(Exception):
    """Raised within a rendering when it has used up its time or its output."""


class Budget:
    """What one rendering may still use.

    `clock` returns seconds of CPU. `cells`, `colourable` and `output` are the cells, the characters
    of code and the characters of HTML that are left; whoever uses the first two subtracts. No phase
    has begun yet.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.process_time,
        colourable: int = MAX_COLOURED,
        *,
        cells: int = MAX_CELLS,
        output: int = OUTPUT_ALLOWANCE,
    ) -> None:
        self.cells = cells
        self.colourable = colourable
        self.output = output
        self._clock = clock
        self._deadline = clock()
        self._calls = 0

    def begin_phase(self) -> None:
        """Allow the time of one more phase."""
        self._deadline += PHASE_TIME_S

    def check_time(self, *, now: bool = False) -> None:
        """Raise `OverLimit` when the time of all phases that have begun is used up.

        `now` is for what takes milliseconds: the clock is looked at in this very call.
        """
        self._calls += 1
        if (
            now or self._calls % CALLS_PER_LOOK == 0
        ) and self._clock() > self._deadline:
            raise OverLimit("time")

    def allow_output(self, characters: int) -> None:
        """Allow the output for so many more characters of the text."""
        self.output += OUTPUT_FACTOR * characters

    def write(self, characters: int) -> None:
        """Count characters of HTML. Raises `OverLimit` when they are more than is allowed."""
        self.output -= characters
        if self.output < 0:
            raise OverLimit("output")
