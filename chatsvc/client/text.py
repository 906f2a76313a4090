"""The transport `text`: a reply as bare `text/plain` (PROTOCOL.md section 2)."""

import codecs
from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.reading import Step
from chatsvc.client.signals import Attached, Broken, EndUnknown, Signal, TextReceived
from chatsvc.client.wire import Question, broken_signal, refusal_signals, send_step


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Yield the signals of one connection.

    There are no positions on this wire: received code points are counted. How the reply ended is
    always left to a poll, for a body that ends well is no proof: a proxy may end it so when its
    own connection was cut.
    """
    position = step.after
    # The bytes of a code point that a cut splits are not counted, so it is sent again.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        async with send_step(session, question, step, "text/plain") as response:
            if response.status != 200:
                async for signal in refusal_signals(response):
                    yield signal
                return
            if reply := response.headers.get("X-Reply-Id"):
                yield Attached(reply)
            elif step.reply is None:
                yield Broken("the reply came without its id")
                return
            while chunk := await response.content.readany():
                if text := decoder.decode(chunk):
                    position += len(text)
                    yield TextReceived(position, text)
            yield EndUnknown()
    except (aiohttp.ClientError, OSError) as error:
        # A failed reply aborts its body, which looks like a cut. When the attempt to resume it
        # has brought no text either, a poll is to say how the reply ended.
        in_vain = step.reply is not None and position == step.after
        yield EndUnknown() if in_vain else broken_signal(error)
