"""Transports: a reply's characters as bytes on a connection.

                      ┌─ Codec ───── what an event says ──────┐
    Reply ─► Stream ──┤                                       ├─► Encoder ─► socket
                      └─ Framing ─── how its bytes are wrapped ┘

The ticker calls a `Stream` when a character is due. The stream has the encoder make the character's
bytes, and writes them. A `PartsStream` does so for all parts of a reply, without an encoder; a
`MixedStream` for text with an encoder, and for what stands beside it without. The `table` goes from a media type or a WebSocket subprotocol to a codec; a
new kind of stream is one module with a codec and one line there.

| module | holds |
| --- | --- |
| `codec`, `framing`, `encoder` | the two halves of an event, and the cached path that joins them |
| `sse`, `text`, `ndjson`, `json_events`, `bare`, `openai`, `ui` | the codecs of the answer's text, one in each |
| `deltas`, `completion` | what stands beside the text as OpenAI's deltas, and these added up |
| `ui_parts`, `ui_calls`, `ui_replay` | what `ui` says of all parts, of calls, and of the steps that a message had before |
| `part_events`, `part_lines`, `part_frames` | the codecs of all parts, one in each; `part_json` is what their events say |
| `rendered_reply`, `block_stream`, `block_json` | rendered blocks: one rendering for all who read a reply so, their stream, and what their events say |
| `table` | which codec answers which media type or subprotocol |
| `writing` | `Stream`, and everything about a slow or closed connection |
| `streams` | the streams of all parts, and which stream a codec needs |
| `response`, `heartbeat` | streams over HTTP, and the comments beside them |
| `connection`, `serving` | one WebSocket, and how its replies take turns |
| `masks` | the check that a WebSocket's client masks its frames |
| `snapshot`, `part_snapshot`, `html` | a reply's text as JSON, its parts as JSON, and a page, which are no streams |
| `json_line`, `templates` | JSON in one line; the pages' templates |

Invariants:
- Every byte of a running stream is written by `writing`, `streams` and `block_stream`. aiohttp writes the rest: of an HTTP
  response the head with what goes out with it, the end or a whole body, and of a WebSocket the
  control frames and the answers that belong to no stream.
- A codec never waits and never writes, so that what an event says can be tested by itself.
- A stream takes bounded memory: it waits for a client that does not read, which is then dropped.
- Imports lead down, to `replies`, `rendering`, `requests` and what is below them: nothing here knows a route or
  parses a request.
"""
