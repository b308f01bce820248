"""The dependency rules of the house, read from the source with ``ast``.

Only imports that happen at run time count: those under ``if TYPE_CHECKING`` do not. Imports inside functions do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "sora"
FILES = sorted(PACKAGE.rglob("*.py"))

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60

# Module (or package) -> what of ours it may import at run time. A name allows what lies under it. A module without a
# row has no rule yet and fails: say here where it belongs.
ALLOWED: dict[str, set[str]] = {
    "sora": set(),
    "errors": set(),
    "clip": set(),
    "crop": set(),
    "grid": set(),
    "heap": set(),
    "prompts": {"errors"},
    "recipe": {"errors"},
    "speed": {"errors"},
    "threads": set(),
    "weights": {"weights", "networks.stored", "errors"},
    "hub": {"weights", "families.spec", "errors"},
    "eightbit": {"errors"},
    "lorafile": {"errors", "weights"},
    "placement": {"placement", "errors"},
    "canvas": {"clip", "crop", "errors", "grid"},
    "windows": {"canvas"},
    "film": {"canvas"},
    "seams": {"canvas"},
    "operations": {"clip", "crop", "canvas", "errors", "grid", "windows"},
    "media": {"media", "clip", "errors", "recipe"},
    "sampler": {"canvas"},
    "circle": {"canvas", "sampler"},
    "flowedit": {"canvas", "sampler"},
    "tiles": {"grid"},
    "measure": {"clip"},
    "networks": {"networks.layers"},
    "networks.lora": {"errors", "networks.stored"},
    "networks.wan_blocks": {"networks.layers", "networks.wan_sizes"},
    "networks.wan_dit": {"networks.layers", "networks.wan_blocks", "networks.wan_sizes"},
    "networks.wan_vace": {"networks.wan_blocks", "networks.wan_dit", "networks.wan_sizes"},
    "networks.wan_vae": {"networks.layers", "networks.wan_vae_parts"},
    "networks.wan_vae_parts": {"networks.layers", "networks.winograd"},
    "networks.mini_vae": {"networks.layers", "networks.winograd"},
    "families": {"networks", "weights", "placement", "canvas", "sampler", "errors", "grid", "clip", "families"}
    | {"eightbit", "lorafile", "hub", "speed"},
    "engine": {"canvas", "clip", "crop", "sampler", "recipe", "errors", "grid", "film", "seams", "circle", "flowedit"}
    | {"heap"},
    "refine": {"canvas", "clip", "engine", "tiles"},
    "tuning": {"tuning", "media", "clip", "canvas", "families", "networks.lora", "sampler", "prompts", "errors"},
    "training": {"training", "networks", "weights", "placement", "families", "canvas", "clip", "grid", "sampler"}
    | {"eightbit", "engine", "operations", "media", "recipe", "prompts", "errors"},
    "cli": {"cli", "operations", "engine", "refine", "families", "media", "recipe", "prompts", "placement", "weights"}
    | {"hub", "clip", "crop", "canvas", "grid", "errors", "sora", "tuning", "lorafile", "speed", "threads"},
    "__main__": {"cli"},
}

# What importing a module must not bring with it, even from inside a function.
FOREIGN_FORBIDDEN: dict[str, set[str]] = {
    "errors": {"torch", "numpy"},
    "grid": {"torch", "numpy"},
    "prompts": {"torch", "numpy"},
    "recipe": {"numpy"},
    "speed": {"torch", "numpy"},
    "threads": {"torch", "numpy"},
    "clip": {"torch"},
    "crop": {"torch"},
    "measure": {"torch"},
    "media": {"torch"},
    "operations": {"typer", "rich"},
    "engine": {"typer", "rich"},
    "refine": {"typer", "rich"},
    "sampler": {"typer", "rich", "tqdm", "numpy"},
    "circle": {"typer", "rich"},
    "flowedit": {"typer", "rich"},
    "tiles": {"typer", "rich"},
    "hub": {"torch", "numpy"},
    "networks": {"typer", "rich", "tqdm", "transformers", "diffusers"},
    "networks.wan_sizes": {"torch", "numpy", "typer", "rich", "tqdm", "transformers", "diffusers"},
}


def name_of(path: Path) -> str:
    """'canvas', 'families.mini', 'families' for the package's own file, 'sora' for the root."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__") or "sora"


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(tree):
        if is_for_types_only(child):
            continue
        yield child
        yield from runtime_nodes(child)


def imports(path: Path) -> Iterator[str]:
    """Dotted names of every run-time import; 'from sora.x import y' gives 'sora.x.y' where y is a module of ours."""
    for node in runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute, so that they can be read anywhere"
            yield from (full_name(node.module or "", alias.name) for alias in node.names)


def full_name(module: str, name: str) -> str:
    inside = PACKAGE.parent.joinpath(*module.split("."), name)
    is_module = module.split(".")[0] == "sora" and (inside.is_dir() or inside.with_suffix(".py").is_file())
    return f"{module}.{name}" if is_module else module


def ours(path: Path) -> set[str]:
    """What of ours a file imports, without the leading 'sora.'; 'sora' for the root itself."""
    found = {name for name in imports(path) if name.split(".")[0] == "sora"}
    return {name.removeprefix("sora.") for name in found}


def row_for(name: str, table: dict[str, set[str]]) -> set[str] | None:
    """The row of the module or of the package that holds it."""
    return table.get(name, table.get(name.split(".")[0]))


def covers(allowed: set[str], name: str) -> bool:
    return any(name == row or name.startswith(row + ".") for row in allowed)


each_file = pytest.mark.parametrize("path", FILES, ids=[name_of(p) for p in FILES])


@each_file
def test_who_may_import_whom(path: Path):
    allowed = row_for(name_of(path), ALLOWED)
    assert allowed is not None, f"{name_of(path)} has no row in ALLOWED; say there what it may import"
    strangers = {name for name in ours(path) if not covers(allowed, name)}
    assert not strangers, f"{name_of(path)} imports {strangers}; it may import {allowed or 'nothing of ours'}"


@each_file
def test_what_each_layer_leaves_alone(path: Path):
    forbidden = row_for(name_of(path), FOREIGN_FORBIDDEN) or set()
    taken = {name.split(".")[0] for name in imports(path)} & forbidden
    assert not taken, f"{name_of(path)} imports {taken}"


def test_the_engine_knows_no_family():
    assert not {n for n in ours(PACKAGE / "engine.py") if n.startswith(("families", "networks"))}


@each_file
def test_training_is_imported_by_nothing_at_run_time(path: Path):
    if not name_of(path).startswith("training"):
        assert not {n for n in ours(path) if n.startswith("training")}


@each_file
def test_only_cli_prints_and_exits(path: Path):
    """Training scripts are programs of their own and may print."""
    if name_of(path).startswith(("cli", "__main__", "training")):
        return
    called = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)}
    loud = {"print", "exit", "quit", "sys.exit", "os._exit", "typer.Exit", "typer.echo", "sys.stdout.write"}
    assert not called & (loud | {"sys.stderr.write", "SystemExit"})
    assert not {n for n in imports(path) if n.split(".")[0] in ("typer", "rich")}


@each_file
def test_files_and_functions_are_short(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES, f"{path.name} has more than one reason to change"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{path.name}: {node.name} has {lines} lines"


@each_file
def test_every_file_says_what_it_is_for(path: Path):
    """One exception: a package's file with nothing in it."""
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def test_no_drawer_for_odds_and_ends():
    names = {p.stem for p in PACKAGE.rglob("*")}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_the_reader_of_imports_reads(tmp_path: Path):
    file = tmp_path / "x.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nimport os.path\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from sora import clip, __version__\n    import sora.errors\n",
        encoding="utf-8",
    )
    assert set(imports(file)) == {"typing", "os.path", "sora.clip", "sora", "sora.errors"}
    assert ours(file) == {"clip", "sora", "errors"}
