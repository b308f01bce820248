"""Which attention kernels a model's blocks use on a device: measured once, then kept in the folder of the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

import msgspec
import torch

from sora.networks.layers import AttentionFunction, attention
from sora.runtime.attention_kernels import KERNELS
from sora.runtime.attention_op import KernelAttention, has_failed, load_kernel
from sora.runtime.attention_ranking import AttentionSize, Timing, candidates, rank_kernels, round_tokens
from sora.runtime.speed import Speed
from sora.storage import atomic
from sora.storage import cache as cache_folder

TEXT_KEYS = 512  # tokens of a padded text
TYPICAL = (12, 128, 32_760)  # heads, channels of a head and tokens: Wan 2.1 1.3B, 81 frames of 832x480
FILE_NAME = "attention.json"
MAX_BYTES, MAX_CHOICES = 2**18, 100  # of the file


class SavedChoice(msgspec.Struct, forbid_unknown_fields=True):
    """kernel: a name in ``KERNELS``. milliseconds, errors: what was measured of each kernel."""

    kernel: str
    milliseconds: dict[str, float]
    errors: dict[str, float]


class ChoicesFile(msgspec.Struct, forbid_unknown_fields=True):
    """choices: by device, versions and size, the last one written last."""

    format: int
    choices: dict[str, SavedChoice]


FORMAT = 1


@dataclass(frozen=True)
class Choice:
    """Names in ``KERNELS``; None for torch's default. own: among the tokens. text: of tokens to text."""

    own: str | None
    text: str | None

    @property
    def functions(self) -> tuple[AttentionFunction, AttentionFunction]:
        """What ``WanDiT.use_attention`` takes."""
        return attention_by(self.own), attention_by(self.text, of_text=True)


@cache
def attention_by(kernel: str | None, *, of_text: bool = False) -> AttentionFunction:  # noqa: ARG001
    """Attention by a kernel, always the same object. of_text: of tokens to text, another object, since compilers tell
    two uses of one thing from two things."""
    return attention if kernel is None else KernelAttention(kernel, attention)


class Sizes(Protocol):
    """What a network's configuration says of its attention."""

    @property
    def heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    def token_shape(self, latent_shape: tuple[int, int, int], /) -> tuple[int, int, int]: ...


class Attending(Protocol):
    """A network whose blocks attend by functions that can be replaced."""

    @property
    def config(self) -> Sizes: ...
    def use_attention(self, own: AttentionFunction, text: AttentionFunction) -> None: ...


def use_fastest_attention(
    network: Attending, shape_THW: tuple[int, int, int], device: torch.device, dtype: torch.dtype, speed: Speed
) -> None:
    """Let a network attend by the kernels that are fastest for latents of this shape."""
    config = network.config
    tokens = prod(config.token_shape(shape_THW))
    functions = fastest_attention(device, dtype, config.heads, config.head_dim, tokens, speed).functions
    if _functions_of.get(network, (attention, attention)) != functions:
        network.use_attention(*functions)
        _functions_of[network] = functions


_functions_of: WeakKeyDictionary[Attending, tuple[AttentionFunction, AttentionFunction]] = WeakKeyDictionary()
"""What each network was given here, so that a pass gives it nothing anew: what wraps the functions stays, too."""


def fastest_attention(
    device: torch.device, dtype: torch.dtype, heads: int, head_dim: int, tokens: int, speed: Speed
) -> Choice:
    """The fastest kernels for a canvas of so many tokens. Measured where neither this process nor the file knows them,
    which takes about a second on a GPU; torch's default where there is nothing to choose from."""
    if not speed.uses("attention"):
        return Choice(None, None)
    queries = round_tokens(tokens)
    own, text = (
        _fastest_working(device, AttentionSize(heads, head_dim, queries, keys, dtype), speed.fast)
        for keys in (queries, TEXT_KEYS)
    )
    return Choice(own, text)


def _fastest_working(device: torch.device, size: AttentionSize, fast: bool) -> str | None:
    """Chosen anew where a kernel failed since: torch's default would be another graph where blocks are compiled."""
    name = _fastest_kernel(device, size, fast)
    while name is not None and has_failed(name):
        _fastest_kernel.cache_clear()
        name = _fastest_kernel(device, size, fast)
    return name


@cache
def _fastest_kernel(device: torch.device, size: AttentionSize, fast: bool) -> str | None:
    names = candidates(device, size, fast)
    if not names:
        return None
    key = describe(device, size, names)
    saved = read_choices().get(key)
    if saved is not None and saved.kernel in names and _loads(saved.kernel):
        return saved.kernel
    try:
        ranked = rank_kernels(device, size, names)
    except torch.OutOfMemoryError:
        return None
    if not ranked:
        return None
    save_choice(key, ranked)
    return ranked[0].kernel


def _loads(kernel: str) -> bool:
    try:
        load_kernel(kernel)
    except Exception:  # a package that was removed or broken since
        return False
    return True


def describe(device: torch.device, size: AttentionSize, names: tuple[str, ...]) -> str:
    """All that a choice depends on: the device, torch and the packages, the size, and what there was to choose
    from."""
    found = [f"{name} of {KERNELS[name].found_in}" for name in names]
    shape = f"{size.heads} heads of {size.head_dim}, {size.queries} x {size.keys}, {size.dtype}"
    return ", ".join([_device_name(device), f"torch {torch.__version__}", *_versions(device), *found, shape])


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _versions(device: torch.device) -> Iterator[str]:
    if device.type == "cuda":
        yield f"CUDA {torch.version.cuda}"
        yield f"cuDNN {torch.backends.cudnn.version()}"


def _path() -> Path:
    return cache_folder.folder() / FILE_NAME


def read_choices() -> dict[str, SavedChoice]:
    """The choices in the file; none where it is missing, damaged, too large or another program's."""
    with suppress(OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        path = _path()
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            content = msgspec.json.decode(path.read_bytes(), type=ChoicesFile)
            if content.format == FORMAT:
                return content.choices
    return {}


def save_choice(key: str, ranked: tuple[Timing, ...]) -> None:
    """Add a choice to the file, in place of the oldest one where there are many. A folder that cannot be written to
    only costs time."""
    choices = read_choices()
    choices.pop(key, None)
    choices[key] = SavedChoice(
        ranked[0].kernel,
        {timing.kernel: round(1000 * timing.seconds, 4) for timing in ranked},
        {timing.kernel: round(timing.error, 5) for timing in ranked},
    )
    newest = dict(list(choices.items())[-MAX_CHOICES:])
    with suppress(OSError):
        _path().parent.mkdir(parents=True, exist_ok=True)
        data = msgspec.json.format(msgspec.json.encode(ChoicesFile(FORMAT, newest)), indent=1)
        atomic.write(_path(), data, replace=True, durable=False)


def summary(device: torch.device, dtype: torch.dtype) -> str:
    """In a person's words: a device and its kernels for the typical size."""
    heads, head_dim, tokens = TYPICAL
    choice = fastest_attention(device, dtype, heads, head_dim, tokens, Speed())
    own, text = ("torch's default" if name is None else KERNELS[name].name for name in (choice.own, choice.text))
    chosen = own if own == text else f"{own} among tokens and {text} to text"
    return f"{device.type} by {chosen}"


def installed_packages() -> list[str]:
    """The optional packages of kernels that are installed, with their versions."""
    found = (kernel.found_in for kernel in KERNELS.values() if kernel.packages)
    return sorted({package for package in found if package is not None})
