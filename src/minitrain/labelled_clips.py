"""Generated clips with human labels of whether their subject is whole, for the judge to learn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minitrain.judge import BROKEN, IGNORED, QUESTIONS, WHOLE, Judge, device_of, preprocess, to_batch
from minitrain.judge_data import Frames

TRAIN_SPLIT = "train"  # of the labels: the others are for choosing and for measuring, and never learnt from


class LabelledClips:
    """Frames of generated clips, as many whole as broken. The judge itself locates their subject."""

    @torch.no_grad()
    def __init__(self, judge: Judge, folder: Path, label_file: Path) -> None:
        self.device = device_of(judge)
        pixels, covers, amounts, labels = [], [], [], []
        for row in json.loads(label_file.read_text(encoding="utf-8"))[TRAIN_SPLIT]:
            with np.load(folder / row["folder"] / f"{row['number']}.npz") as archive:
                clip, facts = archive["frames"], json.loads(str(archive["row"]))["facts"]
            frames = preprocess(to_batch(clip))[0].to(self.device)
            seen = judge.encode_frames(frames)
            pixels.append(frames)
            covers.append(seen.cover.sigmoid())
            amounts.append(seen.amount)
            labels.append(
                _labels(judge, facts["subject"] if row["whole"] else "", row["whole"]).expand(len(frames), -1)
            )
        self.pixels, self.cover, self.labels = torch.cat(pixels), torch.cat(covers), torch.cat(labels).to(self.device)
        broken = self.labels[:, QUESTIONS.index("whole")] == judge.options["whole"].index(BROKEN)
        share = torch.where(broken, 1 / broken.sum().clamp_min(1), 1 / (~broken).sum().clamp_min(1))
        self.probability = share * torch.cat(amounts)

    def frames(self, count: int) -> Frames:
        """Frames drawn at random, half of them mirrored; their background without the subject is not known."""
        drawn = torch.multinomial(self.probability, count, replacement=True)
        cover = F.interpolate(self.cover[drawn], self.pixels.shape[-2:], mode="bilinear")
        return Frames(self.pixels[drawn], self.pixels[drawn], cover, self.labels[drawn]).randomly_mirrored()


def _labels(judge: Judge, subject: str, whole: bool) -> Tensor:
    """(questions,): the labels of one clip."""
    right = torch.full((len(QUESTIONS),), IGNORED)
    right[QUESTIONS.index("whole")] = judge.options["whole"].index(WHOLE if whole else BROKEN)
    if subject in judge.options["subject"]:
        right[QUESTIONS.index("subject")] = judge.options["subject"].index(subject)
    return right
