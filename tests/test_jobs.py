"""Jobs: what is kept of a painting, gone on with to the same frames, listed, decoded and removed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Blotches, Studio
from sora import media
from sora.jobs import job as jobs
from sora.jobs.job import Job
from sora.storage import staging

SMALL = ("--size", "64x64", "--seed", "3", "--anyway")


pytestmark = pytest.mark.usefixtures("small_mini")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder."""
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def steps(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of all calls of the velocity."""
    times: list[float] = []
    bind = Blotches.bind

    def counted(self, *args, **more):
        velocity = bind(self, *args, **more)

        def call(x, t):
            times.append(float(t))
            return velocity(x, t)

        return call

    monkeypatch.setattr(Blotches, "bind", counted)
    return times


def frames(path: str | Path) -> np.ndarray:
    return media.read_clip(path).frames_FYXC


def only_job() -> Job:
    (job,) = jobs.every()
    return job


PAUSED = {
    "frames": ("generate", "a red ball rolls", "--frames", "40"),
    "shots": ("generate", "a red ball rolls", "--then", "a blue ball falls", "--frames", "9"),
    "loop": ("loop", "--prompt", "a red ball rolls"),
    "extend": ("extend", "known.mkv", "a red ball rolls", "--frames", "9"),
    "flow": ("edit", "known.mkv", "a blue ball rolls", "--source-prompt", "a red ball rolls", "--method", "flow"),
    "strength": ("edit", "known.mkv", "a blue ball rolls", "--strength", "0.7"),
}
# Each with two samplers, and each sampler three times: what a sampler keeps and what a verb keeps are kept apart.
PAUSED_WITH = {name: ("euler", "unipc") if number % 2 else ("heun", "lcm") for number, name in enumerate(PAUSED)}


@pytest.mark.parametrize(("name", "sampler"), [(name, each) for name in PAUSED for each in PAUSED_WITH[name]])
def test_a_paused_painting_goes_on_to_the_same_frames(studio: Studio, state: Path, name: str, sampler: str):
    command = PAUSED[name]
    words = "generate", "a red ball rolls", "--frames", "9", "--steps", "2", "--no-journal", "-o", "known.mkv", *SMALL
    assert "known.mkv" not in command or studio(*words).exit_code == 0
    size = () if command[0] in ("extend", "edit") else ("--size", "64x64")
    command = (*command, *size, "--seed", "3", "--anyway", "--steps", "5", "--sampler", sampler)
    assert studio(*command, "-o", "whole.mkv", "--no-journal").exit_code == 0
    for number in range(20):
        result = studio(*command, "-o", "parts.mkv", "--stop-after", "2")
        assert result.exit_code == 0, result.stderr
        if Path("parts.mkv").exists():
            break
        assert "go on with: sora resume" in result.stderr
        assert ("goes on with job" in result.stderr) == (number > 0)
    assert np.array_equal(frames("whole.mkv"), frames("parts.mkv"))
    assert only_job().progress.state == "finished"


def test_resume_takes_the_last_job_and_writes_where_it_would_have_gone(
    studio: Studio, state: Path, steps: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    command = ("generate", "a red ball rolls", "--frames", "9", "--steps", "6", *SMALL)
    studio(*command, "-o", "whole.mkv", "--no-journal")
    studio(*command, "-o", "kept.mkv", "--stop-after", "4")
    steps.clear()
    place = Path("kept.mkv").absolute()
    monkeypatch.chdir(tmp_path)
    result = studio("resume")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(place)
    assert f"goes on with job {only_job().id} at step 4 of 6" in result.stderr
    assert len(steps) == 2
    assert np.array_equal(frames(place), frames(place.with_name("whole.mkv")))
    assert studio("resume").exit_code == 2


def test_a_job_goes_on_under_another_name_where_its_own_was_taken(studio: Studio, state: Path):
    command = ("generate", "a red ball rolls", "--frames", "1", "--steps", "3", *SMALL, "-o", "a.mkv")
    studio(*command, "--stop-after", "1")
    Path("a.mkv").write_text("somebody's own", encoding="utf-8")
    assert "exists already" in studio("resume").stderr
    assert studio("resume", "-o", "b.mkv").exit_code == 0
    assert Path("b.mkv").exists() and Path("a.mkv").read_text(encoding="utf-8") == "somebody's own"


def test_a_seed_that_nobody_named_stays_when_the_same_command_comes_again(studio: Studio, state: Path):
    command = ("generate", "a red ball rolls", "--frames", "1", "--steps", "4", "--size", "64x64", "--anyway")
    studio(*command, "-o", "a.mkv", "--stop-after", "2")
    seed = only_job().record.request["seed"]
    assert studio(*command, "-o", "a.mkv").exit_code == 0
    assert json.loads(media.read_recipe("a.mkv") or "")["request"]["seed"] == seed


def test_latents_are_there_when_decoding_fails(
    studio: Studio, state: Path, steps: list[float], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SORA_JOURNAL_AFTER", "0")
    decode = Blotches.decode

    def too_much(self, latents):
        raise torch.OutOfMemoryError("out of memory")

    command = ("generate", "a red ball rolls", "--frames", "9", "--steps", "4", *SMALL, "-o", "a.mkv")
    monkeypatch.setattr(Blotches, "decode", too_much)
    failed = studio(*command)
    assert failed.exit_code == 5
    assert "step 4 of 4 is kept, go on with: sora resume" in failed.stderr
    assert only_job().progress.state == "failed"
    monkeypatch.setattr(Blotches, "decode", decode)
    steps.clear()
    assert studio(*command).exit_code == 0
    assert steps == []
    assert Path("a.mkv").exists()


def test_what_was_painted_is_decoded_again_at_another_size_and_as_another_kind(
    studio: Studio, state: Path, steps: list[float]
):
    command = ("generate", "a red ball rolls", "--frames", "9", "--steps", "3", *SMALL, "-o", "a.mkv")
    studio(*command, "--stop-after", "1")
    studio("resume")
    steps.clear()
    assert studio("decode", "-o", "b.mkv").exit_code == 0
    assert np.array_equal(frames("a.mkv"), frames("b.mkv"))
    assert studio("decode", "--size", "96x96", "-o", "c.gif").exit_code == 0
    assert media.probe("c.gif").width == 96
    assert steps == []


def test_a_job_that_is_not_done_shows_its_part_and_a_preview(studio: Studio, state: Path):
    command = ("generate", "a red ball rolls", "--frames", "60", "--steps", "3", *SMALL, "-o", "a.mkv")
    studio(*command, "--stop-after", "2")
    refused = studio("decode", "-o", "b.mkv")
    assert refused.exit_code == 3 and "go on with it first" in refused.stderr
    assert not Path("b.mkv").exists()
    assert studio("decode", "--part").exit_code == 3  # no window is finished yet
    assert studio("jobs", "show", "--preview", "-o", "so-far.mkv").exit_code == 0
    first = len(frames("so-far.mkv"))
    studio("resume", "--stop-after", "2")
    assert studio("decode", "--part").exit_code == 0
    assert 0 < len(frames("a.part.mkv")) <= first
    assert studio("resume").exit_code == 0
    part, whole = frames("a.part.mkv"), frames("a.mkv")
    assert len(whole) == 60
    assert np.array_equal(part, whole[: len(part)])


def test_one_film_that_fails_does_not_stop_the_others_and_comes_again_alone(
    studio: Studio, state: Path, monkeypatch: pytest.MonkeyPatch
):
    bind = Blotches.bind

    def fails_for_blue(self, canvas, latents, prompt, *rest):
        if "blue" in prompt:
            raise torch.OutOfMemoryError("out of memory")
        return bind(self, canvas, latents, prompt, *rest)

    command = ("generate", "a {red|blue|green} ball", "--frames", "1", "--steps", "2", *SMALL, "-o", "ball.mkv")
    monkeypatch.setattr(Blotches, "bind", fails_for_blue)
    failed = studio(*command)
    assert failed.exit_code == 6
    assert "3 films: 2 painted, 1 failed" in failed.stderr
    assert failed.stdout.split() == ["ball-1.mkv", "ball-3.mkv"]
    before = {path: path.stat().st_mtime_ns for path in Path().glob("ball-*.mkv")}
    monkeypatch.setattr(Blotches, "bind", bind)
    again = studio(*command)
    assert again.exit_code == 0, again.stderr
    assert again.stdout.split() == ["ball-2.mkv"]
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    Path("ball-3.mkv").unlink()
    assert studio(*command).stdout.split() == ["ball-3.mkv"]
    assert studio(*command, "--steps", "3").exit_code == 6  # other films of those names are there


def staged_by_the_dead(state: Path) -> Path:
    """A staged folder, with its entry, whose owner was killed."""
    token = staging._new_token()
    path = Path(f".sora-{token}").absolute()
    path.mkdir()
    (state / "staging").mkdir(parents=True, exist_ok=True)
    (state / "staging" / token).write_bytes(os.fsencode(path))
    return path


@pytest.mark.parametrize("named", [("-o", "a.mkv"), ()], ids=["named", "unnamed"])
def test_a_film_that_was_published_the_moment_before_a_kill_is_not_painted_again(
    studio: Studio, state: Path, steps: list[float], monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...]
):
    command = ("generate", "a red ball rolls", "--frames", "1", "--steps", "2", "--size", "64x64", "--anyway", *named)
    monkeypatch.setenv("SORA_JOURNAL_AFTER", "0")
    assert studio(*command).exit_code == 0
    job = only_job()
    progress = job.progress
    progress.state, progress.done = "running", {}
    job.write_progress(progress)
    files = sorted(path.name for path in Path().iterdir())
    steps.clear()
    staged = staged_by_the_dead(state)
    again = studio(*command)
    assert again.exit_code == 0 and "is there already" in again.stderr
    assert steps == [] and sorted(path.name for path in Path().iterdir()) == files
    assert not staged.exists()
    staged = staged_by_the_dead(state)
    assert studio("jobs").exit_code == 0 and not staged.exists() and not any((state / "staging").iterdir())
    assert job.progress.state == "finished"


def test_a_job_is_refused_once_a_file_that_it_reads_has_changed(studio: Studio, state: Path):
    words = ("a red ball rolls", "--frames", "9", "--steps", "2", *SMALL)
    studio("generate", *words, "-o", "known.mkv", "--no-journal")
    extend = ("extend", "known.mkv", "--frames", "9", "--steps", "3", "--seed", "3", "--anyway", "-o", "longer.mkv")
    studio(*extend, "--stop-after", "1")
    studio("generate", *words, "--seed", "4", "-o", "known.mkv", "--no-journal", "--force")
    refused = studio("resume")
    assert refused.exit_code == 3 and "has changed since" in refused.stderr
    anew = studio(*extend)
    assert anew.exit_code == 0 and "the work begins anew" in anew.stderr


def test_two_processes_never_share_a_job(studio: Studio, state: Path):
    command = ("generate", "a red ball rolls", "--frames", "1", "--steps", "3", *SMALL)
    studio(*command, "-o", "a.mkv", "--stop-after", "1")
    job = only_job()
    with job.lock.acquire(timeout=0):
        assert job.is_running
        busy = studio("resume", job.id)
        assert busy.exit_code == 2 and "another process" in busy.stderr
        assert studio("jobs", "rm", job.id).exit_code == 2
        assert studio("jobs", "clean", "--all").exit_code == 0 and jobs.every() == [job]
        assert "goes on" not in studio(*command, "-o", "a.mkv").stderr
    assert Path("a.mkv").exists()
    assert not job.is_running


def test_jobs_are_listed_shown_and_removed(studio: Studio, state: Path):
    assert "no jobs" in studio("jobs").stderr
    studio(
        "generate", "a red \x1b[31mball", "--frames", "1", "--steps", "4", *SMALL, "-o", "a.mkv", "--stop-after", "1"
    )
    job = only_job()
    listed = studio("jobs").stdout
    assert job.id in listed and "stopped" in listed and "25 %" in listed and "\x1b" not in listed
    facts = json.loads(studio("jobs", "show", job.id[:6], "--json").stdout)
    assert (facts["steps_done"], facts["steps_total"], facts["state"]) == (1, 4, "stopped")
    assert json.loads(studio("jobs", "--json").stdout)["id"] == job.id
    assert studio("jobs", "show", "nothing").exit_code == 2
    assert studio("jobs", "clean", "--older", "soon").exit_code == 2
    studio("jobs", "clean", "--older", "1h")
    assert jobs.every() == [job]
    assert studio("jobs", "rm", job.id).exit_code == 0
    assert jobs.every() == [] and not job.folder.exists()


def test_damaged_jobs_are_passed_over_and_damaged_latents_painted_anew(studio: Studio, state: Path):
    command = ("generate", "a red ball rolls", "--frames", "9", "--steps", "4", *SMALL)
    studio(*command, "-o", "whole.mkv", "--no-journal")
    studio(*command, "-o", "a.mkv", "--stop-after", "2")
    job = only_job()
    for name in ("junk", "empty"):
        (job.folder.parent / name).mkdir()
    (job.folder.parent / "junk" / "job.json").write_text('{"id": "junk", "format": 7}', encoding="utf-8")
    for file in job.folder.rglob("*.safetensors"):
        file.write_bytes(b"\x10\0\0\0\0\0\0\0{broken")
    (job.folder / "progress.json").write_text("{", encoding="utf-8")
    result = studio(*command, "-o", "a.mkv")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(frames("a.mkv"), frames("whole.mkv"))


def test_without_a_journal_nothing_is_kept_and_short_paintings_leave_nothing(studio: Studio, state: Path):
    command = ("generate", "a red ball rolls", "--frames", "1", "--steps", "2", *SMALL)
    assert studio(*command, "-o", "a.mkv").exit_code == 0
    assert studio(*command, "-o", "b.mkv", "--no-journal").exit_code == 0
    assert jobs.every() == []


def test_what_contradicts_a_journal_is_refused(studio: Studio, state: Path, monkeypatch: pytest.MonkeyPatch):
    command = ("generate", "a red ball rolls", "--frames", "1", "--steps", "2", *SMALL, "-o", "a.mkv")
    both = studio(*command, "--no-journal", "--stop-after", "1")
    assert both.exit_code == 2 and "leave one of them out" in both.stderr
    monkeypatch.setenv("SORA_JOURNAL_AFTER", "soon")
    unread = studio(*command)
    assert unread.exit_code == 2 and "expected seconds" in unread.stderr
    assert not Path("a.mkv").exists()


def test_a_state_folder_that_cannot_be_written_stops_no_painting(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("SORA_STATE", str(tmp_path / "file"))
    monkeypatch.setenv("SORA_JOURNAL_AFTER", "0")
    result = studio("generate", "a red ball rolls", "--frames", "1", "--steps", "2", *SMALL, "-o", "a.mkv")
    assert result.exit_code == 0 and Path("a.mkv").exists()
    assert result.stderr.count("is not kept any further") == 1


def test_finished_jobs_go_once_they_are_old(studio: Studio, state: Path, monkeypatch: pytest.MonkeyPatch):
    command = ("generate", "a red ball rolls", "--frames", "1", "--steps", "2", *SMALL)
    monkeypatch.setenv("SORA_JOURNAL_AFTER", "0")
    studio(*command, "-o", "a.mkv")
    (first,) = jobs.every()
    studio(*command, "-o", "b.mkv")
    assert len(jobs.every()) == 2
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86400 * (jobs.FINISHED_DAYS + 1))
    studio(*command, "-o", "c.mkv")
    assert len(jobs.every()) == 1 and not first.folder.exists()
