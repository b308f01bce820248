"""What the first light must hold, measured: ``python benchmarks/first_light.py [--clips 200] [--no-judge]``.

Times are of whole processes on this machine, from cold; the judge's part renders ``--clips`` clips and needs the emoji
font. Prints one row a line of the list, with the wish and what was found.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image

from sora import catalog, media, models
from sora.engine import engine
from sora.plan import operations

PROMPT = "a red balloon floats up over a green meadow"


def sora(folder: Path, *argv: str) -> tuple[float, str]:
    """(seconds, stdout) of one cold process."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "sora", *argv], cwd=folder, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, done.stdout.strip()


def say(what: str, wish: str, found: str) -> None:
    print(f"{what:52} {wish:24} {found}", flush=True)


def times(folder: Path) -> None:
    """A default clip and --help, five and ten cold processes."""
    clips = [sora(folder, "generate", PROMPT, "--seed", "1", "-o", f"t{i}.mp4")[0] for i in range(5)]
    helps = [sora(folder, "--help")[0] for _ in range(10)]
    facts = media.probe(folder / "t0.mp4")
    say("default clip", "2 s, 128x128 of area", f"{facts.seconds:.2f} s of {facts.width}x{facts.height}")
    say("default clip, cold", "<= 20 s", f"median {statistics.median(clips):.2f} s, most {max(clips):.2f} s")
    say("sora --help", "<= 0.3 s", f"median {statistics.median(helps):.3f} s, most {max(helps):.3f} s")
    probe = "import sys, sora.cli; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    heavy = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.strip()
    say("heavy imports of sora.cli", "none of torch, numpy", heavy)


def sameness(folder: Path) -> None:
    """Two processes, one seed, lossless files."""
    for name in ("a", "b"):
        sora(folder, "generate", PROMPT, "--seed", "7", "-o", f"{name}.mkv")
    a, b = (media.read_clip(folder / f"{name}.mkv").frames_FYXC for name in ("a", "b"))
    say("same seed, two processes: differing pixels", "0", str(int((a != b).sum())))
    spec = catalog.find("mini")
    wish = torch.randn((1, 16, 5, 16, 16), generator=torch.Generator("cpu").manual_seed(7), dtype=torch.float32)
    given = engine.sampler.noise_for(spec.grid.latent_shape(17, 128, 128), 7)
    say("noise of seed 7 is torch.randn's", "equal", str(torch.equal(wish, given)))


def first_frame(folder: Path) -> None:
    """A given picture against the first frame of its film, lossless."""
    draw = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(draw).resize((128, 128), Image.Resampling.BICUBIC).save(folder / "given.png")
    sora(folder, "img2vid", "given.png", "a car drives left", "--seed", "1", "-o", "given.mkv")
    given, film = media.read_image(folder / "given.png"), media.read_clip(folder / "given.mkv")
    same = film.size == given.shape[:2] and bool((film.frames_FYXC[0] == given).all())
    say("img2vid: first frame is the picture, by pixel", "True", str(same))


def playing(folder: Path) -> None:
    """The mp4 as a browser would meet it, and against the frames that were painted."""
    d = catalog.find("mini").defaults
    sora(folder, "generate", PROMPT, "--seed", "1", "-o", "p.mp4")
    sora(folder, "generate", PROMPT, "--seed", "1", "-o", "p.mkv")
    answer = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(folder / "p.mp4")], capture_output=True, text=True
    ).stderr
    stream = next(line.strip() for line in answer.splitlines() if "Video:" in line)
    say("mp4 stream", "h264 yuv420p bt709", re.sub(r"^.*Video: ", "", stream)[:90])
    painted, played = (media.read_clip(folder / name).frames_FYXC for name in ("p.mkv", "p.mp4"))
    say("mp4 frames, rate", f"{d.frames}, {d.fps}", f"{len(played)}, {media.probe(folder / 'p.mp4').fps}")
    square = np.square(painted.astype(float) - played.astype(float)).mean()
    say("mp4 against painted frames", "PSNR >= 32 dB", f"{10 * np.log10(255**2 / square):.1f} dB")


def warm() -> None:
    """Seconds of one default clip in a process that has painted already."""
    spec = catalog.find("mini")
    model = models.load(spec, torch.device("cpu"), torch.float32)
    d = spec.defaults
    took = []
    for seed in range(4):
        plan = operations.generate((PROMPT,), frames=d.frames, form=spec.form((128, 128), d.fps))
        started = time.perf_counter()
        list(engine.paint(model, plan, engine.Settings(seed, d.steps, d.guidance, d.shift, d.step)))
        took.append(time.perf_counter() - started)
    say("default clip, warm, without encoding", "-", f"median {statistics.median(took[1:]):.2f} s")


def judged(clips: int) -> None:
    """The judge on rendered clips, all held out; benchmarks/worth.py asks it about painted ones."""
    from minitrain import judge
    from minitrain.judge_scores import on_rendered
    from minitrain.worlds.world import WORLDS

    for name, value in on_rendered(judge.load(), WORLDS["small"], clips).items():
        if name in ("subject", "setting", "motion"):
            say(f"judge on rendered clips: {name}", ">= 97 %", f"{100 * value:.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--no-judge", action="store_true")
    args = parser.parse_args()
    say("what", "wish", "found")
    with tempfile.TemporaryDirectory() as name:
        for part in (times, sameness, first_frame, playing):
            part(Path(name))
    warm()
    if not args.no_judge:
        judged(args.clips)


if __name__ == "__main__":
    main()
