"""What ``help()`` and editors that look at live objects show of a verb: each of its options, from the request's fields
and with the words of the command line's own help."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sora.jobs.arguments import CALL, row_of, with_keywords
from sora.plan.request import Field
from sora.plan.verbs import Verb

Method = TypeVar("Method", bound=Callable[..., Any])


def documented(verb: str, names: Iterable[str] | None = None) -> Callable[[Method], Method]:
    """Gives a method the signature of a verb's options in place of ``**options``, and lists them in its docstring.
    names: of the options; None for all of the verb's."""

    def with_options(method: Method) -> Method:
        own, row = inspect.signature(method), row_of(verb)
        listed = [row.field(name) for name in names or row.takes if name not in own.parameters]
        parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters += [_keyword(field.name, _default(field)) for field in listed]
        lines = [_line(field, row) for field in listed]
        if names is None:
            parameters += [_keyword(name, default) for name, (default, _) in CALL.items()]
            lines += [f"{name}: {help}" for name, (_, help) in CALL.items()]
        setattr(method, "__signature__", own.replace(parameters=parameters))  # noqa: B010, a function declares none
        method.__doc__ = "\n".join([inspect.cleandoc(method.__doc__ or ""), "", "Options:", *map(_wrapped, lines)])
        return method

    return with_options


def _keyword(name: str, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)


def _default(field: Field) -> Any:
    return False if field.kind is bool else () if field.several else None


def _line(field: Field, row: Verb) -> str:
    """An option's name, range, meaning and default."""
    kind = f"one of {', '.join(map(repr, field.choices))}" if field.choices else field.kind.__name__
    if field.low is not None and field.high is not None:
        kind += f", {field.low:g} or more" if field.high > 1e9 else f", {field.low:g} to {field.high:g}"
    default = f" Default: {field.shown}." if isinstance(field.shown, str) else ""
    return f"{field.name} ({'sequence of ' * field.several}{kind}): {with_keywords(field.help, row)}{default}"


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 100, initial_indent="    ", subsequent_indent="        ")
