"""How far films of tiny Wan networks drift from window to window, with the latents that were painted and with an
encoding of the frames: ``python benchmarks/drift_latents.py [--windows 8] [--kinds t2v ti2v vace i2v skyreels]``.

The checkpoints are those of ``identical.py`` and one more: random weights, scaled so that nothing dies out. There are
two painters:

    goes on   paints one picture, and in later windows goes on with the last latent that the family's own conditioning
              shows it; the autoencoder, the windows and the film are as ever, so that what moves is what was handed on
    network   the checkpoint's transformer; random weights hardly look at what they are shown, and every window but
              the first, of which nothing is known, is painted alike

Drift is how far the statistics of what a window adds, the mean and the deviation of each channel, are from those of as
much at the end of the first: root mean square over channels and windows. Of latents it is given in deviations of the
first window's, of frames in grey levels.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from identical import TEXT, common_parts, pipelines, randomised
from sora import catalog, models
from sora.engine import engine
from sora.engine.canvas import Canvas, Latents
from sora.engine.checkpoint import NoCheckpoint
from sora.engine.engine import Settings
from sora.engine.model import Model
from sora.engine.velocity import Velocity
from sora.models.wan.conditioning import CONDITIONERS, ConditioningInputs
from sora.models.wan.model import Wan
from sora.plan import operations
from sora.plan.plan import Plan

KINDS = ("t2v", "ti2v", "vace", "i2v", "skyreels")
SIDE, STEPS, NEW_LATENTS = 64, 4, 4


@dataclass(frozen=True)
class GoesOn:
    """A model of the same family whose painting goes on exactly as it is shown."""

    wan: Wan

    @property
    def spec(self) -> catalog.ModelSpec:
        return self.wan.spec

    @property
    def device(self) -> torch.device:
        return self.wan.device

    def encode(self, canvas: Canvas) -> Latents:
        return self.wan.encode(canvas)

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        return self.wan.decode(latents_BCTHW)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float) -> Velocity:  # noqa: ARG002
        known = latents.unknown_B1THW.flatten(3).amax(dim=3)[0, 0] == 0
        shape = latents.clean_BCTHW.shape
        if known.any():
            target = self._shown(canvas, latents)[:, :, int(known.nonzero().max())]
        else:
            target = torch.randn(shape[1], *shape[3:], generator=torch.Generator().manual_seed(1))[None]
        target = torch.where(latents.unknown_B1THW == 0, latents.clean_BCTHW, target[:, :, None])
        return lambda x, t: (x - target) / t

    def _shown(self, canvas: Canvas, latents: Latents) -> Tensor:
        """The known latents as the network would be given them."""
        conditioner = CONDITIONERS[self.spec.conditioning]
        made = conditioner(ConditioningInputs(canvas, latents, self.wan.encode, self.spec.grid))
        if made.concat_latents is not None:
            return made.concat_latents[:, self.spec.grid.time :]
        if made.control_latents is not None:
            return made.control_latents[:, : self.spec.grid.channels]
        assert made.known_latents is not None
        return made.known_latents.clean_BCTHW


class Finished(NoCheckpoint):
    """Collects the latents of the windows."""

    def __init__(self, windows: list[Tensor]) -> None:
        self.windows = windows

    def keep_latents(self, latents_BCTHW: Tensor) -> None:
        self.windows.append(latents_BCTHW[0].transpose(0, 1))


def checkpoints() -> dict[str, Callable[[], Any]]:
    """By kind, as pipelines of diffusers."""
    made = pipelines()
    from diffusers.models.transformers.transformer_skyreels_v2 import SkyReelsV2Transformer3DModel
    from diffusers.pipelines.skyreels_v2.pipeline_skyreels_v2_diffusion_forcing import (
        SkyReelsV2DiffusionForcingPipeline,
    )

    sizes: dict[str, Any] = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32}
    sizes |= {"in_channels": 16, "out_channels": 16, "text_dim": TEXT, "freq_dim": 32, "inject_sample_info": True}
    made["skyreels"] = lambda: SkyReelsV2DiffusionForcingPipeline(
        **common_parts(), transformer=randomised(SkyReelsV2Transformer3DModel(**sizes), 3)
    )
    return made


def plan_of(spec: catalog.ModelSpec, windows: int) -> Plan:
    """Each window goes on from as many frames as the row says, and adds a few latents."""
    form = replace(spec.format((SIDE, SIDE), spec.defaults.fps), model_size=(SIDE, SIDE))
    new = form.time * NEW_LATENTS
    form = replace(form, window=form.context + new)
    return operations.generate(("a red cat",), frames=form.window + (windows - 1) * new, format=form)


def drift(windows: list[Tensor]) -> float:
    """Of windows (T, C, H, W), each against the first."""
    found = torch.stack([torch.cat([w.mean((0, 2, 3)), w.std((0, 2, 3))]) for w in windows])
    return (found[1:] - found[0]).square().mean().sqrt().item()


def measure(model: Model, plan: Plan, *, keep: bool) -> tuple[float, float]:
    """(drift of the latents, drift of the frames)."""
    latents: list[Tensor] = []
    settings = Settings.from_spec(model.spec, 1, steps=STEPS, keep_latents=keep)
    film = torch.cat(list(engine.paint(model, plan, settings, None, lambda _: Finished(latents)))).float()
    new = [each[-NEW_LATENTS:] for each in latents]
    frames = [film[w.kept.stop - plan.format.time * NEW_LATENTS : w.kept.stop] for w in plan.windows]
    return drift([each / new[0].std() for each in new]), drift(frames)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--windows", type=int, default=8)
    arguments = parser.parse_args()
    print("| checkpoint | painter | latents: encoded | kept | kept over encoded | frames: encoded | kept |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    worst = 0.0
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as folder:
            checkpoints()[kind]().save_pretrained(folder)
            wan = models.load(catalog.find(folder), torch.device("cpu"), torch.float32)
            assert isinstance(wan, Wan)
            plan = plan_of(wan.spec, arguments.windows)
            for name, model in (("goes on", GoesOn(wan)), ("network", wan)):
                encoded, kept = (measure(model, plan, keep=keep) for keep in (False, True))
                ratio = kept[0] / encoded[0]
                worst = max(worst, ratio) if name == "goes on" else worst
                numbers = f"{encoded[0]:.3f} | {kept[0]:.3f} | {ratio:.2f} | {encoded[1]:.2f} | {kept[1]:.2f}"
                print(f"| {kind} | {name} | {numbers} |", flush=True)
    print(f"\nwhere the painter goes on, kept latents drift at most {worst:.2f} times as far as encoded ones")
    return int(worst > 0.5)


if __name__ == "__main__":
    raise SystemExit(main())
