"""Lessons in few steps: what the teacher wants of the student."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from sora.families.mini import extra_channels
from sora.networks.wan_dit import WanConfig, WanDiT
from sora.training.distil import Lesson, Teacher, lessons
from sora.training.latent_buffer import Batch

C, SHAPE = 4, (3, 4, 4)


def transformer() -> WanDiT:
    torch.manual_seed(5)
    dit = WanDiT(WanConfig(1, 2, 12, C + extra_channels(C), C, 8, 16, 48))
    dit.init_weights()
    for p in dit.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return dit


def batch(known: Tensor | None = None) -> Batch:
    torch.manual_seed(6)
    clean = torch.randn(2, C, *SHAPE)
    known = torch.zeros(2, 4, *SHAPE) if known is None else known
    return Batch(clean, clean, known, torch.ones(2, 1, *SHAPE), torch.zeros(2, 3, 8))


def losses(lesson: Lesson, *, noised: bool) -> list[float]:
    student = transformer()
    told, silent = torch.randn(2, 3, 8), torch.zeros(2, 3, 8)
    source = lessons(student, Teacher(copy.deepcopy(student), lesson), batch(), told, silent, noised=noised)
    found = []
    while (value := source()) is not None:
        assert value.requires_grad
        found.append(value.item())
    return found


@pytest.mark.parametrize("noised", [False, True])
def test_a_copy_has_nothing_to_learn_from_a_teacher_with_its_own_steps_and_no_guidance(noised: bool) -> None:
    assert losses(Lesson(steps=3, within=1, guidance=1.0), noised=noised) == pytest.approx([0, 0, 0], abs=1e-8)


@pytest.mark.parametrize("lesson", [Lesson(steps=3, within=1, guidance=3.0), Lesson(steps=3, within=3, guidance=1.0)])
def test_guidance_and_finer_steps_are_what_is_taught(lesson: Lesson) -> None:
    assert min(losses(lesson, noised=False)) > 1e-6


def test_the_teacher_is_guided_less_beside_film_that_stands() -> None:
    known = torch.zeros(3, 4, *SHAPE)
    known[1, :, 0] = 1  # goes on
    known[2, :, [0, -1]] = 1  # arrives
    scales = Lesson(guidance=4.0, going_on=0.5, arriving=0.0).guidances(known).flatten()
    assert scales.tolist() == [4.0, 2.5, 1.0]


def test_the_teacher_ends_where_fine_steps_from_the_start_would() -> None:
    """Two walks of a window each are one walk of both."""
    lesson, given = Lesson(steps=2, within=2, guidance=2.0), batch()
    teacher, x = Teacher(transformer(), lesson), torch.randn(2, C, *SHAPE)
    told, silent = torch.randn(2, 3, 8), torch.zeros(2, 3, 8)
    a, b, c = lesson.times()
    halves = teacher.walk(teacher.walk(x, given, told, silent, a, b), given, told, silent, b, c)
    assert torch.allclose(halves, teacher.walk(x, given, told, silent, a, c), atol=1e-6)
