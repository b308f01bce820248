"""The documents: as long as they may be, true of the program, and with links that lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import examples
import reference
from sora import catalog

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
MAX_LINES_OF_THE_README = 140


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_LINES_OF_THE_README


def status(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *argv: str) -> object:
    """Of a script's ``main`` in this process: what it exits with, None where it comes to its end."""
    monkeypatch.setattr(sys, "argv", ["script", *argv])
    try:
        return main()
    except SystemExit as left:
        return left.code


def test_the_reference_pages_say_what_the_program_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = status(reference.main, monkeypatch, "--check")
    assert not found, f"{found}\n{capsys.readouterr().out}"


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_every_model_is_listed(page: str):
    text = (ROOT / page).read_text("utf-8")
    assert [name for name in catalog.MODELS if f"`{name}`" not in text] == []


def test_no_install_line_names_the_other_sora():
    """PyPI's sora is an unrelated package."""
    files = [*PAGES, *(ROOT / "src").rglob("*.py"), ROOT / ".ci" / "run", ROOT / "Makefile"]
    other = re.compile(r"pip3? install (-\S+ )*sora(?!-video)\b")
    found = [path.name for path in files if other.search(path.read_text("utf-8"))]
    assert found == []


def test_every_example_is_understood_by_the_real_parser(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    failed = status(examples.main, monkeypatch, "--parse")
    shown = capsys.readouterr().out
    assert failed == 0, shown
    assert int(shown.split()[-6]) > 60


WRONG = {
    'sora generate "a ball" --colour red': "--colour",
    "sora paint": "paint",
    "sora remake film.mp4 --speeed fast": "--speeed",
    "sora edit film.mp4": "PROMPT",
    'sora generate "a ball" | sora imagine "a ball"': "imagine",
    "python -m minitrain all --budgets 2h": "2h",
    "python -m minitrain.nothing": "minitrain.nothing",
    "python benchmarks/nothing.py": "nothing.py",
}
"""Commands that there are not -> what the complaint names."""


def test_wrong_examples_are_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("".join(f"```sh\n{command}\n```\n" for command in WRONG), encoding="utf-8")
    command = [sys.executable, str(ROOT / "benchmarks" / "examples.py"), "--parse", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *complaints, last = done.stdout.splitlines()
    assert (done.returncode, last) == (1, f"{len(WRONG)} examples, 0 skipped, {len(WRONG)} failed")
    assert [name for name, line in zip(WRONG.values(), complaints, strict=True) if name not in line] == []


def links(page: Path) -> Iterator[str]:
    """What a page links to, but for the web."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    yield from (target for target in targets if not target.startswith(("http:", "https:")))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown on the web makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        for link in links(page):
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_files_that_pages_name_are_there():
    missing = []
    for page in PAGES:
        for name in re.findall(r"`((?:src|tests|benchmarks|docs|prompts|\.ci)/[\w./-]*)`", page.read_text("utf-8")):
            if not (ROOT / name).exists():
                missing.append(f"{page.name}: {name}")
    assert missing == []


def test_names_that_contributors_are_sent_to_are_there():
    """As "`NAME` in `FILE`": the file defines the name at its top."""
    pairs = re.findall(r"`(\w+)` in `([\w/]+\.py)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert len(pairs) > 8
    assert [f"{name} in {path}" for name, path in pairs if name not in set(defined(ROOT / path))] == []


def defined(path: Path) -> Iterator[str]:
    """The names that a file defines at its top."""
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name


def test_names_of_the_architecture_are_there():
    """As "engine.model.Scheduled": a module of sora and a name that it defines at its top."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    found = set(re.findall(r"(?<![\w./])([a-z]+(?:\.[a-z_]+)+)\.([A-Za-z]\w+)\b(?!\.)", text))
    pairs = [(ROOT / "src" / "sora" / f"{module.replace('.', '/')}.py", name) for module, name in found]
    assert len(pairs) > 3
    assert [f"{path.stem}.{name}" for path, name in pairs if name not in set(defined(path))] == []


@pytest.mark.parametrize("name", ["README.md", "docs/scripting.md"])
def test_options_that_a_page_mentions_are_in_the_reference(name: str):
    reference = (ROOT / "docs" / "commands.md").read_text("utf-8")
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (ROOT / name).read_text("utf-8")))
    assert mentioned
    assert sorted(option for option in mentioned if not re.search(rf"{option}\b(?!-)", reference)) == []
