"""Copy a smaller autoencoder's weights into a larger one so that what it learnt is kept (Net2Net, Chen et al., arXiv
1511.05641): more latent channels, temporal layers with a larger kernel.

New entries of a weight keep the larger network's own initialisation, scaled down, so that they disturb little at first.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sora.networks.mini_vae import MiniVAE

NEW_ENTRY_SCALE = 0.25  # of their own beginning that new entries of an old weight keep


def grow_vae(old: Mapping[str, Tensor], model: MiniVAE) -> dict[str, Tensor]:
    """The model's whole state dict with the weights of ``old`` copied in; the first latent channels are the old ones.
    Raises ValueError for weights that do not fit into it."""
    return {
        name: _grow_tensor(name, own, old.get(name)) for name, own in _require_known(old, model.state_dict()).items()
    }


def _grow_tensor(name: str, own: Tensor, old: Tensor | None) -> Tensor:
    if old is None or old.shape == own.shape:
        return own.clone() if old is None else old.clone()
    if name.endswith("mix.weight"):  # the middle of the kernel is the old layer, which saw no neighbours
        grown, middle = torch.zeros_like(own), own.shape[-1] // 2
        grown[:, :, middle, middle] = old
        return grown
    grown = own.clone() if own.ndim == 1 else NEW_ENTRY_SCALE * own
    grown[tuple(slice(0, n) for n in old.shape)] = old
    return grown


def _require_known(old: Mapping[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    unknown = sorted(set(old) - set(state))
    if unknown:
        raise ValueError(f"the larger network has no such weights: {', '.join(unknown[:3])}")
    return state
