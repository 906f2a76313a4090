"""The child process of `local`: llama.cpp's server on a private port of this machine.

`python -m chatsvc.backends.llama MODEL`, with the key in the first line of stdin. It says
its URL in one line on stdout, and ends when stdin does: so it ends with its parent,
however that ends.
"""

from __future__ import annotations

import os
import sys

CONTEXT = 8192
"""Tokens that all conversations of the moment share."""

PARALLEL = 4
"""Conversations that are answered at the same time; more wait."""


def main() -> None:
    """Serve a model until stdin ends."""
    import xllamacpp

    key = sys.stdin.readline().strip()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.model_alias = {"local"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.ui = False
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = PARALLEL
    parameters.kv_unified = True
    parameters.warmup = False
    parameters.verbosity = 1
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    while sys.stdin.readline():
        pass
    # Its own end waits for running answers; nobody reads them any more.
    os._exit(0)


if __name__ == "__main__":
    main()
