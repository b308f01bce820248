"""What a checkpoint is, as data: where its files are and what a clip of it is when nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sora.errors import UsageError
from sora.plan import geometry
from sora.plan.grid import Grid

if TYPE_CHECKING:
    from sora.plan.plan import Format

# Memory plans for which a row gives its memory, from the one that takes most.
MEMORY = ("resident", "text-dropped", "one-expert", "streamed-tiled")


@dataclass(frozen=True)
class Defaults:
    """What holds where a request leaves it open. window: the most frames in one window; longer films take several.
    context, context_after: known frames before and after the painted ones of a window. area: pixels a frame. shift: of
    the timesteps; 1 is none. timesteps: in (0, 1000], falling, that a few-step network was trained to be shown, for as
    many steps at this shift; with other steps or another shift it takes evenly spaced ones. Empty for other networks.
    sampler: a name in ``sampler.SAMPLERS``. draft_area, draft_steps: of a draft. loop_frames:
    of a loop from words. extend_guidance: the share of the guidance, over 1, that is left where a window extends known
    frames, which already say most of what the prompt would. bridge_guidance: the same where known frames come after,
    too, which a prompt can pull away from. guidance_low: of the second of two experts; None is ``guidance``. max_area:
    a film is painted at its own size, up to so many pixels a frame; where it is 0, every film at about ``area``.
    aspect: width / height of a film whose shape is left open. negative: the negative prompt. blend_at_images: whether
    painted frames next to a single known image are blended with it, as those next to known clips always are; off where
    the model's reference leaves them alone. cache_threshold: of the step cache under ``--speed fast``, as
    ``runtime.step_cache`` counts it. guidance_stop: the time in [0, 1] below which ``--speed fast`` leaves guidance
    out, since late steps draw edges, which guidance changes little (Kynkaanniemi et al., arXiv 2404.07724).
    noise_strength, flow_strength: of an edit of a whole clip, by its method. region_share: of each side of what the
    model sees, the part that a region to paint takes up; with 0 it sees whole frames.
    """

    frames: int
    window: int
    context: int
    context_after: int
    loop_frames: int
    fps: float
    area: int
    steps: int
    draft_area: int
    draft_steps: int
    guidance: float
    shift: float
    sampler: str
    extend_guidance: float = 1.0
    bridge_guidance: float = 1.0
    guidance_low: float | None = None
    timesteps: tuple[float, ...] = ()
    max_area: int = 0
    aspect: float = 1.0
    negative: str = ""
    blend_at_images: bool = True
    cache_threshold: float = 0.1
    guidance_stop: float = 0.3
    noise_strength: float = 0.7
    flow_strength: float = 0.7
    region_share: float = 0.0


@dataclass(frozen=True)
class GuidedWeights:
    """The transformer that takes guidance, of a model whose own was distilled from it to paint in few steps without.
    file: in place of ``ModelSpec.files[0]``. steps, draft_steps, guidance, sampler: as in ``Defaults``."""

    file: str
    steps: int
    draft_steps: int
    guidance: float
    sampler: str


@dataclass(frozen=True)
class Advice:
    """What a model of a closed vocabulary makes of a prompt. subject: what it would paint, as a person calls it; "" for
    nothing. missing: why that is, and what could be asked for instead. notes: what is painted otherwise or left out."""

    subject: str = ""
    missing: str = ""
    notes: tuple[str, ...] = ()


class Fetchable(Protocol):
    """What is fetched, checked and removed: a model, or other files of a repository. As in ``ModelSpec``."""

    @property
    def name(self) -> str: ...
    @property
    def repo(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def files(self) -> tuple[str, ...]: ...
    @property
    def bytes(self) -> int: ...
    @property
    def folder(self) -> Path | None: ...
    @property
    def own_paths(self) -> tuple[Path, ...]: ...


@dataclass(frozen=True)
class ModelSpec:
    """One checkpoint. family: the module of this package that drives it.

    repo, revision: on the Hugging Face hub, empty for weights that ship inside the package or lie in a folder of a
    person's own. With a folder, too, it is a repository that is in no row, in the hub's cache.
    files: names and patterns relative to the repo, the folder or ``sora/assets``. bytes: about so many to fetch.
    camera, motion: the words this model understands for a ``--camera`` or ``--motion``; what is missing it cannot do.

    conditioning: how known regions reach the network: as "channels" concatenated to the noise, as "tokens" with a
    timestep of their own, through a "control" branch, or by "renoise": put back, noised, at every step. accepts: what
    the weights were trained to be given, for a person. boundary: in [0, 1], the time below which the second of two
    experts paints. guided_weights: the transformer for what a distilled one cannot do: guidance, negative prompts,
    edits, LoRA training. None where files[0] takes guidance itself.
    speeds: what each of ``speed.MODES`` but the exact one gains and costs, as measured.
    memory: about how many GB of the device's painting by default takes, by plan (``MEMORY``), in bfloat16.
    sizes: of the transformer as it was published, by the names of its family's configuration.

    vocabulary: the asset that lists all it can paint; empty for an open vocabulary.

    folder: a folder in diffusers' layout, or one file, that a person named instead of a row. low_noise: the file of
    the second of two experts, where ``folder`` is that of the first. base_model: the row of ``catalog.MODELS`` whose
    other components it uses.
    """

    name: str
    family: str
    summary: str
    licence: str
    files: tuple[str, ...]
    grid: Grid
    defaults: Defaults
    repo: str = ""
    revision: str = ""
    camera: Mapping[str, str] = field(default_factory=dict)
    motion: Mapping[str, str] = field(default_factory=dict)
    bytes: int = 0
    conditioning: str = "channels"
    accepts: str = "words, and any known frames"
    boundary: float | None = None
    memory: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)
    speeds: Mapping[str, str] = field(default_factory=dict)
    guided_weights: GuidedWeights | None = None
    folder: Path | None = None
    low_noise: Path | None = None
    base_model: str = ""
    vocabulary: str = ""

    @property
    def own_paths(self) -> tuple[Path, ...]:
        """What a person named instead of a row: nothing, a folder or a file, or two files."""
        return tuple(path for path in (self.folder, self.low_noise) if path is not None)

    @property
    def is_few_step(self) -> bool:
        """Whether it paints without guidance, in few steps."""
        return self.defaults.guidance == 1

    @property
    def takes_references(self) -> bool:
        """Whether it can be shown reference pictures."""
        return self.conditioning == "control"

    @property
    def takes_control(self) -> bool:
        """Whether it can be shown a control signal."""
        return self.conditioning == "control"

    @property
    def control_layers(self) -> int:
        """How many of its layers take what it makes of a control signal and references, each with a weight."""
        return len(self.sizes.get("vace_layers", ()))

    def with_guidance(self) -> ModelSpec:
        """The same with the transformer that takes guidance; itself where it has no other."""
        if self.guided_weights is None:
            return self
        g = self.guided_weights
        defaults = replace(
            self.defaults, steps=g.steps, draft_steps=g.draft_steps, guidance=g.guidance, sampler=g.sampler
        )
        files = (g.file, *(name for name in self.files if name != g.file))
        return replace(self, files=files, defaults=defaults, guided_weights=None)

    def model_size(self, size: tuple[int, int], *, draft: bool = False) -> tuple[int, int]:
        """(height, width) on the grid at which a film of that size is painted."""
        d = self.defaults
        area = d.draft_area if draft else d.area
        if d.max_area:
            area = min(size[0] * size[1], d.draft_area if draft else d.max_area)
        return self.grid.nearest_size(size[1] / size[0], area)

    def film_size(
        self, size: str | None = None, aspect: str | None = None, usual: float | None = None
    ) -> tuple[int, int]:
        """(height, width) of a file. size, aspect: as a person wrote them. usual: width / height when neither is given,
        else the model's; a picture longer than the longest shape is cropped to it. Raises UsageError."""
        if aspect is not None and size is not None:
            raise UsageError("--aspect and --size both say the shape; give one of them")
        if size is not None:
            return geometry.parse_size(size)
        shape = geometry.shape_of(aspect, self.defaults.aspect if usual is None else usual)
        # Once more, so that a film of this very size is painted at it: a few long shapes have a nearer neighbour yet.
        return self.model_size(self.grid.nearest_size(shape, self.defaults.area))

    def format(self, size: tuple[int, int], fps: float, *, draft: bool = False) -> Format:
        """The format of a film of (height, width), painted at the grid's nearest size of that shape."""
        from sora.plan.plan import Format

        d = self.defaults
        return Format(
            size, self.model_size(size, draft=draft), fps, d.window, d.context, d.context_after, self.grid.time
        )
