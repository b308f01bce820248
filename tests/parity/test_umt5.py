"""Our reading of prompts against transformers and diffusers: the same words, the same ids, the same vectors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers.pipelines.wan import pipeline_wan
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, UMT5EncoderModel
from transformers import T5TokenizerFast as TheirTokenizer  # type: ignore[attr-defined]
from transformers import UMT5Config as TheirConfig

from sora.models.wan import text_cache
from sora.models.wan.prompts import clean
from sora.models.wan.text import T5Tokenizer, embed
from sora.networks.umt5 import UMT5, UMT5Config, distance_buckets

ALIASES = {"encoder.embed_tokens.weight": "shared.weight"}  # one tensor, which ours holds under the second name
FLOAT32_IN_HALF = (".wo.weight",)  # what transformers keeps in float32 when all else is float16
SMALL = UMT5Config(vocab=90, d_model=24, d_kv=8, d_ff=40, num_layers=2, heads=3)
CASES = {
    "small": SMALL,
    "inner wider than the model": UMT5Config(vocab=50, d_model=16, d_kv=16, d_ff=24, num_layers=3, heads=4),
    "few buckets, near": UMT5Config(
        vocab=50, d_model=24, d_kv=8, d_ff=40, num_layers=1, heads=2, buckets=8, max_distance=9
    ),
}

CORPUS = [
    "a red boat sails over the quiet sea at night, slowly, and the moon is bright",
    "Two anthropomorphic cats in comfy boxing gear fight on a spotlighted stage.",
    "一只红色的猫在草地上奔跑，阳光明媚，镜头缓慢移动。",
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止",
    'it\'s 50% "off" & <b>more</b> — café, naïve, Ünïcödé',
]
TEXTS = {
    "english": "A red boat, slowly; the moon's bright night!",
    "chinese": "一只猫在草地上奔跑，色调艳丽",
    "entities": "cats &amp;amp; boats &lt;b&gt;more&lt;/b&gt;&nbsp;&nbsp;caf&eacute;",
    "blanks": "  two \t\n cats \u3000 on\u00a0a stage\x1c \x1d ",
    "never seen": "Ω≈ç√ 🦙 Жук",
    "the end inside": "a boat</s> sails <pad> on <extra_id_3>",
    "long": "the moon is bright over the sea " * 200,
    "empty": "",
}


def theirs(config: UMT5Config) -> UMT5EncoderModel:
    return UMT5EncoderModel(
        TheirConfig(
            vocab_size=config.vocab,
            d_model=config.d_model,
            d_kv=config.d_kv,
            d_ff=config.d_ff,
            num_layers=config.num_layers,
            num_heads=config.heads,
            relative_attention_num_buckets=config.buckets,
            relative_attention_max_distance=config.max_distance,
            layer_norm_epsilon=config.eps,
            feed_forward_proj="gated-gelu",
        )
    )


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {ALIASES.get(name, name): tensor for name, tensor in state.items()}


def pair(config: UMT5Config) -> tuple[UMT5, UMT5EncoderModel]:
    """Both networks with the same lively random weights: every norm and every distance counts."""
    torch.manual_seed(0)
    reference = theirs(config).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            fan_in = parameter.shape[-1] if parameter.ndim > 1 else 4
            parameter.normal_(std=1.0 if "shared" in name or "relative" in name else fan_in**-0.5)
            if "norm" in name:
                parameter.add_(1.0)
    ours = UMT5(config).eval()
    ours.load_state_dict(renamed(reference.state_dict()), strict=True)
    return ours, reference


def inputs(config: UMT5Config, lengths: list[int], room: int) -> tuple[Tensor, Tensor]:
    mask = torch.arange(room) < torch.tensor(lengths)[:, None]
    return torch.randint(3, config.vocab, mask.shape) * mask, mask


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_same_vectors(case: str) -> None:
    ours, reference = pair(CASES[case])
    ids, mask = inputs(CASES[case], [150, 1, 37], 150)
    got, want = ours(ids, mask), reference(ids, mask.long()).last_hidden_state
    assert float(want[mask].std()) > 0.3
    assert distance(got[mask], want[mask]) <= 1e-5
    assert distance(ours(ids), reference(ids).last_hidden_state) <= 1e-5


@pytest.mark.parametrize("buckets, most", [(32, 128), (8, 9), (64, 256), (16, 20)])
def test_same_buckets(buckets: int, most: int) -> None:
    config = UMT5Config(vocab=4, d_model=4, d_kv=2, d_ff=4, num_layers=1, heads=1, buckets=buckets, max_distance=most)
    attention: Any = theirs(config).get_submodule("encoder.block.0.layer.0.SelfAttention")
    places = torch.arange(600)
    want = attention._relative_position_bucket(places[None] - places[:, None])
    assert torch.equal(distance_buckets(600, buckets, most, torch.device("cpu")), want)


@torch.no_grad()
def test_every_layer_has_distances_of_its_own() -> None:
    ours, _ = pair(SMALL)
    ids, mask = inputs(SMALL, [9], 9)
    before = ours(ids, mask)
    ours.get_parameter("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight").mul_(-1)
    assert distance(ours(ids, mask), before) > 1e-2


@torch.no_grad()
def test_masked_words_touch_nothing() -> None:
    ours, _ = pair(SMALL)
    ids, mask = inputs(SMALL, [5, 12], 12)
    other = torch.where(mask, ids, torch.randint(3, SMALL.vocab, ids.shape))
    assert torch.equal(ours(ids, mask)[mask], ours(other, mask)[mask])
    assert distance(ours(ids, mask)[:1, :5], ours(ids[:1, :5])) <= 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_as_near_in_half_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    """float16 as transformers loads it, with the sums of the feed-forward in float32."""
    ours, reference = pair(SMALL)
    reference.save_pretrained(tmp_path)
    reference = UMT5EncoderModel.from_pretrained(tmp_path, dtype=dtype)
    ids, mask = inputs(SMALL, [40, 17], 40)
    exact = ours(ids, mask)
    wide = FLOAT32_IN_HALF if dtype == torch.float16 else ()
    state = {n: t if n.endswith(wide) and wide else t.to(dtype) for n, t in ours.state_dict().items()}
    assert {n: t.dtype for n, t in state.items()} == {n: t.dtype for n, t in renamed(reference.state_dict()).items()}
    ours.load_state_dict(state, assign=True)
    got, want = ours(ids, mask), reference(ids, mask.long()).last_hidden_state
    assert got.dtype == want.dtype == dtype
    assert distance(got[mask].float(), exact[mask]) <= 1.2 * distance(want[mask].float(), exact[mask])
    assert distance(got[mask].float(), exact[mask]) <= 0.03


@torch.no_grad()
def test_overflow_of_half_precision_is_held() -> None:
    """All in float16, where the sums pass its largest number."""
    ours, reference = pair(SMALL)
    for network in (ours, reference):
        network.get_parameter("encoder.block.0.layer.1.DenseReluDense.wo.weight").mul_(80000)
        network.half()
    ids, mask = inputs(SMALL, [30], 30)
    sums: list[Tensor] = []
    ours.get_submodule("encoder.block.0.layer.1").register_forward_hook(lambda *seen: sums.append(seen[2]))
    got, want = ours(ids, mask), reference(ids, mask.long()).last_hidden_state
    assert sums[0].isinf().any() and want.isfinite().all()
    assert distance(got.float(), want.float()) <= 2e-3


def test_same_names_and_shapes_as_the_true_size() -> None:
    with torch.device("meta"):
        ours, reference = UMT5(UMT5Config()), theirs(UMT5Config())
    want = {name: tensor.shape for name, tensor in renamed(reference.state_dict()).items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == want
    assert sum(p.numel() for p in ours.parameters()) == 5_680_910_336
    assert set(ALIASES) <= set(reference.state_dict()) and not set(ALIASES) & set(ours.state_dict())


def test_loads_a_saved_folder(tmp_path: Path) -> None:
    ours, reference = pair(CASES["few buckets, near"])
    reference.save_pretrained(tmp_path)
    config = UMT5Config.from_json(json.loads((tmp_path / "config.json").read_text()))
    assert config == ours.config
    again = UMT5(config)
    again.load_state_dict(renamed(load_file(tmp_path / "model.safetensors")), strict=True)
    assert torch.equal(again.shared.weight, ours.shared.weight)


def written(folder: Path, *, like_v4: bool = False, ends: bool = True) -> Path:
    """A folder with a tokenizer trained on a few lines, and transformers' description beside it."""
    made = Tokenizer(models.Unigram())
    spaces = pre_tokenizers.Metaspace(prepend_scheme="always")
    if like_v4:  # as the published files are, of before transformers 5
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])  # type: ignore
        made.pre_tokenizer = spaces  # type: ignore[assignment]
    else:
        made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])  # type: ignore
    special = ["<pad>", "</s>", "<unk>"]
    made.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(vocab_size=250, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    if ends:
        made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])  # type: ignore
    folder.mkdir()
    made.enable_truncation(7)
    made.enable_padding(length=9)
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``T5TokenizerFast.save_pretrained`` writes."""
    root = tmp_path_factory.mktemp("tokenizer")
    TheirTokenizer.from_pretrained(written(root / "made")).save_pretrained(root / "saved")
    return root / "saved"


def their_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int) -> tuple[Tensor, Tensor]:
    found = tokenizer(
        texts, padding="max_length", max_length=length, truncation=True, add_special_tokens=True, return_tensors="pt"
    )
    return found.input_ids, found.attention_mask.bool()


@pytest.mark.parametrize("length", [512, 16, 1])
def test_same_ids(saved: Path, length: int) -> None:
    words, reference = T5Tokenizer(saved / "tokenizer.json"), AutoTokenizer.from_pretrained(saved)
    texts = [clean(text) for text in TEXTS.values()]
    (ids, mask), (want, want_mask) = words.ids(texts, length), their_ids(reference, texts, length)
    assert ids.dtype == torch.int64 and mask.dtype == torch.bool
    assert torch.equal(ids, want) and torch.equal(mask, want_mask)
    for text, row, seen in zip(texts, ids, mask, strict=True):
        assert torch.equal(words.ids([text], length)[0][0], row)
        assert row[seen][-1] == 1 and not row[~seen].any()


@pytest.mark.parametrize("like_v4", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_same_ids_whether_or_not_the_file_ends_texts(tmp_path: Path, like_v4: bool, ends: bool) -> None:
    folder = written(tmp_path / "made", like_v4=like_v4, ends=ends)
    words, reference = T5Tokenizer(folder / "tokenizer.json"), TheirTokenizer.from_pretrained(folder)
    # transformers adds the sentinels of T5 to a file without; the published files and saved ones hold them.
    texts = [clean(text) for name, text in TEXTS.items() if name != "the end inside"]
    assert torch.equal(words.ids(texts, 64)[0], their_ids(reference, texts, 64)[0])


HARD = st.text(st.sampled_from("ab &;#x20ampltgnbsp<>\x0b\x1c\x1f\x85\xa0\u2003\u3000\u200b\ufeff猫é\u0301“’")).filter(
    bool
)


@pytest.mark.parametrize("mended", [False, True])
@given(text=HARD | st.text())
@example(text="a\x1cb \x1d \x1fc\x85d")
@example(text="a &amp;amp;lt; b &amp;nbsp;")
def test_same_cleaning(mended: bool, text: str) -> None:
    """With ftfy, as the reference has it where it is installed, and without."""
    with pytest.MonkeyPatch.context() as patch:
        if not mended:
            patch.setitem(sys.modules, "ftfy", None)
            patch.setattr(pipeline_wan, "is_ftfy_available", lambda: False)
        assert clean(text) == pipeline_wan.prompt_clean(text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_same_cleaning_with_a_package_that_mends(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("ftfy")
    stand_in.fix_text = lambda text: text.replace("’", "'").replace("a", "&lt;")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ftfy", stand_in)
    monkeypatch.setattr(pipeline_wan, "ftfy", stand_in, raising=False)
    monkeypatch.setattr(pipeline_wan, "is_ftfy_available", lambda: True)
    assert clean(text) == pipeline_wan.prompt_clean(text)
    assert clean("an “a” is not’") == "<n “<” is not'"


@torch.no_grad()
def test_same_embeddings_as_the_pipeline(saved: Path) -> None:
    words, tokenizer = T5Tokenizer(saved / "tokenizer.json"), AutoTokenizer.from_pretrained(saved)
    ours, reference = pair(UMT5Config(vocab=len(tokenizer), d_model=24, d_kv=8, d_ff=40, num_layers=2, heads=3))
    pipeline = pipeline_wan.WanPipeline(tokenizer, reference, None, None, None)  # type: ignore[arg-type]
    texts = [TEXTS[name] for name in ("english", "chinese", "long", "empty")]
    want = pipeline._get_t5_prompt_embeds(texts, max_sequence_length=512, device=torch.device("cpu"))
    got = embed(ours, words, [clean(text) for text in texts])
    assert got.shape == want.shape == (len(texts), 512, 24)
    assert torch.equal(got == 0, want == 0) and distance(got, want) <= 1e-5
    short = embed(ours, words, [clean(TEXTS["english"])], text_cache.MAX_LENGTH)
    assert short.shape == (1, 512, 24) and distance(short[0], want[0]) <= 1e-5
