"""``sora help``: the help page of a command, or of ``sora`` itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sora.errors import UsageError, did_you_mean

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="COMMAND", help="A command, as in `sora help models pull`.", show_default=False),
]


def help(ctx: typer.Context, names: Names = None) -> None:
    """Show the help of a command. Without one, the help of sora."""
    context: Any = ctx.find_root()
    for name in names or ():
        commands = getattr(context.command, "commands", {})
        if name not in commands:
            hint = did_you_mean(name, commands)
            raise UsageError(f"`{context.command_path}` has no command {name!r}; {hint}see `sora --help`")
        context = type(context)(commands[name], parent=context, info_name=name)
    typer.echo(context.get_help())
