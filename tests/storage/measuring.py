"""What a device file keeps of its provider's word, under each retention policy: measured on real files.

Knows nothing of how the numbers are shown. A story is told once, and followed once for each policy. What a message
costs is what the second half of the story adds, so that nothing that a device keeps once is counted.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from noise.protocol.delta import Delta, RecipientLists
from noise.protocol.follower import Follower, new_lists
from noise.protocol.gossip import View, ViewFrame
from noise_client import Device, SqliteTrustStore, create_device_file
from noise_client.retention import Cumulative, Layered, Policy, Stability, Window
from tests.client.witnesses import Keeper
from tests.protocol.liar import Liar
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN, device_of, seed_of

SHORT_WINDOW_EPOCHS = 8
POLICIES: dict[str, Policy] = {
    "window, its default": Window(),
    f"window, {SHORT_WINDOW_EPOCHS} epochs": Window(SHORT_WINDOW_EPOCHS),
    "stability": Stability(),
    "cumulative": Cumulative(),
    "layered (the default)": Layered(),
}
GROUPS = {"pair": 2, "group of 10": 10}
"""Recipients of each message, the sender among them."""


class Kept(NamedTuple):
    """Of all messages so far. `evidence`: bytes of records, leaves and recipient lists; `file`: of pages in use."""

    n_messages: int
    evidence: int
    file: int


class Measurement(NamedTuple):
    """Bytes for each message of the second half, before anybody has compared anything, and after all have."""

    policy: str
    group: str
    n_kept_before: int
    n_kept_after: int
    evidence_before: float
    evidence_after: float
    file_before: float
    file_after: float


def measure(directory: Path, policy: str, group: str, n_epochs: int, n_per_epoch: int) -> Measurement:
    """Tell 2 * `n_epochs` epochs, with so many messages in each, from the device's own peers in turn."""
    names = ["alice", *[f"peer {n}" for n in range(1, GROUPS[group])]]
    deltas = _tell(names, 2 * n_epochs, n_per_epoch)
    before: list[Kept] = []
    after: list[Kept] = []
    for is_compared, found in ((False, before), (True, after)):
        path = directory / f"{policy} {group} {is_compared}.device"
        create_device_file(path, Device(seed_of("alice")))
        for half in (deltas[:n_epochs], deltas[n_epochs:]):
            found.append(_keep(path, POLICIES[policy], half, names[1:] if is_compared else []))
    n = n_epochs * n_per_epoch
    costs = [(second.evidence - first.evidence) / n for first, second in (before, after)]
    files = [(second.file - first.file) / n for first, second in (before, after)]
    return Measurement(policy, group, before[1].n_messages, after[1].n_messages, *costs, *files)


def _tell(names: Sequence[str], n_epochs: int, n_per_epoch: int) -> list[Delta]:
    """What alice is sent, epoch by epoch."""
    liar, ctrs = Liar(), dict.fromkeys(names, 1)
    follower = Follower(ORIGIN, device_of("alice"), last_counter=lambda _: None)
    lists = RecipientLists()
    deltas = []
    for number in range(n_epochs):
        sender = names[number % len(names)]
        liar.commit(letter(sender, ctrs[sender], *[b"%d" % n for n in range(n_per_epoch)], to=tuple(names)))
        ctrs[sender] += n_per_epoch
        deltas.append(liar.delta(follower.mailbox, follower.cursor))
        follower.adopt(follower.check_delta(deltas[-1], lists))
        lists.admit(new_lists(deltas[-1]))
    return deltas


def _keep(path: Path, policy: Policy, deltas: Sequence[Delta], compared_with: Sequence[str]) -> Kept:
    """Follow on with a device file, hear of the peers that their chains are the same, and forget what may be."""
    with closing(SqliteTrustStore(path)) as store:
        alice = Keeper("alice", policy, store)
        for delta in deltas:
            alice.take(delta)
        if alice.refusals:
            raise AssertionError(alice.refusals)
        for peer in map(device_of, compared_with):
            cuts = alice.witness.view(peer).cuts  # an honest peer's say the same
            alice.hear(peer, ViewFrame(View(None, cuts)))
        alice.witness.prune()
        n_messages, evidence = store.evidence_bytes()
    return Kept(n_messages, evidence, _pages_in_use(path))


def _pages_in_use(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        size, pages, free = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
    return int(size * (pages - free))
