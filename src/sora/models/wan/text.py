"""Text conditioning of Wan: prompts are tokenized and encoded.

It does what diffusers' ``WanPipeline`` does, so that a prompt has the same embeddings.

Axis letters: B batch; L tokens; D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Encoding, Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from sora.errors import ModelError
from sora.models.wan.prompts import clean_spans
from sora.models.wan.text_cache import MAX_LENGTH
from sora.networks.umt5 import UMT5
from sora.plan.weighting import Span
from sora.storage import regular
from sora.storage.stand_in import damage

MAX_TOKENIZER_BYTES = 64 << 20  # of a tokenizer.json; one of 256,384 words has 17 MB
END, PAD = "</s>", "<pad>"


class T5Tokenizer:
    """The tokenizer in a tokenizer.json; it gives the same ids as transformers does for that folder."""

    def __init__(self, tokenizer_json: Path) -> None:
        """Raises ModelError for a file that is missing, damaged, or not of a T5."""
        self._path, self._tokenizer = tokenizer_json, _load_tokenizer(tokenizer_json)
        self._pad = self._tokenizer.token_to_id(PAD) or 0

    def ids(self, texts: list[str], length: int = MAX_LENGTH) -> tuple[Tensor, Tensor]:
        """Token ids (B, length), int64, and their mask, bool: True for tokens of the text and its end token.

        texts: cleaned. A text that is too long is truncated so that the end token still fits. Raises ModelError for a
        vocabulary that lacks what it refers to.
        """
        self._tokenizer.enable_truncation(length)
        # One by one: encoding a batch starts threads, and the library then warns when ffmpeg is started.
        rows = [_encode(self._tokenizer, text, self._path).ids for text in texts]
        ids_BL = torch.full((len(rows), length), self._pad)
        for i, row in enumerate(rows):
            ids_BL[i, : len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in rows])
        return ids_BL, torch.arange(length) < lengths[:, None]

    def weights(self, text: Sequence[Span], length: int = MAX_LENGTH) -> Tensor:
        """The weight (length,) of each token of a text, float32: that of its last character, and 1 for the end token
        and what follows it."""
        self._tokenizer.enable_truncation(length)
        by_character = [span.weight for span in text for _ in span.text]
        found = _encode(self._tokenizer, "".join(span.text for span in text), self._path)
        weights_L = torch.ones(length)
        for i, (begin, end) in enumerate(found.offsets):
            weights_L[i] = by_character[end - 1] if begin < end <= len(by_character) else 1.0
        return weights_L


def _encode(tokenizer: Tokenizer, text: str, path: Path) -> Encoding:
    """The tokens of a text. path: of the tokenizer. Raises ModelError for a vocabulary that lacks what it refers to."""
    try:
        return tokenizer.encode(text)
    except Exception as error:  # the library raises plain Exception
        raise ModelError(f"the tokenizer {path} is damaged ({error}); download it again") from None


def _load_tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(regular.read(path, MAX_TOKENIZER_BYTES))
    except FileNotFoundError:
        raise ModelError(f"the tokenizer {path} is missing; download it again from the model's repository") from None
    except BaseException as error:  # the library raises plain Exception for any bad file, and panics at some
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        problem = damage(path, getattr(error, "strerror", None) or str(error))
        raise ModelError(f"the tokenizer {path} is {problem}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    end = tokenizer.token_to_id(END)
    if end is None:
        raise ModelError(f"the tokenizer {path} knows no {END}, so it is not UMT5's; download it again")
    if _encode(tokenizer, "", path).ids[-1:] != [
        end
    ]:  # transformers appends the end even where the file does not say so
        tokenizer.post_processor = TemplateProcessing(single=["$A", END], special_tokens=[(END, end)])  # type: ignore[assignment]
    return tokenizer


@torch.no_grad()
def embed(network: UMT5, tokenizer: T5Tokenizer, texts: list[str], length: int = MAX_LENGTH) -> Tensor:
    """Embeddings (B, length, D) of texts, in the network's dtype and on its device; zeros after each text's end.

    texts: cleaned. Only as many tokens are encoded as the longest text has: masked tokens change nothing, so the rest
    would be work for rows that become zeros.
    """
    ids_BL, mask_BL = tokenizer.ids(texts, length)
    longest = int(mask_BL.sum(dim=1).max())
    device = network.shared.weight.device
    ids_BL, mask_BL = ids_BL[:, :longest].to(device), mask_BL[:, :longest].to(device)
    rows_BLD = network(ids_BL, None if mask_BL.all() else mask_BL)
    return F.pad(rows_BLD.masked_fill(~mask_BL[..., None], 0), (0, 0, 0, length - longest))


def embed_prompts(prompts: list[str], tokenizer: T5Tokenizer, compute: Callable[[list[str]], Tensor]) -> Tensor:
    """Embeddings (B, length, D) of prompts, which may hold weights. compute: the embeddings of cleaned texts without
    any, as ``embed`` and the cache give them."""
    cleaned = [clean_spans(prompt) for prompt in prompts]
    plain = ["".join(span.text for span in prompt) for prompt in cleaned]
    rows_BLD = compute(plain)
    if all(span.weight == 1 for prompt in cleaned for span in prompt):
        return rows_BLD
    (empty_LD,) = compute([""])  # by itself: in one batch, the rounding of the others would change
    pairs = zip(rows_BLD, cleaned, strict=True)
    return torch.stack([weighted(row, empty_LD, tokenizer.weights(prompt, len(row))) for row, prompt in pairs])


def weighted(rows_LD: Tensor, empty_LD: Tensor, weights_L: Tensor) -> Tensor:
    """Embeddings of a prompt with weights: of each token, empty + weight * (row - empty). empty_LD: embeddings of the
    empty prompt. Rows of weight 1 stay as they are, to the bit.

    It is what ComfyUI computes for Wan (``encode_token_weights`` in comfy/sd1_clip.py), where the empty prompt is its
    end token and then zeros, too. The tokens are those of the prompt without its weights.
    """
    scaled = empty_LD.float() + weights_L[:, None].to(rows_LD.device) * (rows_LD.float() - empty_LD.float())
    return torch.where(weights_L[:, None].to(rows_LD.device) == 1, rows_LD, scaled.to(rows_LD.dtype))
