"""The command `chatsvc doctor`: tries every transport through whatever stands between.

All transports read the same reply at once, so that each is measured by the others. This module
does the reading and prints the report; `chatsvc.client.diagnosis` judges what came.
"""

import asyncio
import secrets
import sys
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import ClassVar

import aiohttp
from yarl import URL

from chatsvc.client.diagnosis import Finding, Trial, best_transport, judge
from chatsvc.client.reader import TRANSPORTS, read_step, stop_reply
from chatsvc.client.reading import Step
from chatsvc.client.signals import Attached, Ended
from chatsvc.client.terminal import print_line
from chatsvc.client.wire import Question, Timeouts, new_session
from chatsvc.exit_status import ExitStatus
from chatsvc.setting_formats import API_KEY, PATH, number_format
from chatsvc.settings import setting

ECHO_PACE_S = 0.1
"""The seconds between two characters of the backend `echo`, by default."""

OVERTIME_S = 60.0
"""The seconds that a reply may take beyond those that were asked for."""

LATE_S = 5.0
"""The seconds that the other transports get once the reply has ended over one."""

RESUMED = "eventsource"
"""The name of the trial that reads the reply as a browser's `EventSource` resumes it: by a GET."""

_CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class DoctorSettings:
    """The settings of `chatsvc doctor`."""

    group: ClassVar[str] = "Options"

    seconds: float = setting(
        4.0,
        number_format("SECONDS", "a number from 1 to 600", least=1, most=600),
        "how long the reply takes; more finds limits of time",
    )
    api_key: str = setting(
        "", API_KEY, "a key of the service; it has no flag", secret=True, flagless=True
    )
    uds: str = setting("", PATH, "a Unix socket by which the service is reached")


def run_doctor(
    url: URL, seconds: float, api_key: str = "", uds: str = ""
) -> ExitStatus:
    """Try all transports by a reply of about `seconds` and print the report.

    `url` is the service's root, with a slash at its end, `api_key` the key of a user of the
    service, or "", and `uds` the path of its Unix socket, or "". Returns `OK` if every transport
    works, `FAILED` if one doesn't, and `INTERRUPTED` after Ctrl-C, which stops the reply.
    """
    try:
        trials = asyncio.run(examine(url, seconds, api_key=api_key, uds=uds))
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    findings = [judge(trial, trials) for trial in trials]
    # In one write: a program that reads only the beginning (`| head`) then closes no pipe on it.
    print_line(sys.stdout, "\n".join(report(url, trials, findings)))
    works = all(finding.works for finding in findings)
    return ExitStatus.OK if works else ExitStatus.FAILED


async def examine(
    url: URL,
    seconds: float,
    *,
    overtime: float = OVERTIME_S,
    late: float = LATE_S,
    api_key: str = "",
    uds: str = "",
) -> list[Trial]:
    """Start one reply of about `seconds` and read it over all transports; return their trials.

    Each transport sends the same question with the same idempotency key, so all attach to one
    reply. `eventsource` reads the reply by its id, and is left out if no id came. A reply that has
    not ended after `seconds` + `overtime` is stopped. Once it has ended over one transport, the
    others get `late` seconds more.
    """
    limit = seconds + overtime
    question = Question(
        base=url,
        body={"message": message(seconds)},
        key=secrets.token_urlsafe(16),
        api_key=api_key,
        uds=uds,
        timeouts=Timeouts(headers=limit, silence=limit),
    )
    reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    trials = [Trial(transport) for transport in (*TRANSPORTS, RESUMED)]
    tasks = [asyncio.create_task(_read(trial, question, reply)) for trial in trials]
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                for done in asyncio.as_completed(tasks):
                    await done
                    if _ended(trials) or _all_failed(trials):
                        break
        await _stop(question, reply, trials)
        await asyncio.wait(tasks, timeout=late if reply.done() else 0)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _stop(question, reply, trials)
    return [t for t in trials if reply.done() or t.transport != RESUMED]


async def _stop(
    question: Question, reply: asyncio.Future[str], trials: Sequence[Trial]
) -> None:
    """Stop the reply, unless its end is known or none was started. Its id need not be known."""
    if not (_ended(trials) or _all_failed(trials)):
        async with new_session(
            question.base, question.api_key, question.uds
        ) as session:
            known = reply.result() if reply.done() else None
            await stop_reply(session, question, known)


def _ended(trials: Sequence[Trial]) -> bool:
    """Return whether the reply's end has come over any transport."""
    return any(isinstance(trial.end, Ended) for trial in trials)


def _all_failed(trials: Sequence[Trial]) -> bool:
    """Return whether every transport has ended without a reply."""
    asking = (trial for trial in trials if trial.transport != RESUMED)
    return all(trial.end is not None and not trial.answered for trial in asking)


def message(seconds: float) -> str:
    """Return a message that the backend `echo` gives back in about `seconds`.

    It also asks a model to count for about as long.
    """
    text, number = f"Count from 1 to {25 * seconds:.0f}, like this:", 0
    while len(text) < seconds / ECHO_PACE_S:
        number += 1
        text += f" {number}"
    return text


async def _read(trial: Trial, question: Question, reply: asyncio.Future[str]) -> None:
    """Read the reply over the trial's transport, by one connection."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    if trial.transport == RESUMED:
        step = Step("sse", await asyncio.shield(reply), 0, 0.0)
    else:
        step = Step(trial.transport, None, 0, 0.0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S)
    async with (
        new_session(
            question.base,
            question.api_key,
            question.uds,
            timeout=timeout,
            trace_configs=[_head_trace(trial)],
        ) as session,
        aclosing(read_step(session, question, step)) as signals,
    ):
        async for signal in signals:
            if isinstance(signal, Attached) and not reply.done():
                reply.set_result(signal.reply)
            trial.take(signal, clock() - begun)


def _head_trace(trial: Trial) -> aiohttp.TraceConfig:
    """Return a trace that notes in `trial` what the heads of its responses say."""

    async def note(
        _: aiohttp.ClientSession, __: object, done: aiohttp.TraceRequestEndParams
    ) -> None:
        headers = done.response.headers
        trial.server = headers.get("Via", "") or headers.get("Server", "")
        trial.encoding = headers.get("Content-Encoding", "").strip().lower()

    config = aiohttp.TraceConfig()
    config.on_request_end.append(note)
    return config


def report(url: URL, trials: Sequence[Trial], findings: Sequence[Finding]) -> list[str]:
    """Return the lines of the report: who answers, each finding, the best transport, advice.

    A user and password in `url` are left out.
    """
    servers = dict.fromkeys(trial.server for trial in trials if trial.server)
    answers = f" answers as {', '.join(servers)}" if servers else ""
    lines = [f"{url.with_user(None)}{answers}"]
    lines += [f"  {finding.transport:<12}{finding.summary}" for finding in findings]
    best = best_transport(findings)
    lines += [
        "",
        f"The page and `chatsvc ask` read by {best} here."
        if best
        else "Nothing works as it should.",
    ]
    transports_of: dict[str, list[str]] = {}
    for finding in findings:
        for advice in finding.advice:
            transports_of.setdefault(advice, []).append(finding.transport)
    for advice, transports in transports_of.items():
        lines += ["", f"{', '.join(transports)}: {advice}"]
    return lines
