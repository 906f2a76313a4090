"""The unit of systemd that runs the service: `chatsvc deploy systemd`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from chatsvc.deploy.plan import Plan
from chatsvc.deploy.template import render
from chatsvc.hangup import has_files
from chatsvc.settings import BadSetting, flag

PRIVILEGED_PORTS = 1024
"""Ports below this one need a capability."""

_READ_AGAIN = ("api_keys_file", "ssl_certfile", "ssl_keyfile")

HOMES = ("/home", "/root", "/run/user")
"""Folders that `ProtectHome=yes` hides."""


_NO_FOLDERS = (Path("/"), Path("/run"))
"""Folders that only root can write, and nobody else is to be let."""

_PRIVATE = ("/tmp", "/var/tmp")
"""Folders that the service has for itself (`PrivateTmp=yes`)."""


def systemd_unit(plan: Plan) -> str:
    """Return the unit `chatsvc.service`."""
    settings = plan.settings
    program = plan.options.program or _own_program()
    if "/" in program:  # systemd looks for a bare name where programs are
        program = os.path.normpath(plan.folder / program)
    credentials: dict[str, str] = {}
    if "store_file" in plan.files:
        # It is read once, at the start, and systemd may read a file that the service's user can't.
        credentials["store"] = plan.files["store_file"]
    words = plan.words({"store_file": None})
    socket = _socket_folder(plan)
    from_home = [program, *plan.files.values(), plan.code_folder or ""]
    if socket is not None:
        from_home.append(socket[1])
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
        socket=socket,
        low_port=any(0 < port < PRIVILEGED_PORTS for port in ports),
        # Code of one's own and llama.cpp may compile at run time, and use a GPU.
        foreign=plan.code_folder is not None or settings.backend == "local",
        local=settings.backend == "local",
        home=any(
            Path(path).is_relative_to(home) for path in from_home for home in HOMES
        ),
    )


def _socket_folder(plan: Plan) -> tuple[str, str] | None:
    """Return how the unit lets the service write the folder of its Unix socket, if it has one.

    Folders below /run are gone when the machine starts, so systemd makes them. Raises `BadSetting`
    for a folder in which the service can make no socket that others see.
    """
    if not plan.settings.uds:
        return None
    folder = Path(plan.socket).parent
    if folder.is_relative_to("/var/run"):  # it is a link to the other
        folder = Path("/run") / folder.relative_to("/var/run")
    if folder in _NO_FOLDERS or any(map(folder.is_relative_to, _PRIVATE)):
        raise BadSetting(
            f"{flag('uds')} {plan.socket}: the service can't have a socket there that others see; "
            "name one in a folder of its own, as /run/chatsvc/chatsvc.sock"
        )
    if folder.is_relative_to("/run") and not folder.is_relative_to("/run/user"):
        return "RuntimeDirectory", str(folder.relative_to("/run"))
    return "ReadWritePaths", str(folder)


def _own_program() -> str:
    """Return the path of the command `chatsvc` beside the Python that runs."""
    return str(Path(sys.executable).parent / "chatsvc")
