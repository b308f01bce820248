"""The embedded model's tokenizer: every word of its world is one token, every other word is spelled in small pieces.

Chinese is split into the world's words and single characters. A piece is one or two letters and no word itself, so that
"carpet" does not begin with the token "car".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from string import ascii_lowercase, digits

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from minitrain.captions import Caption
from minitrain.captions.subject_names import names, plural
from minitrain.captions.wordlist import chinese_words, english_words
from minitrain.worlds.world import World

PADDING, UNKNOWN = "<pad>", "<unk>"
MAX_PAIRS = 160  # pieces of two letters
VOWELS, CONSONANTS = "aeiou", "bcdfghklmnprstvz"


def build_tokenizer(world: World) -> Tokenizer:
    """A tokenizer for a world's captions, with id 0 for padding and 1 for characters that are in no word of it. Case,
    punctuation and full-width forms are ignored."""
    english, chinese = english_words(world), chinese_words(world)
    characters = sorted({*"".join(chinese)})
    pairs = [pair for pair in _pairs(english) if pair not in english]
    whole = [w for w in (*english, *chinese) if len(w) > 1]
    vocabulary = [PADDING, UNKNOWN, *ascii_lowercase, *digits, *characters, *pairs, *whole]
    tokenizer = Tokenizer(
        models.BPE(
            {token: i for i, token in enumerate(vocabulary)},
            [(pair[0], pair[1]) for pair in pairs],
            unk_token=UNKNOWN,
            fuse_unk=True,
            ignore_merges=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    longest_first = sorted((w for w in chinese if len(w) > 1), key=lambda w: (-len(w), w))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Whitespace(),
            pre_tokenizers.Punctuation(behavior="removed"),
            pre_tokenizers.Split(Regex("|".join((*longest_first, "[\u3400-\u9fff]"))), "isolated"),
        ]
    )
    return tokenizer


def _pairs(words: Sequence[str]) -> list[str]:
    """The most frequent letter pairs, most frequent first."""
    counts = Counter(w[i : i + 2] for w in words for i in range(len(w) - 1))
    return [pair for pair, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_PAIRS]]


def add_typos(caption: Caption, rng: Random) -> str:
    """The caption's text as people type: now and then with a plural, a typing error, or a word from outside the
    world."""
    text = caption.text
    if rng.random() < 0.1 and caption.facts["subject"]:
        named = [n for n in names(caption.facts["subject"]) if n in text]
        text = text.replace(max(named, key=len), plural(max(named, key=len)), 1) if named else text
    words = text.split(" ")
    if rng.random() < 0.1:
        words.insert(rng.randrange(len(words) + 1), _nonsense_word(rng))
    long_words = [i for i, w in enumerate(words) if len(w) > 5 and w.isascii() and w.isalpha()]
    if long_words and rng.random() < 0.1:
        at = rng.choice(long_words)
        words[at] = _misspell(words[at], rng)
    return " ".join(words)


def _misspell(word: str, rng: Random) -> str:
    """Swap two letters, drop one, or double one, but not the first."""
    i = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (word[:i] + word[i + 1] + word[i] + word[i + 2 :], word[:i] + word[i + 1 :], word[: i + 1] + word[i:])
    )


def _nonsense_word(rng: Random) -> str:
    syllables = range(rng.randint(2, 4))
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) + rng.choice(("", "n", "r", "s")) for _ in syllables)
