"""The training data: a folder of clips and pictures, each with a caption. Nothing here needs torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sora import media
from sora.errors import InputError, UsageError
from sora.plan import prompts
from sora.storage import regular

SUFFIXES = (*media.SUFFIXES, ".mov", ".webm", ".avi", ".m4v", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
MAX_FILES = 2000
MAX_CAPTION_BYTES = 64 << 10  # of a text file
# Words that any caption may have, and that name nothing.
COMMON = {*("a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "by", "with", "is", "are", "it", "its")}


@dataclass(frozen=True)
class TrainingClip:
    """A clip or picture to train on. caption: what it shows. is_video: False for a picture. size: (height, width) in
    pixels."""

    path: Path
    caption: str
    is_video: bool
    size: tuple[int, int]


def find_clips(folder: str | Path) -> tuple[TrainingClip, ...]:
    """Find every clip and picture in a folder, sorted by name, with its caption: from a text file of the same name
    (clip.txt for clip.mp4), or else its file name ("a dog runs_02.mp4" is "a dog runs").

    Raises InputError for a folder or file that cannot be read, for a folder without clips and pictures, and for files
    without a caption.
    """
    files = _files(Path(folder))
    captions = [caption_of(file) for file in files]
    without_caption = [file.name for file, caption in zip(files, captions, strict=True) if not caption]
    if without_caption:
        text = Path(without_caption[0]).with_suffix(".txt").name
        raise InputError(
            f"{len(without_caption)} of {len(files)} files have no words, as {without_caption[0]}; "
            f"write what it shows into {text}"
        )
    return tuple(_training_clip(file, caption) for file, caption in zip(files, captions, strict=True))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "is not there"
        raise InputError(f"{folder} {problem}; expected a folder of clips, each with its words")
    try:
        candidates = [f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        files = sorted(f for f in candidates if f.is_file())
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}; check its permissions") from None
    if not files:
        raise InputError(f"{folder} holds no clips and no pictures; expected files like dog.mp4 beside dog.txt")
    if len(files) > MAX_FILES:
        raise InputError(f"{folder} holds {len(files)} clips and pictures; expected at most {MAX_FILES}")
    return files


def caption_of(file: Path) -> str:
    """The caption of a file, cleaned; empty where it has none. Raises InputError for a text file that cannot be
    read."""
    text_file = file.with_suffix(".txt")
    if not text_file.is_file():
        return _clean(_from_name(prompts.as_unicode(file.stem)))
    try:
        with regular.opened(text_file) as opened:
            return _clean(prompts.decoded(opened.read(MAX_CAPTION_BYTES), f"file {text_file}"))
    except OSError as error:
        raise InputError(f"cannot read {text_file}: {error.strerror}; check its permissions") from None
    except UsageError as error:
        raise InputError(f"{text_file} is no caption: {error}") from None


def _from_name(stem: str) -> str:
    """'a-dog-runs_right_02' -> 'a dog runs right'; '0012' -> ''."""
    words = re.sub(r"[\s_-]+", " ", stem)
    return re.sub(r"(?:^| )\(?\d+\)?$", "", words.strip())


def _clean(text: str) -> str:
    return prompts.clean(text) if any(c.isalpha() for c in text) else ""


def _training_clip(file: Path, caption: str) -> TrainingClip:
    info = media.probe(file)
    return TrainingClip(file, caption, info.kind != "image", (info.height, info.width))


def shared_words(captions: Iterable[str], limit: int = 6) -> list[str]:
    """Up to ``limit`` words that nearly all captions share, but for COMMON ones, in the order of the first caption:
    what the LoRA was trained on."""
    texts = [_words(caption) for caption in captions]
    counts = Counter(word for words in texts for word in set(words))
    needed = max(1, round(0.9 * len(texts)))
    return [w for w in dict.fromkeys(texts[0] if texts else ()) if counts[w] >= needed and w not in COMMON][:limit]


def _words(caption: str) -> Sequence[str]:
    return re.findall(r"[^\W\d_]+", caption.lower())
