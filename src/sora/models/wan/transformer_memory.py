"""Memory that the transformer and the text encoder take while they run, beside their weights, in bytes.

Counted from what stands at once in ``networks.wan.blocks`` and ``networks.umt5`` without gradients;
``benchmarks/memory.py`` holds the counts against the networks.
"""

from __future__ import annotations

from math import prod

from sora.models.wan.sizes import TextEncoder, Workload

FLOAT32 = 4
PROMPTS = 2
UNPACKED_AT_ONCE = 2**24
"""Numbers of a quantised weight that ``runtime.quantized`` turns into float32 at a time."""


def transformer(painting: Workload, *, quantised: bool) -> int:
    """Of one pass. quantised: whether weights are unpacked on every use."""
    t, c = painting.transformer, painting.itemsize
    samples = painting.batch * painting.tokens
    tables = painting.tokens * t.head_dim * 2 * FLOAT32
    text = painting.batch * t.text[0] * (t.text[1] + 4 * t.width) * c
    unpacked = t.width * t.ffn * c + 4 * FLOAT32 * min(t.width * t.ffn, UNPACKED_AT_ONCE) if quantised else 0
    return samples * _each_token(painting) + _scores(painting) + tables + text + unpacked


def kept_text(painting: Workload) -> int:
    """Keys and values of a prompt and its negative in every block, kept for all passes of a clip."""
    t = painting.transformer
    return PROMPTS * t.blocks * 2 * t.text[0] * t.width * painting.itemsize


def sampler(painting: Workload) -> int:
    """Of all latents around a pass: noise, velocity, what is known, what a multistep sampler remembers; and what goes
    in, as it is and as patches."""
    channels = (
        6 * painting.latents[0] * FLOAT32 + 2 * painting.batch * painting.transformer.channels * painting.itemsize
    )
    return channels * prod(painting.latents[1:])


def _each_token(painting: Workload) -> int:
    """The most that a token takes, at the dearest place of a block."""
    t, c = painting.transformer, painting.itemsize
    copy = FLOAT32 if c < FLOAT32 else 0  # float32 inside costs a copy only where all else is smaller
    # Turning keys by their angles: tokens, the same under modulation, q, k, v, turned queries; three float32 besides.
    turning = t.width * (6 * c + copy + 3 * FLOAT32)
    # Feed-forward: tokens before the block and within, and under three norms; its inside before and after activation.
    feeding = t.width * 5 * c + t.ffn * 2 * c
    # The branch's first block: tokens before layer 0, and the control's before they are joined.
    control = 2 * t.width * c if t.control else 0
    return max(turning, feeding) + control


def _scores(painting: Workload) -> int:
    """Scores before and after softmax, where no kernel fuses them."""
    heads = painting.transformer.width // painting.transformer.head_dim
    return 2 * min(painting.scores, painting.batch * heads * painting.tokens**2) * painting.itemsize


def text(encoder: TextEncoder, texts: int, number: int) -> int:
    """Of a pass over ``texts`` texts with numbers of ``number`` bytes."""
    words = texts * encoder.tokens
    bias = encoder.heads * encoder.tokens**2 * number
    attention = 6 * words * encoder.width * number + (1 + texts) * bias
    feeding = words * (3 * encoder.width + 3 * encoder.ffn) * number
    return max(attention, feeding)
