"""A folder as material to learn from: clips and pictures, each with its words. Nothing here needs torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sora import media
from sora.errors import InputError, UsageError
from sora.plan import prompts

SUFFIXES = (*media.SUFFIXES, ".mov", ".webm", ".avi", ".m4v", ".bmp", ".tif", ".tiff", ".avif")
MAX_FILES = 2000
MAX_CAPTION_BYTES = 64 << 10  # bytes of a text file
# Words that stand in any caption and name nothing.
COMMON = {*("a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "by", "with", "is", "are", "it", "its")}


@dataclass(frozen=True)
class TrainingClip:
    """A file to learn from. caption: its words. moves: False for a picture. size: (height, width) in pixels."""

    path: Path
    caption: str
    is_video: bool
    size: tuple[int, int]


def find_clips(folder: str | Path) -> tuple[TrainingClip, ...]:
    """Every clip and picture of a folder with its words, by name: those in a text file beside it (clip.txt for
    clip.mp4), else its own name ("a dog runs_02.mp4" is "a dog runs").

    Raises InputError for a folder or file that cannot be read, for one that holds nothing to learn from, and for
    files without words.
    """
    files = _files(Path(folder))
    captions = [caption_of(file) for file in files]
    silent = [file.name for file, caption in zip(files, captions, strict=True) if not caption]
    if silent:
        text = Path(silent[0]).with_suffix(".txt").name
        raise InputError(
            f"{len(silent)} of {len(files)} files have no words, as {silent[0]}; write what it shows into {text}"
        )
    return tuple(_material(file, caption) for file, caption in zip(files, captions, strict=True))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        told = "is a file" if folder.exists() else "is not there"
        raise InputError(f"{folder} {told}; expected a folder of clips, each with its words")
    try:
        there = [f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        files = sorted(f for f in there if f.is_file())
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}; check its permissions") from None
    if not files:
        raise InputError(f"{folder} holds no clips and no pictures; expected files like dog.mp4 beside dog.txt")
    if len(files) > MAX_FILES:
        raise InputError(f"{folder} holds {len(files)} clips and pictures; expected at most {MAX_FILES}")
    return files


def caption_of(file: Path) -> str:
    """A file's words, cleaned; empty where it has none. Raises InputError for a text file that cannot be read."""
    note = file.with_suffix(".txt")
    if not note.is_file():
        return _clean(_from_name(file.stem))
    try:
        with note.open("rb") as opened:
            return _clean(opened.read(MAX_CAPTION_BYTES).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(f"{note} is not valid UTF-8; save it as UTF-8 text") from None
    except OSError as error:
        raise InputError(f"cannot read {note}: {error.strerror}; check its permissions") from None
    except UsageError as error:
        raise InputError(f"{note}: {error}") from None


def _from_name(stem: str) -> str:
    """'a-dog-runs_right_02' -> 'a dog runs right'; '0012' -> ''."""
    words = re.sub(r"[\s_-]+", " ", stem)
    return re.sub(r"(?:^| )\(?\d+\)?$", "", words.strip())


def _clean(text: str) -> str:
    return prompts.clean(text) if any(c.isalpha() for c in text) else ""


def _material(file: Path, caption: str) -> TrainingClip:
    found = media.probe(file)
    return TrainingClip(file, caption, found.kind != "image", (found.height, found.width))


def shared_words(captions: Iterable[str], limit: int = 6) -> list[str]:
    """The words of content that stand in nearly all captions, in the order of the first one: what was learnt."""
    texts = [_words(caption) for caption in captions]
    held = Counter(word for words in texts for word in set(words))
    needed = max(1, round(0.9 * len(texts)))
    return [w for w in dict.fromkeys(texts[0] if texts else ()) if held[w] >= needed and w not in COMMON][:limit]


def _words(caption: str) -> Sequence[str]:
    return re.findall(r"[^\W\d_]+", caption.lower())
