"""Everything needed to make a clip again, as one line of JSON that travels in the file's own metadata.

A recipe is data: a request and what it was carried out with. Nothing in it is a command, an output path or a switch of
the program, and what is read is checked field by field.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from sora.errors import InputError
from sora.plan.recipe_names import in_names, is_in_memory
from sora.plan.request import OLD_NAMES, Request, from_data, to_data
from sora.storage import regular

FORMAT = 3
MAX_CHARACTERS = 1 << 20  # characters of a recipe's text
MAX_INPUTS = 1024
MAX_DEPTH = 16  # lists and objects within one another; sora's own are 4 deep
MAX_THREADS = 1 << 16

Text = Annotated[str, Meta(max_length=MAX_CHARACTERS)]
Pixels = Annotated[int, Meta(ge=1, le=1 << 20)]


WEIGHTS = "weights:"
"""What stands before a fingerprint among the digests of a recipe's inputs."""


class Recipe(Struct, frozen=True, kw_only=True):
    """How a clip was made. sora, torch: versions. weights: which, as a sha256 in hex or repository@commit.

    request: complete, of this one clip, with absolute paths; in a file with names in their place. prompts: of each
    shot, as they were painted. fps: frames a second. painted, size: (width, height) in pixels, on the canvas and in the
    file. inputs: (path, sha256 in hex) of every file that was read, and "weights:" with their fingerprint for weights
    of a person's own. threads: that painted, where the device is a CPU; 0 where that is not known. Frames of the
    embedded model do not depend on it; those of open weights may, in the last digits of their numbers. format: of this
    record.
    """

    sora: Text
    request: Request
    prompts: Annotated[tuple[Text, ...], Meta(min_length=1)]
    weights: Text
    frames: Annotated[int, Meta(ge=1)]
    fps: Annotated[float, Meta(gt=0)]
    painted: tuple[Pixels, Pixels]
    size: tuple[Pixels, Pixels]
    device: Text
    dtype: Text
    torch: Text
    inputs: Annotated[tuple[tuple[Text, Text], ...], Meta(max_length=MAX_INPUTS)] = ()
    threads: Annotated[int, Meta(ge=0, le=MAX_THREADS)] = 0
    format: int = FORMAT

    def to_json(self) -> str:
        """One compact line, as it stands in a file: in this format, with names in place of paths. Raises ValueError
        for a number that is not finite."""
        request, inputs = in_names(self.request, self.inputs)
        own = {"format": FORMAT, "request": to_data(request), "inputs": inputs}
        record = {"format": FORMAT, **msgspec.to_builtins(self), **own}
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        # A file name that is not UTF-8 reaches Python as lone surrogates, which no file can hold; JSON's escape can.
        return re.sub("[\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", text)


def record_of(text: str) -> dict[str, Any]:
    """The JSON object of a recipe of any format up to FORMAT. Raises InputError for what is none, or too long."""
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"the recipe has {len(text):,} characters, at most {MAX_CHARACTERS:,} are read; it is not sora's"
        )
    try:
        record = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        raise InputError("the recipe is not JSON; expected the line that sora wrote into the file") from None
    if regular.is_deeper(record, MAX_DEPTH):
        raise InputError(f"the recipe is over {MAX_DEPTH} levels deep; it was damaged or is not sora's")
    if not isinstance(record, dict):
        raise InputError(f"the recipe is a JSON {type(record).__name__}, not an object; expected sora's own line")
    number = record.get("format", 1)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InputError("the recipe's format is no whole number above 0; it was damaged or is not sora's")
    if number > FORMAT:
        raise InputError(f"the recipe has format {number}, this sora reads up to {FORMAT}; upgrade sora to read it")
    return record


def _finite(text: str) -> float:
    """Raises InputError for NaN, infinity and a number too large to differ from it, which JSON does not have."""
    number = float(text)
    if not math.isfinite(number):
        raise InputError("the recipe holds a number that is not finite; it was damaged or is not sora's")
    return number


def from_record(record: dict[str, Any]) -> Recipe:
    """A recipe of this format. Keys that it does not know are passed over, but not in its request. Raises
    InputError."""
    request = from_data(with_new_names(record.get("request")), "the recipe's request")
    try:
        return msgspec.convert(record | {"request": request}, Recipe)
    except (msgspec.ValidationError, UnicodeError) as error:  # a lone surrogate among the keys
        raise InputError(f"the recipe is incomplete ({error}); it was cut short or is not sora's") from None


def with_new_names(request: Any) -> Any:
    """A recorded request with the fields that earlier versions called otherwise under their present names, and with
    what they did where they had no choice."""
    if not isinstance(request, dict):
        return request
    new_names = {old: new for new, old in OLD_NAMES.items() if new not in request}
    named = {new_names.get(name, name): value for name, value in request.items()}
    # A film of several shots from before there was a choice was painted without.
    return {"subject_reference": False, **named} if named.get("then") else named


def prompt_in(text: str) -> str:
    """The words of the first shot in a recipe of any format, empty for none. Raises InputError."""
    record = record_of(text)
    prompts = record.get("prompts", [record.get("prompt")])
    first = prompts[0] if isinstance(prompts, list) and prompts else None
    return first if isinstance(first, str) else ""


def absolute(path: str | Path) -> str:
    """The path as a request holds it, so that it means the same from any folder."""
    return str(path) if is_in_memory(path) else str(Path(path).absolute())


def sha256_of(path: str | Path) -> str:
    """The file's sha256 in hex, read in pieces of 1 MiB. Raises InputError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with regular.opened(path) as file:
            left = os.fstat(file.fileno()).st_size  # a kernel's own file may claim none, and never end
            while left > 0 and (piece := file.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return digest.hexdigest()


def digest_of(path: str | Path) -> str:
    """The sha256 of a file, or of a folder's files, their names and what they hold, in the order of names. In hex.
    Raises InputError when something cannot be read."""
    if is_in_memory(path):
        return str(path).partition(":")[2]
    if not Path(path).is_dir():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(f for f in Path(path).iterdir() if f.is_file()):
        digest.update(f"{sha256_of(file)} {file.name}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
