"""What a person reads in the terminal: help pages, errors of the parser and the line after a film."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner, Result

from conftest import Studio
from sora import __version__
from sora.cli import app, help_pages, reference
from sora.cli.reference import CommandHelp

PAGES = {page.name: page for page in reference.commands(app)}
MAX_LINES, WIDTH = 66, 98  # typer leaves two of 100 columns free

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    return lambda *argv: CliRunner().invoke(app, list(argv), terminal_width=WIDTH)


def test_every_command_is_listed_once():
    names = list(PAGES)
    assert len(names) == len(set(names))
    assert {"", "generate", "edit", "remake", "train", "models", "models pull", "doctor", "help"} <= set(names)


@pytest.mark.parametrize("name", PAGES, ids=[name or "sora" for name in PAGES])
def test_a_page_is_short_and_fits_its_width(run: Run, name: str):
    text = run(*name.split(), "--help").stdout
    assert len(text.splitlines()) <= MAX_LINES
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.rstrip() == help_pages.page(PAGES[name], WIDTH).rstrip()


def test_a_page_is_the_same_on_a_terminal(run: Run):
    terminal, end = pty.openpty()
    env = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run([sys.executable, "-m", "sora", "info", "--help"], stdin=end, stdout=end, env=env, check=True)
    os.close(end)
    text = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert done.returncode == 0
    assert text.replace("\r\n", "\n") == run("info", "--help").stdout


@pytest.mark.parametrize("page", PAGES.values(), ids=[name or "sora" for name in PAGES])
def test_examples_are_commands_that_can_be_read(page: CommandHelp):
    assert len(page.examples) == 2
    for example in page.examples:
        program, *argv = shlex.split(example)
        assert program == "sora"
        assert len(example) <= 78, "it fits a narrow terminal"
        command: Any = get_command(app)
        context: Any = None
        while hasattr(command, "commands") and argv and not argv[0].startswith("-"):
            context = typer.Context(command, parent=context, info_name=command.name)
            command = command.commands[argv.pop(0)]
        if argv != ["--version"]:
            command.make_context(command.name, argv, parent=context)


def test_rarely_used_options_stand_in_a_panel_of_their_own_at_the_end(run: Run):
    text = run("generate", "--help").stdout
    panels = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert panels == [
        *("What to make", "Size and length", "Model and sampling", "Output", "Expert", "Examples"),
    ]
    assert "--shift" in text.split("Expert:")[1]


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("edit", "--was"),
        ("img2vid", "--last"),
        ("image", "--without"),
        ("train", "--rate"),
        ("train", "--batch"),
        ("train", "--every"),
        ("train", "--caption-drop"),
    ],
)
def test_former_flags_are_not_shown(run: Run, command: str, flag: str):
    assert not re.search(rf"{flag}\b(?!-)", run(command, "--help").stdout)


def test_former_flags_of_training_are_taken(run: Run):
    result = run("train", ".", "--out", "a.safetensors", "--rate=7", "--every", "3")
    assert (result.exit_code, "--learning-rate 7.0 is out of range" in result.stderr) == (2, True)


def test_the_list_of_commands_agrees_with_their_own_pages():
    for row in PAGES[""].rows:
        if row.name in PAGES:
            assert PAGES[row.name].summary == row.help


@pytest.mark.parametrize("name", ["generate", "models", "models pull"])
def test_help_as_a_command_prints_the_same(run: Run, name: str):
    assert run("help", *name.split()).stdout == run(*name.split(), "--help").stdout


def test_help_of_what_there_is_not(run: Run):
    result = run("help", "genrate")
    assert (result.exit_code, result.stderr) == (
        2,
        "sora: `sora` has no command 'genrate'; did you mean generate? see `sora --help`\n",
    )


def test_sora_alone_shows_its_help(run: Run):
    result = run()
    assert result.exit_code == 2
    assert result.stderr.rstrip() == run("--help").stdout.rstrip() == run("help").stdout.rstrip()


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version(run: Run, flag: str):
    assert run(flag).stdout == f"sora {__version__}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("generate a --sede 5", "`sora generate` takes no --sede; did you mean --seed? see `sora generate --help`"),
        ("generate a -x", "`sora generate` takes no -x; see `sora generate --help`"),
        ("--verison", "`sora` takes no --verison; did you mean --version? see `sora --help`"),
        ("genrate a", "`sora` has no command 'genrate'; did you mean generate? see `sora --help`"),
        ("models sho mini", "`sora models` has no command 'sho'; did you mean show? see `sora models --help`"),
        ("models show", "`sora models show` needs NAME; for example: sora models show mini"),
        ("info", "`sora info` needs FILE; for example: sora info balloon.mp4"),
        ("train x", "`sora train` needs --out; for example: sora train my-clips/ --out mine.safetensors --minutes 20"),
        ("generate a --seed", "--seed lacks its value; expected one behind it"),
        ("generate a --draft=3", "--draft takes no value; leave the value out"),
        ("generate a --frames many", "--frames takes a whole number; see `sora generate --help`"),
        ("generate a --fps slow", "--fps takes a number; see `sora generate --help`"),
        (
            "generate a --sampler hun",
            "--sampler 'hun' is not known; expected euler, heun, unipc, lcm; did you mean heun?",
        ),
        (
            "loop a b c",
            "unexpected 'b c'; a prompt of several words stands in quotes, and options begin with --;"
            " see `sora loop --help`",
        ),
        ("generate a --model mimi", "no model is called 'mimi'; the nearest is mini (see `sora models`)"),
    ],
)
def test_a_mistake_is_answered_in_one_line(run: Run, line: str, message: str):
    result = run(*line.split())
    assert result.stderr == f"sora: {message}\n"
    assert result.stdout == ""
    assert result.exit_code == (4 if "model" in message else 2) or "models" in line


def test_a_listed_command_is_not_imported():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom sora.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print(sorted({'sora.cli.commands', 'sora.cli.models', 'sora.catalog'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_film_is_followed_by_a_line_about_it(studio: Studio):
    result = studio("generate", "a red balloon", "--seed", 7, "--frames", 9, "--fps", 8, "-o", "a.mp4")
    assert result.stdout == "a.mp4\n"
    assert re.search(
        r"^a\.mp4: 1\.1 s, \d+x\d+, 9 frames at 8 fps, painted in \d+\.\d s \(seed 7\)$", result.stderr, re.M
    )


def test_a_picture_is_followed_by_a_line_about_it(studio: Studio):
    result = studio("image", "a red balloon", "--seed", 7, "-o", "a.png")
    assert re.search(r"^a\.png: \d+x\d+, painted in \d+\.\d s \(seed 7\)$", result.stderr, re.M)


@pytest.mark.parametrize("flag", ["--quiet", "--json"])
def test_no_line_about_a_film_where_none_is_wanted(studio: Studio, flag: str):
    assert "painted in" not in studio("image", "a red balloon", "-o", "a.png", flag).stderr


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("--sede 5", "`sora generate` takes no --sede; did you mean --seed? see `sora generate --help`"),
        ("--sampler hun", "--sampler 'hun' is not known; expected euler, heun, unipc, lcm; did you mean heun?"),
    ],
)
def test_mistakes_in_a_prompt_file_are_answered_alike(studio: Studio, end: str, message: str):
    result = studio("generate", "-f", "-", stdin=f"a red balloon {end}\n")
    assert (result.exit_code, message in result.stderr) == (6, True)
