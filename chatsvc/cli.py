"""The command `chatsvc`: its sub-commands, their flags and their error lines.

click parses the command line and prints `--help`, no more. It gives the text of each flag to
`chatsvc.settings`, which reads the environment as well and checks all values, so a flag and its
variable take the same and are refused in the same words (PROTOCOL.md section 8).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import click

from chatsvc import __version__
from chatsvc.client.ask import AskSettings, run_ask
from chatsvc.client.doctor import DoctorSettings, run_doctor
from chatsvc.client.wire import SERVICE_URL, check_api_key
from chatsvc.deploy.options import KINDS, DeploySettings
from chatsvc.exit_status import ExitStatus
from chatsvc.flags import (
    HELP_FLAGS,
    WIDTH,
    SettingOption,
    options,
    variables_text,
    write_flags,
)
from chatsvc.setting_formats import without_password
from chatsvc.settings import (
    BadSetting,
    Settings,
    forget_secrets,
    read_settings,
    unknown_variables,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


CONTEXT: dict[str, Any] = {
    "help_option_names": HELP_FLAGS,
    "max_content_width": WIDTH,
}
"""The settings of click: which flags print help, and how wide it is."""

_HELP = {", ".join(HELP_FLAGS): "show this help"}


class _Command(click.Command):
    """A sub-command whose error messages say what a flag takes.

    `settings` is the class of its settings, of which its flags are made. `params` are the arguments
    that it takes beside them.
    """

    def __init__(
        self,
        name: str | None,
        settings: type[DataclassInstance],
        params: Sequence[click.Parameter] | None = None,
        **more: Any,
    ) -> None:
        params = [*(params or ()), *options(settings)]
        super().__init__(name, CONTEXT, params=params, **more)
        self._settings = settings

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(variables_text(self._settings))
        write_flags(formatter, self._settings, _HELP)

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

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        self.format_commands(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"The flags of serve. {variables_text(Settings)}")
        write_flags(formatter, Settings, {**_HELP, "--version": "show the version"})


@click.group(
    cls=_Commands, context_settings=CONTEXT, subcommand_metavar="[COMMAND [ARGS]...]"
)
@click.version_option(__version__, message="chatsvc %(version)s")
def command() -> None:
    """Stream the replies of an AI, character by character.

    Without a command, chatsvc serves. COMMAND --help shows the flags of another one.
    """


_ALL_SETTINGS = (Settings, AskSettings, DoctorSettings)


def _remark(name: str) -> None:
    """Say which variables look like settings and are none."""
    for line in unknown_variables(_ALL_SETTINGS):
        print(f"chatsvc {name}: {line}", file=sys.stderr)


def serve_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of `chatsvc serve`, with the names of backend and store checked.

    The file of `--store-file` has been read. The arguments are those of `read_settings`.

    Raises `BadSetting`.
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


NOT_ON_WINDOWS = (
    "chatsvc: the service does not run on Windows: there, use WSL 2 or a container"
)
"""The line of `chatsvc serve` on Windows, which lacks the signals and sockets that it needs."""


@command.command("serve", settings=Settings)
def serve_command(**flags: Any) -> int:
    """Serve; also without a command."""
    # Before the modules that serve are imported: not all of them can be there.
    if sys.platform == "win32":
        print(NOT_ON_WINDOWS, file=sys.stderr)
        return ExitStatus.FAILED
    settings = serve_settings(flags)
    remarks = unknown_variables(_ALL_SETTINGS)
    forget_secrets(Settings)
    # Imported here: all that `ask` needs takes 0.4 s to import, and the server another 0.2 s, for
    # which `ask` would wait in vain.
    from chatsvc.serve import CANNOT_START, serve, start_failure
    from chatsvc.workers import serve_workers

    try:
        if settings.workers > 1:
            return serve_workers(settings, remarks)
        serve(settings, remarks=remarks)
    except CANNOT_START as error:
        reason, status = start_failure(error, settings)
        print(f"chatsvc: {reason}", file=sys.stderr)
        return status
    except KeyboardInterrupt:  # before it serves: loading a model takes minutes
        return ExitStatus.INTERRUPTED
    return ExitStatus.OK


@command.command("ask", settings=AskSettings, params=[click.Argument(["message"])])
def ask_command(message: str, **flags: Any) -> int:
    """Stream a reply to the terminal.

    MESSAGE is the user's message; - reads it from stdin. Ctrl-C stops the reply. The exit status
    is 1 if the reply failed or was cut, 3 if another client stopped it, 130 after Ctrl-C.
    """
    settings = read_settings(AskSettings, flags)
    settings.check()
    _remark("ask")
    return run_ask(
        message,
        settings.url,
        settings.transport,
        thinking=settings.thinking,
        api_key=settings.api_key,
        uds=settings.uds,
    )


@command.command("doctor", settings=DoctorSettings, params=[click.Argument(["url"])])
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
    _remark("doctor")
    return run_doctor(root, settings.seconds, settings.api_key, settings.uds)


class _DeployCommand(_Command):
    """The sub-command `deploy`: it takes the flags of `serve`, too, and reads no variable."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Kinds"):
            formatter.write_dl(list(KINDS.items()))
        write_flags(formatter, DeploySettings, _HELP, {})


@command.command(
    "deploy",
    cls=_DeployCommand,
    settings=DeploySettings,
    params=[click.Argument(["kind"]), *options(Settings)],
)
def deploy_command(kind: str, **flags: Any) -> int:
    """Print a file that runs the service, or watches it.

    KIND is one of those below. All flags of serve are taken, too: the file is for a service that
    runs with them. Variables are not looked at, and no secret is printed.
    """
    # Imported here: `ask` needs none of it.
    from chatsvc.deploy.kinds import deploy

    printed = deploy(kind, flags)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(
            encoding="utf-8"
        )  # as all that reads these files takes them
    print(printed, end="")
    return ExitStatus.OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments`, by default the process's own; return the exit status.

    A command line that is refused is one line on stderr and status 2 (PROTOCOL.md section 8).
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal of another encoding than UTF-8 gets "?" for what it can't show.
        sys.stdout.reconfigure(errors="replace")
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
