"""Clips, pictures and masks in memory, given to the Python API: they make the frames that their files would make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sora
from conftest import Footage
from real_files_parts.numbered import combing, interlaced
from sora import media

PROMPT = "a red ball"
FEW: dict[str, Any] = {"seed": 1, "steps": 2}


pytestmark = pytest.mark.usefixtures("stand_in")


def clip_of(path: Path) -> sora.Clip:
    return media.read_clip(path)


VERBS: dict[str, Callable[[Any, Any], sora.Video]] = {
    "extend": lambda a, _: sora.extend(a, PROMPT, frames=4, **FEW),
    "extend part": lambda a, _: sora.extend(a, PROMPT, frames=4, start=0.25, end=0.5, **FEW),
    "extend backward": lambda a, _: sora.extend(a, PROMPT, frames=4, backward=True, **FEW),
    "loop": lambda a, _: sora.loop(a, PROMPT, frames=4, **FEW),
    "bridge": lambda a, b: sora.bridge(a, b, PROMPT, frames=4, **FEW),
    "edit": lambda a, _: sora.edit(a, PROMPT, strength=0.5, **FEW),
    "edit region": lambda a, _: sora.edit(a, PROMPT, region=(8, 8, 16, 16), frame_range=(1, None), **FEW),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_clip_in_memory_makes_the_frames_of_its_file(verb: str, footage: Footage):
    a, b = footage("a.mkv"), footage("b.mkv", fps=4.0, size=(24, 32))
    from_files = VERBS[verb](a, b)
    assert np.array_equal(VERBS[verb](clip_of(a), clip_of(b)).frames, from_files.frames)


def test_frames_without_a_rate_play_like_a_folder_of_pictures(footage: Footage):
    frames = clip_of(footage("a.mkv")).frames_FYXC
    Path("folder").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(f"folder/{number}.png")
    from_folder = sora.extend("folder", PROMPT, frames=4, **FEW)
    for source in (frames, [Image.fromarray(frame) for frame in frames]):
        video = sora.extend(source, PROMPT, frames=4, **FEW)
        assert np.array_equal(video.frames, from_folder.frames) and video.fps == from_folder.fps


def test_pictures_in_memory_make_the_frames_of_their_files(footage: Footage):
    first, last = (clip_of(footage(name)).frames_FYXC[0] for name in ("a.mkv", "b.mkv"))
    Image.fromarray(first).save("first.png")
    Image.fromarray(last).save("last.png")
    from_files = sora.img2vid("first.png", PROMPT, last_image="last.png", frames=5, **FEW)
    for a, b in ((first, last), (Image.fromarray(first), Image.fromarray(last)), (first[None], "last.png")):
        assert np.array_equal(sora.img2vid(a, PROMPT, last_image=b, frames=5, **FEW).frames, from_files.frames)


def test_a_mask_in_memory_selects_what_its_file_does(footage: Footage):
    clip = footage("a.mkv")
    marked = np.zeros((48, 64), bool)
    marked[8:40, 8:40] = True
    grey = Image.fromarray(marked)
    grey.save("mask.png")
    from_file = sora.edit(clip, PROMPT, mask="mask.png", **FEW)
    for mask in (marked, grey, np.repeat(marked[..., None], 3, axis=2).astype(np.uint8) * 255):
        assert np.array_equal(sora.edit(clip, PROMPT, mask=mask, **FEW).frames, from_file.frames)


def test_results_are_chained_as_if_they_had_been_saved():
    first = sora.generate(PROMPT, frames=5, size=(64, 48), **FEW)
    first.save("first.mkv")
    longer, from_file = sora.extend(first, frames=4, **FEW), sora.extend("first.mkv", frames=4, **FEW)
    assert np.array_equal(longer.frames, from_file.frames)
    assert longer.prompt == PROMPT == from_file.prompt  # out of the recipe of the first
    assert any(note.startswith("the prompt of the clip in memory") for note in longer.notes)
    assert np.array_equal(sora.loop(longer, frames=4, **FEW).frames[: len(longer)], longer.frames)


def test_the_sound_of_a_clip_stays_with_its_frames_through_a_chain(footage: Footage):
    loud = footage("a.mkv", frames=16, sound=True)
    sora.extend(sora.extend(loud, PROMPT, frames=4, backward=True, **FEW), frames=4, **FEW).save("chained.mkv")
    sora.extend(loud, PROMPT, frames=4, backward=True, **FEW).save("half.mkv")
    sora.extend("half.mkv", frames=4, **FEW).save("files.mkv")
    chained, files = (media.probe(f"{name}.mkv") for name in ("chained", "files"))
    assert chained.sound and files.sound and chained.frames == files.frames
    video = sora.extend(sora.extend(loud, PROMPT, frames=4, backward=True, **FEW), frames=4, start=1.0, **FEW)
    (sound,) = video.sounds
    assert (sound.start, sound.length, sound.at) == pytest.approx((0.5, 1.5, 0.0))  # 4 frames of 8 a second came before


def test_a_draft_in_memory_is_finished_like_its_file():
    draft = sora.generate(PROMPT, frames=5, size=(64, 48), draft=True, seed=1)
    draft.save("draft.mkv")
    assert np.array_equal(sora.finish(draft, steps=2).frames, sora.finish("draft.mkv", steps=2).frames)


def test_a_video_is_remade_from_memory_and_from_its_file(footage: Footage):
    video = sora.generate(PROMPT, frames=5, size=(64, 48), **FEW)
    video.save("video.mkv")
    for source in (video, "video.mkv", Path("video.mkv")):
        assert np.array_equal(sora.remake(source).frames, video.frames)
        other = sora.remake(source, seed=2, prompt="a blue ball")
        assert (other.seed, other.prompt, other.request.steps) == (2, "a blue ball", 2)
    longer = sora.extend(clip_of(footage("a.mkv")), PROMPT, frames=4, **FEW)
    assert np.array_equal(sora.remake(longer).frames, longer.frames)


def test_fields_are_made_whole_or_left_as_the_request_and_its_recipe_say(tmp_path: Path):
    fields = interlaced(tmp_path / "a.ts", 8, ("-c:v", "libx264", "-flags", "+ildct+ilme"), size=(48, 64))
    whole = sora.extend(fields, PROMPT, frames=2, **FEW)
    left = sora.extend(fields, PROMPT, frames=2, deinterlace=False, **FEW)
    assert combing(whole.frames[:8]) < 2 < 10 < combing(left.frames[:8])
    assert any("is interlaced" in note and "deinterlace=False" in note for note in whole.notes)
    left.save("left.mkv")
    assert np.array_equal(sora.remake("left.mkv").frames, left.frames)
    assert np.array_equal(sora.remake("left.mkv", deinterlace=None).frames, left.frames)
    assert combing(sora.remake("left.mkv", deinterlace=True).frames[:8]) < 2


def test_a_file_made_from_memory_says_that_it_cannot_be_remade(footage: Footage):
    sora.extend(clip_of(footage("a.mkv")), PROMPT, frames=4, **FEW).save("longer.mkv")
    recipe = json.loads(str(media.read_recipe("longer.mkv")))
    assert recipe["request"]["clip"].startswith("memory:") and recipe["inputs"][0][0] == recipe["request"]["clip"]
    with pytest.raises(sora.InputError, match="was made from a clip or a picture in memory"):
        sora.remake("longer.mkv")


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (np.zeros((4, 48, 64, 3), np.float32), r"^clip is float32 \(4, 48, 64, 3\); expected"),
        (np.zeros((4, 48, 64, 4), np.uint8), "^clip is uint8 .* expected"),
        (np.zeros((0, 48, 64, 3), np.uint8), "^clip is uint8"),
        (object(), "^clip is another kind of object"),
        (np.zeros((48, 64, 3), np.uint8), "^the clip in memory is a still picture"),
        ([Image.new("RGB", (64, 48)), Image.new("RGB", (32, 48))], "^clip: the pictures differ in size"),
        ("nowhere.mp4", "^cannot read nowhere.mp4"),
    ],
)
def test_what_is_no_clip_is_refused(source: Any, complaint: str):
    with pytest.raises(sora.SoraError, match=complaint):
        sora.extend(source, PROMPT, frames=4, **FEW)


def test_a_part_outside_a_clip_in_memory_is_refused(footage: Footage):
    with pytest.raises(sora.UsageError, match=r"^start 9 is past the end of the clip in memory"):
        sora.extend(clip_of(footage("a.mkv")), PROMPT, start=9, frames=4, **FEW)
