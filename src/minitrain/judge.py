"""A classifier that answers what a clip shows; ``judge_training`` trains it.

It is trained on rendered clips (``judge_data``), augmented to look like generated ones (``judge_augmentation``). In
half of them the subject faces against its motion, so that motion must be recognised from motion. It knows every subject
of its worlds and those of no world, so that it can tell whether a model has learnt one of these. Whether the subject is
whole is a question of its own, learnt from corrupted pictures (``corruptions``) and from generated clips with human
labels (``judge_data.LabelledClips``), so that a blob of the right colours does not pass for the subject.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from minitrain.captions.facts import facts
from minitrain.scene import Film
from minitrain.worlds.subjects import UNSEEN
from minitrain.worlds.world import World
from sora import weights
from sora.errors import ModelError

FRAMES, SIDE = 17, 96  # frames of a clip; pixels of the square that the judge looks at
CROP_SIDE = 64  # pixels of the square crop around the subject
SAMPLED_FRAMES = (FRAMES + 1) // 2  # every second frame of them
FRAME_QUESTIONS = ("subject", "setting", "weather", "hour", "style", "second")  # answered by single frames
CROP_QUESTIONS = ("subject", "whole")  # answered by crops of the subject
MOTION_QUESTIONS = ("motion", "camera", "relation", "event")  # answered by the frames together
SUBJECT_QUESTIONS = ("subject", "whole", "second")  # a frame counts here by how much of the subject it shows
QUESTIONS = (
    *("subject", "setting", "motion", "camera", "weather"),
    *("hour", "style", "second", "relation", "event", "whole"),
)
"""What the judge answers about a clip, with the values of ``captions.facts``: "" if there is none; and whether the
subject is WHOLE or BROKEN."""

WHOLE, BROKEN = "whole", "broken"
FILE = "judge.safetensors"
PUBLISHED_FOLDER = Path(__file__).parent  # the folder that holds the published judge
IGNORED = -100  # the index of an answer that is not asked for, as in torch.nn.functional.cross_entropy
MOMENT_COUNT = 9  # numbers that ``moments`` gives for each frame
CROP_MARGIN = 2.1  # half a crop's side, in standard deviations of the subject's positions; 1.73 shows a square whole
FINE_CHANNELS, COARSE_CHANNELS = 96, 160  # channels at an eighth and at a sixteenth of the side

Options = Mapping[str, Sequence[str]]


def options_of(worlds: Iterable[World]) -> dict[str, tuple[str, ...]]:
    """The possible answers to each question, for films of any of the worlds."""
    found: dict[str, dict[str, None]] = {q: {} for q in QUESTIONS}
    for world in worlds:
        lists = {
            "subject": (*world.subjects, *UNSEEN),
            "setting": world.settings,
            "motion": world.motions,
            "camera": ("", *(c for c in world.cameras if c != "static")),
            "weather": ("", *world.weathers),
            "hour": ("", *world.hours),
            "style": world.styles,
            "second": ("", *(world.subjects if world.pair_share else ())),
            "relation": ("", *(world.relations if world.pair_share else ())),
            "event": ("", *(world.events if world.event_share else ())),
            "whole": (WHOLE, BROKEN),
        }
        for question, words in lists.items():
            found[question] |= dict.fromkeys(words)
    return {question: tuple(words) for question, words in found.items()}


def right_answers(film: Film) -> dict[str, str]:
    """The correct answer to each of QUESTIONS for a rendered clip of the film, whose subject is always whole."""
    answers_by_question = facts(film) | {"whole": WHOLE}
    return {question: answers_by_question[question] for question in QUESTIONS}


# The network --------------------------------------------------------------------------------------------------------


class SeparableBlock(nn.Module):
    """A residual block: a depthwise convolution of ``reach`` pixels, then pointwise ones (ConvNeXt, Liu et al. 2022,
    arXiv 2201.03545)."""

    def __init__(self, width: int, reach: int, hidden: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, reach, 1, reach // 2, groups=width)
        self.norm = nn.GroupNorm(8, width)
        self.mix = nn.Sequential(nn.Conv2d(width, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(self.norm(self.near(x)))


class FrameEncoder(nn.Module):
    """Single frames (N, 3, Y, X) to feature maps (N, FINE_CHANNELS, Y / 8, X / 8) and (N, COARSE_CHANNELS, Y / 16, X /
    16)."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            *(nn.PixelUnshuffle(4), nn.Conv2d(48, 64, 1), nn.ReLU(), SeparableBlock(64, 3, 64)),
            *(nn.Conv2d(64, FINE_CHANNELS, 2, 2), nn.GroupNorm(8, FINE_CHANNELS), nn.ReLU()),
            *(SeparableBlock(FINE_CHANNELS, 5, 2 * FINE_CHANNELS) for _ in range(2)),
        )
        self.coarse = nn.Sequential(
            *(nn.Conv2d(FINE_CHANNELS, COARSE_CHANNELS, 2, 2), nn.GroupNorm(8, COARSE_CHANNELS), nn.ReLU()),
            *(SeparableBlock(COARSE_CHANNELS, 5, 2 * COARSE_CHANNELS) for _ in range(2)),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(x.contiguous(memory_format=torch.channels_last))
        return fine, self.coarse(fine)


@dataclass(frozen=True)
class FrameFeatures:
    """Features of N frames. cover: (N, 1, SIDE / 8, SIDE / 8) logits of the first actor's opacity. fine: (N,
    FINE_CHANNELS, SIDE / 8, SIDE / 8). subject, scene: (N, channels), pooled over the subject and over the whole
    frame."""

    cover: Tensor
    fine: Tensor
    subject: Tensor
    scene: Tensor

    @property
    def amount(self) -> Tensor:
        """(N,): how much of the frame the subject covers, about 0 to 1."""
        return self.cover.sigmoid().mean(dim=(1, 2, 3))


class Judge(nn.Module):
    """Clips (B, SAMPLED_FRAMES, 3, SIDE, SIDE) in [-1, 1] to logits for each of QUESTIONS, over the answers of
    ``options``."""

    def __init__(self, options: Options, width: int = 128) -> None:
        super().__init__()
        self.options = {q: tuple(options[q]) for q in QUESTIONS}
        self.look = FrameEncoder()
        self.cover = nn.ModuleList((nn.Conv2d(FINE_CHANNELS, 1, 1), nn.Conv2d(COARSE_CHANNELS, 1, 1)))
        pooled = {
            q: 2 * (COARSE_CHANNELS + FINE_CHANNELS) if q in SUBJECT_QUESTIONS else 2 * COARSE_CHANNELS
            for q in FRAME_QUESTIONS
        }
        self.still = nn.ModuleDict({q: nn.Linear(pooled[q], len(self.options[q])) for q in FRAME_QUESTIONS})
        self.near = FrameEncoder()
        self.close = nn.ModuleDict(
            {q: nn.Sequential(nn.Linear(2 * COARSE_CHANNELS, width), nn.ReLU()) for q in CROP_QUESTIONS}
        )
        for question, head in self.close.items():
            head.append(nn.Linear(width, len(self.options[question])))  # type: ignore[operator]
        self.reduce = nn.Conv2d(FINE_CHANNELS, 12, 1)
        self.where = nn.Sequential(nn.Flatten(), nn.Linear(13 * (SIDE // 8) ** 2, width), nn.ReLU())
        self.how = nn.Sequential(nn.Linear(2 * (COARSE_CHANNELS + FINE_CHANNELS), width // 4), nn.ReLU())
        self.gauge = nn.Sequential(nn.Linear(MOMENT_COUNT, width // 2), nn.ReLU(), nn.Linear(width // 2, width // 2))
        self.stir = nn.Sequential(nn.Linear(FINE_CHANNELS, width // 4), nn.ReLU())
        self.follow = nn.Sequential(
            *(nn.Conv1d(2 * width, width, 3, padding=1), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(width * SAMPLED_FRAMES, 2 * width), nn.ReLU()),
        )
        self.moving = nn.ModuleDict({q: nn.Linear(2 * width, len(self.options[q])) for q in MOTION_QUESTIONS})

    def encode_frames(self, x_NCYX: Tensor) -> FrameFeatures:
        """Features of single frames of the judge's own size."""
        fine, coarse = self.look(x_NCYX)
        cover = self.cover[0](fine) + F.interpolate(self.cover[1](coarse), scale_factor=2.0)
        share = cover.sigmoid()
        whole, deep = share + 1e-3, F.avg_pool2d(share, 2) + 1e-3
        coarse_on_subject = (coarse * deep).sum(dim=(2, 3)) / deep.sum(dim=(2, 3))
        fine_on_subject = (fine * whole).sum(dim=(2, 3)) / whole.sum(dim=(2, 3))
        coarse_peak, fine_peak = coarse.amax(dim=(2, 3)), (fine * share).amax(dim=(2, 3))
        what = torch.cat([coarse_on_subject, coarse_peak, fine_on_subject, fine_peak], dim=1)
        return FrameFeatures(cover, fine, what, torch.cat([coarse.mean(dim=(2, 3)), coarse_peak], dim=1))

    def frame_logits(self, seen: FrameFeatures) -> dict[str, Tensor]:
        """(N, answers): logits of single frames for each of FRAME_QUESTIONS."""
        return {q: head(seen.subject if q in SUBJECT_QUESTIONS else seen.scene) for q, head in self.still.items()}

    def close_up_logits(self, crops_NCYX: Tensor) -> dict[str, Tensor]:
        """(N, answers): logits for each of CROP_QUESTIONS, from the crops of ``crop_subject``."""
        coarse = self.near(crops_NCYX)[1]
        pooled = torch.cat([coarse.mean(dim=(2, 3)), coarse.amax(dim=(2, 3))], dim=1)
        return {q: head(pooled) for q, head in self.close.items()}

    def describe_frames(self, fine: Tensor, cover: Tensor, what: Tensor, frames: int, dropout: float = 0.0) -> Tensor:
        """(N, channels): where things stand in each frame of clips of ``frames`` frames, and how much the subject has
        changed since the frame before, from the fields of ``FrameFeatures``; the input of ``clip_logits``. dropout: of
        the map's part while training, since it identifies single clips too well."""
        share = cover.sigmoid()
        where = self.where(torch.cat([self.reduce(fine), share], dim=1))
        stir = self.stir(4 * frame_changes(fine, share, frames))
        return torch.cat([F.dropout(where, dropout), self.how(what), self.gauge(moments(share)), stir], dim=1)

    def clip_logits(self, descriptors_BFD: Tensor) -> dict[str, Tensor]:
        """(B, answers): logits of clips for each of MOTION_QUESTIONS."""
        hidden = self.follow(descriptors_BFD.transpose(1, 2))
        return {q: head(hidden) for q, head in self.moving.items()}

    def forward(self, x: Tensor) -> list[Tensor]:
        frames = x.flatten(0, 1)
        seen = self.encode_frames(frames)
        still, close = self.frame_logits(seen), self.close_up_logits(crop_subject(frames, seen.cover.sigmoid()))
        logits_by_question = (
            still | close | {"subject": still["subject"].log_softmax(1) + close["subject"].log_softmax(1)}
        )
        amount = seen.amount.unflatten(0, x.shape[:2]) + 0.01
        share = (amount / amount.sum(dim=1, keepdim=True))[..., None]
        answers_by_question = {}
        for question, logits in logits_by_question.items():
            by_clip = logits.unflatten(0, x.shape[:2])
            answers_by_question[question] = (
                (by_clip * share).sum(dim=1) if question in SUBJECT_QUESTIONS else by_clip.mean(dim=1)
            )
        descriptors = self.describe_frames(seen.fine, seen.cover, seen.subject, x.shape[1])
        answers_by_question |= self.clip_logits(descriptors.unflatten(0, x.shape[:2]))
        return [answers_by_question[q] for q in QUESTIONS]

    def labels_of(self, film: Film) -> Tensor:
        """The correct answer's index for each question. Raises ModelError for a film of a world that the judge does not
        know."""
        correct = right_answers(film)
        for question, words in self.options.items():
            if correct[question] not in words:
                known = ", ".join(word for word in words if word) or "none"
                raise ModelError(
                    f"the judge knows no {question} {correct[question]!r}, only {known}; train one on its world"
                )
        return torch.tensor([words.index(correct[q]) for q, words in self.options.items()])


def frame_changes(fine_NCYX: Tensor, share_N1YX: Tensor, frames: int) -> Tensor:
    """(N, C): how much each channel differs from the frame before where the subject stands; 0 for a clip's first frame.
    This alone distinguishes a subject that stands still from one that spins in place."""
    clips = fine_NCYX.unflatten(0, (-1, frames))
    apart = torch.cat([torch.zeros_like(clips[:, :1]), clips.diff(dim=1).abs()], dim=1).flatten(0, 1)
    return (apart * share_N1YX).sum(dim=(2, 3)) / (share_N1YX.sum(dim=(2, 3)) + 1e-3)


def moments(cover_N1YX: Tensor) -> Tensor:
    """(N, MOMENT_COUNT): the subject's area, position and spread, in numbers of about 1. A position is given directly
    and as an angle, which does not jump when a subject that leaves at one edge comes in at the other."""
    weight = cover_N1YX[:, 0] + 1e-6
    total = weight.sum(dim=(1, 2))
    found = [4 * weight.mean(dim=(1, 2))]
    for axis in (1, 2):
        along = weight.sum(dim=axis) / total[:, None]
        places = (torch.arange(along.shape[1], device=along.device) + 0.5) * 2 / along.shape[1] - 1
        middle = (along * places).sum(dim=1)
        spread = (along * (places - middle[:, None]).square()).sum(dim=1).sqrt()
        angle = torch.pi * places
        found += [middle, 3 * spread, (along * angle.cos()).sum(dim=1), (along * angle.sin()).sum(dim=1)]
    return torch.stack(found, dim=1)


def crop_subject(frames_NCYX: Tensor, cover_N1YX: Tensor, rotation: Tensor | None = None) -> Tensor:
    """(N, C, CROP_SIDE, CROP_SIDE): the subject with a margin, whatever its size. cover: its opacity in [0, 1], at any
    resolution. rotation: (N, 2, 2) matrices that rotate and magnify each crop about its centre."""
    size = cover_N1YX.shape[-1]
    places = (torch.arange(size, device=cover_N1YX.device) + 0.5) * 2 / size - 1  # of [-1, 1]
    weight = cover_N1YX[:, 0] + 1e-6
    total = weight.sum(dim=(1, 2))
    middles, spreads = [], []
    for axis in (1, 2):  # down, then across, is what each sum leaves
        along = weight.sum(dim=axis) / total[:, None]
        middle = (along * places).sum(dim=1)
        middles.append(middle)
        spreads.append((along * (places - middle[:, None]).square()).sum(dim=1).sqrt())
    half = (CROP_MARGIN * torch.stack(spreads).amax(dim=0) + 0.04).clamp(0.2, 1.0)
    eye = torch.eye(2, device=frames_NCYX.device).expand(len(half), -1, -1) if rotation is None else rotation
    theta = torch.cat([eye * half[:, None, None], torch.stack(middles, dim=1)[..., None]], dim=2)
    grid = F.affine_grid(theta, [len(half), 1, CROP_SIDE, CROP_SIDE], align_corners=False)
    return F.grid_sample(frames_NCYX, grid, padding_mode="border", align_corners=False)


# Looking at clips ---------------------------------------------------------------------------------------------------


def resize(frames_BFCYX: Tensor) -> Tensor:
    """(B, F, C, SIDE, SIDE) in [0, 255] from clips of any size; other aspect ratios are squeezed into the square."""
    small = F.interpolate(frames_BFCYX.flatten(0, 1).float(), (SIDE, SIDE), mode="area")
    return small.unflatten(0, (len(frames_BFCYX), -1))


def preprocess(frames_BFCYX: Tensor) -> Tensor:
    """The judge's input from clips of FRAMES frames (uint8, any size). Raises ValueError for other lengths."""
    if frames_BFCYX.shape[1] != FRAMES:
        raise ValueError(f"the judge takes {FRAMES} frames, not {frames_BFCYX.shape[1]}")
    return resize(frames_BFCYX[:, ::2]) / 127.5 - 1


def to_batch(film_FYXC: np.ndarray) -> Tensor:
    """One clip as (1, F, 3, Y, X)."""
    return torch.from_numpy(np.ascontiguousarray(film_FYXC)).permute(0, 3, 1, 2)[None]


@torch.inference_mode()
def answers(judge: Judge, frames_BFCYX: Tensor) -> list[dict[str, str]]:
    """The judge's answer to each question, for each clip of FRAMES frames (uint8, any size, any device)."""
    logits = judge(preprocess(frames_BFCYX).to(device_of(judge)))
    picked = torch.stack([each.argmax(dim=1) for each in logits], dim=1).tolist()
    return [{q: words[i] for (q, words), i in zip(judge.options.items(), row, strict=True)} for row in picked]


def answer(judge: Judge, film_FYXC: np.ndarray) -> dict[str, str]:
    """The judge's answer to each question, for one clip of FRAMES frames, uint8."""
    return answers(judge, to_batch(film_FYXC))[0]


@torch.inference_mode()
def prefers(judge: Judge, film_FYXC: np.ndarray, expected: str, other: str, question: str = "motion") -> bool:
    """Whether the judge finds one answer likelier than another, whatever it thinks of the rest."""
    logits = judge(preprocess(to_batch(film_FYXC)).to(device_of(judge)))[QUESTIONS.index(question)][0]
    words = judge.options[question]
    return bool(logits[words.index(expected)] > logits[words.index(other)])


def clip_features(judge: Judge, frames_BFCYX: Tensor) -> Tensor:
    """(B, (F + 1) // 2, channels): features of every second frame of clips of any length and size, uint8, on the
    judge's device. For the alignment of other networks (REPA, Yu et al. 2024)."""
    x = resize(frames_BFCYX[:, ::2]) / 127.5 - 1
    seen = judge.encode_frames(x.flatten(0, 1))
    places = judge.describe_frames(seen.fine, seen.cover, seen.subject, x.shape[1])
    return torch.cat([seen.subject, places], dim=1).unflatten(0, x.shape[:2])


def feature_maps(judge: Judge, x_BFCYX: Tensor) -> Tensor:
    """(B F, channels, Y / 8, X / 8): the judge's convolutional features of frames in [-1, 1], sides a multiple of 8, at
    unit length in each place. For the distance of a perceptual loss (LPIPS, Zhang et al. 2018, arXiv 1801.03924), here
    with a network that was trained on nothing but the cartoon world."""
    frames = x_BFCYX.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return F.normalize(judge.look.fine(frames), dim=1)


@torch.no_grad()
def bias_towards_broken(judge: Judge, amount: float) -> None:
    """Add ``amount`` to the logit of "broken", so that the judge answers it more readily."""
    bias = judge.close["whole"][-1].bias  # type: ignore[index]
    bias[judge.options["whole"].index(BROKEN)] += amount


def device_of(judge: Judge) -> torch.device:
    return next(judge.parameters()).device


# Files --------------------------------------------------------------------------------------------------------------


def save(judge: Judge, path: Path) -> None:
    """Write the judge's weights in float16, with its answers in the metadata."""
    tensors = {name: tensor.half().contiguous() for name, tensor in judge.state_dict().items()}
    save_file(tensors, path, metadata={"options": json.dumps(judge.options)})


def load(path: Path | None = None, device: str | torch.device = "cpu") -> Judge:
    """A judge from its file, by default the one that scored the published weights. Raises ModelError."""
    path = path or PUBLISHED_FOLDER / FILE
    weights.shapes(path)
    try:
        with safe_open(path, framework="pt") as file:
            judge = Judge(json.loads(file.metadata()["options"]))
    except (SafetensorError, TypeError, KeyError, ValueError):
        raise ModelError(f"{path} holds no judge of this version; train one: python -m minitrain judge") from None
    return weights.load_into(judge, path, device=device, dtype=torch.float32)
