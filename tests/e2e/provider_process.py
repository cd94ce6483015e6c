"""A real provider in a process of its own: made, served, killed and served again at the same address."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30
_ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(
        [str(ROOT), str(ROOT / "clients"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
}


def run_noise(*arguments: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
    """`noise ARGUMENTS`, to its end."""
    command = [sys.executable, "-m", "noise", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=_ENVIRONMENT, check=False)


def client_command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from noise_client.cli import main; sys.exit(main())", *arguments]


def client_environment() -> dict[str, str]:
    return dict(_ENVIRONMENT)


class ProviderProcess:
    """`noise serve` for one data directory. The port that the kernel chose first is kept."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.data = data
        self.flags = flags
        self.url = ""
        self.origin = ""
        self.process: subprocess.Popen[str] | None = None
        self._bind = "127.0.0.1:0"

    def start(self) -> None:
        """Until it prints that it is ready."""
        command = [sys.executable, "-m", "noise", "serve", "--data", str(self.data), "--bind", self._bind, *self.flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_ENVIRONMENT
        )
        output = self.process.stdout
        line = output.readline() if output else ""
        if not line.startswith("ready "):
            raise AssertionError(f"not ready: {line!r} {self._errors(self.process.stderr)}")
        parts = dict(part.split("=", 1) for part in line.split()[1:])
        self.url, self.origin = parts["url"], parts["origin"]
        self._bind = self.url.removeprefix("http://")

    @staticmethod
    def _errors(stream: IO[str] | None) -> str:
        return stream.read() if stream else ""

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            raise AssertionError("not started")
        self.process.send_signal(number)
        status = self.process.wait(READY_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        self.process = None
        return status


@contextmanager
def provider(data: Path, *flags: str) -> Iterator[ProviderProcess]:
    """A new provider, being served."""
    made = run_noise("init", "--data", str(data))
    assert made.returncode == 0, made.stderr
    process = ProviderProcess(data, *flags)
    process.start()
    try:
        yield process
    finally:
        if process.process is not None:
            process.kill()
