"""The rules of the house, read from the source with ``ast``: one test a rule, which looks at every file.

Only imports that happen at run time count: those under ``if TYPE_CHECKING`` do not. Imports inside functions do.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import vocabulary

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PACKAGE, TRAINER = SOURCE / "sora", SOURCE / "minitrain"
FILES, TRAINER_FILES = sorted(PACKAGE.rglob("*.py")), sorted(TRAINER.rglob("*.py"))

FAMILIES = {path.name for path in (PACKAGE / "models").iterdir() if (path / "__init__.py").is_file()}

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_ROOMS = 16
MOST_LATE_IMPORTS = 30  # in functions of ``cli``

LAYERS: tuple[tuple[str, ...], ...] = (
    ("sora",),
    ("errors", "storage"),
    ("plan",),
    ("weights",),
    ("catalog", "media"),
    ("networks",),
    ("runtime",),
    ("memory",),
    ("engine",),
    ("models",),
    ("finetune", "jobs"),
    ("cli",),
    ("__main__",),
)
"""Rooms from the bottom up. A room may import what lies below it, never what lies above or beside it."""

NARROWER: dict[str, set[str]] = {
    "weights": {"errors", "storage"},
    "media": {"errors", "storage", "plan"},
    "networks": {"networks"},
    "runtime": {"runtime", "errors", "weights.formats"},
    "memory": {"errors", "storage"},
    "engine": {"plan", "errors", "runtime.heap", "weights.finite"},
}
"""Rooms that may import less than their layer allows: what of ours, beside themselves."""


FOREIGN: dict[str, set[str]] = {
    "errors": {"torch", "numpy"},
    "storage": {"torch", "numpy"},
    "plan.prompts": {"torch", "numpy"},
    "plan.grid": {"torch", "numpy"},
    "plan.recipe": {"torch", "numpy"},
    "plan": {"typer", "rich"},
    "catalog": {"torch", "numpy", "typer", "rich"},
    "media": {"torch", "typer", "rich"},
    "networks": {"typer", "rich", "tqdm", "transformers", "diffusers"},
    "networks.wan.config": {"torch", "numpy", "typer", "rich", "tqdm", "transformers", "diffusers"},
    "runtime.speed": {"torch", "numpy"},
    "runtime.threads": {"torch", "numpy"},
    "engine": {"typer", "rich", "tqdm"},
    "models": {"typer", "rich", "tqdm", "transformers", "diffusers"},
}
"""What importing a module must not bring with it, even from inside a function; the longest name that fits counts."""

LIGHT = ("sora", "sora.errors", "sora.catalog", "sora.models", "sora.media", "sora.weights", "sora.cli")
"""What can be imported without torch."""


def name_of(path: Path, root: Path = PACKAGE) -> str:
    """'engine.canvas', 'catalog' for a package's own file, 'sora' for the root."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__") or root.name


def room_of(name: str) -> str:
    return name.split(".")[0]


def height(name: str) -> int:
    """The layer that a module stands on, counted from below."""
    found = [i for i, rooms in enumerate(LAYERS) if room_of(name) in rooms]
    assert found, f"{name} has no layer; say in LAYERS where it belongs"
    return found[0]


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from runtime_nodes(child)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Dotted names of every run-time import; 'from sora.x import y' gives 'sora.x.y' where y is a module of ours, and
    so for the trainer."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in runtime_nodes(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute, so that they can be read anywhere"
            yield from (full_name(node.module or "", alias.name) for alias in node.names)


def full_name(module: str, name: str) -> str:
    inside = SOURCE.joinpath(*module.split("."), name)
    is_module = module.split(".")[0] in ("sora", "minitrain") and (
        inside.is_dir() or inside.with_suffix(".py").is_file()
    )
    return f"{module}.{name}" if is_module else module


def ours(path: Path, package: str = "sora") -> set[str]:
    """What of the package a file imports, without the leading 'sora.'; 'sora' for the root itself."""
    return {name.removeprefix(f"{package}.") for name in imports(path) if name.split(".")[0] == package}


def covers(allowed: Iterable[str], name: str) -> bool:
    """Whether a name or a package that holds it is among those allowed."""
    return any(name == row or name.startswith(row + ".") for row in allowed)


def row_for(name: str, table: Mapping[str, set[str]]) -> set[str]:
    """The row of the module or of the nearest package that holds it; empty for none."""
    parts = name.split(".")
    rows = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((table[row] for row in rows if row in table), set())


def complaints(files: Iterable[Path], look: Callable[[Path], Iterable[str]]) -> list[str]:
    """What a rule has to say of each file, one line each."""
    return [f"{path.relative_to(ROOT)}: {line}" for path in files for line in look(path)]


def test_no_arrow_points_upward():
    def look(path: Path) -> Iterator[str]:
        name = name_of(path)
        excused = NARROWER.get(room_of(name), set())
        strangers = [n for n in ours(path) if room_of(n) != room_of(name) and not covers(excused, n)]
        yield from (f"imports {n}, which is not below it" for n in strangers if height(n) >= height(name))

    assert not complaints(FILES, look)


def test_rooms_that_keep_to_themselves():
    def look(path: Path) -> Iterator[str]:
        name = name_of(path)
        allowed = NARROWER.get(room_of(name))
        for other in ours(path):
            if allowed is not None and room_of(other) != room_of(name) and not covers(allowed, other):
                yield f"imports {other}; {room_of(name)} may import {', '.join(sorted(allowed))}"

    assert not complaints(FILES, look)


def test_no_cycle_between_files():
    trainer = {name_of(path, TRAINER): ours(path, "minitrain") for path in TRAINER_FILES}
    for below in ({name_of(path): ours(path) for path in FILES}, trainer):
        refuse_cycles(below)


def refuse_cycles(below: Mapping[str, set[str]]) -> None:
    """below: what each file imports, by name."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a cycle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for other in below.get(name, ()):
                if other != name:
                    visit(other, (*trail, name))
            done.add(name)

    for name in below:
        visit(name, ())


def test_few_rooms_each_with_a_layer():
    rooms = {room_of(name_of(path)) for path in FILES}
    assert {room for row in LAYERS for room in row} == rooms
    assert len(rooms) <= MOST_ROOMS


def test_what_each_layer_leaves_alone():
    def look(path: Path) -> Iterator[str]:
        taken = {name.split(".")[0] for name in imports(path)} & row_for(name_of(path), FOREIGN)
        yield from (f"imports {name}" for name in sorted(taken))

    assert not complaints(FILES, look)


def test_what_comes_without_torch():
    code = f"import sys, {', '.join(LIGHT)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def code_strings(tree: ast.Module) -> Iterator[str]:
    """Every string of a file but docstrings, which may speak of anything."""
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            yield node.value


def test_the_program_does_not_know_the_trainer():
    """Neither by an import nor by a name that could be imported or run, as in ``python -m``."""

    def look(path: Path) -> Iterator[str]:
        yield from (f"imports {name}" for name in imports(path) if name.split(".")[0] == "minitrain")
        yield from (f"names {text!r}" for text in code_strings(tree_of(path)) if re.search(r"\bminitrain\b", text))

    assert not complaints(FILES, look)


def test_nothing_is_imported_by_path():
    """No file of ours loads another by its path, adds folders to import from, or replaces the arguments of the
    program."""
    by_path = {"spec_from_file_location", "SourceFileLoader", "run_path", "addsitedir"}

    named = re.compile(rf"\bsys\.(path|argv)\b|{'|'.join(by_path)}")

    def look(path: Path) -> Iterator[str]:
        if not named.search(path.read_text(encoding="utf-8")):
            return
        for node in ast.walk(tree_of(path)):
            match node:
                case ast.Attribute(attr=name) | ast.Name(id=name) if name in by_path:
                    yield f"uses {name}"
                case ast.Call(func=ast.Attribute(value=where)) if ast.unparse(where) == "sys.path":
                    yield f"changes sys.path: {ast.unparse(node)}"
                case ast.Assign(targets=targets) if re.search(r"\bsys\.(path|argv)\b", ast.unparse(ast.Tuple(targets))):
                    yield f"sets {ast.unparse(targets[0])}"
                case ast.Constant(value=str(text)) if re.search(r"sys\.path\.(insert|append)\(", text):
                    yield "changes sys.path in code for another process"

    others = (*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"))
    assert not complaints((*FILES, *TRAINER_FILES, *others), look)


def family_of(name: str) -> str | None:
    """The family that a module belongs to; "" for those that may name any: its networks and the list of families."""
    if room_of(name) == "networks" or name == "catalog":
        return ""
    room, _, rest = name.partition(".")
    return next((f for f in FAMILIES if room in ("models", "catalog") and re.match(rf"{f}\b|{f}_", rest)), None)


def words_of(node: ast.AST) -> Iterator[str]:
    """The words, in lower case, of the names that a node holds and of the text that a string does."""
    for _, value in ast.iter_fields(node):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield from (word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", text))


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """Strings that stand as statements: what they say is no code."""
    return {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def test_only_a_family_names_itself():
    """Neither a name nor a text in the code of the rest says a family's name: what has to be known of one is asked
    through ``models.Family`` and ``catalog.Family``."""

    def look(path: Path) -> Iterator[str]:
        if family_of(name_of(path)) is not None:
            return
        tree = tree_of(path)
        said = docstrings(tree)
        for node in ast.walk(tree):
            for word in words_of(node) if node not in said else ():
                if word in FAMILIES:
                    yield f"line {getattr(node, 'lineno', '?')} says {word}"

    assert not complaints(FILES, look)


def test_every_family_exposes_what_is_asked_of_it():
    from sora import catalog, models

    assert set(catalog.FAMILIES) == FAMILIES
    for name, rows in catalog.FAMILIES.items():
        assert rows.MODELS and {row.family for row in rows.MODELS.values()} == {name}
        package = models.family(next(iter(rows.MODELS.values())))
        assert callable(package.load) and callable(package.memory_needs) and "transformer" in package.KEY_MAPS
        closed = any(row.vocabulary for row in rows.MODELS.values())
        assert all(hasattr(package, asked) for asked in ("advise", "repertoire") if closed)
    assert catalog.DEFAULT in catalog.MODELS


def test_late_imports_of_the_command_line_are_few():
    count = sum(
        isinstance(node, ast.Import | ast.ImportFrom)
        for path in FILES
        if room_of(name_of(path)) == "cli"
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    )
    assert count <= MOST_LATE_IMPORTS


def test_only_the_command_line_prints_and_exits():
    loud = {"print", "exit", "quit", "sys.exit", "os._exit", "typer.Exit", "typer.echo", "sys.stdout.write"}
    loud |= {"sys.stderr.write", "SystemExit"}

    def look(path: Path) -> Iterator[str]:
        if room_of(name_of(path)) in ("cli", "__main__"):
            return
        called = {ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}
        yield from sorted(called & loud)
        yield from (name for name in imports(path) if name.split(".")[0] in ("typer", "rich"))

    assert not complaints(FILES, look)


def test_files_and_functions_are_short():
    def look(path: Path) -> Iterator[str]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            yield f"has {lines} lines, and so more than one reason to change"
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_LINES_OF_A_FUNCTION:
                    yield f"{node.name} has {length} lines"

    assert not complaints((*FILES, *TRAINER_FILES), look)


def test_every_file_says_what_it_is_for():
    """One exception: a package's file with nothing in it."""

    def look(path: Path) -> Iterator[str]:
        if path.read_text(encoding="utf-8").strip() and not ast.get_docstring(tree_of(path)):
            yield "has no docstring"

    assert not complaints((*FILES, *TRAINER_FILES), look)


def test_no_drawer_for_odds_and_ends():
    names = {path.stem for root in (PACKAGE, TRAINER) for path in root.rglob("*")}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_no_retired_word_is_left():
    """Neither in a name, nor in a docstring, nor in the help of an option. The tests' own names are not held to it."""

    def look(path: Path, whole: bool) -> Iterator[str]:
        yield from vocabulary.retired_words(path, tree_of(path), whole=whole)

    benchmarks = sorted((ROOT / "benchmarks").rglob("*.py"))
    assert not complaints(FILES, partial(look, whole=True))
    assert not complaints((*TRAINER_FILES, *benchmarks), partial(look, whole=False))


def test_docstrings_explain_the_fields_that_a_class_has():
    assert not complaints((*FILES, *TRAINER_FILES), lambda path: vocabulary.missing_fields(tree_of(path)))


def test_the_reader_of_words_finds_them(tmp_path: Path):
    code = """class Told:
    'size: of the film. hue: of what was heard.'
    size: int
def f(near, *, wish=1):
    held = option(help='how it is said')
"""
    found = [line.split()[-1] for line in vocabulary.retired_words(tmp_path / "way.py", ast.parse(code), whole=True)]
    assert sorted(found) == ["Told", "heard", "held", "name", "near", "said", "wish"]
    assert list(vocabulary.missing_fields(ast.parse(code))) == ["Told explains hue, which it does not have"]


def test_the_reader_of_imports_reads(tmp_path: Path):
    file = tmp_path / "x.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nimport os.path\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from sora import media, __version__\n    import sora.errors\n",
        encoding="utf-8",
    )
    assert set(imports(file)) == {"typing", "os.path", "sora.media", "sora", "sora.errors"}
    assert ours(file) == {"media", "sora", "errors"}


def test_the_reader_of_strings_leaves_docstrings_out():
    tree = ast.parse('"""Of minitrain."""\ndef f():\n    """Also."""\n    return ["python", "-m", "minitrain"]\n')
    assert set(code_strings(tree)) == {"python", "-m", "minitrain"}
