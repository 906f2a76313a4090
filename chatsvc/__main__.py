"""The entry point of `python -m chatsvc`: the command `chatsvc`."""

from chatsvc.cli import main

raise SystemExit(main())
