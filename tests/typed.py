"""Command lines typed into real shells, with the tabulator key behind them."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE_S = 120
TAB, SHOW = b"\t", b"\x18"  # Ctrl-X is bound to a function that writes the line into a file

BASH = """bind -x '"\\C-x": printf %s "$READLINE_LINE" >line'\nsource ./script\n: >ready\n"""
ZSH = """_line() { print -rn -- "$BUFFER" >line }\nzle -N _line\nbindkey '^X' _line\nsource ./script\n: >ready\n"""


def completed(shell: str, script: str, typed: str, folder: Path) -> str:
    """What a command line is after a tabulator: as long as before where nothing or several things fit.

    Args:
        shell: bash, zsh or fish; the test is skipped where it is not installed.
        script: that it has read before.
        typed: the line so far.
        folder: where it is run.
    """
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (folder / "script").write_text(script)
    if shell == "fish":
        return _in_fish(typed, folder)
    start = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    return _in_terminal(start, BASH if shell == "bash" else ZSH, typed, folder)


def _in_fish(typed: str, folder: Path) -> str:
    """fish tells what it would offer without a terminal; it goes into the line where it is the only thing."""
    code = "source ./script; complete -C $argv[1]"
    environment = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    command = ["fish", "--no-config", "-c", code, typed]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert not done.stderr, done.stderr
    offered = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    return f"{typed[: typed.rfind(' ') + 1]}{offered[0]} " if len(offered) == 1 else typed


def _in_terminal(start: list[str], first: str, typed: str, folder: Path) -> str:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ.update(HOME=str(folder), TERM="dumb", ZDOTDIR=str(folder))
        os.execvp(start[0], start)
    seen = bytearray()
    try:
        os.write(terminal, first.encode())
        _until((folder / "ready").exists, terminal, seen)
        os.write(terminal, typed.encode() + TAB + SHOW)
        _until(lambda: (folder / "line").exists() and (folder / "line").stat().st_size > 0, terminal, seen)
        assert b"error" not in seen and b"not found" not in seen, seen.decode(errors="replace")
        return (folder / "line").read_text()
    finally:
        os.close(terminal)  # the shell hangs up
        os.waitpid(pid, 0)


def _until(done: Callable[[], bool], terminal: int, seen: bytearray) -> None:
    """Read what the shell says, without which it would stop, until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, seen.decode(errors="replace")
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 4096)
            except OSError as error:  # the shell has ended
                raise AssertionError(seen.decode(errors="replace")) from error
