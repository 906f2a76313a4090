"""Attacks of small clients and of a model on one node, and what its innocent users notice of them.

A trial runs `chatsvc serve` in a process of its own, with innocent chats alone at first and then
beside attacks, and compares the two: a ratio, never an absolute time. One command runs it:

    python -m tests.attack                     # all attacks at once, for 10 s
    python -m tests.attack --each --seconds 4  # each attack alone: which of them wins?
    python -m tests.attack flags gzip-bombs    # these at once

Four processes take part:

- the service, alone on the first of two cores;
- `innocents`: the good users, and the model's server, whose pace is the pace of the chats;
- `attackers`: all attacks of `attacks.ATTACKS`, less urgent than the innocents on the same core;
  or those of `appetites`, which hold memory, for the scenario `budget` of the benchmarks;
- `trial`: the process that starts the others, judges, and ends them, whatever happens.
"""
