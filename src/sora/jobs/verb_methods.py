"""The verbs as methods, as Python calls them. What ``help()`` and editors that look at live objects show of each is its
options, from the request's fields and with the words of the command line's own help."""

from __future__ import annotations

import inspect
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sora.jobs.arguments import CALL, row_of, with_keywords
from sora.plan.request import RequestField
from sora.plan.verbs import Verb

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sora.jobs import keywords as k
    from sora.jobs.video import Picture, Video

Method = TypeVar("Method", bound=Callable[..., Any])


def documented(verb: str) -> Callable[[Method], Method]:
    """Gives a method the signature of a verb's options in place of ``**options``, and lists them in its docstring."""

    def with_options(method: Method) -> Method:
        own, row = inspect.signature(method), row_of(verb)
        listed = [row.field(name) for name in row.fields if name not in own.parameters]
        parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters += [_keyword(field.name, _default(field)) for field in listed]
        lines = [_line(field, row) for field in listed]
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


class Verbs(ABC):
    """Every verb as a method. They all return a ``Video`` in memory, ``image`` a ``Picture``; nothing is written before
    its ``save``.

    Raise UsageError for what cannot be asked for, InputError for a file that cannot be read, ModelError for a model
    that is missing or damaged, OutOfMemory, and TypeError for a keyword argument that there is not.
    """

    @abstractmethod
    def _repaint(self, command: str, source: Any, options: Mapping[str, Any]) -> Video:
        """Carry out ``finish`` or ``remake``. source: a file with a recipe, or a video that was painted before."""

    @abstractmethod
    def _paint(self, verb: str, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        """Paint what a verb is asked for. inputs: its parameters that come before the options, by name."""

    @documented("generate")
    def generate(self, prompt: str | None = None, **options: Unpack[k.GenerateOptions]) -> Video:
        """Paint a film from words.

        prompt: what to paint. A prompt with ``{a|b}`` alternatives stands for several films; ``paint_all`` paints them.
        None where ``shots`` says it.
        """
        return self._paint("generate", {"prompt": prompt}, options)

    @documented("image")
    def image(self, prompt: str, **options: Unpack[k.ImageOptions]) -> Picture:
        """Paint one picture from words.

        prompt: what to paint, as in ``generate``.
        """
        return self._paint("image", {"prompt": prompt}, options)

    @documented("img2vid")
    def img2vid(self, image: k.PictureSource, prompt: str | None = None, **options: Unpack[k.Img2vidOptions]) -> Video:
        """Set a picture in motion. It becomes the first frame, and its shape the film's.

        image: a file, a picture that was painted before, uint8 RGB (Y, X, 3), or a Pillow image. prompt: what happens;
        None is the prompt in the picture's own recipe, if any.
        """
        return self._paint("img2vid", {"image": image, "prompt": prompt}, options)

    @documented("extend")
    def extend(self, clip: k.ClipSource, prompt: str | None = None, **options: Unpack[k.ExtendOptions]) -> Video:
        """Continue a clip where it ends, or begin it earlier. Its own frames stay as they are, and are returned with
        the new ones.

        clip: a file, a folder of pictures, a video that was painted before, ``Clip(frames, fps)``, or uint8 RGB frames
        (F, Y, X, 3), which play at 24 a second. prompt: what happens; None is the prompt in the clip's own recipe, if
        any.
        """
        return self._paint("extend", {"clip": clip, "prompt": prompt}, options)

    @documented("loop")
    def loop(
        self, clip: k.ClipSource | None = None, prompt: str | None = None, **options: Unpack[k.LoopOptions]
    ) -> Video:
        """Make an endless loop: of a clip, by painting the way from its end back to its beginning, or of words alone.

        clip: as in ``extend``; None paints the whole loop from ``prompt``. prompt: what happens.
        """
        return self._paint("loop", {"clip": clip, "prompt": prompt}, options)

    @documented("bridge")
    def bridge(
        self,
        clip: k.ClipSource,
        clip_b: k.ClipSource,
        prompt: str | None = None,
        **options: Unpack[k.BridgeOptions],
    ) -> Video:
        """Join two clips by painting what lies between them. Both are in the film as they are.

        clip, clip_b: the clip to start from and the one to arrive at, as in ``extend``; the second is fitted to the
        size and rate of the first. prompt: what happens between them.
        """
        return self._paint("bridge", {"clip": clip, "clip_b": clip_b, "prompt": prompt}, options)

    @documented("edit")
    def edit(self, clip: k.ClipSource, prompt: str, **options: Unpack[k.EditOptions]) -> Video:
        """Paint a clip anew: all of it, a region, or a range of frames.

        clip: as in ``extend``. prompt: what it shows afterwards.
        """
        return self._paint("edit", {"clip": clip, "prompt": prompt}, options)

    @documented("finish")
    def finish(
        self,
        draft_file: k.FilePath | Video,
        *,
        inputs: k.FilePath | Sequence[k.FilePath] = (),
        **options: Unpack[k.FinishOptions],
    ) -> Video:
        """Paint a draft at full size and in all its steps. What its recipe says holds, but for the options; those of
        the session do not count here.

        draft_file: a file that was painted with ``draft=True``, or the video itself. inputs: as in ``remake``.
        """
        return self._repaint("finish", draft_file, {**options, "inputs": inputs})

    def remake(
        self,
        file: k.FilePath | Video,
        *,
        inputs: k.FilePath | Sequence[k.FilePath] = (),
        **options: Unpack[k.RemakeOptions],
    ) -> Video:
        """Paint a file again from its recipe. Without any options the frames come out the same.

        file: a file that sora painted, or a video that was painted before. options: those of the verb that painted it,
        which take the place of what the recipe says; those of the session do not count here. inputs: files that it was
        made from, or folders with them, where they lie neither with it nor where this machine saw them last.
        """
        return self._repaint("remake", file, {**options, "inputs": inputs})
