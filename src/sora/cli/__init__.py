"""The command line: flags to requests. Only this package prints, and only it turns errors into exit codes.

``options``   each flag as typer reads it, made of a request's fields
``commands``  the commands that paint, made of the verbs' rows: flags in, what is asked for out
``run``       carries out what is asked for; ``batch`` for every line of a prompt file
``dry_run``   says what would be painted
``progress``  talks on stderr meanwhile; ``profile`` records where the time goes
``train``     a folder of clips to learn from, checked; ``training_run`` carries it out
``ideas``     lists what a model can paint
``info``, ``doctor``  answer questions
``models``    the group of commands about models: what there is, what is here, fetching and removing
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from sora import __version__
from sora.cli import commands, doctor, ideas, info, models, profile, train
from sora.cli.commands import Invocation
from sora.cli.progress import escape_controls, shorten
from sora.errors import SoraError

STOPPED = 130  # 128 + SIGINT, what shells expect after Ctrl-C
OUT_OF_MEMORY = 5


class CommandGroup(TyperGroup):
    """Carries out what a command asks for. Errors of ours become one line on stderr and an exit status; anything else
    is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:  # a Context, whose home differs between versions of typer
        try:
            invocation = super().invoke(ctx)
            if isinstance(invocation, Invocation):
                from sora.cli import batch, run  # late, since what reads pictures comes with them

                with profile.record(ctx.params.get("profile_file")):
                    (batch if invocation.is_batch else run).perform(invocation)
        except SoraError as error:
            _fail(str(error), error.exit_code)
        except MemoryError:
            _fail("this machine's memory is full; try a smaller --size or fewer --frames", OUT_OF_MEMORY)
        except KeyboardInterrupt:
            _fail("stopped; nothing half-made is left behind", STOPPED)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(f"sora: {escape_controls(shorten(message))}", err=True)
    raise typer.Exit(status)


app = typer.Typer(
    name="sora",
    cls=CommandGroup,
    # Plain help: rich's boxes cost 0.1 s on every --help, which is a third of what a start may take.
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
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which sora.")
    ] = False,
    profile_file: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            metavar="FILE",
            help="Before a command that paints: where its time goes, as a trace for chrome://tracing or Perfetto."
            " A .json takes about 1 MB a step of the embedded model, a .json.gz a tenth; painting is slower meanwhile.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Paint video on your own machine. Try: sora generate "a red balloon floats up over a green meadow"."""
    profile.check_target(profile_file, ctx.invoked_subcommand, (*commands.PAINTERS, "remake"))


for name, command in commands.PAINTERS.items():
    app.command(name)(command)
# What remake does not know are flags of the command that made the file.
app.command("remake", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    commands.remake_command()
)
for command in (train.train, ideas.ideas, info.info):
    app.command()(command)
app.add_typer(models.app, name="models")
app.command()(doctor.doctor)


def main() -> None:
    """The console script."""
    try:
        app(prog_name="sora")
    except KeyboardInterrupt:  # before or after a command, where Reporting does not stand
        raise SystemExit(STOPPED) from None
    finally:
        gc.freeze()  # the end frees all; to look through all of torch for garbage first took half a second
