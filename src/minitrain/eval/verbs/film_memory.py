"""Generate one clip in a process of its own and print its memory use as JSON: ``python -m
minitrain.eval.verbs.film_memory PROMPT FRAMES OUT.mp4``.

resident_mib: after the last frame was generated. peak_mib: the maximum. seconds: without loading the model.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path

import torch

from sora import catalog, media, models
from sora.engine import engine
from sora.plan import operations


def resident_mib() -> float:
    """MiB of this process in memory now. Linux only."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) / 1024


def main() -> None:
    prompt, frames, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    spec = catalog.find("mini")
    model, d = models.load(spec, torch.device("cpu"), torch.float32), spec.defaults
    form = spec.format(spec.grid.nearest_size(1.0, d.area), d.fps)
    plan = operations.generate((prompt,), frames=frames, format=form)
    settings = engine.Settings.from_spec(spec, 1)
    started = time.perf_counter()
    with media.writer(out, form.fps, form.size) as file:
        for chunk_FCYX in engine.paint(model, plan, settings):
            file.write(chunk_FCYX.permute(0, 2, 3, 1).numpy())
        at_last_frame = resident_mib()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"resident_mib": at_last_frame, "peak_mib": peak, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
