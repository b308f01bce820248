"""The command line: flags to requests. Only this package prints, and only it turns errors into exit codes.

``command_table``  every command, its panel in the help and how it is built when it runs
``options``   each flag as typer reads it, made of a request's fields
``commands``  the commands that paint, made of the verbs' rows: flags in, an invocation out
``run``       carries an invocation out; ``batch`` for every line of a prompt file; ``films`` paints and reports
``jobs``, ``resume``, ``decode``  what is kept of paintings, gone on with, and decoded again
``signals``, ``streams``  Ctrl-C and its like; standard output that is closed or of another encoding
``dry_run``   reports what would be painted
``progress``  notes on stderr and the clock; ``bar`` draws progress bars; ``profile`` records where the time goes
``train``     a folder of clips to train on, checked; ``training_run`` carries it out
``ideas``     lists what a model can paint
``info``, ``doctor``  answer questions
``models``    the group of commands about models: list, show, fetch, check and remove
``help_pages``, ``panels``, ``reference``  what ``--help`` prints, how it is arranged, and the same as data
``unquoted``  prompts of several words without quotes
``usage_errors``  command lines that cannot be read, in one line
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sora import __version__
from sora.cli import profile, signals, streams, usage_errors
from sora.cli.command_table import COMMANDS, PAINTERS, LazyCommands
from sora.cli.help_pages import Group
from sora.errors import InputError, SoraError, printable
from sora.storage import staging

STOPPED = 130  # 128 + SIGINT, what shells expect after Ctrl-C
OUT_OF_MEMORY = 5
MAX_MESSAGE = 1000  # characters of an error


class RootGroup(Group):
    """Carries out what a command asks for. Errors of ours and of typer's parser become one line on stderr and an exit
    status; anything else is a bug and keeps its traceback."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = LazyCommands()

    def summaries(self) -> dict[str, tuple[str, str]]:
        """(panel, summary) of every command, none of which is built for it."""
        return {name: (entry.panel, entry.summary) for name, entry in COMMANDS.items()}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002, typer's signature
        return list(COMMANDS)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        try:
            status = super().main(*args, standalone_mode=False, **extra)
        except usage_errors.UsageError as error:
            shows_help = error.ctx is not None and error.message == error.ctx.get_help()  # a group without a command
            typer.echo(error.message if shows_help else _line(usage_errors.message(error)), err=True)
            status = error.exit_code
        except typer.Abort:
            typer.echo(_line("stopped; nothing was changed"), err=True)
            stop = signals.requested()
            status = 1 if stop is None else stop.status
        if standalone_mode:
            sys.exit(status if isinstance(status, int) else 0)
        return status

    def invoke(self, ctx: Any) -> Any:  # a Context, whose home differs between versions of typer
        try:
            result = super().invoke(ctx)
            if ctx.invoked_subcommand in PAINTERS:
                _perform(result, ctx.params.get("profile_file"))
        except SoraError as error:
            stop = signals.requested()  # what it breaks off can fail
            _fail(str(error), error.exit_code if stop is None else stop.status)
        except OSError as error:  # of a name that is too long or a folder that may not be entered, wherever it is used
            stop = signals.requested()
            _fail(_refusal(error), InputError.exit_code if stop is None else stop.status)
        except UnicodeEncodeError as error:
            _fail(_unnameable(error), InputError.exit_code)
        except MemoryError:
            _fail("this machine's memory is full; try a smaller --size or fewer --frames", OUT_OF_MEMORY)
        except KeyboardInterrupt as error:
            _fail(_stop_line(error), getattr(error, "status", STOPPED))
        except typer.Exit:
            raise
        except Exception:
            if (stop := signals.requested()) is None:
                raise
            _fail(_stop_line(stop), stop.status)  # what a signal breaks off can fail in any way


def _refusal(error: OSError) -> str:
    """What the system refused. It can come from anywhere, also from another library."""
    reason = error.strerror or str(error)
    if isinstance(error.filename, str | bytes):
        return f"cannot use {os.fsdecode(error.filename)}: {reason}; check the name"
    return f"the system refuses: {reason}; check the space on its disks and the limits of this process (ulimit -a)"


def _unnameable(error: UnicodeEncodeError) -> str:
    """Of a name with characters that no file can have in this locale."""
    lack = f"the locale's encoding, {error.encoding}, lacks characters of it"
    return f"cannot use the name {error.object}: {lack}; run with PYTHONUTF8=1"


def _stop_line(stop: KeyboardInterrupt) -> str:
    """What was stopped; a job that goes on later says so itself."""
    return str(stop) if "go on with" in str(stop) else "stopped; nothing half-made is left behind"


def _perform(invocation: Any, profile_file: Path | None) -> None:
    from sora.cli import batch, run  # late, since what reads pictures comes with them

    with profile.record(profile_file):
        (batch if invocation.is_batch else run).perform(invocation)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(_line(message), err=True)
    raise typer.Exit(status)


def _line(message: str) -> str:
    return f"sora: {printable(message, MAX_MESSAGE)}"


app = typer.Typer(
    name="sora",
    cls=RootGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 2 usage, 3 bad file, 4 model, 5 out of memory, 6 films of -f failed, 130 stopped.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sora {__version__}")
        raise typer.Exit


@app.callback()
def sora(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001, its callback answers
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Leave the network alone, as HF_HUB_OFFLINE=1 does.")
    ] = False,
    profile_file: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            metavar="FILE",
            help="Record where the time of a command that paints goes: a .json or .json.gz for Perfetto.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Generate video from text on your own machine. `sora COMMAND --help` explains a command."""
    if offline:
        from sora.catalog import hub  # late, since few commands need it

        ctx.call_on_close(hub.go_offline())
    profile.check_target(profile_file, ctx.invoked_subcommand, PAINTERS)


def main() -> None:
    """The console script."""
    streams.install()
    signals.install()
    signals.on_quit(staging.remove_live)
    try:
        app(prog_name="sora")
    except KeyboardInterrupt as stop:  # before or after a command, which RootGroup does not see
        raise SystemExit(getattr(stop, "status", STOPPED)) from None
    finally:
        gc.freeze()  # the end frees all; to look through all of torch for garbage first took half a second
