"""Requests: what clients ask for, read once into values and checked.

    JSON ──► decoding ──► members ──► Start · Read · Stop · Completion · Turn

| module | holds |
| --- | --- |
| `openai` | bodies of `POST /v1/chat/completions`: `Completion` |
| `ui` | bodies of `POST /api/ui`: `Turn` |
| `ui_messages` | messages of pages in parts, as messages in OpenAI's form |
| `chat` | bodies of `POST /api/chat` and frames of a WebSocket; idempotency keys |
| `conversation` | messages and options in OpenAI's form: `Prompt` |
| `options` | a request's options |
| `content` | the parts of a message's content |
| `decoding` | JSON into typed members, and what is wrong with it as a problem |
| `values` | what endpoints pass down: `Start`, `Read` or `Stop`, with the `Caller` and the `View`; the limits of a request |

Each module imports only those below it in this table.

Invariants:
- Nothing here waits, reads a connection or knows aiohttp; `web.parsing` reads HTTP requests and
  calls this.
- Whatever is wrong with a request is raised as a `Problem`, before a reply is started or looked
  for.
"""
