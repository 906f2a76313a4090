"""The client behind `chatsvc ask` and `chatsvc doctor`.

ask        the command: message, stdin, stdout, Ctrl-C, exit status
doctor     the other command: one reply over all transports at once
diagnosis  pure: what these trials say of the proxies between client and service
reader     one reply from its question to its end; the table of transports
sse · ndjson · websocket · text · poll      one transport each: a `Step` in, signals out
wire       what the HTTP transports share: the question, its URLs, refusals, broken connections
events     pure: the signals that an event or a frame stands for
reading    pure: what has been read of a reply, and what to request next
retryable  the refusals after which a client comes back
signals    what a transport reports
terminal   pure but for its writes: what others sent is shown on a terminal, not obeyed

Each module imports only those below it in this list, and of the rest of `chatsvc` only modules that
know nothing of the service: `settings`, `exit_status`, `eventstream`, `proxies` and
`retry_after`. A new
transport is one module and one line in `reader.TRANSPORTS`: `ask` offers it and `doctor` tries it.
"""
