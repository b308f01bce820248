"""What fuzzing found stays refused, and a few changed inputs more are: ``python benchmarks/faults.py --part fuzz``
looks for longer."""

import random
from pathlib import Path

import pytest

from faults_parts.fuzz_targets import TARGETS
from sora.errors import SoraError

CORPUS = Path(__file__).parent / "fuzz_corpus"
CHANGES = {"configs": 5, "words": 20, "request": 60}


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_what_fuzzing_found_is_refused_in_a_line_or_taken(name: str, tmp_path: Path) -> None:
    for case in (CORPUS / name).iterdir():
        try:
            TARGETS[name].read(case.read_bytes(), tmp_path)
        except SoraError as error:
            assert str(error), case


def test_changed_inputs_are_refused_in_a_line_or_taken(tmp_path: Path) -> None:
    rng = random.Random(1)
    for name, target in TARGETS.items():
        seeds = target.seeds()
        for data in [
            *seeds,
            *(target.mutate(rng.choice(seeds), rng, target.words) for _ in range(CHANGES.get(name, 150))),
        ]:
            try:
                target.read(data, tmp_path)
            except SoraError as error:
                assert str(error), (name, data)


def test_valid_inputs_are_taken(tmp_path: Path) -> None:
    for name in TARGETS.keys() - {"configs", "safetensors", "gguf"}:
        for data in TARGETS[name].seeds():
            TARGETS[name].read(data, tmp_path)
