"""Few-step weights: folders that say so are painted as diffusers' pipelines paint them with their makers' schedules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers import scheduling_flow_match_lcm
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_lcm import FlowMatchLCMScheduler
from safetensors.torch import load_file, save_file
from test_wan_pipelines import FRAMES, HEIGHT, NEGATIVE, PROMPT, WIDTH
from typer.testing import CliRunner
from wan_folders import pipeline

from sora import catalog, media
from sora.cli import app
from sora.engine.sampler import step_noise

FASTWAN, LIGHTX2V = (1000.0, 757.0, 522.0), (1000.0, 937.5, 2500 / 3, 625.0)


class FastVideo(FlowMatchLCMScheduler):
    """FastVideo's schedule: fixed timesteps, and the nearest noise levels of a table of a thousand at shift 8."""

    def set_timesteps(self, *_: Any, **__: Any) -> None:
        table: Any = FlowMatchEulerDiscreteScheduler(shift=8.0)
        self.timesteps = torch.tensor(FASTWAN)
        nearest = [int((table.timesteps - timestep).abs().argmin()) for timestep in FASTWAN]
        self.sigmas = torch.cat([table.sigmas[nearest], torch.zeros(1)])
        self._step_index = self._begin_index = None


class LightX2V(FlowMatchEulerDiscreteScheduler):
    """LightX2V's schedule: 1000, 750, 500 and 250 before a shift of 5."""

    def set_timesteps(self, *_: Any, **__: Any) -> None:
        self.timesteps = torch.tensor(LIGHTX2V)
        self.sigmas = torch.cat([self.timesteps / 1000, torch.zeros(1)])
        self._step_index = self._begin_index = None


def painted(folder: Path, out: Path, *more: str) -> np.ndarray:
    argv = ["generate", PROMPT, "--model", str(folder), "--seed", "7", "--size", f"{WIDTH}x{HEIGHT}", *more]
    result = CliRunner().invoke(app, [*argv, "--frames", str(FRAMES), "--device", "cpu", "-o", str(out)])
    assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
    return media.read_clip(out).frames_FYXC.astype(int)


def theirs(ready: Any, scheduler: Any) -> np.ndarray:
    ready.register_modules(scheduler=scheduler)
    said: dict[str, Any] = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "height": HEIGHT, "width": WIDTH}
    said |= {"num_frames": FRAMES, "num_inference_steps": 3, "guidance_scale": 1.0}
    frames = ready(**said, generator=torch.Generator().manual_seed(7)).frames[0]
    assert frames.std() > 0.05, "a flat film shows nothing"
    return np.round(frames * 255).astype(int)


def with_gates(folder: Path) -> None:
    """As FastWan's folders: their class of pipeline, and the projections of sparse attention in the transformer."""
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "WanDMDPipeline"}))
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    width = tensors["blocks.0.attn1.to_q.weight"].shape[0]
    gates = {f"blocks.{i}.to_gate_compress": torch.randn(width, width) for i in range(2)}
    tensors |= {f"{name}.weight": gate for name, gate in gates.items()}
    save_file(tensors | {f"{name}.bias": gate[0].clone() for name, gate in gates.items()}, file)


@pytest.mark.parametrize("kind", ["t2v", "ti2v"])
def test_fastwan(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, folder = pipeline(kind), tmp_path / kind
    ready.save_pretrained(folder)
    with_gates(folder)
    steps = iter(range(1, 4))
    draw = lambda shape, **_: step_noise(torch.empty(shape), (7,), next(steps))  # noqa: E731
    monkeypatch.setattr(scheduling_flow_match_lcm, "randn_tensor", draw)
    wish = theirs(ready, FastVideo())
    got = painted(folder, tmp_path / "a.mkv")
    assert np.abs(got - wish).max() <= 1
    d = catalog.find(str(folder)).defaults
    assert (d.steps, d.guidance, d.shift, d.sampler) == (3, 1.0, 8.0, "lcm")
    again = painted(folder, tmp_path / "b.mkv", "--steps", "5")
    assert np.abs(again - got).mean() > 1


def test_lightx2v_with_two_experts(tmp_path: Path) -> None:
    ready, folder = pipeline("t2v-a14b"), tmp_path / "Wan2.2-T2V-A14B-Lightning"
    ready.save_pretrained(folder)
    assert np.abs(painted(folder, tmp_path / "a.mkv") - theirs(ready, LightX2V())).max() <= 1


@pytest.mark.parametrize(
    ("called", "steps", "shift", "sampler"),
    [
        ("wan2.1_t2v_14b_lightx2v_4step", 4, 5.0, "euler"),
        ("Wan2_2-TI2V-5B-FastWanFullAttn_bf16", 3, 8.0, "lcm"),
        ("Wan2.2-TI2V-5B-Turbo", 4, 3.0, "unipc"),
        ("my-wan", 50, 3.0, "unipc"),
    ],
)
def test_a_folder_is_known_by_its_name(tmp_path: Path, called: str, steps: int, shift: float, sampler: str) -> None:
    pipeline("t2v").save_pretrained(tmp_path / called)
    spec = catalog.find(str(tmp_path / called))
    d = spec.defaults
    assert (d.steps, d.shift, d.sampler, d.guidance == 1) == (steps, shift, sampler, steps < 50)
    assert spec.summary.endswith(f"in {steps} steps") == spec.is_few_step
