"""A wish, checked and completed from the model's defaults: everything that can be refused is refused here, before
torch is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sora import catalog
from sora.cli import advice, hung, sources
from sora.cli.request import MOST_FILES, MOST_SEED, Take, Wish, takes_of, within
from sora.cli.scenes import SCENES, Scene, method_of
from sora.cli.shape import Size
from sora.errors import InputError, UsageError
from sora.plan import prompts
from sora.runtime.speed import DEFAULT, Speed

if TYPE_CHECKING:
    from sora.engine.engine import Settings
    from sora.media import Sound
    from sora.plan.clip import Clip
    from sora.plan.plan import Format, Plan

LONGEST_SLUG = 60  # characters; file systems allow 255 bytes
STILLS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Job:
    """What to paint. painted and size: (height, width) on the model's grid and in the file. said: the flags as they
    were understood, by name, for the recipe. files: everything that was read. notes: for a person."""

    spec: catalog.ModelSpec
    scene: Scene
    takes: tuple[Take, ...]
    painted: Size
    steps: int
    guidance: float
    shift: float
    step: str
    negative: str
    plan: Callable[[Take], Plan]
    sounds: tuple[Sound, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    loras: tuple[hung.Hung, ...] = ()
    speed: Speed = DEFAULT

    @property
    def size(self) -> Size:
        return self.scene.size

    @property
    def fps(self) -> float:
        return self.scene.fps

    @property
    def frames(self) -> int:
        return self.scene.frames

    @property
    def said(self) -> dict[str, Any]:
        settings = {"steps": self.steps, "guidance": self.guidance, "shift": self.shift, "sampler": self.step}
        settings |= {"guidance_low": self.spec.defaults.guidance_low if self.spec.boundary is not None else None}
        model = str(self.spec.folder.absolute()) if self.spec.folder else self.spec.name
        loras = [lora.said for lora in self.loras]
        return self.scene.said | settings | {"negative": self.negative, "model": model, "lora": loras}

    def settings(self, take: Take) -> Settings:
        """How the engine samples one take. Imports torch."""
        from sora.engine.engine import Settings

        return Settings(take.seed, self.steps, self.guidance, self.shift, self.step, self.negative)


def resolve(wish: Wish) -> Job:
    """The job a wish means. Raises UsageError, InputError or ModelError for anything that cannot be honoured."""
    _check_numbers(wish)
    spec = _guided(catalog.find(wish.model or catalog.DEFAULT), wish)
    spec = spec.with_guidance() if _needs_guidance(wish) else spec
    loras = hung.parse(wish.lora, spec)
    borrowed = _borrowed(wish)
    takes = advice.advised(wish, spec, takes_of(wish, spec, borrowed or ""))
    for take in takes:
        _check_place(target(wish, take), wish)
    scene = SCENES[wish.verb](wish, spec)
    for take in takes:
        _check_kind(target(wish, take), scene)
    d = spec.defaults
    plan, files = _plan(wish, spec, scene)
    files = (*files, *(lora.path for lora in loras))
    _check_inputs(wish, files)
    sounds, heard = sources.sounds(wish, scene.sources)
    few = min((lora.steps for lora in loras if lora.steps), default=None)
    speed = _speed(wish, spec, few)
    words = () if borrowed is None else (f"the prompt of {wish.source}: {borrowed}",)
    if few and wish.steps is None:
        words = (
            *words,
            f"a few-step LoRA, by its name: {few} steps and guidance 1 unless you say others",
        )
    return Job(
        spec=spec,
        scene=scene,
        takes=takes,
        painted=spec.painted(scene.size, draft=wish.draft),
        steps=wish.steps or few or (d.draft_steps if wish.draft else d.steps),
        guidance=(1.0 if few else d.guidance) if wish.guidance is None else wish.guidance,
        shift=wish.shift or d.shift,
        step=wish.sampler.value if wish.sampler else d.step,
        negative=prompts.clean(wish.negative) if wish.negative and wish.negative.strip() else d.negative,
        plan=plan,
        sounds=sounds,
        files=files,
        notes=(*words, *scene.notes, *heard),
        loras=loras,
        speed=speed,
    )


def _speed(wish: Wish, spec: catalog.ModelSpec, few: int | None) -> Speed:
    """few: the steps of a few-step LoRA. Raises UsageError for ``turbo`` where no weights are few-step ones."""
    speed = Speed(wish.speed or DEFAULT.mode, frozenset(wish.without or ()))
    if speed.mode == "turbo" and few is None and not spec.few_step:
        if spec.name in catalog.MODELS and catalog.MODELS[spec.name].few_step:
            told = (
                f"--speed turbo is without guidance, which --guidance, --negative, --lora and edits of {spec.name} need"
            )
            raise UsageError(f"{told}; leave --speed turbo out")
        hint = "add a few-step LoRA with --lora, or say --speed fast"
        raise UsageError(f"--speed turbo paints with few-step weights, and {spec.name} has none; {hint}")
    return speed


def _needs_guidance(wish: Wish) -> bool:
    """Whether what is asked for needs weights that take guidance, where a model's own are distilled: a scale of it,
    words to steer away from, a whole clip led to other words, or a LoRA, which was trained on those."""
    if wish.guidance is not None:
        return wish.guidance != 1
    leads = wish.verb == "edit" and method_of(wish) == "flow"
    return bool(wish.negative and wish.negative.strip()) or leads or bool(wish.lora)


def _guided(spec: catalog.ModelSpec, wish: Wish) -> catalog.ModelSpec:
    """The model with the second expert's guidance as it is wished: the first's, where only that is said."""
    if wish.guidance_low is not None and spec.boundary is None:
        raise UsageError(f"--guidance-low is for models of two experts, and {spec.name} is one; say --guidance")
    if wish.guidance is None and wish.guidance_low is None:
        return spec
    return replace(spec, defaults=replace(spec.defaults, guidance_low=wish.guidance_low))


def _check_numbers(wish: Wish) -> None:
    within("--count", wish.count, 1, MOST_FILES)
    within("--seed", wish.seed, 0, MOST_SEED - wish.count + 1)
    within("--steps", wish.steps, 1, 1000)
    within("--guidance", wish.guidance, 0, 100)
    within("--guidance-low", wish.guidance_low, 0, 100)
    within("--threads", wish.threads, 1, 1024)
    within("--shift", wish.shift, 0.01, 100)
    within("--strength", wish.draft_strength, 0.01, 1)


def _borrowed(wish: Wish) -> str | None:
    """The prompt out of the source's own recipe, where none is said."""
    source = wish.clip or wish.picture
    return None if wish.prompt is not None or source is None else sources.prompt_of(source)


def _plan(wish: Wish, spec: catalog.ModelSpec, scene: Scene) -> tuple[Callable[[Take], Plan], tuple[Path, ...]]:
    """(how a take becomes a plan, every file that was read)."""

    def form() -> Format:
        return spec.form(scene.size, scene.fps, draft=wish.draft)

    if wish.draft_file is None:
        return lambda take: scene.plan(form(), take), scene.files
    draft, strength = _draft(wish.draft_file, scene), wish.draft_strength or 1.0

    def finished(take: Take) -> Plan:
        from sora.plan.plan import Start

        plan = scene.plan(form(), take)
        known = plan.start.known_F1YX if plan.start else None
        return replace(plan, start=Start(draft, strength, known) if strength < 1 or known is not None else None)

    return finished, (wish.draft_file, *scene.files)


def _draft(path: Path, scene: Scene) -> Clip:
    """The draft's frames at the film's size. Raises InputError."""
    from sora import media
    from sora.plan.clip import Clip

    still = scene.frames == 1 and media.probe(path).kind == "image"
    clip = Clip(media.read_image(path)[None], scene.fps) if still else media.read_clip(path)
    if len(clip) != scene.frames:
        told = f"{path} has {len(clip)} frames and its recipe makes {scene.frames}"
        raise InputError(f"{told}; it was cut since, paint the draft again")
    return clip.fitted(*scene.size)


def target(wish: Wish, take: Take) -> str:
    """Where a take goes. A name of our own making is one that nothing has at this moment."""
    number = "" if take.number is None else f"-{take.number}"
    if wish.output is None:
        from sora import media

        suffix = sources.kind(wish).replace("folder", "")
        return str(media.unique_path(Path(), _stem(wish, take) + number, suffix))
    path = Path(wish.output)
    if not number or not path.name:
        return wish.output
    slash = "/" if wish.output.endswith("/") else ""
    return f"{path.with_name(f'{path.stem}{number}{path.suffix}')}{slash}"


def _stem(wish: Wish, take: Take) -> str:
    """A film of a clip is named after it and the verb, any other after its words."""
    if wish.stem is not None:
        return wish.stem
    if wish.clip is not None:
        return f"{slug(wish.clip.stem) or 'film'}-{wish.verb}"
    return slug(take.prompt) or (slug(wish.picture.stem) if wish.picture else "") or wish.verb


def slug(text: str) -> str:
    """'A red balloon!' -> 'a-red-balloon': letters and digits of any script, whole words, not too many."""
    words = re.findall(r"[^\W_]+", text.lower())
    kept = ""
    for word in words:
        if len(kept) + 1 + len(word) > LONGEST_SLUG:
            break
        kept = f"{kept}-{word}" if kept else word
    return kept or "".join(words)[:LONGEST_SLUG]


def _check_place(path: str, wish: Wish) -> None:
    from sora import media

    media.check_target(path, wish.force)


def _check_inputs(wish: Wish, files: Iterable[Path]) -> None:
    """Refuses to write over what the film is made of: it could not be made again. Raises UsageError."""
    if wish.output and Path(wish.output).resolve() in {file.resolve() for file in files}:
        raise UsageError(f"{wish.output} is what the film is made from; choose another -o")


def _check_kind(path: str, scene: Scene) -> None:
    """Refuses a kind of file that could not hold this film. Raises UsageError."""
    from sora import media

    media.check_size(path, scene.size, scene.fps)
    if scene.frames > 1 and Path(path).suffix.lower() in STILLS and not path.endswith("/"):
        hint = "end -o in .mp4, .gif, .webp, .mkv, or in / for a folder of PNGs"
        raise UsageError(f"{path} holds one frame, and the film has {scene.frames}; {hint}, or use `sora image`")
