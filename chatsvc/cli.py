"""The command `chatsvc`: its sub-commands, their flags and their error lines.

click parses the command line and prints `--help`, no more. It gives the text of each flag to
`chatsvc.settings`, which reads the environment as well and checks all values, so a flag and its
variable take the same and are refused in the same words (PROTOCOL.md section 8).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields, replace
from typing import TYPE_CHECKING, Any

import click

from chatsvc import __version__
from chatsvc.client.ask import AskSettings, run_ask
from chatsvc.client.doctor import DoctorSettings, run_doctor
from chatsvc.client.wire import SERVICE_URL, check_api_key
from chatsvc.deploy.options import KINDS, DeploySettings
from chatsvc.exit_status import ExitStatus
from chatsvc.setting_formats import without_password
from chatsvc.settings import (
    BadSetting,
    Settings,
    flag,
    forget_secrets,
    read_settings,
    variable,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class SettingOption(click.Option):
    """The flag of one setting; its value stays text.

    `setting` is a field that `chatsvc.settings.setting` has made.
    """

    def __init__(self, setting: Field[Any]) -> None:
        value_format, default = setting.metadata["format"], setting.default
        self.takes: str = "nothing" if default is False else value_format.takes
        """What the flag takes, in words."""
        shown = f"{default:g}" if isinstance(default, float) else default
        shown = "" if default in (None, (), "", False) else f" (default {shown})"
        # A switch takes nothing, and gives the text that its variable would have.
        switch: dict[str, Any] = {}
        if default is False:
            switch = {"is_flag": True, "flag_value": "yes"}
        super().__init__(
            [flag(setting.name)],
            multiple=isinstance(default, tuple),
            metavar=value_format.metavar,
            help=f"{setting.metadata['help']}{shown} [{variable(setting.name)}]",
            callback=_refuse_flag_as_value,
            **switch,
        )


def _refuse_flag_as_value(
    context: click.Context, option: click.Parameter, value: Any
) -> Any:
    """Return `value`. Raises `BadOptionUsage` when it is itself a flag of the same command.

    click takes the word behind a flag for its value, whatever it is: without this check, the
    message for `--host --port 80` would be about 80, and not about `--host`.
    """
    flags = {name for each in context.command.params for name in each.opts}
    if not flags.isdisjoint(value if isinstance(value, tuple) else (value,)):
        raise click.BadOptionUsage(option.opts[0], "no value", context)
    return value


HELP_FLAGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
"""The setting of click that names the flags which print help."""


class _Command(click.Command):
    """A sub-command whose error messages say what a flag takes."""

    def __init__(self, name: str | None, **options: Any) -> None:
        super().__init__(name, HELP_FLAGS, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadOptionUsage as error:
            for option in self.params:
                if (
                    isinstance(option, SettingOption)
                    and error.option_name in option.opts
                ):
                    ctx.fail(f"{error.option_name} takes {option.takes}")
            raise
        except click.NoSuchOption as error:
            hint = ""
            if any(isinstance(each, click.Argument) for each in self.params):
                hint = " (-- goes before an argument that begins with -)"
            ctx.fail(f"{error.format_message()}{hint}")

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BadSetting as error:
            ctx.fail(str(error))


class _Commands(click.Group):
    """The sub-commands; `serve` is run when the command line names none."""

    command_class = _Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = ("-h", "--help", "--version")
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            shown = without_password(args[0])
            ctx.fail(f"COMMAND takes {', '.join(self.commands)}, not {shown!r}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of this module, not of the alphabet


@click.group(cls=_Commands, context_settings=HELP_FLAGS)
@click.version_option(__version__, message="chatsvc %(version)s")
def command() -> None:
    """Stream the replies of an AI, character by character.

    Each flag of a command has an environment variable, which its help names in brackets. Without a
    command, chatsvc serves.
    """


def _options(kind: type[DataclassInstance]) -> list[click.Parameter]:
    return [
        SettingOption(setting)
        for setting in fields(kind)
        if not setting.metadata["flagless"]
    ]


def serve_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of `chatsvc serve`, with the names of backend and store checked.

    The file of `--store-file` has been read. The arguments are those of `read_settings`. Raises `BadSetting`.
    """
    # Imported here, because `ask` and `doctor` need neither.
    from chatsvc.backends import check_backend_name
    from chatsvc.stores import (
        check_store_name,
        read_store_file,
        with_store_file_read,
    )

    address = ""

    def check_store_file(path: str) -> None:
        nonlocal address
        address = read_store_file(path) if path else ""

    checks: dict[str, Callable[[str], Any]] = {
        "backend": check_backend_name,
        "store": check_store_name,
        "store_file": check_store_file,
    }
    settings = read_settings(Settings, flags, environment, checks)
    # The file may be a pipe, so it isn't read again. With `--store` as well, it is refused below.
    if address and settings.store == "memory":
        return replace(settings, store=address, store_file="")
    return with_store_file_read(settings)


@command.command("serve", params=_options(Settings))
def serve_command(**flags: Any) -> int:
    """Serve; also without a command."""
    settings = serve_settings(flags)
    forget_secrets(Settings)
    # Imported here: all that `ask` needs takes 0.4 s to import, and the server another 0.2 s, for
    # which `ask` would wait in vain.
    from chatsvc.serve import CANNOT_START, serve, start_failure
    from chatsvc.workers import serve_workers

    try:
        if settings.workers > 1:
            return serve_workers(settings)
        serve(settings)
    except CANNOT_START as error:
        reason, status = start_failure(error, settings)
        print(f"chatsvc: {reason}", file=sys.stderr)
        return status
    except KeyboardInterrupt:  # before it serves: loading a model takes minutes
        return ExitStatus.INTERRUPTED
    return ExitStatus.OK


@command.command("ask", params=[click.Argument(["message"]), *_options(AskSettings)])
def ask_command(message: str, **flags: Any) -> int:
    """Stream a reply to the terminal.

    MESSAGE is the user's message; - reads it from stdin. Ctrl-C stops the reply. The exit status
    is 1 if the reply failed or was cut, 3 if another client stopped it, 130 after Ctrl-C.
    """
    settings = read_settings(AskSettings, flags)
    settings.check()
    return run_ask(
        message,
        settings.url,
        settings.transport,
        thinking=settings.thinking,
        api_key=settings.api_key,
    )


@command.command("doctor", params=[click.Argument(["url"]), *_options(DoctorSettings)])
def doctor_command(url: str, **flags: Any) -> int:
    """Try every transport through whatever stands between.

    URL is where people reach chatsvc, with its prefix if it has one. The exit status is 1 if a
    transport doesn't work.
    """
    try:
        root = SERVICE_URL.parse(url)
    except ValueError as error:
        raise BadSetting(f"URL {error}") from None
    settings = read_settings(DoctorSettings, flags)
    check_api_key(root, settings.api_key)
    return run_doctor(root, settings.seconds, settings.api_key)


def _deploy_options() -> list[click.Parameter]:
    """Return the flags of `deploy`: no variable stands for them, and those of `serve` are not listed."""
    for setting, option in zip(fields(DeploySettings), own := _options(DeploySettings)):
        if isinstance(option, click.Option):
            option.help = setting.metadata["help"]
    for option in (serving := _options(Settings)):
        if isinstance(option, click.Option):
            option.hidden = True
    return [*own, *serving]


@command.command(
    "deploy",
    params=[click.Argument(["kind"]), *_deploy_options()],
    epilog="\b\n" + "\n".join(f"{kind:<12}{use}" for kind, use in KINDS.items()),
)
def deploy_command(kind: str, **flags: Any) -> int:
    """Print a file that runs the service, or watches it.

    KIND is one of those below. All flags of `chatsvc serve` are taken, too: the file is for a
    service that runs with them. Variables are not looked at, and no secret is printed.
    """
    # Imported here: `ask` needs none of it.
    from chatsvc.deploy.kinds import deploy

    print(deploy(kind, flags), end="")
    return ExitStatus.OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments`, by default the process's own; return the exit status.

    A command line that is refused is one line on stderr and status 2 (PROTOCOL.md section 8).
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return int(command.main(words, "chatsvc", standalone_mode=False))
    except click.UsageError as error:
        name = "chatsvc" if error.ctx is None else error.ctx.command_path
        reason = error.format_message()
        for word in words:  # click quotes arguments that it does not expect
            reason = reason.replace(word, without_password(word))
        reason = " ".join(reason.split())
        print(f"{name.removesuffix(' serve')}: {reason}", file=sys.stderr)
        return ExitStatus.USAGE
    except click.Abort:  # Ctrl-C while modules are imported
        return ExitStatus.INTERRUPTED
