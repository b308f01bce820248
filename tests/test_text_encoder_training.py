"""The text encoder's tokenizer, its training, and how it continues from an older encoder. Nothing here needs a font."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

import pytest
import torch
from tokenizers import Tokenizer

from minitrain import slot_distillation, text_encoder_training
from minitrain.captions import SLOTS, Caption, caption
from minitrain.optim import MuonAdamW
from minitrain.tokenizer import add_typos, build_tokenizer
from minitrain.worlds.world import WORLDS, draw_film
from sora.models.mini.model import word_ids
from sora.networks.mini_text import MiniText, MiniTextConfig

SMALL = WORLDS["small"]
FEW = replace(SMALL, subjects=("car", "red ball"), settings=("city", "sea"), motions=("left", "right"))
KINDS = tuple(text_encoder_training.CAPTION_KINDS)


@cache
def tokenizer() -> Tokenizer:
    return build_tokenizer(SMALL)


def encoder(slots: int = 12, words: Tokenizer | None = None) -> MiniText:
    size = (words or tokenizer()).get_vocab_size()
    return MiniText(
        MiniTextConfig(size, width=16, heads=2, slots=slots, length=text_encoder_training.MAX_TOKENS)
    ).eval()


@pytest.mark.parametrize("text", ["a red car", "A Red CAR!", " a  red, car ", "ａ ｒｅｄ ｃａｒ"])
def test_case_punctuation_and_width_do_not_matter(text: str) -> None:
    assert tokenizer().encode(text).ids == tokenizer().encode("a red car").ids


@pytest.mark.parametrize("length", ["terse", "plain", "long"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_are_read_to_the_last_word_and_fit(length: str, language: str) -> None:
    rng = Random(2)
    for seed in range(60):
        written = caption(draw_film(SMALL, seed), rng, length=length, language=language, gaits=False)
        read = tokenizer().encode(written.text)
        assert 1 not in read.ids
        assert len(read.ids) <= text_encoder_training.MAX_TOKENS
        assert len(set(read.word_ids)) == len(read.ids)  # every word whole


@pytest.mark.parametrize("world", ["medium", "large"])
def test_the_longest_captions_of_larger_worlds_fit(world: str) -> None:
    words, rng = build_tokenizer(WORLDS[world]), Random(3)
    for seed in range(80):
        for language in ("en", "zh"):
            text = caption(draw_film(WORLDS[world], seed), rng, complete=True, length="long", language=language).text
            assert len(words.encode(text).ids) <= text_encoder_training.MAX_TOKENS


def test_a_word_that_begins_with_a_car_is_no_car() -> None:
    assert tokenizer().token_to_id("car") not in tokenizer().encode("carpet").ids
    assert tokenizer().token_to_id("car") in tokenizer().encode("小car").ids


def test_typing_errors_keep_most_of_the_text() -> None:
    one = caption(draw_film(SMALL, 5), Random(1), length="plain", language="en", complete=True)
    texts = {add_typos(one, Random(seed)) for seed in range(200)}
    assert one.text in texts
    assert len(texts) > 20
    assert all(abs(len(text.split()) - len(one.text.split())) <= 1 for text in texts)


def test_captions_become_ids_slots_and_answers() -> None:
    captions = text_encoder_training.sample_captions(SMALL, 8, Random(1), KINDS, held_out=False)
    ids, right = (
        word_ids(tokenizer(), [c.text for c in captions], text_encoder_training.MAX_TOKENS),
        text_encoder_training.labels_of(SMALL, captions),
    )
    slots, guesses = text_encoder_training.SlotClassifier(encoder(), SMALL)(ids)
    assert slots.shape == (8, 12, 16)
    assert [g.shape for g in guesses] == [(8, len(a)) for a in text_encoder_training.slot_values(SMALL).values()]
    assert right.shape == (8, len(SLOTS))
    assert [c.text for c in text_encoder_training.sample_captions(SMALL, 8, Random(1), KINDS, held_out=False)] == [
        c.text for c in captions
    ]


def test_every_world_can_be_asked_about() -> None:
    for world in WORLDS.values():
        captions = text_encoder_training.sample_captions(world, 60, Random(1), KINDS, held_out=True)
        assert text_encoder_training.labels_of(world, captions).min() >= 0


def test_learning_lowers_the_loss() -> None:
    torch.manual_seed(0)
    reader = text_encoder_training.SlotClassifier(encoder(), FEW)
    optimiser = MuonAdamW(
        reader, muon_lr=0.01, adamw_lr=0.01, adamw_prefixes=("text.words", "text.places", "text.slots", "heads")
    )
    loss = text_encoder_training.make_loss(reader, FEW, tokenizer(), 32, None)
    figures = []
    for _ in range(40):
        value, parts = loss(0.0)
        value.backward()
        optimiser.step(1.0)
        figures.append(parts["loss"])
    assert sum(figures[-8:]) < 0.75 * sum(figures[:8])


def test_targets_are_the_old_slots_on_average() -> None:
    torch.manual_seed(0)
    old = encoder(slots=8)
    targets = slot_distillation.fit_targets(old, tokenizer(), FEW, count=300)
    facts, slots = slot_distillation._old_slots(old, tokenizer(), FEW, 300)
    where, known = targets.targets(facts, 12)
    assert where.shape == (300, 12, 16)
    assert known.all()
    left = (slots - where[:, :8]).square().mean()
    assert left < (slots - slots.mean(dim=0)).square().mean()
    assert torch.allclose(where[:, :8].mean(dim=0), slots.mean(dim=0), atol=1e-3)


def test_values_that_the_old_encoder_did_not_know_have_no_target() -> None:
    targets = slot_distillation.SlotTargets(torch.zeros(8, 4), {("subject", "car"): torch.ones(8, 4)})
    silent = dict.fromkeys(SLOTS, "")
    where, known = targets.targets([silent | {"subject": "car"}, silent | {"subject": "dog", "event": "bites"}], 12)
    assert where[0, :8].eq(1).all() and not where[0, 8:].any()
    assert known[0].all()
    assert [i for i in range(12) if not known[1, i]] == [0, SLOTS.index("event")]


def test_new_words_begin_as_known_ones_with_the_same_facts() -> None:
    words = Tokenizer.from_str(tokenizer().to_str())
    new, rng = encoder(), Random(1)
    car, auto = words.token_to_id("car"), words.token_to_id("auto")
    subjects = [rng.choice(("car", "red ball")) for _ in range(200)]
    texts = [rng.choice(("car", "auto")) if subject == "car" else "ball" for subject in subjects]
    facts = [dict.fromkeys(SLOTS, "") | {"subject": subject} for subject in subjects]
    captions = [Caption(*pair) for pair in zip(texts, facts, strict=True)]
    before = new.words.weight[car].clone()
    slot_distillation.init_new_words(new, captions, word_ids(words, texts, 8), {car, words.token_to_id("ball")})
    assert torch.equal(new.words.weight[car], before)
    assert torch.cosine_similarity(new.words.weight[auto], before, dim=0) > 0.9


def test_padding_does_not_change_the_slots() -> None:
    short = torch.tensor([[3, 4, 5]])
    text = encoder()
    assert torch.allclose(text(short), text(torch.tensor([[3, 4, 5, 0, 0]])), atol=1e-5)
