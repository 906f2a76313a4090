"""`python -m chatsvc`."""

from .cli import main

raise SystemExit(main())
