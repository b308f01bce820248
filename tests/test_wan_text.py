"""Prompts for Wan: cleaning, words, embeddings, and the cache of embeddings on disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from sora.errors import ModelError
from sora.models.wan.prompts import clean, encoded
from sora.models.wan.text import T5Tokenizer, embed, embed_prompts
from sora.models.wan.text_cache import EmbeddingCache
from sora.networks.umt5 import UMT5, UMT5Config

WORDS = ["a", "red", "boat", "sails", "over", "the", "sea"]
PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((f"▁{word}", -3.0) for word in WORDS), ("▁", -9.0)]


def tokenizer_json(folder: Path, pieces: list[tuple[str, float]] = PIECES) -> Path:
    made = Tokenizer(models.Unigram(pieces, unk_id=2))  # type: ignore[call-arg]
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")  # type: ignore[assignment]
    path = folder / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture
def words(tmp_path: Path) -> T5Tokenizer:
    return T5Tokenizer(tokenizer_json(tmp_path))


@pytest.fixture
def network() -> UMT5:
    torch.manual_seed(0)
    return UMT5(UMT5Config(vocab=len(PIECES), d_model=12, d_kv=4, d_ff=20, num_layers=2, heads=2)).eval()


@pytest.mark.parametrize(
    "prompt, want",
    [
        ("  a\t red \n\n boat ", "a red boat"),
        ("cats &amp;amp;amp; boats", "cats &amp; boats"),
        ("a&nbsp;&#x3000;b", "a b"),
        ("一只\u3000猫", "一只 猫"),
        (" \n ", ""),
    ],
)
def test_cleans(prompt: str, want: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)  # as where it is not installed
    assert clean(prompt) == want


def test_words_are_padded_ended_and_cut(words: T5Tokenizer) -> None:
    ids, mask = words.ids(["a red boat", "", "the sea " * 9], 6)
    assert ids.tolist() == [[3, 4, 5, 1, 0, 0], [1, 0, 0, 0, 0, 0], [8, 9, 8, 9, 8, 1]]
    assert mask.tolist() == [[True] * 4 + [False] * 2, [True] + [False] * 5, [True] * 6]
    assert words.ids(["a red boat"])[0].shape == (1, 512)
    assert words.ids(["a red boat"], 3)[0].tolist() == [[3, 4, 1]]


def test_weights_scale_what_a_token_adds_to_the_empty_prompt(words: T5Tokenizer, network: UMT5) -> None:
    def compute(texts: list[str]) -> Tensor:
        return embed(network, words, texts, 8)

    (plain, sea), (empty,) = compute(["a red boat sails", "the sea"]), compute([""])
    weighted, other = embed_prompts(["a (red boat:1.5) (sails:0)", "the sea"], words, compute)
    factors = torch.tensor([1, 1.5, 1.5, 0, 1, 1, 1, 1])[:, None]
    assert torch.allclose(weighted, empty + factors * (plain - empty), atol=1e-6)
    assert torch.equal(weighted[[0, 4, 5, 6, 7]], plain[[0, 4, 5, 6, 7]]) and torch.equal(other, sea)  # to the bit
    for same in ("a red boat sails", "a (red boat:1) sails", "a ((red:1.0) boat sails:1)"):
        assert torch.equal(embed_prompts([same], words, compute), compute(["a red boat sails"]))
    (cut,), (whole,) = embed_prompts(["(a red boat:0.5) sea" * 9], words, compute), compute(["a red boat sea" * 9])
    assert torch.equal(cut[7], whole[7])


def test_refuses_a_missing_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.json is missing; download it again"):
        T5Tokenizer(tmp_path / "nowhere.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"model": {"type": "Unigram"}}', b"[1, 2"])
def test_refuses_a_damaged_tokenizer(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json is damaged \(.+\); download it again"):
        T5Tokenizer(path)


def test_refuses_a_tokenizer_cut_short(tmp_path: Path) -> None:
    path = tokenizer_json(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelError, match="damaged"):
        T5Tokenizer(path)


def test_refuses_another_model_s_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="knows no </s>"):
        T5Tokenizer(tokenizer_json(tmp_path, [("<pad>", 0.0), ("<unk>", -9.0), ("a", -1.0)]))


def test_embeds_words_and_nothing_after_them(words: T5Tokenizer, network: UMT5) -> None:
    rows = embed(network, words, ["a red boat", "the sea", ""], 16)
    assert rows.shape == (3, 16, 12) and not rows.requires_grad and not rows.is_inference()
    assert [int(row.any(dim=1).sum()) for row in rows] == [4, 3, 1]
    assert [int(row.any(dim=1).nonzero().max()) for row in rows] == [3, 2, 0]
    alone = embed(network, words, ["the sea"], 16)
    assert torch.allclose(alone[0], rows[1], atol=1e-5)


@pytest.mark.parametrize(
    "config, complaint",
    [({"feed_forward_proj": "relu"}, "'relu'; UMT5's is 'gated-gelu'"), ({"d_model": 8, "d_kv": "4"}, "lacks .*d_kv")],
)
def test_refuses_a_config_it_cannot_follow(config: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        UMT5Config.from_json(config)


class Encoder:
    """Stands in for a text encoder: rows that follow from the text, as many as it has letters."""

    def __init__(self, dtype: torch.dtype = torch.float32, length: int = 8) -> None:
        self.asked: list[list[str]] = []
        self.dtype, self.length = dtype, length

    def __call__(self, texts: list[str]) -> Tensor:
        self.asked.append(texts)
        return torch.stack([self.rows(text) for text in texts])

    def rows(self, text: str) -> Tensor:
        rows = torch.zeros(self.length, 3)
        for i, letter in enumerate(text[: self.length]):
            rows[i] = torch.tensor([ord(letter), 0.0, -i])
        return rows.to(self.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_remembers_what_was_read(tmp_path: Path, dtype: torch.dtype) -> None:
    encoder, cache = Encoder(dtype), EmbeddingCache(tmp_path / "a" / "b", "umt5")
    first = cache.get(["boat", "", "boat"], encoder, 8)
    again = cache.get(["sea", "boat", ""], encoder, 8)
    assert encoder.asked == [["boat", ""], ["sea"]]
    assert first.dtype == again.dtype == dtype
    assert torch.equal(first, torch.stack([encoder.rows(t) for t in ("boat", "", "boat")]))
    assert torch.equal(again, torch.stack([encoder.rows(t) for t in ("sea", "boat", "")]))
    EmbeddingCache(tmp_path / "a" / "b", "umt5").get(["sea"], encoder, 8)
    assert len(encoder.asked) == 2


def test_tells_encoders_and_lengths_apart(tmp_path: Path) -> None:
    encoder, longer = Encoder(), Encoder(length=9)
    EmbeddingCache(tmp_path, "umt5 bf16").get(["boat"], encoder, 8)
    EmbeddingCache(tmp_path, "umt5 fp16").get(["boat"], encoder, 8)
    assert EmbeddingCache(tmp_path, "umt5 bf16").get(["boat"], longer, 9).shape == (1, 9, 3)
    assert (len(encoder.asked), len(longer.asked)) == (2, 1)


def test_stores_only_the_rows_of_the_prompt_and_not_the_prompt(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path, "umt5").get(["zebra"], Encoder(length=512), 512)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 300 and b"zebra" not in file.read_bytes() + file.name.encode()


@pytest.mark.parametrize("harm", ["cut", "empty", "noise", "other names", "other shape", "too long"])
def test_a_damaged_file_is_written_anew(tmp_path: Path, harm: str) -> None:
    encoder, cache = Encoder(), EmbeddingCache(tmp_path, "umt5")
    want = cache.get(["boat"], encoder, 8)
    (file,) = tmp_path.iterdir()
    if harm == "other names":
        save_file({"other": torch.zeros(2, 3)}, file)
    elif harm == "other shape":
        save_file({"rows": torch.zeros(3)}, file)
    elif harm == "too long":
        save_file({"rows": torch.ones(9, 3)}, file)
    else:
        whole = file.read_bytes()
        file.write_bytes({"cut": whole[:-5], "empty": b"", "noise": b"\xff" * len(whole)}[harm])
    assert torch.equal(cache.get(["boat"], encoder, 8), want)
    assert torch.equal(cache.get(["boat"], encoder, 8), want)
    assert len(encoder.asked) == 2 and len(list(tmp_path.iterdir())) == 1


def test_keeps_the_files_used_last_and_leaves_strangers_alone(tmp_path: Path) -> None:
    encoder, cache = Encoder(), EmbeddingCache(tmp_path, "umt5", max_files=3)
    stranger, abandoned = tmp_path / "notes.txt", tmp_path / f"{'0' * 64}.1a2b3c4d"
    for file in (stranger, abandoned):
        file.write_text("x")
        os.utime(file, (0, 0))
    for age, text in enumerate(["first", "second", "third"]):
        before = set(tmp_path.iterdir())
        cache.get([text], encoder, 8)
        (new,) = set(tmp_path.iterdir()) - before
        os.utime(new, (1000 + age, 1000 + age))
    assert stranger.exists() and not abandoned.exists()
    cache.get(["first"], encoder, 8)
    cache.get(["fourth"], encoder, 8)
    asked = len(encoder.asked)
    cache.get(["first", "third", "fourth"], encoder, 8)
    assert len(encoder.asked) == asked and len(list(tmp_path.iterdir())) == 4
    cache.get(["second"], encoder, 8)
    assert encoder.asked[-1] == ["second"]


def test_does_not_keep_what_a_device_broke(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "umt5")
    broken = cache.get(["boat"], lambda texts: torch.full((1, 8, 3), torch.nan), 8)
    assert broken.isnan().all() and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    encoder, cache = Encoder(), EmbeddingCache(tmp_path / "file" / "cache", "umt5")
    for _ in range(2):
        assert torch.equal(cache.get(["boat"], encoder, 8), encoder.rows("boat")[None])
    assert len(encoder.asked) == 2


def test_what_is_cached_is_known_without_the_network(tmp_path: Path, words: T5Tokenizer, network: UMT5) -> None:
    prompts = ["a  red boat", "the (sea:1.5)", "a red boat"]
    texts, cache = encoded(prompts), EmbeddingCache(tmp_path, "an encoder")
    assert texts == ("a red boat", "the sea", "") and cache.missing(texts) == texts
    embed_prompts(prompts[:1], words, lambda new: cache.get(new, lambda found: embed(network, words, found)))
    assert cache.missing(texts) == ("the sea", "") and EmbeddingCache(tmp_path, "another").missing(texts) == texts
    embed_prompts(prompts, words, lambda new: cache.get(new, lambda found: embed(network, words, found)))
    assert not cache.missing(texts)
