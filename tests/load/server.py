"""A real provider: `noise init` and `noise serve` as processes of their own, on a disk, at a port of the loopback.

Knows nothing of load.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_STOP_S = 60.0


class ServerFailed(Exception):
    """The server did not start, or did not end well."""


class Server(NamedTuple):
    pid: int
    url: str
    origin: str


def environment() -> dict[str, str]:
    """Ours, with the project importable whether or not it is installed."""
    paths = [str(ROOT), str(ROOT / "clients"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@contextmanager
def running_server(parent: Path, epoch_ms: int, sheets_report: Path | None = None) -> Iterator[Server]:
    """A new provider in a new directory under `parent`, which is removed afterwards. Raises ServerFailed.

    `sheets_report`: where it says, in the end, what sheets and custody cost it.
    """
    data = Path(tempfile.mkdtemp(prefix="noise-load-", dir=parent))
    try:
        noise = [sys.executable, "-m", "noise"]
        made = subprocess.run(
            [*noise, "init", "--data", str(data / "provider")],
            env=environment(),
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if made.returncode:
            raise ServerFailed("noise init failed: see above")
        serve = ["serve", "--data", str(data / "provider"), "--bind", "127.0.0.1:0", "--epoch-ms", str(epoch_ms)]
        clocked = [sys.executable, "-m", "tests.load.sheets", str(sheets_report)]
        process = subprocess.Popen(
            [*(clocked if sheets_report else noise), *serve],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for us, and then we stop it
        )
        try:
            yield _ready(process)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _ready(process: "subprocess.Popen[str]") -> Server:
    line = process.stdout.readline() if process.stdout else ""
    word, *fields = line.split()[:3] or [""]
    members = dict(field.split("=", 1) for field in fields)
    if word != "ready":
        raise ServerFailed(f"noise serve did not get ready, but said {line!r}")
    return Server(process.pid, members["url"], members["origin"])


def _stop(process: "subprocess.Popen[str]") -> None:
    """Raises ServerFailed unless the server ends as it should, with what it accepted committed."""
    if process.poll() is None:
        process.terminate()
    try:
        status = process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise ServerFailed(f"noise serve did not stop within {_STOP_S:.0f} s of SIGTERM") from None
    if status:
        raise ServerFailed(f"noise serve ended with status {status}")
