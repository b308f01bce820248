"""What ``help()`` and editors that look at live objects show of a verb: each of its options, from the request's fields
and with the words of the command line's own help."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sora.jobs.arguments import CALL, row_of, with_keywords
from sora.plan.request import RequestField
from sora.plan.verbs import Verb

Method = TypeVar("Method", bound=Callable[..., Any])


def documented(verb: str, names: Iterable[str] | None = None) -> Callable[[Method], Method]:
    """Gives a method the signature of a verb's options in place of ``**options``, and lists them in its docstring.
    names: of the options; None for all of the verb's."""

    def with_options(method: Method) -> Method:
        own, row = inspect.signature(method), row_of(verb)
        listed = [row.field(name) for name in names or row.fields if name not in own.parameters]
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


def _default(field: RequestField) -> Any:
    return False if field.kind is bool else () if field.is_list else None


def _line(field: RequestField, row: Verb) -> str:
    """An option's name, range, meaning and default."""
    kind = f"one of {', '.join(map(repr, field.choices))}" if field.choices else field.kind.__name__
    if field.minimum is not None and field.maximum is not None:
        kind += f", {field.minimum:g} or more" if field.maximum > 1e9 else f", {field.minimum:g} to {field.maximum:g}"
    default = f" Default: {field.default_text}." if isinstance(field.default_text, str) else ""
    return f"{field.name} ({'sequence of ' * field.is_list}{kind}): {with_keywords(field.help, row)}{default}"


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 100, initial_indent="    ", subsequent_indent="        ")
