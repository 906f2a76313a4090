"""Requests: what clients ask for, read once into values and checked.

    JSON ──► decoding ──► members ──► Start · Read · Stop · Completion · Turn

| module | holds |
| --- | --- |
| `values` | what endpoints pass down: `Start`, `Read` or `Stop`, with the `Caller` and the `View` |
| `decoding` | JSON into typed members, and what is wrong with it as a problem |
| `chat` | bodies of `POST /api/chat` and frames of a WebSocket; prompts, idempotency keys |
| `openai` | bodies of `POST /v1/chat/completions` |
| `ui` | bodies of `POST /api/ui` |

Invariants:
- Nothing here waits, reads a connection or knows aiohttp; `web.parsing` reads HTTP requests and
  calls this.
- Whatever is wrong with a request is raised as a `Problem`, before a reply is begun or looked for.
"""
