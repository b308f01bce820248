"""Sizes of Wan transformers, and how they are read from a model folder's config.json.

Imports no torch, so that sizes and memory can be computed before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sora.networks.sizes import MAX_LAYERS, check_parameters, epsilon, whole_number


@dataclass(frozen=True)
class WanConfig:
    """Sizes. The defaults are Wan 2.1 T2V-1.3B; the 14B has 40 layers, 40 heads and an ffn_dim of 13824.

    head_dim: even. in_channels: channels of the latents plus those of concatenated conditioning. text_dim: width of the
    text encoder's output. freq_dim: size of the sinusoidal timestep embedding. patch: latents in one token along (T, H,
    W). cross_attn_norm: whether a layer norm with learnt weights precedes cross-attention. image_dim: width of the
    image encoder's tokens, None for networks that take no image. pos_embed_seq_len: number of image tokens with a
    learnt position embedding (FLF2V: 2 x 257), None for no embedding. vace_layers: the layers after which the control
    branch adds its hints, rising from 0; empty for no branch. vace_in_channels: channels of the control.
    inject_sample_info: whether the frame rate is an input (SkyReels-V2-DF-1.3B).

    ValueError for a position embedding without image tokens, and for a control branch that does not fit the layers.
    """

    num_layers: int = 30
    heads: int = 12
    head_dim: int = 128
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    ffn_dim: int = 8960
    patch: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6
    cross_attn_norm: bool = True
    image_dim: int | None = None
    pos_embed_seq_len: int | None = None
    vace_layers: tuple[int, ...] = ()
    vace_in_channels: int = 96
    inject_sample_info: bool = False

    def __post_init__(self) -> None:
        for name in ("num_layers", *_WIDTHS):
            whole_number(getattr(self, name), name)
        if any(not 0 < side <= MAX_LAYERS for side in self.patch):
            raise ValueError(f"patches of {self.patch} latents are none; expected small counts")
        check_parameters(self.num_layers, self.dim, self.ffn_dim)
        if self.pos_embed_seq_len is not None and self.image_dim is None:
            raise ValueError("pos_embed_seq_len embeds the positions of image tokens; expected an image_dim too")
        layers = list(self.vace_layers)
        if layers and (layers != sorted(set(layers)) or layers[0] != 0 or layers[-1] >= self.num_layers):
            raise ValueError(f"vace_layers is {layers}; expected layers rising from 0 to at most {self.num_layers - 1}")

    @property
    def dim(self) -> int:
        """Width of a token."""
        return self.heads * self.head_dim

    def token_shape(self, latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Tokens along (T, H, W) for latents of that shape. ValueError where they do not divide."""
        if any(size % p for size, p in zip(latent_shape, self.patch, strict=True)):
            raise ValueError(f"latents of {latent_shape} (T, H, W) do not divide into patches of {self.patch}")
        t, h, w = (size // p for size, p in zip(latent_shape, self.patch, strict=True))
        return t, h, w

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> WanConfig:
        """Read a model folder's transformer/config.json, as diffusers writes it.

        A null out_channels means in_channels. Raises ValueError, in one line, for sizes that are missing or invalid,
        for a network of another class, and for settings that these networks do not support.
        """
        class_name = values.get("_class_name", "WanTransformer3DModel")
        if class_name not in _CLASS_NAMES:
            raise ValueError(f"the network is a {class_name}; expected one of {', '.join(_CLASS_NAMES)}")
        settings = {key: value for key, value in values.items() if not key.startswith("_")}
        sizes: dict[str, Any] = {
            ours: whole_number(settings.pop(theirs, None), theirs) for theirs, ours in _SIZES.items()
        }
        out = settings.pop("out_channels", None)
        sizes["out_channels"] = sizes["in_channels"] if out is None else whole_number(out, "out_channels")
        sizes["patch"] = _sizes(settings.pop("patch_size", None), "patch_size", minimum=1, length=3)
        config = cls(**sizes, **_options(settings, class_name))
        _refuse_unsupported(config, settings)
        return config


_WIDTHS = ("heads", "head_dim", "in_channels", "out_channels", "text_dim", "freq_dim", "ffn_dim", "vace_in_channels")
_CLASS_NAMES = ("WanTransformer3DModel", "WanVACETransformer3DModel", "SkyReelsV2Transformer3DModel")

_SIZES = {
    "num_layers": "num_layers",
    "num_attention_heads": "heads",
    "attention_head_dim": "head_dim",
    "in_channels": "in_channels",
    "text_dim": "text_dim",
    "freq_dim": "freq_dim",
    "ffn_dim": "ffn_dim",
}
"""Their name to ours of the sizes that every config.json gives."""


def _sizes(value: object, name: str, minimum: int, length: int | None = None) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_LAYERS or len(value) != (length or len(value)):
        many = "" if length is None else f"{length} "
        raise ValueError(f"{name} is {value!r}; expected a list of {many}whole numbers")
    return tuple(whole_number(size, name, minimum) for size in value)


def _options(settings: dict[str, Any], class_name: str) -> dict[str, Any]:
    """The settings of a config.json beyond sizes; those that are read are removed from ``settings``."""
    options: dict[str, Any] = {}
    options["eps"] = epsilon(settings.pop("eps", 1e-6), "eps")
    for name, default in (("cross_attn_norm", True), ("inject_sample_info", False)):
        value = settings.pop(name, default)
        if not isinstance(value, type(default)):
            raise ValueError(f"{name} is {value!r}; expected something like {default!r}")
        options[name] = value
    for name in ("image_dim", "pos_embed_seq_len"):
        value = settings.pop(name, None)
        options[name] = None if value is None else whole_number(value, name)
    if class_name == "WanVACETransformer3DModel":
        options["vace_layers"] = _sizes(settings.pop("vace_layers", None), "vace_layers", minimum=0)
        options["vace_in_channels"] = whole_number(settings.pop("vace_in_channels", None), "vace_in_channels")
    return options


def _refuse_unsupported(config: WanConfig, settings: dict[str, Any]) -> None:
    """Raise ValueError where what is left of ``settings`` asks for a network that is not supported here."""
    remaining = dict(settings)
    remaining.pop("rope_max_seq_len", None)  # tables are made as long as they need to be
    norm, added = remaining.pop("qk_norm", "rms_norm_across_heads"), remaining.pop("added_kv_proj_dim", None)
    frames_per_block = remaining.pop("num_frame_per_block", 1)
    if norm != "rms_norm_across_heads":
        raise ValueError(f"qk_norm is {norm!r}; expected 'rms_norm_across_heads'")
    if added != (None if config.image_dim is None else config.dim):
        dims = f"image_dim {config.image_dim} and a width of {config.dim}"
        raise ValueError(f"added_kv_proj_dim is {added!r} with {dims}; expected the width, or neither of the two")
    if frames_per_block != 1:
        raise ValueError(
            f"num_frame_per_block is {frames_per_block!r}; expected 1, every frame attending to all others"
        )
    unknown = {key: value for key, value in remaining.items() if value not in (None, False)}
    if unknown:
        listed = ", ".join(f"{key} = {value!r}" for key, value in unknown.items())
        raise ValueError(f"this network has no setting for {listed}; expected a config.json of a plain Wan transformer")
