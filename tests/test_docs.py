"""The documents: as long as they may be, true of the program, and with links that lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sora import catalog

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
MAX_LINES_OF_THE_README = 140


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_LINES_OF_THE_README


def test_the_reference_pages_say_what_the_program_says():
    check = [sys.executable, str(ROOT / "benchmarks" / "reference.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_every_model_is_listed(page: str):
    text = (ROOT / page).read_text("utf-8")
    assert [name for name in catalog.MODELS if f"`{name}`" not in text] == []


def test_nobody_is_told_to_install_the_other_sora():
    """PyPI's sora is an unrelated package."""
    files = [*PAGES, *(ROOT / "src").rglob("*.py"), ROOT / ".ci" / "run", ROOT / "Makefile"]
    other = re.compile(r"pip3? install (-\S+ )*sora(?!-video)\b")
    found = [path.name for path in files if other.search(path.read_text("utf-8"))]
    assert found == []
