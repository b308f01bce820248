"""What ``sora train`` is asked for, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sora.catalog.spec import ModelSpec
from sora.finetune import unfinished

if TYPE_CHECKING:
    from sora.finetune.dataset import TrainingClip

DEFAULT_STEPS = 400  # where neither --steps nor --minutes is given
DEFAULT_PREVIEWS = 4  # times that a training saves and shows what it has learnt, where nobody says how often


@dataclass(frozen=True)
class TrainJob:
    """What to train, how long, and where it goes. settings: the fields of ``finetune.lora_trainer.LoRAConfig``.
    size: (height, width) on the grid, or None for each clip's own shape. save_every: steps between two previews, None
    for DEFAULT_PREVIEWS in all."""

    spec: ModelSpec
    clips: tuple[TrainingClip, ...]
    out: Path
    settings: dict[str, Any]
    size: tuple[int, int] | None
    steps: int | None
    minutes: float | None
    save_every: int | None
    previews: tuple[str, ...]
    resume: bool
    device: str | None
    dtype: str | None
    quiet: bool

    @property
    def folder(self) -> Path:
        """Where previews are, and the state to go on from."""
        return self.out.with_name(f"{self.out.stem}-training")

    @property
    def state_file(self) -> Path:
        return self.folder / "state.pt"

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the trained weights depend on, as JSON takes it."""
        facts: dict[str, Any] = {"model": self.spec.name, **self.settings, "size": list(self.size or ()) or None}
        facts |= {"steps": self.steps, "minutes": self.minutes, "device": self.device, "dtype": self.dtype}
        return facts | {"clips": unfinished.clips_digest(self.clips)}

    def progress(self, step: int, seconds: float) -> float:
        """The share that is behind, 1 or more at the end. seconds: of training."""
        return step / (self.steps or DEFAULT_STEPS) if self.minutes is None else seconds / (60 * self.minutes)
