"""The unit of systemd that runs the service: `chatsvc deploy systemd`."""

from __future__ import annotations

import sys
from pathlib import Path

from chatsvc.deploy.plan import Plan
from chatsvc.deploy.template import render
from chatsvc.hangup import has_files

PRIVILEGED_PORTS = 1024
"""Ports below this one need a capability."""

_READ_AGAIN = ("api_keys_file", "ssl_certfile", "ssl_keyfile")

HOMES = ("/home", "/root", "/run/user")
"""Folders that `ProtectHome=yes` hides."""


def systemd_unit(plan: Plan) -> str:
    """Return the unit `chatsvc.service`."""
    settings = plan.settings
    program = plan.options.program or _own_program()
    credentials: dict[str, str] = {}
    if "store_file" in plan.files:
        # It is read once, at the start, and systemd may read a file that the service's user can't.
        credentials["store"] = plan.files["store_file"]
    words = plan.words({"store_file": None})
    from_home = [program, *plan.files.values()]
    if plan.code_folder:
        from_home.append(plan.code_folder)
    ports = [settings.port, *(settings.admin_port or ())[1:]]
    return render(
        "systemd.j2",
        program=program,
        words=words,
        credentials=credentials,
        left_out=plan.left_out.values(),
        plan=plan,
        folder=plan.code_folder,
        # Only then is there something to read again; else SIGHUP would end the service.
        reloads=has_files(settings),
        owned=[plan.files[name] for name in _READ_AGAIN if name in plan.files],
        socket=_socket_folder(plan),
        low_port=any(0 < port < PRIVILEGED_PORTS for port in ports),
        # Code of one's own and llama.cpp may compile at run time, and use a GPU.
        foreign=plan.code_folder is not None or settings.backend == "local",
        local=settings.backend == "local",
        home=any(path.startswith(HOMES) for path in from_home),
    )


def _socket_folder(plan: Plan) -> tuple[str, str] | None:
    """Return how the unit lets the service write the folder of its Unix socket, if it has one.

    Folders below /run are gone when the machine starts, so systemd makes them.
    """
    if not plan.settings.uds:
        return None
    folder = Path(plan.socket).parent
    if folder.parent == Path("/run"):
        return "RuntimeDirectory", folder.name
    return "ReadWritePaths", str(folder)


def _own_program() -> str:
    """Return the path of the command `chatsvc` beside the Python that runs."""
    return str(Path(sys.executable).parent / "chatsvc")
