"""``sora train`` and ``--lora``: exit status, streams, what is on disk, with a small stand-in for the model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from conftest import Blotches
from sora import catalog, media, memory, models
from sora.cli import app
from sora.engine.canvas import Canvas, Latents
from sora.finetune import dataset
from sora.plan.clip import Clip
from sora.runtime import lora
from sora.weights import lora_file

Run = Callable[..., Result]


class Pupil(Blotches):
    """A stand-in that can learn: latents are shrunken pixels, the velocity a linear map of them and of the words."""

    lora_targets = ("to_q", "to_v")

    def __init__(self, spec: catalog.ModelSpec, device: torch.device) -> None:
        super().__init__(spec, device)
        torch.manual_seed(1)
        channels = spec.grid.channels
        maps = {"to_q": nn.Linear(channels, 24), "to_v": nn.Linear(24, channels)}
        self.dit = nn.ModuleDict(maps).requires_grad_(False)

    def encode(self, canvas: Canvas) -> Latents:
        c, t, h, w = self.spec.grid.latent_shape(*canvas.shape)
        small = F.adaptive_avg_pool3d(canvas.frames_FCYX.float().transpose(0, 1)[None] / 127.5 - 1, (t, h, w))
        known = F.adaptive_avg_pool3d(canvas.known_F1YX.float().transpose(0, 1)[None], (t, h, w))
        return Latents(small.repeat(1, -(-c // 3), 1, 1, 1)[:, :c], (known < 1).float())

    def add_lora(self, tensors: Mapping[str, Tensor], strength: float, name: str) -> None:
        lora.merge(self.dit, tensors, strength, label=name)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float):
        tone = 0.1 * len(prompt) / 20
        return lambda x, t: self.dit["to_v"](self.dit["to_q"](x.movedim(1, -1) + tone)).movedim(-1, 1)


@pytest.fixture
def run(workplace: None, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*argv): a command in an empty folder, in this process, with the stand-in for the model."""
    monkeypatch.setattr(models, "load", lambda spec, device, dtype, speed=None: Pupil(spec, device))
    return lambda *argv: CliRunner().invoke(app, [str(a) for a in argv])


def clip(path: Path, frames: int = 9, size: tuple[int, int] = (32, 48), fps: float = 8.0) -> Path:
    random = np.random.default_rng(len(path.name))
    colour = random.integers(0, 256, (1, 1, 1, 3), dtype=np.uint8)
    return media.write_clip(path, Clip(np.broadcast_to(colour, (frames, *size, 3)).copy(), fps))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two clips and a picture, with their words beside them or in their names."""
    folder = tmp_path / "clips"
    folder.mkdir()
    clip(folder / "a wug runs right_02.mkv")
    clip(folder / "0001.mp4", size=(48, 48))
    (folder / "0001.txt").write_text("a wug sleeps\nin the snow\n", encoding="utf-8")
    Image.new("RGB", (64, 64), (200, 30, 90)).save(folder / "one_wug.png")
    (folder / "notes.json").write_text("{}")
    return folder


SMALL = ("--steps", 4, "--size", "64x64", "--rank", 4)


# --- training --------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_lora(run: Run, clips: Path):
    result = run("train", clips, "--out", "wug.safetensors", "--alpha", 8, *SMALL)
    assert (result.exit_code, result.stdout) == (0, "wug.safetensors\n"), f"{result.stderr}{result.exception!r}"
    assert result.stderr.startswith("3 files, 11 examples, rank 4, rate ")
    tensors, said = lora_file.read("wug.safetensors")
    assert set(tensors) == {f"to_{m}.lora_{x}.weight" for m in "qv" for x in "AB"}
    assert tensors["to_v.lora_B.weight"].abs().max() > 0
    assert (said["family"], said["model"], said["rank"], said["steps"]) == ("mini", "mini", "4", "4")
    assert (said["alpha"], said["trained_alpha"]) == ("4", "8")  # the factors are scaled by 8 / 4 already
    assert said["words"] == "wug"
    assert all(name.startswith("transformer.") for name in load_file("wug.safetensors"))
    assert sorted(p.name for p in Path().iterdir()) == ["wug-training", "wug.safetensors"]


def test_training_lowers_the_loss(run: Run, clips: Path):
    def loss(steps: int) -> float:
        result = run("train", clips, "--out", f"{steps}.safetensors", "--size", "64x64", "--steps", steps, "--json")
        return json.loads(result.stdout)["loss"]

    assert loss(300) < 0.7 * loss(2)


def test_a_loss_that_diverges_names_the_flag_to_lower(run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch):
    from sora.finetune.lora_trainer import LoRATrainer

    learn = LoRATrainer.loss
    monkeypatch.setattr(LoRATrainer, "loss", lambda *given: learn(*given) * float("inf"))
    result = run("train", clips, "-o", "wug.safetensors", *SMALL, "--learning-rate", "0.5")
    assert result.exit_code == 4 and "try a --learning-rate below 0.5" in result.stderr
    assert not Path("wug.safetensors").exists()


def test_the_same_seed_gives_the_same_file(run: Run, clips: Path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run("train", clips, "-o", f"{name}.safetensors", *SMALL, "--seed", seed, "-q").stderr == ""
    a, b, c = (load_file(f"{name}.safetensors") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_stopped_training_goes_on(run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch):
    from sora.finetune.lora_trainer import LoRATrainer

    whole = run("train", clips, "-o", "whole.safetensors", *SMALL)
    assert whole.exit_code == 0
    advance = LoRATrainer.train_step

    def interrupted(self: LoRATrainer, done: float) -> float:
        if self.step == 2:
            raise KeyboardInterrupt
        return advance(self, done)

    monkeypatch.setattr(LoRATrainer, "train_step", interrupted)
    result = run("train", clips, "-o", "wug.safetensors", *SMALL)
    assert (result.exit_code, result.stdout) == (130, "")
    assert (
        "sora: stopped at step 2, wug.safetensors holds what was learnt; go on with the same command" in result.stderr
    )
    assert lora_file.facts("wug.safetensors")["steps"] == "2"
    monkeypatch.setattr(LoRATrainer, "train_step", advance)
    result = run("train", clips, "-o", "wug.safetensors", *SMALL, "--resume")
    assert (result.exit_code, "from step 2" in result.stderr) == (0, True)
    a, b = load_file("whole.safetensors"), load_file("wug.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)
    result = run("train", clips, "-o", "wug.safetensors", "--rank", 8, "--resume")
    assert (result.exit_code, result.stdout) == (4, "")


class Killed(BaseException):
    """Nothing of the program's own runs after it."""


@pytest.fixture
def killed_at_step_3(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Every step is saved, and the third one never ends."""
    from sora.cli import training_run
    from sora.finetune.lora_trainer import LoRATrainer

    advance = LoRATrainer.train_step

    def killed(self: LoRATrainer, done: float) -> float:
        if self.step == 3:
            raise Killed
        return advance(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "SAVE_SHARE", 0)
        patch.setattr(training_run, "MIN_SAVE_SECONDS", 0)
        patch.setattr(LoRATrainer, "train_step", killed)
        yield patch


FIVE = ("--steps", 5, "--size", "64x64", "--rank", 4, "--alpha", 3, "--save-every", 5)


def test_the_same_command_goes_on_after_a_kill(run: Run, clips: Path, killed_at_step_3: pytest.MonkeyPatch):
    with pytest.raises(Killed):
        run("train", clips, "-o", "wug.safetensors", *FIVE)
    killed_at_step_3.undo()
    assert run("train", clips, "-o", "whole.safetensors", *FIVE).exit_code == 0
    other = run("train", clips, "-o", "wug.safetensors", *FIVE, "--seed", 1)
    assert other.exit_code == 2 and "of other settings (seed 0, now 1); --resume goes on from it" in other.stderr
    result = run("train", clips, "-o", "wug.safetensors", *FIVE)
    assert result.exit_code == 0 and "unfinished training of the same settings" in result.stderr
    assert ", from step 3" in result.stderr
    a, b = load_file("whole.safetensors"), load_file("wug.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a), "to the bit"
    again = run("train", clips, "-o", "wug.safetensors", *FIVE)
    assert again.exit_code == 2 and "exists already" in again.stderr
    assert "from step" not in run("train", clips, "-o", "wug.safetensors", *FIVE, "--force").stderr


def test_two_trainings_in_one_folder_are_kept_apart(run: Run, clips: Path):
    Path("wug-training").mkdir()
    with FileLock("wug-training/lock"):
        result = run("train", clips, "--out", "wug.safetensors", *SMALL)
    assert result.exit_code == 3 and "another sora trains in wug-training; wait" in result.stderr
    assert not Path("wug.safetensors").exists()
    assert run("train", clips, "--out", "wug.safetensors", *SMALL).exit_code == 0


def test_a_state_that_cannot_be_saved_stops_no_training(run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch):
    from sora.cli import training_run

    save, calls = torch.save, list[object]()

    def full(state: Any, file: Any) -> None:
        calls.append(file)
        if len(calls) < 4:
            raise OSError(28, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(training_run, "SAVE_SHARE", 0)
    monkeypatch.setattr(training_run, "MIN_SAVE_SECONDS", 0)
    result = run("train", clips, "-o", "wug.safetensors", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("the training goes on: cannot write wug-training/state.pt: the disk is full") == 1


def test_previews_are_painted_on_the_way(run: Run, clips: Path):
    preview = ("--every", 2, "--preview", "a wug", "--preview", "a wug at night")
    result = run("train", clips, "-o", "wug.safetensors", *SMALL, *preview)
    assert result.exit_code == 0
    assert [line.split(":")[0] for line in result.stderr.splitlines()[1:]] == ["step 2", "step 4", "wug.safetensors"]
    films = sorted(p.name for p in Path("wug-training").glob("*.mp4"))
    assert films == [f"step-{step:06d}-{n}.mp4" for step in (2, 4) for n in (1, 2)]
    assert media.probe(f"wug-training/{films[0]}").frames == catalog.find("mini").defaults.frames


def test_minutes_say_how_long_too(run: Run, clips: Path):
    flags = ("--minutes", 0.01, "--size", "64x64", "--json", "--preview", "a wug")
    result = run("train", clips, "-o", "wug.safetensors", *flags)
    assert result.exit_code == 0
    assert list(Path("wug-training").glob("step-*-1.mp4")), "the shortest training shows what it has learnt"
    told = json.loads(result.stdout)
    assert told["steps"] >= 1
    assert (told["path"], told["examples"]) == ("wug.safetensors", 11)


# --- what is refused -------------------------------------------------------------------------------------------------


def no_folder(folder: Path) -> tuple[object, ...]:
    return (folder / "elsewhere",)


def empty_folder(folder: Path) -> tuple[object, ...]:
    for file in folder.iterdir():
        file.unlink()
    return (folder,)


def no_words(folder: Path) -> tuple[object, ...]:
    (folder / "0001.txt").write_text(" \n")
    return (folder,)


def damaged(folder: Path) -> tuple[object, ...]:
    (folder / "a broken wug.mp4").write_bytes(b"\x00\x01no film" * 100)
    return (folder,)


REFUSED = [
    (no_folder, 3, "is not there"),
    (empty_folder, 3, "holds no clips and no pictures"),
    (no_words, 3, "1 of 3 files have no words, as 0001.mp4; write what it shows into 0001.txt"),
    (damaged, 3, "a broken wug.mp4"),
    (lambda f: (f, "--model", "grand"), 4, "no model is called 'grand'"),
    (lambda f: (f, "--rank", 0), 2, "--rank 0 is out of range"),
    (lambda f: (f, "--steps", 5, "--minutes", 5), 2, "--steps and --minutes"),
    (lambda f: (f, "--size", "64x64", "--aspect", "1:1"), 2, "--aspect and --size"),
    (lambda f: (f, "--caption-drop", "nan"), 2, "--caption-drop"),
    (lambda f: (f, "--resume"), 2, "leave --resume out"),
    (lambda f: (f, "--out", "wug.mp4"), 2, "ends in .safetensors"),
    (lambda f: (f, "--out", "there.safetensors"), 2, "--force"),
    (lambda f: (f, "--out", "nowhere/wug.safetensors"), 3, "no such folder"),
]


@pytest.mark.parametrize(("make", "status", "said"), REFUSED, ids=[said for _, _, said in REFUSED])
def test_what_cannot_be_trained_is_said_in_one_line(
    run: Run, clips: Path, make: Callable[[Path], tuple[object, ...]], status: int, said: str
):
    Path("there.safetensors").write_bytes(b"precious")
    result = run("train", "--out", "wug.safetensors", *make(clips))
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith("sora: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert [p.name for p in Path().iterdir()] == ["there.safetensors"]


def test_a_refusal_needs_no_torch(tmp_path: Path):
    """All of it is refused before torch is imported: the slowest import by far."""
    clip(tmp_path / "a wug.mkv")
    code = (
        "import sys; from sora.cli import app\ntry: app(sys.argv[1:])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    argv = ["train", str(tmp_path), "--out", "wug.mp4"]
    made = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert made.stdout.strip() == "False"
    assert "ends in .safetensors" in made.stderr


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a dog runs right_02", "a dog runs right"),
        ("a-dog-runs", "a dog runs"),
        ("a dog (3)", "a dog"),
        ("0007", ""),
        ("ein Hund läuft 2", "ein Hund läuft"),
    ],
)
def test_words_out_of_names(tmp_path: Path, name: str, words: str):
    assert dataset.caption_of(tmp_path / f"{name}.mp4") == words


def test_shared_words_are_what_all_captions_hold():
    captions = ["a wug runs in the snow", "the wug at night", "a wug, in the sea"]
    assert dataset.shared_words(captions) == ["wug"]


# --- painting with it ------------------------------------------------------------------------------------------------


@pytest.fixture
def wug(run: Run, clips: Path) -> Path:
    assert run("train", clips, "-o", "wug.safetensors", *SMALL, "--rate", 0.05).exit_code == 0
    return Path("wug.safetensors")


def frames(path: str) -> np.ndarray:
    return media.read_clip(path).frames_FYXC


def paint(run: Run, *argv: object, to: str) -> np.ndarray:
    settings = ("--frames", 5, "--steps", 2, "--seed", 1, "--size", "64x64", "--anyway")
    result = run("generate", "a wug", *settings, "-o", to, *argv)
    assert (result.exit_code, result.stdout) == (0, f"{to}\n"), f"{result.stderr}{result.exception!r}"
    return frames(to)


def test_a_lora_changes_what_is_painted_by_its_strength(run: Run, wug: Path):
    plain, none = paint(run, to="plain.mkv"), paint(run, "--lora", f"{wug}:0", to="none.mkv")
    whole, half = paint(run, "--lora", wug, to="whole.mkv"), paint(run, "--lora", f"{wug}:0.5", to="half.mkv")
    twice = paint(run, "--lora", f"{wug}:0.5", "--lora", f"{wug}:0.5", to="twice.mkv")
    assert np.array_equal(plain, none)
    assert not np.array_equal(plain, whole)
    assert not np.array_equal(half, whole)
    assert np.abs(twice.astype(int) - whole).max() <= 1


def test_a_prompt_and_a_line_of_a_file_name_it(run: Run, wug: Path):
    expected = paint(run, "--lora", f"{wug}:0.8", to="flag.mkv")
    settings = ("--frames", 5, "--steps", 2, "--seed", 1, "--size", "64x64", "--anyway")
    assert run("generate", "a wug <lora:wug:0.8>", *settings, "-o", "tag.mkv").exit_code == 0
    folder = Path("prompts")
    folder.mkdir()
    wug.rename(folder / "moved.safetensors")
    (folder / "lines.txt").write_text("a wug <lora:moved:0.8>\na wug <lora:gone:1>\n", encoding="utf-8")
    result = run("generate", "-f", folder / "lines.txt", "-o", "out", *settings)
    assert result.exit_code == 6 and "line 2  failed  <lora:gone:1> names no LoRA" in result.stderr
    assert run("remake", "tag.mkv", "-o", "again.mkv", "--inputs", folder).exit_code == 0
    for made in ("tag.mkv", "again.mkv"):
        assert np.array_equal(frames(made), expected)
    assert Path("out/a-wug.mp4").exists()
    assert json.loads(media.read_recipe("out/a-wug.mp4") or "")["request"]["loras"] == ["moved.safetensors:0.8"]


def test_the_recipe_knows_it_and_makes_the_film_again(run: Run, wug: Path):
    first = paint(run, "--lora", f"{wug}:0.8", to="film.mkv")
    recipe = json.loads(media.read_recipe("film.mkv") or "")
    assert recipe["request"]["loras"] == ["wug.safetensors:0.8"]
    assert [Path(path).name for path, _ in recipe["inputs"]] == ["wug.safetensors"]
    again = run("remake", "film.mkv", "-o", "again.mkv")
    assert again.exit_code == 0
    assert np.array_equal(frames("again.mkv"), first)
    other = run("remake", "film.mkv", "-o", "other.mkv", "--lora", f"{wug}:0.1")
    assert other.exit_code == 0
    assert not np.array_equal(frames("other.mkv"), first)
    assert len(json.loads(media.read_recipe("other.mkv") or "")["request"]["loras"]) == 1
    run("train", wug.parent / ".." / "clips", "-o", wug, *SMALL, "--force", "--seed", 9)
    changed = run("remake", "film.mkv", "-o", "third.mkv")
    assert (changed.exit_code, "has changed since" in changed.stderr) == (3, True)


@pytest.mark.parametrize(
    ("flag", "status", "said"),
    [
        ("none.safetensors", 3, "there is no LoRA file none.safetensors"),
        ("wug.safetensors:99", 2, "strength 99 is out of range"),
        (":0.5", 2, "--lora ':0.5' names no file"),
        ("wan.safetensors", 4, "wan.safetensors is a LoRA of wan, and mini is of mini"),
        ("text.safetensors", 4, "is damaged"),
        ("wide.safetensors", 4, "wide.safetensors does not fit this model"),
        ("deep.safetensors", 4, "it changes blocks.9.to_q.weight, which is not there"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused_in_one_line(run: Run, wug: Path, flag: str, status: int, said: str):
    pair = {"lora_A.weight": torch.ones(2, 16), "lora_B.weight": torch.ones(24, 2)}
    lora_file.write("wan.safetensors", {f"to_q.{n}": p for n, p in pair.items()}, {"family": "wan"})
    save_file({f"transformer.to_q.{n}": torch.ones(3, 3) for n in pair}, "wide.safetensors")
    save_file({f"transformer.blocks.9.to_q.{n}": p for n, p in pair.items()}, "deep.safetensors")
    Path("text.safetensors").write_text("words and words and words")
    result = run("generate", "a wug", "--frames", 5, "--seed", 1, "-q", "-o", "film.mkv", "--lora", flag)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith("sora: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert not Path("film.mkv").exists()


def test_the_subject_may_be_the_loras_own(run: Run, wug: Path):
    result = run("generate", "a wug", "--frames", 1, "--seed", 1, "-o", "film.mkv", "--lora", wug)
    assert result.exit_code == 0
    assert '"a wug" names no subject that mini knows by itself; the LoRA has to bring it' in result.stderr


# --- the embedded model ----------------------------------------------------------------------------------------------


def test_the_embedded_model_can_be_trained(tmp_path: Path):
    """Its velocity field has gradients where the words and the first frames are frozen, and a step lowers the loss."""
    from sora.finetune import examples
    from sora.finetune.lora_trainer import LoRAConfig, LoRATrainer

    model = models.load(catalog.find("mini"), torch.device("cpu"), memory.choose_dtype(None, torch.device("cpu")))
    clip(tmp_path / "a wug runs.mkv", frames=5, size=(64, 64))
    made = examples.prepare(model, dataset.find_clips(tmp_path), (64, 64), 0, lambda *_: None)
    assert [len(e.frames_FCYX) for e in made] == [1, 1, 1, 1, 5]
    fit = LoRATrainer(model, made, LoRAConfig(rank=4, alpha=4, learning_rate=3e-3, shift=3.0, caption_dropout=0.0))
    before = held(fit)
    for n in range(12):
        fit.train_step(n / 12)
    assert held(fit) < 0.98 * before


def held(fit) -> float:
    """The mean loss over fixed times, noise and known frames."""
    from random import Random

    total = 0.0
    for seed, example in enumerate(fit.clips * 3 + fit.stills * 3):
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            total += fit.loss(example, 0.3 + 0.1 * seed, draw, Random(seed)).item()
    return total
