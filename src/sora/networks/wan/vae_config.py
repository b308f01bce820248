"""The sizes of Wan's video autoencoders, as their config.json gives them, and the published ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MEAN_21 = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508)
MEAN_21 += (0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
STD_21 = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743)
STD_21 += (3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)


MAX_COUNT = 1 << 13  # of anything in a VAE's configuration
_MAX_SCALES, _MAX_BLOCKS = 8, 32


@dataclass(frozen=True)
class WanVAEConfig:
    """Sizes, under the names of the files' config.json; the defaults are Wan 2.1's. ValueError where they disagree.

    base_dim, decoder_base_dim: width at the pixels' end; None is the encoder's. z_dim: channels of a latent. dim_mult:
    width of each scale, in base_dims; each but the last is halved into the next. temperal_downsample (sic): which of
    these halvings are in time too. num_res_blocks: at each scale; the decoder has one more. latents_mean, latents_std:
    of each channel. is_residual: Wan 2.2's shortcuts. in_channels, out_channels: of the pixels once folded. patch_size:
    pixels folded at the door, along each side.
    """

    base_dim: int = 96
    decoder_base_dim: int | None = None
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...] = MEAN_21
    latents_std: tuple[float, ...] = STD_21
    is_residual: bool = False
    in_channels: int = 3
    out_channels: int = 3
    patch_size: int = 1

    def __post_init__(self) -> None:
        folded = 3 * self.patch_size**2
        if not self.in_channels == self.out_channels == folded:
            raise ValueError(f"{self.in_channels} channels go in and {self.out_channels} out; {folded} are expected")
        widest = max(self.base_dim, self.decoder_base_dim or 0) * max(self.dim_mult)
        if len(self.dim_mult) > _MAX_SCALES or self.num_res_blocks > _MAX_BLOCKS or widest > 1 << 16:
            raise ValueError(f"{self.dim_mult} scales of {self.num_res_blocks} blocks, {widest} wide, are no VAE's")
        if len(self.temperal_downsample) != len(self.dim_mult) - 1:
            raise ValueError(f"{self.temperal_downsample} does not say for {self.dim_mult} which scales halve time")
        if not len(self.latents_mean) == len(self.latents_std) == self.z_dim:
            counts = f"{len(self.latents_mean)} means and {len(self.latents_std)} deviations"
            raise ValueError(f"{counts} are given for {self.z_dim} channels of latents")
        if min(self.latents_std) <= 0:
            raise ValueError(f"latents_std holds {min(self.latents_std)}; deviations are above 0")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> WanVAEConfig:
        """What a folder's vae/config.json says. Keys it lacks are Wan 2.1's, as for diffusers; others are ignored.

        Raises ValueError for values of the wrong kind, sizes that disagree, and attention at further scales.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"the VAE's config.json holds {type(values).__name__}, where an object belongs")
        if values.get("attn_scales"):
            raise ValueError(f"attn_scales is {values['attn_scales']!r} in the VAE's config.json; only none is known")
        found: dict[str, Any] = {}
        for key, (fits, expected) in _KINDS.items():
            value = values.get(key)
            if value is None and (key not in values or key in _MAY_BE_NULL):
                continue
            if not fits(value):
                raise ValueError(f"{key} is {value!r} in the VAE's config.json, where {expected} belongs")
            found[key] = tuple(value) if isinstance(value, list | tuple) else value
        return cls(**found)

    @property
    def time(self) -> int:
        """Frames behind a latent, all but the first."""
        return 2 ** sum(self.temperal_downsample)

    @property
    def scale(self) -> int:
        """How much smaller a latent's side is than that of the folded pixels."""
        return 2 ** len(self.temperal_downsample)

    @property
    def space(self) -> int:
        """Pixels behind a latent's side."""
        return self.scale * self.patch_size


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_COUNT


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _many(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and 0 < len(value) <= MAX_COUNT and all(map(fits, value))


_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(["base_dim", "decoder_base_dim", "z_dim", "num_res_blocks"], (_is_count, "a count")),
    **dict.fromkeys(["in_channels", "out_channels", "patch_size"], (_is_count, "a count")),
    "dim_mult": (_many(_is_count), "a list of counts"),
    "temperal_downsample": (_many(_is_truth), "a list of true and false"),
    **dict.fromkeys(["latents_mean", "latents_std"], (_many(_is_number), "a list of numbers")),
    "is_residual": (_is_truth, "true or false"),
}
_MAY_BE_NULL = {"decoder_base_dim", "patch_size"}

WAN21 = WanVAEConfig()
"""The autoencoder of all Wan 2.1 and of Wan 2.2 A14B, with its published numbers."""

_MEAN22 = """
-0.2289 -0.0052 -0.1323 -0.2339 -0.2799 0.0174 0.1838 0.1557 -0.1382 0.0542 0.2813 0.0891
0.1570 -0.0098 0.0375 -0.1825 -0.2246 -0.1207 -0.0698 0.5109 0.2665 -0.2108 -0.2158 0.2502
-0.2055 -0.0322 0.1109 0.1567 -0.0729 0.0899 -0.2799 -0.1230 -0.0313 -0.1649 0.0117 0.0723
-0.2839 -0.2083 -0.0520 0.3748 0.0152 0.1957 0.1433 -0.2944 0.3573 -0.0548 -0.1681 -0.0667
"""
_STD22 = """
0.4765 1.0364 0.4514 1.1677 0.5313 0.4990 0.4818 0.5013 0.8158 1.0344 0.5894 1.0901
0.6885 0.6165 0.8454 0.4978 0.5759 0.3523 0.7135 0.6804 0.5833 1.4146 0.8986 0.5659
0.7069 0.5338 0.4889 0.4917 0.4069 0.4999 0.6866 0.4093 0.5709 0.6065 0.6415 0.4944
0.5726 1.2042 0.5458 1.6887 0.3971 1.0600 0.3943 0.5537 0.5444 0.4089 0.7468 0.7744
"""
WAN22 = WanVAEConfig(
    base_dim=160,
    decoder_base_dim=256,
    z_dim=48,
    latents_mean=tuple(map(float, _MEAN22.split())),
    latents_std=tuple(map(float, _STD22.split())),
    is_residual=True,
    in_channels=12,
    out_channels=12,
    patch_size=2,
)
"""The autoencoder of Wan 2.2 TI2V-5B, with its published numbers (github.com/Wan-Video/Wan2.2, wan/modules)."""
