"""Where files go, what they are called and how many there are, none of which is part of a request. A name that sora
chooses is one that no file has at the moment."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sora import __version__, media
from sora.errors import SoraError, UsageError
from sora.jobs.variants import Variant
from sora.media import Provenance, signing, target
from sora.plan.plan import Plan
from sora.plan.recipe import from_record, record_of
from sora.plan.request import Request
from sora.plan.weighting import plain

STANDARD_OUTPUT = "-"  # as the output of a film
MAX_SLUG = 60  # characters; file systems allow 255 bytes


@dataclass(frozen=True)
class Delivery:
    """output: a path, as typed, or STANDARD_OUTPUT; None for a name made of the words. force: overwrite what is there.
    count: files of each variant of the words, with seeds counting up. anyway: paint words that name nothing the model
    knows. recipe: whether files hold theirs. stem, suffix: of the file's name where no output is given. folder: where
    such a file is put. done: absolute paths that an earlier run of the same command painted."""

    output: str | None = None
    force: bool = False
    count: int = 1
    anyway: bool = False
    recipe: bool = True
    stem: str | None = None
    suffix: str | None = None
    folder: Path = Path()
    done: frozenset[str] = frozenset()

    @property
    def is_piped(self) -> bool:
        """Whether the film goes to standard output."""
        return self.output == STANDARD_OUTPUT

    def kind(self, request: Request) -> str:
        """The kind of file that will be written, as ``media.target`` names it. Raises UsageError."""
        if self.is_piped:
            return usual_suffix(request)
        if self.output:
            return target.kind_of(target.with_ending(self.output, self.suffix or usual_suffix(request)))
        return self.suffix or usual_suffix(request)

    def path_for(self, request: Request, variant: Variant) -> str:
        """Where a variant goes."""
        number = "" if variant.number is None else f"-{variant.number}"
        if self.output is None:
            suffix = self.kind(request).replace(target.FOLDER, "")
            return str(media.unique_path(self.folder, self._stem(request, variant) + number, suffix))
        if self.is_piped:
            return self.output
        output = target.with_ending(self.output, self.suffix or usual_suffix(request))
        path = Path(output)
        if not number or not path.name:
            return output
        slash = "/" if output.endswith("/") else ""
        return f"{path.with_name(f'{path.stem}{number}{path.suffix}')}{slash}"

    def _stem(self, request: Request, variant: Variant) -> str:
        """A film of a clip is named after it and the verb, any other after its words."""
        if self.stem is not None:
            return self.stem
        if request.clip is not None:
            return f"{slug(Path(request.clip).stem) or 'film'}-{request.verb}"
        image = slug(Path(request.image).stem) if request.image else ""
        return slug(plain(variant.prompt)) or image or request.verb

    def check(self, request: Request, variant: Variant) -> None:
        """Refuses a place that cannot be written, and a certificate that cannot sign. Raises UsageError and
        InputError."""
        signing.check()
        if self.is_piped:
            if variant.number is not None:
                raise UsageError("-o - takes one film, and this asks for several; name a file or a folder/")
            return
        path = self.path_for(request, variant)
        if not self._may_be_there(path, variant):
            media.check_target(path, self.force)

    def is_one_of_several(self, variant: Variant) -> bool:
        """Whether it has a name that the same command would give it again."""
        return variant.number is not None and self.output is not None

    def _may_be_there(self, path: str, variant: Variant) -> bool:
        """Whether a file stands there that looks as if an earlier run of the same command had painted it; whether it
        did is seen once the request is complete."""
        if str(Path(path).absolute()) in self.done and Path(path).exists():
            return True
        if self.force or not self.is_one_of_several(variant):
            return False
        return replays(Path(path), variant.texts, variant.seed)

    def check_kind(self, request: Request, variant: Variant, plan: Plan) -> None:
        """Refuses a kind of file that could not hold this film. Raises UsageError."""
        path = f"standard output{self.kind(request)}" if self.is_piped else self.path_for(request, variant)
        check_frames(path, plan.film_frames, "end -o in .mp4, .gif, .webp, .mkv, or in / for a folder of PNGs")
        media.check_size(path, plan.format.size, plan.film_fps)

    def check_inputs(self, inputs: tuple[Path, ...]) -> None:
        """Refuses to write over what the film is made of: it could not be made again. Raises UsageError."""
        places = {file.resolve() for file in inputs}
        if self.output and not self.is_piped and Path(self.output).resolve() in places:
            raise UsageError(f"{self.output} is what the film is made from; choose another -o")


@dataclass(frozen=True)
class InMemory(Delivery):
    """A film that stays in memory until it is saved: no kind of file limits it, and no place is taken."""

    def kind(self, request: Request) -> str:  # noqa: ARG002
        return ".mkv"  # which holds everything: any size and rate, every pixel, and sound

    def check(self, request: Request, variant: Variant) -> None:
        pass

    def check_kind(self, request: Request, variant: Variant, plan: Plan) -> None:
        pass


def usual_suffix(request: Request) -> str:
    """The ending of a file that nobody gave one."""
    return ".png" if request.verb == "image" else ".mp4"


def provenance_of(source_type: str) -> Provenance:
    """What a film's file says of where it came from, with its recipe or without. source_type: a name of IPTC's
    vocabulary."""
    return Provenance(source_type, f"sora {__version__}")


def replays(path: Path, texts: Sequence[str], seed: int) -> bool:
    """Whether a file says that it was painted from these words and this seed."""
    try:
        text = media.read_recipe(path) if path.exists() else None
        record = None if text is None else from_record(record_of(text))
    except (SoraError, OSError, ValueError):
        return False
    return record is not None and tuple(record.prompts) == tuple(texts) and record.request.seed == seed


def check_frames(path: str, frames: int, hint: str) -> None:
    """Refuses a film of several frames for a file that holds one. hint: what to do instead. Raises UsageError."""
    if frames > 1 and target.kind_of(path) in target.STILLS:
        raise UsageError(f"{path} holds one frame, and the film has {frames}; {hint}, or use `sora image`")


def slug(text: str) -> str:
    """'A red balloon!' -> 'a-red-balloon': letters and digits of any script that file names here can hold, whole words,
    not too many."""
    encoding = sys.getfilesystemencoding()
    words = re.findall(r"[^\W_]+", text.lower().encode(encoding, "ignore").decode(encoding))
    kept = ""
    for word in words:
        if len(kept) + 1 + len(word) > MAX_SLUG:
            break
        kept = f"{kept}-{word}" if kept else word
    return kept or "".join(words)[:MAX_SLUG]
