"""Measures the structure of the source: ``python benchmarks/house.py [--checkout FOLDER]``.

Counts packages, imports between them, late imports, places that handle a request, and lines, against targets.
``tests/test_architecture.py`` holds the rules; this prints how far each number is from its target. The exit status is 1
where a target is missed.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from minitrain.eval.verdicts import Verdicts

ROOT = Path(__file__).parent.parent


def trees(folder: Path) -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}


def late_imports(tree: ast.Module) -> int:
    """Imports that stand inside functions."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return sum(isinstance(node, ast.Import | ast.ImportFrom) for f in functions for node in ast.walk(f))


def imports(tree: ast.Module) -> Iterator[str]:
    """Modules of ours that are imported at run time, by their rooms."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sora":
            parts = (node.module or "").split(".")
            yield from ([parts[1]] if len(parts) > 1 else [alias.name for alias in node.names])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=ROOT)
    checkout = parser.parse_args().checkout
    package, found, verdicts = checkout / "src" / "sora", trees(checkout / "src" / "sora"), Verdicts()
    rooms = sorted({path.relative_to(package).parts[0].removesuffix(".py") for path in found})
    verdicts.add("top-level rooms", "<= 16", f"{len(rooms)}: {', '.join(rooms)}", len(rooms) <= 16)
    arrows = {
        (path.relative_to(package).parts[0], room)
        for path, tree in found.items()
        for room in imports(tree)
        if len(path.relative_to(package).parts) > 1 and room in rooms and room != path.relative_to(package).parts[0]
    }
    back = sorted(f"{a} <-> {b}" for a, b in arrows if (b, a) in arrows and a < b)
    verdicts.add("pairs of rooms that import each other", "none", ", ".join(back) or "none", not back)
    late = sum(late_imports(tree) for path, tree in found.items() if path.is_relative_to(package / "cli"))
    verdicts.add("function-level imports in cli", "<= 30", str(late), late <= 30)
    files = [path for path in found if re.search(r"\bRequest\b", path.read_text(encoding="utf-8"))]
    verdicts.add("files that handle a request", "<= 12", str(len(files)), len(files) <= 12)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in found)
    verdicts.add("lines of src without the trainer", "<= 16,500", f"{lines:,} in {len(found)} files", lines <= 16_500)
    trained = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in trees(checkout / "src" / "minitrain"))
    verdicts.add("lines of the trainer", "", f"{trained:,}")
    sys.exit(not all(row.met is not False for row in verdicts.rows))


if __name__ == "__main__":
    main()
