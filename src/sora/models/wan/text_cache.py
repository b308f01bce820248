"""The cache of prompt embeddings on disk, so that the text encoder is not loaded for a prompt that was encoded before.

Axis letters: B batch; L tokens; D width.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from sora import weights
from sora.errors import ModelError
from sora.storage import atomic, cache

MAX_LENGTH = 512
"""The most tokens of a prompt, with the end token."""

# The cache's files, also those that earlier versions left partly written.
_CACHE_FILE = re.compile(r"(\.[0-9a-f]{8}-)?[0-9a-f]{64}\.\w+")


@dataclass(frozen=True)
class EmbeddingCache:
    """A cache of prompt embeddings on disk, so that the text encoder is not loaded for a prompt that was encoded
    before.

    folder: created when it is first written to; files with other names in it are left alone. encoder: identifies the
    encoder and with it the embeddings: its weights' checksum or revision, the dtype and the device. max_files: beyond
    so many, those not used for longest are removed. The prompts themselves are not written.
    """

    folder: Path
    encoder: str
    max_files: int = 200

    @classmethod
    def of(cls, text_encoder: Path, device: torch.device, dtype: torch.dtype) -> EmbeddingCache:
        """Of the encoder in a folder or a file, as it runs on a device in a dtype. Raises ModelError."""
        encoder = f"{weights.fingerprint(text_encoder)} {dtype} {device.type}"
        return cls(cache.folder() / "texts", encoder)

    def missing(self, texts: Iterable[str], length: int = MAX_LENGTH) -> tuple[str, ...]:
        """Those of the texts that are not cached. texts: cleaned. Nothing is read."""
        return tuple(text for text in texts if not self._path(text, length).is_file())

    def get(self, texts: list[str], compute: Callable[[list[str]], Tensor], length: int = MAX_LENGTH) -> Tensor:
        """Embeddings (B, length, D) of texts, on the CPU. compute: encodes what is not cached, like ``embed``; it is
        called at most once, with all of those texts.

        texts: cleaned. A damaged file is written anew; a folder that cannot be written to only costs time.
        """
        rows = {text: found for text in texts if (found := self._load(text, length)) is not None}
        uncached = [text for text in dict.fromkeys(texts) if text not in rows]
        if uncached:
            rows |= zip(uncached, compute(uncached).cpu(), strict=True)
            for text in uncached:
                self._save(self._path(text, length), rows[text])
        return torch.stack([rows[text] for text in texts])

    def _path(self, text: str, length: int) -> Path:
        key = "\0".join((self.encoder, text, str(length)))
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    def _load(self, text: str, length: int) -> Tensor | None:
        path = self._path(text, length)
        if not path.is_file():
            return None
        try:
            shapes = weights.shapes(path)
            rows_LD = weights.read(path, {"rows": shapes["rows"]})["rows"]
            if rows_LD.ndim != 2 or len(rows_LD) > length:
                return None
            os.utime(path)
        except (ModelError, OSError, KeyError):
            return None
        return F.pad(rows_LD, (0, 0, 0, length - len(rows_LD)))

    def _save(self, path: Path, rows_LD: Tensor) -> None:
        """Write the rows without the zeros at the end. The file is renamed into place, so that no reader finds half of
        it."""
        if not rows_LD.isfinite().all():  # a fault of the device must not be cached
            return
        written = int((rows_LD.any(dim=1) * torch.arange(1, len(rows_LD) + 1)).max())
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write(path, save({"rows": rows_LD[:written].contiguous()}), replace=True, durable=False)
            self._prune()

    def _prune(self) -> None:
        """Remove all but the newest files of the cache, partly written ones among them."""
        files = [file for file in self.folder.iterdir() if _CACHE_FILE.fullmatch(file.name)]
        for file in sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True)[self.max_files :]:
            file.unlink(missing_ok=True)
