"""Honest stories from a seed: who wrote to whom, who followed how, who forgot what.

Knows nothing of what is asked about them.
"""

from random import Random
from typing import NamedTuple

from tests.protocol.evidence.materials import Witness
from tests.protocol.liar import Liar
from tests.protocol.story import letter
from tests.vectors.cast import device_of

NAMES = ("alice", "bob", "carol", "dave")
DEVICES = tuple(map(device_of, NAMES))


class Story(NamedTuple):
    """`n_messages[e]`: sequenced in epoch e."""

    liar: Liar
    witnesses: dict[bytes, Witness]
    n_messages: list[int]


def honest_story(random: Random, epochs_max: int = 8) -> Story:
    """Some epochs, which each client follows in steps and pages of its own, forgetting now and then."""
    liar = Liar(random.choice([1, 1, 3]))
    witnesses = {mailbox: Witness(mailbox) for mailbox in DEVICES}
    ctrs = dict.fromkeys(NAMES, 1)
    n_messages = []
    for number in range(random.randint(1, epochs_max)):
        if number and random.random() < 0.1:
            liar.change_roster(liar.next_roster(random.randint(1, 4)))
        bundles = []
        for sender in random.sample(NAMES, random.choice([0, 0, 1, 1, 2, 3])):
            others = random.sample(NAMES, random.randint(0, 3))
            texts = [b"%d" % random.randrange(1000) for _ in range(random.randint(1, 3))]
            to = tuple(sorted({sender, *others}))
            bundles.append(letter(sender, ctrs[sender], *texts, to=to, own=random.choice([0, 8])))
            ctrs[sender] += len(texts)
        liar.commit(*bundles)
        n_messages.append(sum(bundle.count for bundle in bundles))
        for witness in witnesses.values():
            if random.random() < 0.6:
                take_pages(witness, liar, random)
    return Story(liar, witnesses, n_messages)


def take_pages(witness: Witness, liar: Liar, random: Random) -> None:
    """Catch up with the latest epoch, perhaps not all the way, and forget something afterwards."""
    while True:
        page = random.choice([1, 2, 100])
        witness.take(liar.delta(witness.mailbox, witness.follower.cursor, records_max=page))
        cursor = witness.follower.cursor
        if cursor.hist_next == cursor.hist_size or random.random() < 0.1:
            break
    if random.random() < 0.3:
        witness.forget(random.randint(witness.base.size, witness.base.size + len(witness.records)))
