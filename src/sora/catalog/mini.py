"""The row of the embedded model."""

from __future__ import annotations

from pathlib import Path

from sora.catalog.spec import Defaults, GuidedWeights, ModelSpec
from sora.plan.grid import Grid

MINI = ModelSpec(
    name="mini",
    family="mini",
    summary="small cartoon world, inside the package, paints on any CPU",
    licence="Apache-2.0",
    files=(
        *("mini-few-dit.safetensors", "mini-dit.safetensors", "mini-vae.safetensors", "mini-text.safetensors"),
        *("mini.json", "mini-tokenizer.json"),
    ),
    grid=Grid(time=4, space=16, channels=32),
    defaults=Defaults(
        frames=17,
        window=33,
        context=5,
        context_after=4,
        loop_frames=32,
        fps=8.0,
        area=256 * 256,
        steps=4,
        draft_area=192 * 192,
        draft_steps=2,
        guidance=1.0,
        shift=3.0,
        sampler="euler",
        extend_guidance=0.3,
        bridge_guidance=0.0,
        cache_threshold=0.12,
        guidance_stop=0.0,
        noise_strength=0.75,
        flow_strength=0.8,
        region_share=0.8,
    ),
    speeds={
        "fast": "no faster in few steps, none of which can be spared; with --guidance 4 --steps 30 1.8 times",
        "turbo": "the same as exact: it paints with few-step weights in any case",
    },
    guided_weights=GuidedWeights("mini-dit.safetensors", steps=6, draft_steps=3, guidance=4.0, sampler="unipc"),
    camera={"static": "", "pan-left": "the camera pans left", "pan-right": "the camera pans right"},
    motion={
        "left": "moving to the left",
        "right": "moving to the right",
        "up": "moving up",
        "down": "moving down",
        "bounce": "bouncing up and down",
        "spin": "spinning around",
        "grow": "gets bigger",
        "shrink": "gets smaller",
        "still": "stands still",
    },
    vocabulary="mini-words.json",
)

MODELS: dict[str, ModelSpec] = {MINI.name: MINI}


def recognise(path: Path, name: str) -> ModelSpec | None:  # noqa: ARG001, as every family's
    """None: this model ships inside the package alone."""
    return None
