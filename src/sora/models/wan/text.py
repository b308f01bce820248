"""Prompts as Wan reads them: cleaned, cut into words, encoded, and remembered on disk.

What diffusers' ``WanPipeline`` does with a prompt, so that the same words give the same vectors.

Axis letters: B batch; L words; D width.
"""

from __future__ import annotations

import hashlib
import html
import importlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from sora import atomic, weights
from sora.errors import ModelError
from sora.networks.umt5 import UMT5

MAX_LENGTH = 512
"""Words that Wan reads of a prompt, the end counted."""

END, PAD = "</s>", "<pad>"

# White space as Unicode has it: Python's \s also takes these four separators, which the reference leaves alone.
_BLANKS = re.compile(r"[^\S\x1c-\x1f]+")

# Our files in a cache's folder, those half written too.
_OURS = re.compile(r"(\.[0-9a-f]{8}-)?[0-9a-f]{64}\.\w+")


def clean(prompt: str) -> str:
    """The prompt with its encoding mended (where the ``ftfy`` package is installed), HTML entities resolved, and each
    run of white space one space, none at the ends.

    Not to be done twice: entities are resolved two deep, and a third time would find more.
    """
    resolved = html.unescape(html.unescape(_mended(prompt)))
    return _BLANKS.sub(" ", resolved.strip()).strip()


def _mended(text: str) -> str:
    try:
        ftfy = importlib.import_module("ftfy")
    except ImportError:
        return text
    return ftfy.fix_text(text)


class T5Tokenizer:
    """A folder's tokenizer.json, giving the ids that transformers gives for the same folder."""

    def __init__(self, tokenizer_json: Path) -> None:
        """Raises ModelError for a file that is missing, damaged, or not of a T5."""
        self._tokenizer = _tokenizer(tokenizer_json)
        self._pad = self._tokenizer.token_to_id(PAD) or 0

    def ids(self, texts: list[str], length: int = MAX_LENGTH) -> tuple[Tensor, Tensor]:
        """(B, length) int64 ids, and bool, True where a word or the end of the text is.

        texts: as ``clean`` leaves them. What is too long is cut so that the end still fits.
        """
        self._tokenizer.enable_truncation(length)
        # One by one: encoding in batches starts threads, of which the library warns when ffmpeg is started later.
        rows = [self._tokenizer.encode(text).ids for text in texts]
        ids_BL = torch.full((len(rows), length), self._pad)
        for i, row in enumerate(rows):
            ids_BL[i, : len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in rows])
        return ids_BL, torch.arange(length) < lengths[:, None]


def _tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for any bad file
        kind = f"is damaged ({error})" if path.is_file() else "is missing"
        raise ModelError(f"the tokenizer {path} {kind}; download it again from the model's repository") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    end = tokenizer.token_to_id(END)
    if end is None:
        raise ModelError(f"the tokenizer {path} knows no {END}, so it is not UMT5's; download it again")
    if tokenizer.encode("").ids[-1:] != [end]:  # transformers appends the end even where the file does not say so
        tokenizer.post_processor = TemplateProcessing(single=["$A", END], special_tokens=[(END, end)])  # type: ignore[assignment]
    return tokenizer


@torch.no_grad()
def embed(network: UMT5, tokenizer: T5Tokenizer, texts: list[str], length: int = MAX_LENGTH) -> Tensor:
    """(B, length, D), of the network's dtype and on its device; zeros past each text's end.

    texts: as ``clean`` leaves them. Only as many words are encoded as the longest text has: what is masked touches
    nothing, so the rest would be work for rows that become zeros.
    """
    ids_BL, mask_BL = tokenizer.ids(texts, length)
    longest = int(mask_BL.sum(dim=1).max())
    device = network.shared.weight.device
    ids_BL, mask_BL = ids_BL[:, :longest].to(device), mask_BL[:, :longest].to(device)
    rows_BLD = network(ids_BL, None if mask_BL.all() else mask_BL)
    return _lengthened(rows_BLD.masked_fill(~mask_BL[..., None], 0), length)


def _lengthened(rows_xLD: Tensor, length: int) -> Tensor:
    """The same rows, with zeros after them."""
    return F.pad(rows_xLD, (0, 0, 0, length - rows_xLD.shape[-2]))


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings of prompts, kept on disk, so that the text encoder is not loaded for a prompt read before.

    folder: made when first written to; files in it with other names than ours are left alone. encoder: what gives
    these vectors and no others: the weights' checksum or pinned revision, and the dtype. most: files kept; those not
    used for longest go. The prompts themselves are not written.
    """

    folder: Path
    encoder: str
    max_files: int = 200

    def get(self, texts: list[str], compute: Callable[[list[str]], Tensor], length: int = MAX_LENGTH) -> Tensor:
        """(B, length, D) on the CPU: remembered rows, and for the rest those of ``compute``, which is called at most
        once, with the texts not known, and gives what ``embed`` does for them.

        texts: as ``clean`` leaves them. A file that is damaged is written anew; a folder that cannot be written to
        costs time alone.
        """
        rows = {text: found for text in texts if (found := self._find(text, length)) is not None}
        unknown = [text for text in dict.fromkeys(texts) if text not in rows]
        if unknown:
            rows |= zip(unknown, compute(unknown).cpu(), strict=True)
            for text in unknown:
                self._keep(self._path(text, length), rows[text])
        return torch.stack([rows[text] for text in texts])

    def _path(self, text: str, length: int) -> Path:
        key = "\0".join((self.encoder, text, str(length)))
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    def _find(self, text: str, length: int) -> Tensor | None:
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
        return _lengthened(rows_LD, length)

    def _keep(self, path: Path, rows_LD: Tensor) -> None:
        """Write all but the zeros at the end; no reader meets half a file."""
        if not rows_LD.isfinite().all():  # a device's bad day must not last
            return
        written = int((rows_LD.any(dim=1) * torch.arange(1, len(rows_LD) + 1)).max())
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write(path, save({"rows": rows_LD[:written].contiguous()}), replace=True)
            self._forget()

    def _forget(self) -> None:
        """Remove all but the newest of our files, among them what was never finished."""
        ours = [file for file in self.folder.iterdir() if _OURS.fullmatch(file.name)]
        for file in sorted(ours, key=lambda file: file.stat().st_mtime_ns, reverse=True)[self.max_files :]:
            file.unlink(missing_ok=True)
