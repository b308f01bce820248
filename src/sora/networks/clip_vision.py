"""The image encoder of Wan's image-to-video: the vision tower of CLIP (arXiv 2103.00020), at any size.

Parameters carry the names of transformers' ``CLIPVisionModel``. Wan looks at what the last layer but one gives
(github.com/Wan-Video/Wan2.1), so the last layer and the norm behind it hold weights and never run.

Axis letters: B batch; Y X pixels; N tokens; D width; H heads; K channels of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sora.networks.layers import attention, layer_norm
from sora.networks.sizes import check_parameters, epsilon, whole_numbers

PREFIX = "vision_model."
"""What stands before every name in files from before transformers 5 (the published ones); a loader takes both."""


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x) (arXiv 1606.08415), the activation of the first CLIPs."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}


@dataclass(frozen=True)
class CLIPVisionConfig:
    """Sizes. The defaults are ViT-H/14, which Wan 2.1 uses. image: pixels along each side. act: of ACTIVATIONS."""

    hidden: int = 1280
    intermediate: int = 5120
    num_layers: int = 32
    heads: int = 16
    image: int = 224
    patch: int = 14
    act: str = "gelu"
    eps: float = 1e-5

    @property
    def tokens(self) -> int:
        """One for the whole picture and one for each patch."""
        return 1 + (self.image // self.patch) ** 2

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> CLIPVisionConfig:
        """From transformers' config.json. ValueError for a size that is missing and for an unknown activation."""
        act = config.get("hidden_act", "quick_gelu")
        if not isinstance(act, str) or act not in ACTIVATIONS:
            raise ValueError(f"the image encoder's activation is {act!r}; known are {', '.join(ACTIVATIONS)}")
        sizes = (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "image_size",
            "patch_size",
        )
        found = whole_numbers(config, sizes, "the image encoder")
        if found[0] % found[3] or found[5] > found[4]:
            raise ValueError(f"{found[3]} heads do not divide a width of {found[0]}, or patches are larger than images")
        check_parameters(found[2], found[0], found[1])
        return cls(*found, act=act, eps=epsilon(config.get("layer_norm_eps", cls.eps), "layer_norm_eps"))


class Norm(nn.LayerNorm):
    """A layer norm, in float32 inside."""

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.eps, self.weight, self.bias).type_as(input)


class Embeddings(nn.Module):
    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(config.hidden))
        # A convolution in name, for its parameters; it runs as one matrix product over patches, which is alike on
        # every device.
        self.patch_embedding = nn.Conv2d(3, config.hidden, config.patch, config.patch, bias=False)
        self.position_embedding = nn.Embedding(config.tokens, config.hidden)
        self.patch = config.patch

    def forward(self, pixels_B3YX: Tensor) -> Tensor:
        weight = self.patch_embedding.weight
        covered = pixels_B3YX.shape[-1] // self.patch * self.patch
        patches = rearrange(
            pixels_B3YX[..., :covered, :covered], "B C (Y p) (X q) -> B (Y X) (C p q)", p=self.patch, q=self.patch
        )
        patches_BND = F.linear(patches.type_as(weight), weight.flatten(1))
        whole_B1D = self.class_embedding.expand(len(patches_BND), 1, -1)
        return torch.cat([whole_B1D, patches_BND], dim=1) + self.position_embedding.weight


class Attention(nn.Module):
    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        dim = config.hidden
        self.heads = config.heads
        self.k_proj, self.v_proj, self.q_proj = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (rearrange(project(x_BND), "B N (H K) -> B H N K", H=self.heads) for project in projections)
        return self.out_proj(rearrange(attention(q, k, v), "B H N K -> B N (H K)"))


class MLP(nn.Module):
    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.act = ACTIVATIONS[config.act]
        self.fc1 = nn.Linear(config.hidden, config.intermediate)
        self.fc2 = nn.Linear(config.intermediate, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.layer_norm1 = Norm(config.hidden, config.eps)
        self.mlp = MLP(config)
        self.layer_norm2 = Norm(config.hidden, config.eps)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.self_attn(self.layer_norm1(x_BND))
        return x_BND + self.mlp(self.layer_norm2(x_BND))


class Encoder(nn.Module):
    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.num_layers)])

    def forward(self, x_BND: Tensor) -> Tensor:
        """What the last layer would be given."""
        for layer in list(self.layers)[:-1]:
            x_BND = layer(x_BND)
        return x_BND


class CLIPVision(nn.Module):
    """A picture in, one vector for the whole and one for each patch out. Freshly made weights are torch's own: load a
    file."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.pre_layrnorm = Norm(config.hidden, config.eps)
        self.encoder = Encoder(config)
        self.post_layernorm = Norm(config.hidden, config.eps)

    def forward(self, pixels_B3YX: Tensor) -> Tensor:
        """(B, tokens, hidden), of the dtype of the weights: the whole picture first, then patches in row-major order.

        pixels_B3YX: float, RGB less CLIP's mean over its deviation, ``image`` pixels along each side, else ValueError.
        """
        side = self.config.image
        if tuple(pixels_B3YX.shape[1:]) != (3, side, side):
            raise ValueError(f"the image encoder sees 3 x {side} x {side} pixels, not {tuple(pixels_B3YX.shape[1:])}")
        return self.encoder(self.pre_layrnorm(self.embeddings(pixels_B3YX)))
