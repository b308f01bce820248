"""Real commands: exit status, stdout, stderr, and what is on disk afterwards.

Two ways to run one. In this process with a stand-in for the model, which paints grey: everything but the network is
real, and a test costs milliseconds. As a program of its own with the embedded weights.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from conftest import SMALL_MINI, Blotches
from sora import __version__, catalog, memory, models, weights
from sora.cli import app, doctor_checks
from sora.engine.canvas import Canvas, Latents
from sora.engine.model import Model
from sora.errors import ModelError, OutOfMemory
from sora.plan.geometry import MAX_FRAMES as MOST
from sora.plan.request import fields

pytestmark = pytest.mark.usefixtures("small_mini")

SIDE = isqrt(SMALL_MINI.defaults.area)
BALLOON = "a red balloon floats up"
Run = Callable[..., Result]
LOAD = models.load  # the real one; tests put a stand-in there


class GreyModel(Blotches):
    """A stand-in that paints grey."""

    def decode(self, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        _, _, t, h, w = latents_BCTHW.shape
        space = self.spec.grid.space
        for i in range(t):
            yield torch.zeros(1 if i == 0 else self.spec.grid.time, 3, h * space, w * space)

    def bind(self, canvas: Canvas, latents: Latents, prompt: str, negative_prompt: str, guidance: float):
        return lambda x, t: x


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*argv, stdin=None): a command in an empty folder, in this process, with the stand-in for the model."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in catalog.MODELS["mini"].files:
        (assets / name).write_bytes(b"\x00" * 100)
    monkeypatch.setattr(weights, "ASSETS", assets)
    monkeypatch.setattr(models, "load", lambda spec, device, dtype, speed=None: GreyModel(spec, device))

    def invoke(*argv: object, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(a) for a in argv], input=stdin)

    return invoke


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A noisy 96x64 PNG outside the working folder."""
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(path)
    return path


def names() -> list[str]:
    return sorted(p.name for p in Path().iterdir())


# --- what is painted ---------------------------------------------------------------------------------------------


def test_a_film_of_the_models_default_shape(run: Run):
    result = run("generate", BALLOON, "--seed", 7)
    assert (result.exit_code, result.stdout) == (0, "a-red-balloon-floats-up.mp4\n")
    assert len(result.stderr.splitlines()) == 1
    told = json.loads(run("info", "a-red-balloon-floats-up.mp4", "--json").stdout)
    defaults = catalog.MODELS["mini"].defaults
    assert (told["size"], told["frames"], told["fps"]) == ([SIDE, SIDE], defaults.frames, defaults.fps)
    made, asked = told["recipe"], told["recipe"]["request"]
    assert (asked["verb"], asked["prompt"], asked["seed"], asked["model"]) == ("generate", BALLOON, 7, "mini")
    assert (asked["steps"], asked["guidance"], asked["sampler"]) == (
        defaults.steps,
        defaults.guidance,
        defaults.sampler,
    )
    assert (made["sora"], made["torch"], made["device"], made["dtype"]) == (
        *(__version__, torch.__version__),
        *("cpu", "float32"),
    )


def test_a_random_seed_is_said_unless_quiet(run: Run):
    first = run("generate", BALLOON, "--frames", 1)
    assert first.stderr.startswith("seed ")
    quiet = run("generate", BALLOON, "--frames", 1, "-q", "--json")
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)["seed"] != int(first.stderr.split()[1])


def test_seed_minus_one_is_drawn_said_and_recorded(run: Run):
    result = run("generate", BALLOON, "--seed", "-1", "--frames", "2", "-o", "a.mkv", "--json")
    facts = json.loads(result.stdout)
    recipe = json.loads(run("info", "a.mkv", "--json").stdout)["recipe"]
    assert f"seed {facts['seed']}" in result.stderr
    assert recipe["request"]["seed"] == facts["seed"] >= 0


def test_a_seed_of_64_bits_is_recorded_and_remade(run: Run):
    seed = 2**64 - 1
    assert run("generate", BALLOON, "--seed", seed, "--frames", "2", "-o", "a.mkv").exit_code == 0
    assert run("remake", "a.mkv", "-o", "b.mkv").exit_code == 0
    assert json.loads(run("info", "b.mkv", "--json").stdout)["recipe"]["request"]["seed"] == seed
    (Path() / "lines.txt").write_text(f"{BALLOON} --seed -1\n{BALLOON} again --seed {seed}\n", encoding="utf-8")
    result = run("generate", "-f", "lines.txt", "-o", "out", "--frames", "2", "--json")
    assert [json.loads(line)["seed"] for line in result.stdout.splitlines()][1] == seed


def test_default_names_never_collide(run: Run):
    for _ in range(3):
        assert run("generate", BALLOON, "--frames", 1).exit_code == 0
    assert len(names()) == 3


def test_an_existing_file_is_kept_without_force(run: Run):
    Path("film.mp4").write_bytes(b"precious")
    result = run("generate", BALLOON, "-o", "film.mp4", "--frames", 1)
    assert result.exit_code == 2
    assert result.stderr.startswith("sora: ")
    assert "--force" in result.stderr
    assert Path("film.mp4").read_bytes() == b"precious"
    assert run("generate", BALLOON, "-o", "film.mp4", "--frames", 1, "--force").exit_code == 0
    assert Path("film.mp4").read_bytes() != b"precious"


def test_json_is_one_object_a_file(run: Run):
    result = run("generate", BALLOON, "--count", 2, "--seed", 5, "--frames", 4, "--fps", 12, "--json", "-o", "a.mp4")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(t["path"], t["seed"]) for t in told] == [("a-1.mp4", 5), ("a-2.mp4", 6)]
    assert {"encode", "sample", "decode", "write"} <= told[0]["seconds"].keys()
    assert (told[0]["size"], told[0]["frames"], told[0]["fps"]) == ([SIDE, SIDE], 4, 12.0)
    assert (told[0]["model"], told[0]["prompt"]) == ("mini", BALLOON)
    assert names() == ["a-1.mp4", "a-2.mp4"]


def test_every_variant_makes_a_file(run: Run):
    result = run("generate", "a {red|blue} balloon", "--frames", 1, "--seed", 1)
    assert result.stdout.split() == ["a-red-balloon.mp4", "a-blue-balloon.mp4"]
    result = run("generate", "a {red|blue} balloon", "--frames", 1, "--seed", 1, "-o", "b.gif")
    assert result.stdout.split() == ["b-1.gif", "b-2.gif"]


def test_a_folder_of_pictures(run: Run):
    result = run("generate", BALLOON, "--frames", 3, "--count", 2, "--seed", 1, "-o", "take.one/")
    assert result.stdout.split() == ["take-1.one", "take-2.one"], result.stderr
    assert len(list(Path("take-1.one").glob("*.png"))) == 3


def test_a_prompt_from_standard_input(run: Run):
    result = run("generate", "-", "--frames", 1, "--json", stdin=f"\n  {BALLOON}\n\n")
    assert json.loads(result.stdout)["prompt"] == BALLOON


@pytest.mark.parametrize(
    ("argv", "frames"),
    [
        (["--frames", 1], 1),
        (["--frames", 5], 5),
        (["--frames", 6], 6),
        (["--frames", 40], 40),
        (["--seconds", 1], 8),
        (["--seconds", 0.01], 1),
        (["--seconds", 1, "--fps", 24], 24),
        (["--frames", 5, "--fps", 24], 5),
    ],
)
def test_exactly_the_frames_asked_for(run: Run, argv: list[object], frames: int):
    result = run("generate", BALLOON, "--size", "16x16", "-o", "a.mp4", "--steps", 1, *argv)
    assert result.exit_code == 0, result.stderr
    assert json.loads(run("info", "a.mp4", "--json").stdout)["frames"] == frames


def test_any_size_is_painted_near_and_fitted(run: Run):
    result = run("generate", BALLOON, "--size", "100x60", "--frames", 2, "-o", "a.mp4", "--seed", 1)
    assert result.exit_code == 0
    assert result.stderr.startswith("painted at ")
    assert "fitted to 100x60" in result.stderr
    told = json.loads(run("info", "a.mp4", "--json").stdout)
    assert told["size"] == [100, 60]
    assert told["recipe"]["size"] == [100, 60]
    assert f"{told['recipe']['painted'][0]}x{told['recipe']['painted'][1]}" in result.stderr


def test_an_aspect_takes_the_models_nearest_size(run: Run):
    told = json.loads(run("generate", BALLOON, "--aspect", "9:16", "--frames", 1, "--json").stdout)
    width, height = told["size"]
    assert width % 16 == height % 16 == 0
    assert abs(width / height - 9 / 16) < 0.1
    assert 0.7 < width * height / SIDE**2 < 1.4


def test_a_picture(run: Run):
    result = run("image", BALLOON, "--seed", 1)
    assert result.stdout == "a-red-balloon-floats-up.png\n"
    assert Image.open("a-red-balloon-floats-up.png").size == (SIDE, SIDE)


def test_img2vid_begins_with_the_picture_itself(run: Run, picture: Path):
    result = run("img2vid", picture, BALLOON, "--size", "96x64", "--frames", 5, "-o", "a.mkv", "--seed", 1)
    assert result.exit_code == 0, result.stderr
    from sora import media

    film = media.read_clip(Path("a.mkv"))
    assert np.array_equal(film.frames_FYXC[0], np.asarray(Image.open(picture)))
    assert film.size == (64, 96)
    made = json.loads(run("info", "a.mkv", "--json").stdout)["recipe"]
    assert made["inputs"][0][0] == picture.name


def test_img2vid_takes_the_pictures_shape_and_needs_no_words(run: Run, picture: Path):
    result = run("img2vid", picture, "--frames", 5, "--json", "--seed", 1)
    told = json.loads(result.stdout)
    assert told["path"] == "picture.mp4"
    assert abs(told["size"][0] / told["size"][1] - 96 / 64) < 0.1
    assert result.stderr == f"{picture} is 96x64, the film {told['size'][0]}x{told['size'][1]}\n"


def test_what_the_model_cannot_paint_is_named_once(run: Run):
    result = run("generate", "a red car, a violin", "--frames", 1, "--seed", 1, "--count", 2)
    assert result.stderr.count("no violin; try balloon") == 1


# --- what is refused ---------------------------------------------------------------------------------------------

G = ["generate", BALLOON]
BAD_WISHES = [
    ([], 2, "Usage"),
    (["paint"], 2, "paint"),
    (["generate"], 2, "PROMPT"),
    ([*G, "--nonsense"], 2, "--nonsense"),
    (["generate", ""], 2, "empty"),
    (["generate", " \t\n "], 2, "empty"),
    (["generate", "x" * (1 << 20)], 2, "shorten"),
    (["generate", "a {red|blue balloon"], 2, "close"),
    (["generate", "{a|b}" * 11], 2, "use fewer"),
    (["generate", "{a|b}", "--count", "1000"], 2, "2000 files"),
    ([*G, "--negative", "y" * (1 << 20)], 2, "shorten"),
    ([*G, "--aspect", "0:9"], 2, "above 0"),
    ([*G, "--aspect", "16:0"], 2, "above 0"),
    ([*G, "--aspect", "a:b"], 2, "16:9"),
    ([*G, "--aspect", "-1:2"], 2, "16:9"),
    ([*G, "--aspect", "nan:1"], 2, "16:9"),
    ([*G, "--aspect", "16/9"], 2, "16:9"),
    ([*G, "--aspect", "1000:1"], 2, "at most 4:1"),
    ([*G, "--aspect", "1:5"], 2, "or 1:4"),
    ([*G, "--size", "0x0"], 2, "16 to 8192"),
    ([*G, "--size", "1000000x1000000"], 2, "16 to 8192"),
    ([*G, "--size", "99999999999999999999x16"], 2, "640x360"),
    ([*G, "--size", "8192x16"], 2, "too long a shape"),
    ([*G, "--size", "640"], 2, "640x360"),
    ([*G, "--size", "64x64", "--aspect", "1:1"], 2, "one of them"),
    ([*G, "--seconds", "0"], 2, "more than 0"),
    ([*G, "--seconds", "-1"], 2, "more than 0"),
    ([*G, "--seconds", "nan"], 2, "more than 0"),
    ([*G, "--seconds", "inf"], 2, "more than 0"),
    ([*G, "--seconds", "60000"], 2, f"at most {MOST} ({MOST / 8:g} s at 8 fps)"),
    ([*G, "--seconds", "1e308"], 2, f"at most {MOST}"),
    ([*G, "--seconds", "2", "--frames", "9"], 2, "one of them"),
    ([*G, "--frames", "0"], 2, f"1 to {MOST}"),
    ([*G, "--frames", "-3"], 2, f"1 to {MOST}"),
    ([*G, "--frames", "100001"], 2, "too many"),
    ([*G, "--frames", "many"], 2, "whole number"),
    ([*G, "--fps", "0"], 2, "1 to 240"),
    ([*G, "--fps", "nan"], 2, "1 to 240"),
    ([*G, "--fps", "1000"], 2, "1 to 240"),
    ([*G, "--seed", "-2"], 2, "-1 to 18446744073709551615"),
    ([*G, "--seed", str(2**64)], 2, "-1 to 18446744073709551615"),
    ([*G, "--seed", str(2**64 - 1), "--count", "2"], 2, "-1 to 18446744073709551614"),
    ([*G, "--steps", "0"], 2, "1 to 1000"),
    ([*G, "--steps", "1001"], 2, "1 to 1000"),
    ([*G, "--guidance", "-1"], 2, "0 to 100"),
    ([*G, "--guidance", "nan"], 2, "0 to 100"),
    ([*G, "--guidance", "inf"], 2, "0 to 100"),
    ([*G, "--shift", "0"], 2, "0.01 to 100"),
    ([*G, "--count", "0"], 2, "1 to 1000"),
    ([*G, "--count", "1001"], 2, "1 to 1000"),
    ([*G, "--sampler", "magic"], 2, "euler"),
    ([*G, "--device", "tpu"], 2, "cuda"),
    ([*G, "--dtype", "float8"], 2, "bfloat16"),
    ([*G, "--model", "sora"], 4, "there is mini"),
    ([*G, "--size", "101x60", "-o", "a.mp4"], 2, "even"),
    ([*G, "-o", "no/such/folder/a.mp4"], 3, "no/such/folder"),
    ([*G, "-o", "a.docx"], 2, ".docx"),
    ([*G, "-o", ""], 2, "empty"),
    ([*G, "-o", "a.png"], 2, "sora image"),
    ([*G, "-o", "a.gif", "--fps", "60"], 2, "--fps"),
    ([*G, "-o", "/"], 2, "exists"),
    (["img2vid", "none.png"], 3, "none.png"),
    (["img2vid", "/"], 3, "/"),
    (["img2vid", "INPUTS/words.png"], 3, "words.png"),
    (["img2vid", "INPUTS/cut.png"], 3, "cut.png"),
    (["img2vid", "INPUTS/empty.png"], 3, "empty.png"),
    (["img2vid", "INPUTS/bomb.png"], 3, "bomb.png"),
    (["img2vid", "INPUTS/good.png", " "], 2, "empty"),
    (["info", "none.mp4"], 3, "none.mp4"),
    (["info", "INPUTS/words.png"], 3, "words.png"),
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are not what their names say, and one that is."""
    folder = tmp_path_factory.mktemp("inputs")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "good.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:4000])
    (folder / "words.png").write_text("words, not a picture")
    (folder / "empty.png").write_bytes(b"")
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")
    return folder


@pytest.mark.parametrize(
    ("argv", "status", "fragment"), BAD_WISHES, ids=[" ".join(argv)[:50] or "nothing" for argv, _, _ in BAD_WISHES]
)
def test_bad_input_gets_a_clear_line_and_leaves_nothing(
    run: Run, inputs: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], status: int, fragment: str
):
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("the model was loaded for a wish that cannot be"))
    result = run(*(a.replace("INPUTS", str(inputs)) for a in argv))
    said = result.stderr + (result.stdout if not argv else "")  # sora alone shows its help
    assert result.exit_code == status, said
    assert fragment in said
    assert "Traceback" not in said
    if argv:
        assert said.startswith("sora: ")
        assert len(said.splitlines()) == 1
    assert names() == []


def test_bad_wishes_are_refused_before_torch_is_imported(inputs: Path, tmp_path: Path):
    code = (
        "import json, sys\nfrom typer.testing import CliRunner\nfrom sora.cli import app\n"
        "for argv in json.load(sys.stdin):\n"
        "    assert CliRunner().invoke(app, argv).exit_code in (2, 3, 4), argv\n"
        "    assert 'torch' not in sys.modules, argv\n"
    )
    wishes = [[a.replace("INPUTS", str(inputs)) for a in argv] for argv, _, _ in BAD_WISHES]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(wishes), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_standard_input_that_is_no_text(run: Run):
    assert run("generate", "-", stdin=b"\xff\xfe\x00").exit_code == 2
    assert run("generate", "-", stdin=b"").exit_code == 2
    assert run("generate", "-", stdin=b"x" * (1 << 22)).exit_code == 2
    assert names() == []


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (
            OutOfMemory("the device is full; try a smaller --size"),
            5,
            "sora: the device is full; try a smaller --size\n",
        ),
        (ModelError("the weights are damaged"), 4, "sora: the weights are damaged\n"),
        (KeyboardInterrupt(), 130, "sora: stopped; nothing half-made is left behind\n"),
    ],
)
def test_what_goes_wrong_while_painting_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, line: str
):
    def fail(self: GreyModel, latents_BCTHW: Tensor) -> Iterator[Tensor]:
        yield torch.zeros(1, 3, SIDE, SIDE)
        raise error

    monkeypatch.setattr(GreyModel, "decode", fail)
    result = run("generate", BALLOON, "--seed", 1)
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", line)
    assert names() == []


def test_a_full_device_exits_with_five(run: Run, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")

    monkeypatch.setattr(GreyModel, "bind", lambda *_: fail)
    result = run("generate", BALLOON, "--seed", 1)
    assert result.exit_code == 5, result.stderr
    assert result.stderr.startswith("sora: ")
    assert names() == []


def test_an_absent_device_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "devices", lambda: ("cpu",))
    result = run("generate", BALLOON, "--device", "cuda")
    assert result.exit_code == 2
    assert "try --device cpu" in result.stderr


def test_corrupt_weights_are_a_clear_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "load", LOAD)
    result = run("generate", BALLOON, "--seed", 1)
    assert result.exit_code == 4, result.output
    assert str(tmp_path / "assets") in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert names() == []


# --- what is answered --------------------------------------------------------------------------------------------


def test_version(run: Run):
    assert run("--version").stdout == f"sora {__version__}\n"


def test_info_in_words(run: Run, picture: Path):
    assert "none; sora did not make this file" in run("info", picture).stdout
    run("generate", BALLOON, "--seed", 3, "-o", "a.mp4")
    lines = run("info", "a.mp4").stdout.splitlines()
    told = {f"size {SIDE}x{SIDE}", f"frames {catalog.MODELS['mini'].defaults.frames}", "seed 3", "verb generate"}
    assert told <= {" ".join(line.split()) for line in lines}


def test_models(run: Run):
    assert run("models").stdout.split()[:3] == ["mini", "Apache-2.0", "here"]
    told = [json.loads(line) for line in run("models", "--json").stdout.splitlines()]
    assert [t["name"] for t in told] == list(catalog.MODELS)
    assert told[0]["size"] == [SIDE, SIDE]


def test_doctor_says_ok_for_each_part(run: Run):
    result = run("doctor")
    assert result.exit_code == 0, result.stdout
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["ok"] * 11


@pytest.mark.parametrize("wrong", [False, True])
def test_doctor_trusts_no_device_that_paints_something_else(run: Run, monkeypatch: pytest.MonkeyPatch, wrong: bool):
    """The second device is a CPU too, whose frames may be brighter than they are."""
    real = models.load

    class Turned:
        def __init__(self, model: Model) -> None:
            self.model = model

        def __getattr__(self, name: str):
            return getattr(self.model, name)

        def decode(self, latents_BCTHW: Tensor):
            return (chunk + 0.3 for chunk in self.model.decode(latents_BCTHW))

    def load(spec: catalog.ModelSpec, device: torch.device, dtype: torch.dtype):
        model = real(spec, torch.device("cpu"), dtype)
        return Turned(model) if wrong and device.type == "meta" else model

    monkeypatch.setattr(memory, "devices", lambda: ("meta", "cpu"))
    monkeypatch.setattr(models, "load", load)
    monkeypatch.setattr(memory, "choose_device", lambda name: torch.device("cpu"))
    result = run("doctor")
    assert result.exit_code == (4 if wrong else 0)
    assert ("paint with --device cpu" if wrong else "meta within") in result.stdout


def test_doctor_names_the_problem_and_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch):
    def damaged(*_: object) -> None:
        raise ModelError("the weights file x is damaged")

    monkeypatch.setattr(doctor_checks, "_load_on_cpu", damaged)
    result = run("doctor")
    assert result.exit_code == 4
    assert "weights    problem   the weights file x is damaged" in result.stdout.splitlines()
    assert "ffmpeg     ok" in result.stdout


# --- what holds of the program as a whole ------------------------------------------------------------------------


def test_importing_the_commands_brings_neither_torch_nor_numpy():
    code = "import sys, sora.cli; print(sorted({'torch', 'numpy', 'rich', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_brings_neither_torch_nor_numpy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom sora.cli import app\n"
        "for argv in (['--help'], ['generate', '--help'], ['--version'], ['models']):\n"
        "    assert CliRunner().invoke(app, argv).exit_code == 0\n"
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_networks_are_made_without_torchs_compiler():
    code = (
        "import sys, torch\nfrom sora import catalog, models\n"
        "for name in ('mini', 'wan2.1-1.3b'):\n"
        "    spec, cpu = catalog.find(name), torch.device('cpu')\n"
        "    needs = models.family(spec).memory_needs(spec, (17, 256, 256), cpu, torch.float32, encodes=False)\n"
        "    models.load(spec, cpu, torch.float32) if needs is None else needs\n"
        "print(sorted({'torch._dynamo', 'triton'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_said_twice_agree():
    from sora.engine.sampler import SAMPLERS

    assert set(fields()["sampler"].choices) == set(SAMPLERS)
    assert fields()["device"].choices == memory.DEVICES
    assert fields()["dtype"].choices == memory.DTYPES


def test_slugs():
    from sora.jobs.delivery import slug

    assert slug("A red balloon, floating UP!") == "a-red-balloon-floating-up"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("ein grüner Drache 龍") == "ein-grüner-drache-龍"
    assert slug("?!") == ""
    assert len(slug("word " * 100)) <= 60
    assert len(slug("w" * 1000)) <= 60


# --- the real thing ----------------------------------------------------------------------------------------------


def test_the_program_paints_a_film(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "sora", "generate", "a red balloon floats up over a green meadow", "--seed", "1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "a-red-balloon-floats-up-over-a-green-meadow.mp4"
    assert [p.name for p in tmp_path.iterdir()] == [done.stdout.strip()]


def test_the_program_is_well(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "sora", "doctor"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
