"""Forged bundles differ from the true ones in the one thing that they lie about, and in what follows from it.

Knows nothing of providers.
"""

import pytest

from noise.demo.zoo.forgery import (
    NOBODY,
    Change,
    Forger,
    change_ciphertext,
    change_payload,
    change_recipients,
    drafts_of,
    rebuild,
    shifted,
)
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle, open_bundle
from noise.protocol.errors import SignatureError
from noise.protocol.identifiers import device_id_of
from noise.protocol.signing import Signer

ORIGIN = bytes(31) + b"\x01"
SIGNERS = [Signer(bytes(31) + bytes([n])) for n in range(1, 5)]
IDS = [device_id_of(signer.public_key) for signer in SIGNERS]


def members(*ids: bytes) -> Recipients:
    return Recipients(RecipientSet(bytes(16), tuple(sorted(ids))))


def made_by(sender: int) -> Bundle:
    """Three messages to two sets of recipients, the last without ciphertexts."""
    everybody, two = members(*IDS), members(IDS[sender], IDS[sender - 1])
    drafts = [
        Draft(everybody, b"first", tuple(b"1" + i for i in everybody.device_ids), 1),
        Draft(two, b"second", tuple(b"2" + i for i in two.device_ids), 2),
        Draft(everybody, b"", (), 3),
    ]
    return build_bundle(SIGNERS[sender], ORIGIN, 7, drafts)


@pytest.mark.parametrize("sender", range(4))
def test_rebuilt_bundle_is_the_same(sender: int) -> None:
    bundle = made_by(sender)
    assert rebuild(bundle, drafts_of(bundle)).encode() == bundle.encode()


@pytest.mark.parametrize("change", [change_payload, change_recipients, change_ciphertext])
@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("sender", range(4))
def test_one_thing_changes_and_the_signature_no_longer_fits(change: Change, index: int, sender: int) -> None:
    bundle, victim = made_by(sender), IDS[sender - 1]
    if change is change_ciphertext and not bundle.ciphertext_columns[index]:
        return
    changed = change(bundle, index, victim)
    with pytest.raises(SignatureError):
        open_bundle(changed.encode(), ORIGIN)
    for i, (before, after) in enumerate(zip(drafts_of(bundle), drafts_of(changed), strict=True)):
        if i != index:
            assert after.recipients.root == before.recipients.root
            assert after[1:] == before[1:]
        elif change is change_payload:
            assert after._replace(common=b"") == before._replace(common=b"", recipients=after.recipients)
            assert after.common == shifted(before.common) != before.common
        elif change is change_ciphertext:
            place = before.recipients.index(victim)
            differing = [n for n, pair in enumerate(zip(before[2], after[2], strict=True)) if pair[0] != pair[1]]
            assert differing == [place]
        else:
            kept = set(after.recipients.device_ids)
            assert {victim, bundle.sender} <= kept
            assert len(kept ^ set(before.recipients.device_ids)) == 1
            of = dict(zip(before.recipients.device_ids, before.ciphertexts, strict=False))
            for device_id, ciphertext in zip(after.recipients.device_ids, after.ciphertexts, strict=False):
                assert device_id == NOBODY or ciphertext == of[device_id]


def test_forger_signs_as_itself() -> None:
    forger, bundle = Forger(), made_by(0)
    forged = open_bundle(forger.change_sender(bundle, 0, IDS[1]).encode(), ORIGIN)
    assert forged.sender == forger.device_id
    assert forged.commons == bundle.commons
    for after, before in zip(drafts_of(forged), drafts_of(bundle), strict=True):
        assert set(after.recipients.device_ids) == {*before.recipients.device_ids, forger.device_id}
