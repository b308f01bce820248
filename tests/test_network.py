"""Only ``sora models pull`` uses the network, and ``--offline`` keeps it from that."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from conftest import SocketGuard
from sora import catalog, weights
from sora.cli import app

GUARD = """
import sys
log = open({log!r}, "a")
def hook(event, args):
    if event.startswith("socket.") and not (event == "socket.__new__" and args[1] == 1):  # 1: between processes
        print(event, *args[1:], file=log, flush=True)
sys.addaudithook(hook)
"""
"""Of a process that notes each socket that it opens, each name that it looks up, and so on, from its very start."""

COMMANDS = """
import sys
from typer.testing import CliRunner
from sora.cli import app
for line in sys.stdin.read().splitlines():
    result = CliRunner().invoke(app, line.split())
    print(result.exit_code, line, result.output if result.exit_code else "")
"""


def test_commands_open_no_socket(tmp_path: Path):
    log = tmp_path / "log"
    (tmp_path / "sitecustomize.py").write_text(GUARD.format(log=str(log)))
    lines = ["models list", "models show wan2.1-1.3b", "models verify mini", "--offline models path mini"]
    if weights.embedded(catalog.MODELS["mini"].files):
        painting = "generate ball --anyway --draft --frames 1 --steps 1 --size 64x64 -o ball.mp4"
        lines += [painting, "info ball.mp4", "doctor"]
    places = {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "HF_HOME": str(tmp_path / "hf"),
    }
    run = [sys.executable, "-c", COMMANDS]
    done = subprocess.run(
        run, input="\n".join(lines), env=os.environ | places, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert [line for line in done.stdout.splitlines() if not line.startswith("0 ")] == []
    assert len(done.stdout.splitlines()) == len(lines)
    assert log.read_text() == "", "sockets were opened"


def test_what_notes_sockets_notes_them(tmp_path: Path):
    log = tmp_path / "log"
    (tmp_path / "sitecustomize.py").write_text(GUARD.format(log=str(log)))
    code = "import socket; socket.getaddrinfo('127.0.0.1', 9); socket.socket(); socket.socketpair()"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=True)
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["socket.getaddrinfo", "socket.__new__"]


@pytest.mark.parametrize("variable", ["", "1"])
def test_offline_refuses_to_pull(variable: str, monkeypatch: pytest.MonkeyPatch):
    """As an option of sora, or by the variable that other programs read, too."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", bool(variable))
    argv = [*([] if variable else ["--offline"]), "models", "pull", "wan2.1-1.3b"]
    result = CliRunner().invoke(app, argv)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        "sora: wan2.1-1.3b cannot be fetched offline: leave out --offline, unset HF_HUB_OFFLINE, "
        "or say --model FOLDER\n"
    )
    assert bool(variable) == constants.HF_HUB_OFFLINE, "the option counts for one command"
    assert "HF_HUB_OFFLINE" not in os.environ


def test_a_program_that_starts_offline_stays_offline(tmp_path: Path):
    argv = [sys.executable, "-m", "sora", "models", "pull", "wan2.1-1.3b"]
    done = subprocess.run(
        argv, env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (4, b"") and b"cannot be fetched offline" in done.stderr


def test_the_tests_themselves_cannot_reach_the_network(socket_guard: SocketGuard):
    with socket.socket() as probe:
        for use in (probe.connect, probe.connect_ex):
            with pytest.raises(AssertionError, match=r"used the network: connect\w* '127\.0\.0\.1'"):
                use(("127.0.0.1", 9))
    with pytest.raises(AssertionError, match=r"getaddrinfo 'huggingface\.co'"):
        socket.create_connection(("huggingface.co", 443))
    assert len(socket_guard.attempts) == 3, "each would fail the test, whatever became of the exception"
    socket_guard.attempts.clear()


def test_a_test_that_asks_may_use_this_machine(loopback: None, socket_guard: SocketGuard):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    with pytest.raises(AssertionError):
        socket.create_connection(("192.0.2.1", 80))
    socket_guard.attempts.clear()
