"""Node.js for the checks of the browser client: `python -m tests.javascript tsc` or `... prettier`.

Node comes with the development tools from PyPI, what it runs from npm as clients/browser/package-lock.json pins it. The
client itself needs neither. Knows nothing of what is checked.
"""

import fcntl
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "clients" / "browser"
PACKAGES = CLIENT / "node_modules"
LOCK = CLIENT / "package-lock.json"
MARK = PACKAGES / ".installed-lock.json"  # the lock file that PACKAGES was installed from

COMMANDS = {
    "tsc": ["typescript/bin/tsc", "--project", "."],
    "prettier": ["prettier/bin/prettier.cjs", "--check", "--log-level", "warn", ".", "../../tests/browser"],
}


def node() -> str:
    """The Node of this environment."""
    path = Path(sysconfig.get_path("scripts"), "node")
    if not path.exists():
        raise FileNotFoundError("no Node.js in this environment: pip install -e '.[dev]' brings it")
    return str(path)


def install_packages() -> Path:
    """The directory of the pinned npm packages, installed if it is missing or older than the lock file."""
    with (CLIENT / ".npm-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes come at the same time
        if not MARK.exists() or MARK.read_bytes() != LOCK.read_bytes():
            npm = str(Path(node()).with_name("npm"))
            subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=CLIENT, check=True)
            MARK.write_bytes(LOCK.read_bytes())
    return PACKAGES


def main() -> int:
    script, *arguments = COMMANDS[sys.argv[1]]
    return subprocess.run([node(), install_packages() / script, *arguments], cwd=CLIENT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
