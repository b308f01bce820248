"""How the seconds that are predicted for this device compare with those that it takes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gpu_parts import decode, passes
from gpu_parts.networks import filled
from gpu_parts.result import Machine, Result
from passes_parts import rows
from sora.jobs import forecast
from sora.jobs.delivery import Delivery, InMemory
from sora.jobs.resolve import ResolvedRequest, resolve
from sora.jobs.session import Session
from sora.networks.wan.dit import WanDiT
from sora.plan.request import Request
from sora.runtime import device as devices

PASS_ROW, MODEL = "Wan 2.1 1.3B, 832x480, 81 frames", "wan2.1-1.3b"
WITHIN_RATES, WITHIN_MEASURED = 2.0, 1.25


def measure(machine: Machine) -> Iterator[Result]:
    found = devices.described(machine.device)
    yield Result("the device is known", float(found.rates is not None), note=f"{found.key}, {found.usual_rates.name}")
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("SORA_STATE")
        os.environ["SORA_STATE"] = folder
        try:
            if machine.is_cuda:
                yield from of_wan(machine)
            yield from of_mini(machine, Path(folder))
        finally:
            os.environ.pop("SORA_STATE")
            os.environ |= {} if before is None else {"SORA_STATE": before}


def of_wan(machine: Machine) -> Iterator[Result]:
    """A pass and a decoding at true size, from the rates."""
    options: dict[str, Any] = {"steps": 1, "guidance": 1.0, "sampler": "euler", "device": machine.device.type}
    resolved = resolve(Request(verb="generate", prompt="anything", model=MODEL, **options), InMemory(anyway=True))
    row = rows.CUDA[PASS_ROW]
    with torch.device("meta"):
        network = WanDiT(row.config)
    network = filled(network, machine.device, torch.bfloat16)
    network.fuse_qkv()
    seconds = machine.seconds(passes.pass_of(network, row, machine))
    predicted = forecast.sampling_seconds(resolved, machine.device, torch.bfloat16) or 0.0
    yield compared("a pass of the 1.3B, uncompiled", predicted, seconds, WITHIN_RATES)
    del network
    config, shape = decode.SIZES["2.1, 81 frames of 832x480"]
    vae = decode.build(config, machine, torch.float16)
    with torch.inference_mode():
        latents = torch.randn(1, config.z_dim, *shape, device=machine.device, dtype=torch.float16)
        seconds = machine.seconds(lambda: vae.decode(latents), runs=2, warm_ups=1)
    found = forecast.machine_of(resolved, machine.device, torch.bfloat16, None)
    phases = forecast.film_seconds(resolved, found, forecast.canvases_of(resolved) or ())
    yield compared("a decoding, 2.1, float16", phases["decode"], seconds, WITHIN_RATES)


def of_mini(machine: Machine, folder: Path) -> Iterator[Result]:
    """A clip of the embedded model, from the rates, and after one clip was painted."""
    delivery = Delivery(output=str(folder / "made.mp4"))
    options: dict[str, Any] = {"prompt": "a red ball bounces in the snow", "device": machine.device.type, "seed": 1}
    resolved = resolve(Request(verb="generate", **options), delivery)
    session, by_rates = Session(), predicted_seconds(resolved)
    painted(session, resolved, folder, records=False)
    painted(session, resolved, folder, records=True)
    by_measurement = predicted_seconds(resolved)
    seconds = sorted(painted(session, resolved, folder, records=False) for _ in range(3))[1]
    yield compared("mini, 17 frames, from the rates", by_rates, seconds, WITHIN_RATES)
    yield compared("mini, 17 frames, after one clip", by_measurement, seconds, WITHIN_MEASURED)


def predicted_seconds(resolved: ResolvedRequest) -> float:
    """Without the loading."""
    found = forecast.of(resolved, None)
    return 0.0 if found is None else sum(each for name, each in found.seconds.items() if name not in forecast.ONCE)


def painted(session: Session, resolved: ResolvedRequest, folder: Path, *, records: bool) -> float:
    session.prepare(replace(resolved))
    options: dict[str, Any] = {"force": True, "records": records}
    began = time.perf_counter()
    session.write(resolved, resolved.variants[0], str(folder / "made.mp4"), on_progress=lambda _: None, **options)
    return time.perf_counter() - began


def compared(what: str, predicted: float, seconds: float, within: float) -> Result:
    share = predicted / seconds
    met = 1 / within <= share <= within
    note = f"{predicted:.2f} s predicted, {seconds:.2f} s taken"
    return Result(f"{what}, predicted", share, "of what it takes", f"within {within:g} times", met, note)
