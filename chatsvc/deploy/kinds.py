"""`deploy`, which makes a file of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chatsvc.deploy.alerts import alert_rules
from chatsvc.deploy.docker import compose_file, dockerfile
from chatsvc.deploy.grafana import dashboard
from chatsvc.deploy.options import KINDS, DeploySettings
from chatsvc.deploy.plan import Plan, make_plan
from chatsvc.deploy.proxies import caddyfile, nginx_config
from chatsvc.deploy.systemd import systemd_unit
from chatsvc.settings import BadSetting, read_settings

MAKERS: dict[str, Callable[[Plan], str]] = {
    "systemd": systemd_unit,
    "compose": compose_file,
    "dockerfile": dockerfile,
    "nginx": nginx_config,
    "caddy": caddyfile,
    "grafana": dashboard,
    "alerts": alert_rules,
}
"""The function that makes a file, by the name of its kind."""


def deploy(kind: str, flags: Mapping[str, Any], folder: Path | None = None) -> str:
    """Return the file of a kind of `KINDS` for a service that is to run with some flags.

    `flags` has the text of each flag by its setting's name, those of `Settings` and of
    `DeploySettings`. `folder` is where relative paths start, by default the current one.

    Raises `BadSetting` for an unknown kind, for a text that is refused, and when the current folder
    is gone.
    """
    if kind not in KINDS:
        raise BadSetting(f"KIND takes {', '.join(KINDS)}, not {kind!r}")
    options = read_settings(DeploySettings, flags, {})
    try:
        folder = folder or Path.cwd()
    except OSError:
        raise BadSetting(
            "the current folder is gone: start it in another one"
        ) from None
    plan = make_plan(flags, options, folder)
    return MAKERS[kind](plan)
