"""What the kernel says: processor time and memory of a process, what the machine is, and what else it is doing.

Knows nothing of what is measured. Source: proc(5).
"""

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_FSYNCS = 40


def process_cpu_s(pid: int) -> float:
    """User and system time of all threads, those that have ended too; in steps of a clock tick, 10 ms as a rule."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_busy_s() -> float:
    """Processor time that anything at all has used, all cores together, hypervisor's theft included."""
    fields = [int(field) for field in Path("/proc/stat").read_text("utf-8").splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS


class Memory(NamedTuple):
    """In MiB."""

    resident: float
    peak: float


def process_memory(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    sizes = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return Memory(int(sizes["VmRSS"][0]) / 1024, int(sizes["VmHWM"][0]) / 1024)


def filesystem_of(path: Path) -> str:
    """The type of the file system under `path`: ext4, xfs, tmpfs, ..."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        _, mount, found, *_ = line.split()
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def fsync_us(directory: Path) -> float:
    """The median time of appending 4 KiB to a file and syncing it."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(_FSYNCS):
            started = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe(directory: Path) -> dict[str, str]:
    """The machine, the software, and the disk under `directory`."""
    return {
        "processor": f"{_cpu_model()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "disk": f"{filesystem_of(directory)}, a 4 KiB append with fsync takes {fsync_us(directory):.0f} us",
        "load average": f"{os.getloadavg()[0]:.2f} in the last minute, before this began",
    }
