"""Activation memory of the transformer and the text encoder: what they take besides their weights, in bytes.

Counted from the tensors alive at once in ``networks.wan.blocks`` and ``networks.umt5`` without gradients;
``benchmarks/memory.py`` compares the counts with the networks, ``benchmarks/memory_clips.py`` with whole clips.
"""

from __future__ import annotations

from math import prod

from sora.models.wan.sizes import TextEncoder, Workload

FLOAT32 = 4
FLOAT8 = 1
UNPACKED_AT_ONCE = 2**24
"""How many numbers of a quantized weight ``runtime.quantized`` dequantises to float32 at a time."""


def transformer(workload: Workload, *, quantized: bool, fused: bool = False, keeps_text: bool = False) -> int:
    """Of one pass of the transformer, not compiled; a compiled one takes less. quantized: whether weights are
    dequantised on every use. fused: whether queries, keys and values are one product. keeps_text: whether keys and
    values of the text are there already, as ``kept_text`` counts them."""
    t, c = workload.transformer, workload.itemsize
    samples = _samples(workload)
    tables = workload.tokens * t.head_dim * 2 * FLOAT32
    text = 0 if keeps_text else workload.windows * workload.batch * t.text[0] * (t.text[1] + 4 * t.width) * c
    peak = samples * _per_token(workload, fused)
    if quantized:  # the feed-forward's second weight, once its input is there
        peak = max(peak, samples * (3 * t.width + t.ffn) * c + _dequantized(workload, t.width * t.ffn))
    # First block of VACE's branch: tokens before and after layer 0, and those of the control latents before they are
    # added to the former.
    control = samples * 3 * t.width * c if t.control_channels else 0
    return peak + control + _scores(workload) + tables + text


def _dequantized(workload: Workload, numbers: int) -> int:
    """Of a weight of so many numbers while it is dequantized: a float32 copy and the same times its scale, and more for
    blocks of fewer than eight bits; from the second piece on also what is left of the piece before."""
    pieces = 8 if workload.transformer.weights.bytes_per_parameter >= 1 else 14
    pieces += FLOAT32 if numbers > UNPACKED_AT_ONCE else 0
    return numbers * workload.itemsize + pieces * min(numbers, UNPACKED_AT_ONCE)


def kept_text(workload: Workload) -> int:
    """Of the cached keys and values of the prompt and the negative prompt, in every block."""
    t = workload.transformer
    return workload.windows * workload.prompts * t.blocks * 2 * t.text[0] * t.width * workload.itemsize


def step_cache(workload: Workload) -> int:
    """Of a step cache (``runtime.step_cache``): for each prompt what the first block and what the others changed, and
    while these run the tokens before and after the first block and its change."""
    if not workload.step_cache:
        return 0
    kept = 2 * workload.windows * workload.prompts * workload.own_tokens
    return (kept + 3 * _samples(workload)) * workload.transformer.width * workload.itemsize


def float8_weights(workload: Workload) -> int:
    """Of a transformer whose weights are converted by ``float8_blocks``: all of a block's but the two of
    cross-attention that multiply the text."""
    t = workload.transformer
    in_float8 = t.blocks * t.width * (6 * t.width + 2 * t.ffn)
    return t.weights.bytes - round(in_float8 * (t.weights.bytes_per_parameter - FLOAT8))


def _samples(workload: Workload) -> int:
    """Tokens of one pass."""
    return workload.windows * workload.batch * workload.own_tokens


def sampler(workload: Workload) -> int:
    """Of the latents around a pass: the noise, the velocity, the known latents, the history of a multistep sampler,
    VACE's control latents; and the input, as latents and as patches."""
    t, (channels, *shape) = workload.transformer, workload.sampled_latents
    kept = (6 * channels + t.control_channels) * FLOAT32
    return workload.windows * (kept + 2 * workload.batch * t.channels * workload.itemsize) * prod(shape)


def _per_token(workload: Workload, fused: bool) -> int:
    """Of a token, at the point of a block where it takes the most."""
    t, c = workload.transformer, workload.itemsize
    # Rotary embedding of the keys: tokens, the same modulated, rotated queries, and keys as they were, or where these
    # are one product all three; in float32 the keys turned and with their pairs swapped, and as they were if these are
    # no copy, which would be turned in place.
    rotary = t.width * ((6 if fused else 4) * c + (2 if c < FLOAT32 else 3) * FLOAT32)
    # Feed-forward: tokens before the block, within, modulated, and the result; its inside, rounded too in float8.
    feed_forward = t.width * 4 * c + t.ffn * (c + (FLOAT8 if workload.float8 else 0))
    # Norm of the queries for the text: tokens before the block, within, and normed; queries, and in float32 these and
    # their norm.
    text_queries = t.width * (4 * c + (2 if c < FLOAT32 else 1) * FLOAT32)
    exchange = _exchanging(t.width * c, fused) if workload.ulysses_degree > 1 else 0
    return max(rotary, feed_forward, text_queries, exchange)


def _exchanging(token: int, fused: bool) -> int:
    """Of a token of so many bytes while processes exchange tokens for heads: tokens before this block and within;
    queries, keys and values as they were, as they go, and as they come; and queries and keys before their norm, where
    these are one product with the values."""
    return (13 if fused else 11) * token


def _scores(workload: Workload) -> int:
    """Of attention scores before and after softmax, where no fused kernel is used."""
    heads = workload.transformer.width // workload.transformer.head_dim
    return 2 * min(workload.scores, workload.windows * workload.batch * heads * workload.tokens**2) * workload.itemsize


def text(encoder: TextEncoder, texts: int, itemsize: int) -> int:
    """Of one pass of the text encoder over ``texts`` texts, with numbers of ``itemsize`` bytes."""
    tokens = texts * encoder.tokens
    bias = encoder.heads * encoder.tokens**2 * itemsize
    attention = 6 * tokens * encoder.width * itemsize + (1 + texts) * bias
    feed_forward = tokens * (3 * encoder.width + 3 * encoder.ffn) * itemsize
    return max(attention, feed_forward)
