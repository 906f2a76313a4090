"""`python -m chatsvc`."""

from chatsvc.cli import main

raise SystemExit(main())
