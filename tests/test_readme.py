"""The README is a test: its transcripts are typed into shells, its Python example run, its links followed."""

import json
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.e2e.provider_process import ROOT, client_command, client_environment, run_noise

README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTES = "the ferry leaves at nine\nwho is bringing bread?\n"
WAIT_S = 60
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:]+)\)")
_OWN = re.compile(r"[\w-]{43}|\S+\.proof")
_ADDRESS = "127.0.0.1:8080"


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


def _is_promised(line: str) -> bool:
    """A suspicion may become a proof so soon that nobody hears of it."""
    return "the provider is SUSPECTED" not in line


def _essence(line: str) -> str:
    """A line without what differs from run to run, nor the order in which two tasks of one process print."""
    if line.startswith("{"):
        shown = json.loads(line)
        return json.dumps({name: value if name == "text" else "" for name, value in shown.items()}, sort_keys=True)
    return re.sub(r"\d+", "N", _OWN.sub("OWN", line))


class Terminal:
    """A command that goes on beside others, and all that it has printed so far."""

    def __init__(self, argv: list[str], directory: Path) -> None:
        self._process = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=client_environment(),
            cwd=directory,
        )
        self._lines: list[str] = []
        self._has_ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def lines(self, count: int) -> list[str]:
        """What it has printed, once so many of these lines are promised ones, or it has ended."""

        def is_there() -> bool:
            return self._has_ended or sum(map(_is_promised, self._lines)) >= count

        with self._changed:
            assert self._changed.wait_for(is_there, WAIT_S), f"it has printed no more than {self._lines}"
            return list(self._lines)

    def stop(self, number: signal.Signals) -> int:
        """End it, if it has not ended; the exit status."""
        self._process.send_signal(number)
        try:
            return self._process.wait(WAIT_S)
        finally:
            self._process.kill()
            self._reader.join()
            assert self._process.stdout is not None
            self._process.stdout.close()


class Shell:
    """Runs the transcript's commands in one directory, with the values of this run for the values that it shows."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.values: dict[str, str] = {}
        self.server: Terminal | None = None
        self.listeners: list[tuple[Terminal, list[str]]] = []
        self._told: list[str] = []

    def run(self, command: str, shown: list[str]) -> None:
        """Type it, and see that it prints what is shown: a server and listeners, by and by."""
        name = shlex.split(command)[0:2][-1] if command.startswith("noise ") else ""
        if name in {"fsck", "verify"}:
            self.hear()
        if name == "fsck":
            self.stop()
        argv, text = self._parse(command)
        if "serve" in argv:
            self.stop()
            self.server, self._told = Terminal(argv, self.directory), shown
            ready = self.server.lines(1)[:1]
            self.learn(shown[:1], ready)
            self.values[_ADDRESS] = ready[0].split()[1].removeprefix("url=http://")
        elif "listen" in argv:
            self.listeners.append((Terminal(argv, self.directory), shown))
        else:
            self.learn(shown, self._finish(command, argv, text))

    def _parse(self, command: str) -> tuple[list[str], str | None]:
        """The arguments of a command, and its standard input."""
        echoed, _, piped = command.rpartition(" | ")
        words, _, file = piped.partition(" < ")
        name, *arguments = [self.values.get(word, word) for word in shlex.split(words)]
        text = (self.directory / file).read_text() if file else None
        if echoed:
            text = shlex.split(echoed)[1] + "\n"
        address = "127.0.0.1:0" if "serve" in arguments else self.values.get(_ADDRESS, "")
        arguments = [word.replace(_ADDRESS, address) for word in arguments]
        if name == "noise-client":
            return client_command(*arguments), text
        return [sys.executable, *([] if name == "python" else ["-m", name]), *arguments], text

    def _finish(self, command: str, argv: list[str], text: str | None) -> list[str]:
        done = subprocess.run(
            argv,
            input=text,
            stdin=None if text else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=client_environment(),
            cwd=self.directory,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.splitlines()

    def hear(self) -> None:
        """The listeners have printed what is shown; then those that go on are stopped: they talk to each other."""
        for terminal, shown in self.listeners:
            self.learn(shown, terminal.lines(sum(map(_is_promised, shown))))
        while self.listeners:
            self.listeners.pop()[0].stop(signal.SIGINT)

    def learn(self, shown: list[str], real: list[str]) -> None:
        """They say the same, and what this run prints for a value stands for it from now on."""
        shown, real = [sorted(filter(_is_promised, lines), key=_essence) for lines in (shown, real)]
        assert list(map(_essence, real)) == list(map(_essence, shown))
        for shown_line, real_line in zip(shown, real, strict=True):
            if not shown_line.startswith("{"):
                self.values |= dict(zip(_OWN.findall(shown_line), _OWN.findall(real_line), strict=True))

    def stop(self) -> None:
        """The server has printed what is shown, and ends well."""
        if self.server is not None:
            server, self.server = self.server, None
            try:
                self.learn(self._told, server.lines(len(self._told)))
            finally:
                assert server.stop(signal.SIGTERM) == 0

    def clear(self) -> None:
        """After a failure, too."""
        for terminal, _ in self.listeners:
            terminal.stop(signal.SIGKILL)
        if self.server is not None:
            self.server.stop(signal.SIGKILL)


def test_the_transcripts(tmp_path: Path) -> None:
    """Whatever listens goes on until its proof is verified, or the server is stopped: both wait for what it prints."""
    (tmp_path / "notes.txt").write_text(NOTES)
    shell = Shell(tmp_path)
    try:
        for command, shown in _transcript():
            shell.run(command, shown)
        shell.stop()
    finally:
        shell.clear()


def test_the_python_example(tmp_path: Path) -> None:
    assert run_noise("init", "--data", str(tmp_path / "provider")).returncode == 0
    argv = [sys.executable, "-m", "noise", "serve", "--data", "./provider", "--bind", "127.0.0.1:0"]
    server = Terminal(argv, tmp_path)
    try:
        url = server.lines(1)[0].split()[1].removeprefix("url=")
        (example,) = _blocks("python")
        done = subprocess.run(
            [sys.executable, "-c", example.replace(f"http://{_ADDRESS}", url)],
            capture_output=True,
            text=True,
            env=client_environment(),
            cwd=tmp_path,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[1:] == ["verified: b'a note to myself'", "the provider is ok"]
    finally:
        server.stop(signal.SIGTERM)


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
