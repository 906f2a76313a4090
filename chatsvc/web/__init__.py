"""The web: endpoints of aiohttp over replies and transports.

    request ─► middleware ─► endpoint ─► parsing ─► access ─► Replies
                                │
                                └─► a transport's response ─► socket

An endpoint has its request parsed into one value (`chatsvc.requests`), has `access` start or find
the reply, and returns a response of `chatsvc.transports`. The endpoint of WebSockets does the same
for each frame.

| module | holds |
| --- | --- |
| `chat`, `sockets`, `openai`, `ui` | the endpoints of replies, by whose clients call them |
| `pages`, `health` | the chat page with its files; liveness, readiness, metrics |
| `accent`, `starters` | the colour of the page, and the questions that it offers |
| `parsing`, `bodies`, `negotiation` | HTTP requests into values; their bodies; what a client accepts |
| `access`, `names` | from such a value to its reply; from the names of chats and messages to theirs |
| `login`, `sessions`, `tickets` | signing in and out; the cookies of browsers; what stands for a key in a URL |
| `identification`, `authorization` | who a request is from, by whose word, and what its use is counted by |
| `withdrawal` | what ends with a key |
| `proxies`, `forwarded` | what trusted proxies say of a client |
| `middleware`, `hosts`, `origin`, `security` | what lets a request through; the headers of all answers |
| `problems` | problems as responses |
| `disconnects`, `readers` | clients that leave or take nothing; the stream of one that reads, with its scope |
| `connections`, `open_request`, `connection_limits`, `phases`, `plain_answers`, `cuts`, `descriptors` | limits of a connection, and of how many there are |
| `use`, `beyond` | the limits of clients, and what they have open; connections beyond them |
| `memory` | what connections hold in memory, and the watch over the budget |
| `reach` | who can reach the service, and whether that is meant |
| `logs`, `log_lines`, `request_ids` | the lines of the logs, how they are written, and what requests are called in them |
| `metrics`, `metric_families`, `process_metrics`, `figures`, `stalls` | what a scrape shows; the numbers, shared by all processes |
| `app_keys` | the typed keys of the application and of requests |

Invariants:
- No module with endpoints imports another one.
- The answer to an error has the members of its problem, and no traceback or path.
- Ids of replies and chats are capabilities: logs have no more than their beginnings.
"""
