"""`chatsvc deploy KIND`: files that run the service, for the flags that it is to be run with.

    kinds       `deploy`, which makes a file of any kind
    systemd · docker · proxies · grafana · alerts    the files; `docker` has those of compose, too
    template    the files' templates, and how words are written in each format
    plan        what all of them are made from: the flags that are given, without passwords
    options     the kinds of files, and the flags that `deploy` has beside those of `serve`

Each module imports only those below it.

Invariants:

- A file is made from the flags alone: no variable is looked at, so no secret of the environment
  gets into it.
- What may hold a password (`--store`, `--openai-url`) is left out if it does, and the file says
  where to write it instead.
"""
