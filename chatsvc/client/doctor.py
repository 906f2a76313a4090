"""`chatsvc doctor`: tries every transport through whatever stands between (section 8)."""

import argparse
import asyncio
import secrets
from collections.abc import Sequence
from contextlib import aclosing, suppress

import aiohttp
from yarl import URL

from chatsvc.client.ask import DONE, FAILED, INTERRUPTED, service_url
from chatsvc.client.diagnosis import Finding, Trial, chosen, judge
from chatsvc.client.reader import TRANSPORTS, stop
from chatsvc.client.reading import Step
from chatsvc.client.signals import Attached, Ended
from chatsvc.client.wire import Patience, Question

SECONDS = 4.0
PACE = 0.1
"""Seconds between two characters of an echo, by default."""
FIRST, LATE = 60.0, 5.0
"""Seconds that a reply gets beyond its own, and the others after its end came over one transport."""

RESUMED = "eventsource"
"""The transport that reads the reply by a GET."""


def seconds(value: str) -> float:
    """Read how long a reply is to take; raise ArgumentTypeError for what is no such time."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 1 <= number <= 600:
        raise argparse.ArgumentTypeError(f"{value!r} is no number from 1 to 600")
    return number


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `chatsvc doctor` takes."""
    parser.add_argument(
        "url",
        metavar="URL",
        type=service_url,
        help="where people reach chatsvc, with its prefix if it has one",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=SECONDS,
        help="how long the reply is to take; more finds limits of time (%(default)g)",
    )


def run_doctor(args: argparse.Namespace) -> int:
    """Do what `args` say and give the exit status: 0 if every transport works, 1 if one doesn't, 130 after Ctrl-C."""
    try:
        trials = asyncio.run(examine(args.url, args.seconds))
    except KeyboardInterrupt:
        return INTERRUPTED
    findings = [judge(trial, trials) for trial in trials]
    # All at once, so that whoever reads only the beginning (`| head`) breaks nothing.
    print("\n".join(report(args.url, trials, findings)), flush=True)
    return DONE if all(finding.works for finding in findings) else FAILED


async def examine(
    url: URL, seconds: float, *, first: float = FIRST, late: float = LATE
) -> list[Trial]:
    """Ask for one reply that takes so many seconds, and read it over all transports at once.

    It is asked for over each under the same key, so all attach to it; `eventsource` gets it by its id, if there is one. A
    reply that does not end in `first` seconds more is stopped; when it has ended over one transport, the others get
    `late` seconds.
    """
    limit = seconds + first
    question = Question(
        base=url,
        body={"message": message(seconds)},
        key=secrets.token_urlsafe(16),
        patience=Patience(headers=limit, silence=limit),
    )
    reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    trials = [Trial(transport) for transport in (*TRANSPORTS, RESUMED)]
    tasks = [asyncio.create_task(_try(trial, question, reply)) for trial in trials]
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
    """Stop the reply, unless its end is known or there is none. Its id may not have come yet."""
    if not (_ended(trials) or _all_failed(trials)):
        async with aiohttp.ClientSession(trust_env=True) as session:
            known = reply.result() if reply.done() else None
            await stop(session, question, known)


def _ended(trials: Sequence[Trial]) -> bool:
    """Whether the reply's end has come over any transport."""
    return any(isinstance(trial.end, Ended) for trial in trials)


def _all_failed(trials: Sequence[Trial]) -> bool:
    """Whether no reply has begun, nor will."""
    asking = (trial for trial in trials if trial.transport != RESUMED)
    return all(trial.end is not None and not trial.answered for trial in asking)


def message(seconds: float) -> str:
    """What takes an echo about so many seconds to say, and a model, too, if it does as it is told."""
    text, number = f"Count from 1 to {25 * seconds:.0f}, like this:", 0
    while len(text) < seconds / PACE:
        number += 1
        text += f" {number}"
    return text


async def _try(trial: Trial, question: Question, reply: asyncio.Future[str]) -> None:
    """Read the reply over one transport, once."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    if trial.transport == RESUMED:
        step = Step("sse", await asyncio.shield(reply), 0, 0.0)
    else:
        step = Step(trial.transport, None, 0, 0.0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
    async with (
        aiohttp.ClientSession(
            timeout=timeout, trust_env=True, trace_configs=[_heads(trial)]
        ) as session,
        aclosing(TRANSPORTS[step.transport](session, question, step)) as signals,
    ):
        async for signal in signals:
            if isinstance(signal, Attached) and not reply.done():
                reply.set_result(signal.reply)
            trial.take(signal, clock() - begun)


def _heads(trial: Trial) -> aiohttp.TraceConfig:
    """Note what the heads of a trial's answers tell of who gave them."""

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
    """The lines that tell it all."""
    servers = dict.fromkeys(trial.server for trial in trials if trial.server)
    answers = f" answers as {', '.join(servers)}" if servers else ""
    lines = [f"{url}{answers}"]
    lines += [f"  {finding.transport:<12}{finding.says}" for finding in findings]
    best = chosen(findings)
    lines += [
        "",
        f"The page and `chatsvc ask` read by {best} here."
        if best
        else "Nothing works as it should.",
    ]
    mends: dict[str, list[str]] = {}
    for finding in findings:
        for mend in finding.mend:
            mends.setdefault(mend, []).append(finding.transport)
    for mend, transports in mends.items():
        lines += ["", f"{', '.join(transports)}: {mend}"]
    return lines
