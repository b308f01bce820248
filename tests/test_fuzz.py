"""What fuzzing found stays refused, and a few changed inputs more are: ``python benchmarks/faults.py --part fuzz``
looks for longer."""

import importlib
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from sora.errors import SoraError

ROOT = Path(__file__).parent.parent
CORPUS = Path(__file__).parent / "fuzz_corpus"
CHANGES = {"configs": 5, "words": 20, "request": 60}


@pytest.fixture(scope="module")
def targets() -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("faults_parts.fuzz_targets").TARGETS
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_what_fuzzing_found_is_refused_in_a_line_or_taken(targets: Any, name: str, tmp_path: Path) -> None:
    for case in (CORPUS / name).iterdir():
        try:
            targets[name].read(case.read_bytes(), tmp_path)
        except SoraError as error:
            assert str(error), case


def test_changed_inputs_are_refused_in_a_line_or_taken(targets: Any, tmp_path: Path) -> None:
    rng = random.Random(1)
    for name, target in targets.items():
        seeds = target.seeds()
        for data in [
            *seeds,
            *(target.mutate(rng.choice(seeds), rng, target.words) for _ in range(CHANGES.get(name, 150))),
        ]:
            try:
                target.read(data, tmp_path)
            except SoraError as error:
                assert str(error), (name, data)


def test_valid_inputs_are_taken(targets: Any, tmp_path: Path) -> None:
    for name in targets.keys() - {"configs", "safetensors", "gguf"}:
        for data in targets[name].seeds():
            targets[name].read(data, tmp_path)
