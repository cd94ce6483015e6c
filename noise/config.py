"""What an operator chooses, checked once. Read by `noise.node` and the commands only: others get plain values."""

from pathlib import Path
from typing import NamedTuple

from noise.protocol.errors import NoiseError
from noise.protocol.statements import Parameters

EPOCH_MS = 20
IDLE_MS = 5_000
HEARTBEAT_MS = 15_000
CUSTODY_EPOCHS = 65_536
CHALLENGE_EPOCHS = 1_024
MAILBOXES_MAX = 1_000_000
BIND = "127.0.0.1:8080"
LIED_MARK = "this-provider-has-lied"
"""The name of an empty file in the directory of a provider that `noise demo` had lie."""

DEFAULT_PARAMETERS = Parameters(EPOCH_MS, IDLE_MS, HEARTBEAT_MS, CUSTODY_EPOCHS, CHALLENGE_EPOCHS)


class ServeOptions(NamedTuple):
    """`epoch_ms`: shortest interval of epochs under load; `idle_ms`: longest without any; `heartbeat_ms`: longest
    silence towards a client. In epochs, `custody_epochs`: for how long actors can answer for what they did;
    `challenge_epochs`: how long they may take to. None: as before.
    `public_hosts`: see `noise.web.gateway`. `mailboxes_max`: beyond it no new mailbox comes into being.
    `auditors`: ids of the keys whose holders may see who received what, and no content."""

    data: Path
    host: str
    port: int
    topology: str
    inboxes: int | None
    outboxes: int | None
    epoch_ms: int | None
    idle_ms: int | None
    heartbeat_ms: int | None
    public_hosts: tuple[str, ...] = ()
    mailboxes_max: int = MAILBOXES_MAX
    custody_epochs: int | None = None
    challenge_epochs: int | None = None
    auditors: tuple[bytes, ...] = ()


def parse_bind(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT`. Raises NoiseError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise NoiseError(f"--bind needs HOST:PORT, such as {BIND}, and not {text!r}", code="bad-option")
    return host, int(port)


def check_options(options: ServeOptions) -> None:
    """Raises NoiseError for values that no provider can run with."""
    for name, value, least, most in (
        ("--epoch-ms", options.epoch_ms, 0, 60_000),
        ("--idle-ms", options.idle_ms, 10, 600_000),
        ("--heartbeat-ms", options.heartbeat_ms, 100, 600_000),
        ("--custody-epochs", options.custody_epochs, 1, 1_000_000_000),
        ("--challenge-epochs", options.challenge_epochs, 8, 1_000_000),
        ("--mailboxes-max", options.mailboxes_max, 0, 1_000_000_000),
    ):
        if value is not None and not least <= value <= most:
            raise NoiseError(f"{name} goes from {least} to {most}, not {value}", code="bad-option")
