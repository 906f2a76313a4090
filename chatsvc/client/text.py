"""Reads a reply as bare `text/plain` (PROTOCOL.md section 2)."""

import codecs
from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.reading import Step
from chatsvc.client.signals import Attached, Broken, EndUnknown, Signal, TextReceived
from chatsvc.client.wire import Question, broken, refusal, send_step


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Give the signals of one connection.

    There are no positions on this wire: what is received is counted, in code points. A
    body that ends well is no proof either, for a proxy may end it so when it was cut;
    so the end is always asked for.
    """
    position = step.after
    # Half a code point at a cut is not counted, so it comes again.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        async with send_step(session, question, step, "text/plain") as response:
            if response.status != 200:
                async for signal in refusal(response):
                    yield signal
                return
            if reply := response.headers.get("X-Reply-Id"):
                yield Attached(reply)
            elif step.reply is None:
                yield Broken("the reply came without its id")
                return
            while True:
                chunk = await response.content.readany()
                if not chunk:
                    break
                if text := decoder.decode(chunk):
                    position += len(text)
                    yield TextReceived(position, text)
            yield EndUnknown()
    except (aiohttp.ClientError, OSError) as error:
        # A failed reply aborts its body, which looks like a cut. When the one that was
        # to mend it has brought nothing either, the end is asked for.
        in_vain = step.reply is not None and position == step.after
        yield EndUnknown() if in_vain else broken(error)
