"""The README is a test: its transcript is typed into a shell, its Python example run, its links followed."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.provider_process import ROOT, client_command, client_environment, run_noise

README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTES = "the ferry leaves at nine\nwho is bringing bread?\n"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:]+)\)")


def _blocks(language: str) -> list[str]:
    return [body for name, body in _BLOCK.findall(README) if name == language]


def _transcript() -> list[tuple[str, list[str]]]:
    """(command, shown output lines) in order."""
    steps: list[tuple[str, list[str]]] = []
    for line in "".join(_blocks("console")).splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return steps


class Shell:
    """Runs the transcript's commands in one directory, with the values of this run for the values that it shows."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.values: dict[str, str] = {}
        self.server: subprocess.Popen[str] | None = None

    def run(self, command: str) -> list[str]:
        for shown, real in self.values.items():
            command = command.replace(shown, real)
        words, _, file = command.partition(" < ")
        name, *arguments = words.split()
        argv = client_command(*arguments) if name == "noise-client" else [sys.executable, "-m", "noise", *arguments]
        if arguments[0] == "serve":
            self.server = subprocess.Popen(
                argv, stdout=subprocess.PIPE, text=True, env=client_environment(), cwd=self.directory
            )
            assert self.server.stdout is not None
            return [self.server.stdout.readline().rstrip("\n")]
        if arguments[0] == "fsck":
            self.stop()
        text = (self.directory / file).read_text() if file else None
        done = subprocess.run(
            argv,
            input=text,
            stdin=None if text else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=client_environment(),
            cwd=self.directory,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.splitlines()

    def learn(self, shown: list[str], real: list[str]) -> None:
        """Whatever this run prints instead of what the README shows stands for it from now on."""
        for shown_line, real_line in zip(shown, real, strict=True):
            for one, other in zip(
                re.findall(r"[\w-]{43}", shown_line), re.findall(r"[\w-]{43}", real_line), strict=True
            ):
                self.values.setdefault(one, other)

    def stop(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            assert self.server.wait(30) == 0
            assert self.server.stdout is not None
            self.server.stdout.close()
            self.server = None


def test_the_transcript(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(NOTES)
    shell = Shell(tmp_path)
    try:
        for command, shown in _transcript():
            port = "8080"
            real = shell.run(command.replace(f"127.0.0.1:{port}", shell.values.get("address", "127.0.0.1:0")))
            if command.startswith("noise serve"):
                shell.values["address"] = real[0].split()[1].removeprefix("url=http://")
            if command.startswith("noise fsck"):
                assert real[0].startswith("clean: ")
                continue
            assert len(real) == len(shown), command
            shell.learn(shown, real)
            for shown_line, real_line in zip(shown, real, strict=True):
                if shown_line.startswith("{"):
                    shown_json, real_json = json.loads(shown_line), json.loads(real_line)
                    assert shown_json.keys() == real_json.keys()
                    assert shown_json.get("text") == real_json.get("text")
                else:
                    assert re.split(r"[\w-]{43}|:\d+", shown_line) == re.split(r"[\w-]{43}|:\d+", real_line)
    finally:
        shell.stop()


def test_the_python_example(tmp_path: Path) -> None:
    assert run_noise("init", "--data", str(tmp_path / "provider")).returncode == 0
    shell = Shell(tmp_path)
    try:
        ready = shell.run("noise serve --data ./provider --bind 127.0.0.1:0")
        url = ready[0].split()[1].removeprefix("url=")
        (example,) = _blocks("python")
        done = subprocess.run(
            [sys.executable, "-c", example.replace("http://127.0.0.1:8080", url)],
            capture_output=True,
            text=True,
            env=client_environment(),
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[1] == "verified: b'a note to myself'"
    finally:
        shell.stop()


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in _LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{page} links to {target}"


def test_the_two_commands() -> None:
    """The first lines that a stranger types; a clean clone is where they are really run, by .ci/run."""
    assert [block.strip() for block in _blocks("sh")] == [
        "pip install -e . && noise demo",
        "pip install -e '.[dev]' && python -m tests",
    ]
    ends = run_noise("demo", "--messages", "6", "--rate", "0", timeout_s=60)
    assert ends.returncode == 0, ends.stderr
    assert "18 deliveries verified" in ends.stdout
