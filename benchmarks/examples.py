"""Runs every example of the README and of the pages in docs: ``python benchmarks/examples.py [--parse] [PAGE ...]``.

Examples are the fenced ``sh`` and ``python`` blocks. Those of one page run in order in a folder of their own, which is
empty but for what FIXTURES puts there, so an example may use what an earlier one made. Each is printed with its
seconds. What needs the network, a graphics card or hours is skipped, and the reason is printed. The exit status is 1
where an example fails.

``--parse`` runs nothing. It checks that every command of the program and of the trainer in the examples is understood
by its real parser, with flags that the help shows, and that Python is valid. The examples that are skipped otherwise
are checked like this, too.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from sora import catalog
from sora.cli import app
from sora.plan import flags, prompts
from sora.plan.verbs import VERBS

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
TIMEOUT = 1200  # seconds for the examples of a block
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHORTER = {"sora train": "--steps 2 --rank 2"}
"""Options that are added to a command, by its beginning, where it would run for long."""

SKIPPED = (
    ("pip install", "installs"),
    ("make ", "a check of its own"),
    ("python -m minitrain", "trains or measures for long"),
    ("python benchmarks/", "a check of its own"),
    ("sora models pull", "needs the hub"),
    ("sora models verify", "needs a model from the hub"),
    ("sora models path", "needs a model from the hub"),
    ("sora models remove", "needs a model from the hub"),
    ("sora jobs rm", "needs a job of that name"),
)
"""What is not run, by how the example begins, and why."""


@dataclass(frozen=True)
class Example:
    """A command or a piece of Python. line: where it stands in the page, counted from 1."""

    page: str
    line: int
    language: str
    text: str

    @property
    def title(self) -> str:
        return self.text.strip().splitlines()[0][:90]

    @property
    def skipped(self) -> str:
        """Why it is not run; empty for what is."""
        if "--help" in self.text:
            return ""
        if reason := next((why for what, why in SKIPPED if self.text.startswith(what)), ""):
            return reason
        names = [name for name, spec in catalog.MODELS.items() if spec.repo]
        if "--dry-run" in self.text or "sora models show" in self.text:
            return ""
        return "needs a model that is not here" if "~/" in self.text or any(n in self.text for n in names) else ""


# --- reading pages ------------------------------------------------------------------------------------------------


def examples(page: Path) -> Iterator[Example]:
    """Every example of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        first = text[: block.start(2)].count("\n") + 1
        language, body = block.groups()
        if language == "python":
            yield Example(page.name, first, language, body)
            continue
        for offset, command in commands_of(body):
            yield Example(page.name, first + offset, language, command)


def commands_of(block: str) -> Iterator[tuple[int, str]]:
    """(line of the block, command) for each command of a shell block, without comments. A command goes on after a
    backslash, and up to the end of a here-document."""
    lines = iter(enumerate(block.splitlines()))
    for number, line in lines:
        command = line
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        while command.endswith("\\"):
            command += "\n" + next(lines)[1]
        if here := re.search(r"<< *'?(\w+)'?$", command):
            body = "\n".join(row for _, row in iter(lambda end=here[1]: _until(lines, end), None))
            command += f"\n{body}\n{here[1]}"
        yield number, command


def _until(lines: Iterator[tuple[int, str]], end: str) -> tuple[int, str] | None:
    row = next(lines)
    return None if row[1] == end else row


# --- parsing ------------------------------------------------------------------------------------------------------


def complaint(example: Example) -> str:
    """What the real parser has against an example; empty for nothing."""
    if example.language == "python":
        try:
            ast.parse(example.text)
        except SyntaxError as error:
            return f"is no Python ({error})"
        return ""
    complained = io.StringIO()
    try:
        with redirect_stderr(complained):
            for words in program_calls(example.text):
                _parse_call(words)
            _parse_prompt_file(example.text)
    except SystemExit:  # of argparse, which has printed why
        return complained.getvalue().strip().splitlines()[-1]
    except Exception as error:  # parsers' own errors are of many kinds
        formatted = getattr(error, "format_message", None)
        return f"{type(error).__name__}: {formatted() if formatted else error}"
    return ""


def program_calls(command: str) -> Iterator[list[str]]:
    """The words of each call of sora or python in a shell command: pipes, lists and $(...) are taken apart."""
    text = command.split("\n", 1)[0] if "<<" in command else command
    if inner := re.fullmatch(r"\w+=\$\((.*)\)", text.strip()):
        text = inner[1]
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words, redirected = list[str](), False
    for word in [*lexer, ";"]:
        if set(word) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        elif set(word) <= set(";|&"):
            if words and words[0] in ("sora", "python"):
                yield words
            words = []
        else:
            words.append(word)


def _parse_call(words: list[str]) -> None:
    """Raises what the program's parser raises."""
    if words[0] == "sora":
        _parse_sora(words[1:])
    elif words[:2] == ["python", "-m"]:
        _find_module(words[2:])
    elif not (ROOT / words[1]).is_file():
        raise ValueError(f"there is no {words[1]}")


def _parse_sora(words: list[str]) -> None:
    """Raises what the parser raises, and ValueError for a flag that no help shows."""
    command: Any = get_command(app)
    context = typer.Context(command, info_name="sora")
    left = list(words)
    while hasattr(command, "commands"):
        given, left = _options_of_group(command, left)
        command.make_context("sora", [*given, *(left[:1] or [])], parent=None, resilient_parsing=True)
        if not left:
            if names := [word for word in given if not word.startswith("-")]:
                raise ValueError(f"there is no command {names[0]}")
            return
        name, command = left[0], command.commands[left[0]]
        context, left = typer.Context(command, parent=context, info_name=name), left[1:]
    shown = set(re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", command.get_help(context).replace(",", " ")))
    made = command.make_context(context.info_name, list(left), parent=context.parent)
    if made.args:  # what follows remake FILE
        _, rest = flags.parse("generate", VERBS["generate"], made.args)
        if rest:
            raise ValueError(f"{rest[0]} is left over")
        left = [word for word in left if word not in made.args]
    hidden = [word for word in left if re.match(r"--[a-z]|-[a-z]$", word) and word.split("=")[0] not in shown]
    if hidden:
        raise ValueError(f"{hidden[0]} is in no help")


def _options_of_group(group: Any, words: list[str]) -> tuple[list[str], list[str]]:
    """(a group's own options, the rest from its command's name on)."""
    count = next((n for n, word in enumerate(words) if word in group.commands), len(words))
    return words[:count], words[count:]


def _find_module(words: list[str]) -> None:
    """Raises ValueError for a module that there is none of; the trainer's own flags are parsed."""
    module = words[0]
    if find_spec(module) is None:
        raise ValueError(f"there is no module {module}")
    if module == "minitrain" and words[1] not in ("ablate", "checkpoint", "publish"):
        from minitrain.__main__ import parser

        parser().parse_args(words[1:])


def _parse_prompt_file(command: str) -> None:
    """Raises UsageError for a line of a here-document that is no line of a prompt file."""
    if "prompts.txt <<" not in command:
        return
    for line in prompts.parse_file("\n".join(command.splitlines()[1:-1])):
        if line.error or flags.parse("generate", VERBS["generate"], line.words)[1]:
            raise ValueError(line.error or f"{line.words} are no options")


# --- running ------------------------------------------------------------------------------------------------------


def run_page(page: Path) -> Iterator[tuple[Example, str, float]]:
    """(example, outcome, seconds) for each example of a page: "ok", "failed: ..." or "skipped: ..."."""
    found = list(examples(page))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        work = Path(folder) / "work"
        work.mkdir()
        shims(Path(folder) / "bin")
        if any("clips/" in example.text for example in found):
            fixtures(work)
        shell = Shell(work, Path(folder))
        notebook = opened.enter_context(Notebook(work)) if any(e.language == "python" for e in found) else None
        for example in found:
            if example.skipped:
                why = complaint(example)
                yield example, f"failed: {why}" if why else f"skipped: {example.skipped}", 0.0
                continue
            began = time.monotonic()
            outcome = notebook.run(example.text) if notebook and example.language == "python" else shell.run(example)
            yield example, outcome, time.monotonic() - began


def environment(home: Path | None = None) -> dict[str, str]:
    """For an example's process. home: whose ``bin`` is searched for programs first."""
    path = os.environ["PATH"] if home is None else f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_WAIT_POLICY": "passive"}


class Shell:
    """Runs commands one by one. What one of them assigns is there for those after it."""

    def __init__(self, work: Path, home: Path) -> None:
        self.work, self.home, self.state = work, home, home / "variables"
        self.state.touch()

    def run(self, example: Example) -> str:
        """ "ok", or what went wrong."""
        command = example.text
        for begin, more in SHORTER.items():
            command = f"{command.split(' #')[0]} {more}" if command.startswith(begin) else command
        names = " ".join(re.findall(r"^(\w+)=", command))
        keep = f"declare -p {names} >> {self.state}" if names else ""
        script = f". {self.state}\nset -e -o pipefail\n{command}\n{keep}\n"
        try:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.work,
                env=environment(self.home),
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"failed: not done in {TIMEOUT} s"
        if done.returncode == 0:
            return "ok"
        return f"failed: status {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"


LOOP = """\
import json, sys, traceback
names = {"__name__": "__main__"}
out, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    try:
        exec(compile(json.loads(line), "example", "exec"), names)
        answer = "ok"
    except BaseException as error:
        answer = f"failed: {type(error).__name__}: {error}"
    print(json.dumps(answer), file=out, flush=True)
"""
"""Reads pieces of Python, a line of JSON each, and answers in the same way. They share their names."""


class Notebook:
    """Runs pieces of Python in one process."""

    def __init__(self, work: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            cwd=work,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Notebook:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def run(self, code: str) -> str:
        """ "ok", or what went wrong."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline() or '"failed: the process ended"')


def shims(folder: Path) -> None:
    """``sora`` and ``python`` of this very environment, in a folder for the PATH."""
    folder.mkdir()
    for name, call in {"sora": "-m sora", "python": ""}.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n', encoding="utf-8")
        path.chmod(0o755)


def fixtures(work: Path) -> None:
    """Two short clips to train on, with their words as names, and a folder of prompts."""
    import numpy as np

    from sora import media
    from sora.plan.clip import Clip

    (work / "clips").mkdir()
    for number in (1, 2):
        frames = np.random.default_rng(number).integers(0, 256, (9, 8, 8, 3), np.uint8).repeat(12, 1).repeat(12, 2)
        media.write_clip(work / "clips" / f"a wug runs right_{number:02}.mp4", Clip(frames, 8.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, default=PAGES, metavar="PAGE", help="by default all")
    parser.add_argument("--parse", action="store_true", help="run nothing, see above")
    args = parser.parse_args()
    failed = total = skipped = 0
    for page in args.pages:
        rows = ((e, complaint(e) or "ok", 0.0) for e in examples(page)) if args.parse else run_page(page)
        for example, outcome, seconds in rows:
            total += 1
            skipped += outcome.startswith("skipped")
            bad = outcome != "ok" and not outcome.startswith("skipped")
            failed += bad
            if bad or not args.parse:
                print(f"{example.page}:{example.line:<4} {seconds:6.1f} s  {outcome:8}  {example.title}", flush=True)
    print(f"{total} examples, {skipped} skipped, {failed} failed")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
