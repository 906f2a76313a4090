"""The child process of the backend `local`: llama.cpp's HTTP server on the loopback interface.

It is run as `python -P PATH MODEL`, where PATH is that of this file, which imports nothing of
chatsvc, and MODEL that of a GGUF file. Its parent writes the API key, one line, to stdin, and reads the server's URL, one line, from stdout. The
process ends when its stdin does, and so with its parent, however that ends.
"""

from __future__ import annotations

import os
import sys

CONTEXT_TOKENS = 8192
"""The tokens of context that all conversations share which are answered at the same time."""

PARALLEL_CONVERSATIONS = 4
"""How many conversations are answered at the same time; further ones wait in llama.cpp's queue."""


def main() -> None:
    """Serve the model that the first argument names until stdin ends; never return."""
    # Of the optional extra `local`: importing this module must not need it.
    import xllamacpp

    key = sys.stdin.readline().strip()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.model_alias = {"local"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.ui = False
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = PARALLEL_CONVERSATIONS
    parameters.kv_unified = True
    parameters.warmup = False
    parameters.verbosity = 1
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    while sys.stdin.readline():
        pass
    # An ordinary exit waits until all running answers are written, which nobody reads any more.
    os._exit(0)


if __name__ == "__main__":
    main()
