"""Sealing: what is sealed opens for its recipients, as what it is, and for nobody and as nothing else."""

from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol import sealing
from noise.protocol.envelope import Recipients, check_limits, ciphertext_leaf_hashes
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.limits import CIPHERTEXT_BYTES_MAX, MESSAGE_BYTES_MAX
from noise.protocol.prekeys import SMALL_ORDER_PUBLICS
from noise.protocol.sealing import (
    GOSSIP_BYTES_MAX,
    PAYLOAD_BODY_BYTES_MAX,
    PAYLOAD_DATA,
    PAYLOAD_GOSSIP,
    BoxFor,
    CannotOpen,
    CannotSeal,
    KeyBox,
    Payload,
    open_box,
    open_common,
    seal,
    seal_context,
    sealed_for,
)
from tests.protocol import naive_hpke
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, device_of, filler, recipients_of, seed_of

NAMES = ("alice", "bob", "carol")
SENDER = device_of("alice")
CONTENT_KEY = filler("content key", 16)
DATA = Payload(PAYLOAD_DATA, b"the body")


class Sealed(NamedTuple):
    recipients: Recipients
    context: bytes
    common: bytes
    ciphertexts: dict[bytes, bytes]


def private_key_of(name: str) -> bytes:
    return seed_of(f"prekey of {name}")


def prekey_id_of(name: str) -> bytes:
    return filler(f"prekey id of {name}", 8)


@cache
def box_for(name: str, gossip: bytes = b"") -> BoxFor:
    return BoxFor(prekey_id_of(name), naive_hpke.public_of(private_key_of(name)), gossip)


def boxes_for(*names: str, **gossip: bytes) -> dict[bytes, BoxFor]:
    return {device_of(name): box_for(name, gossip.get(name, b"")) for name in names}


def seal_for(*names: str, ctr: int = 7, payload: Payload = DATA, key: bytes = CONTENT_KEY, **gossip: bytes) -> Sealed:
    recipients = recipients_of(*names)
    boxes = boxes_for(*names, **gossip)
    common, ciphertexts = seal(ORIGIN, SENDER, ctr, recipients, payload, key, boxes)
    context = seal_context(ORIGIN, SENDER, ctr, recipients.root)
    return Sealed(recipients, context, common, dict(zip(recipients.device_ids, ciphertexts, strict=True)))


def open_as(name: str, sealed: Sealed) -> tuple[Payload, bytes]:
    device_id = device_of(name)
    ciphertext = sealed.ciphertexts[device_id]
    assert sealed_for(ciphertext) == prekey_id_of(name)
    box = open_box(sealed.context, device_id, ciphertext, private_key_of(name))
    return open_common(sealed.context, sealed.common, box.content_key), box.gossip


def refused(call: Any, *arguments: Any) -> None:
    with pytest.raises(CannotOpen) as caught:
        call(*arguments)
    assert (type(caught.value), caught.value.code) == (CannotOpen, "cannot-open")


def test_naive_hpke_is_that_of_the_rfc() -> None:
    vector = {name: bytes.fromhex(text) for name, text in naive_hpke.A_1_1.items()}
    sealed = naive_hpke.seal(vector["pt"], vector["pk_r"], vector["info"], vector["sk_e"], vector["aad"])
    assert sealed == vector["enc"] + vector["ct"]
    assert naive_hpke.open_sealed(sealed, vector["sk_r"], vector["info"], vector["aad"]) == vector["pt"]
    secret = naive_hpke.shared_secret(naive_hpke.dh(vector["sk_r"], vector["enc"]), vector["enc"], vector["pk_r"])
    assert secret == vector["shared_secret"]
    assert naive_hpke.key_schedule(secret, vector["info"]) == (vector["key"], vector["base_nonce"])


def test_boxes_are_hpke() -> None:
    """Each opens the other's: the library we seal with, and what the RFC says."""
    sealed = seal_for(*NAMES, bob=b"gossip")
    for name in NAMES:
        info = sha256(b"noise-seq/1/seal/box").digest() + sealed.context + device_of(name) + prekey_id_of(name)
        own = sealed.ciphertexts[device_of(name)]
        plain = naive_hpke.open_sealed(own[8:], private_key_of(name), info)
        gossip = b"gossip" if name == "bob" else b""
        assert plain == CONTENT_KEY + len(gossip).to_bytes(2, "big") + gossip.ljust(6, b"\0")
        again = naive_hpke.seal(plain, box_for(name).public, info, seed_of("ephemeral"))
        assert open_box(sealed.context, device_of(name), prekey_id_of(name) + again, private_key_of(name)) == KeyBox(
            CONTENT_KEY, gossip
        )


def test_common_is_what_the_protocol_says() -> None:
    sealed = seal_for("alice", "bob")

    def labeled(label: bytes, message: bytes) -> bytes:
        return sha256(sha256(b"noise-seq/1/h/" + label).digest() + message).digest()

    context = labeled(b"seal", ORIGIN + SENDER + (7).to_bytes(8, "big") + sealed.recipients.root)
    assert sealed.context == context
    content = AESGCM(CONTENT_KEY).encrypt(bytes(12), b"\x01the body", context)
    assert sealed.common == labeled(b"commit", CONTENT_KEY + context) + content


GOSSIP = st.one_of(st.just(b""), st.binary(max_size=400))


@given(
    names=st.sets(st.sampled_from(NAMES)),
    kind=st.sampled_from((PAYLOAD_DATA, PAYLOAD_GOSSIP)),
    body=st.binary(max_size=200),
    gossip=st.fixed_dictionaries(dict.fromkeys(NAMES, GOSSIP)),
    ctr=st.integers(0, 2**64 - 1),
)
@settings(max_examples=30, deadline=None)
def test_every_recipient_reads_the_same(
    names: set[str], kind: int, body: bytes, gossip: dict[str, bytes], ctr: int
) -> None:
    everybody = sorted({"alice", *names})
    sealed = seal_for(*everybody, ctr=ctr, payload=Payload(kind, body), **{name: gossip[name] for name in everybody})
    assert [*sealed.ciphertexts] == sorted(sealed.ciphertexts)
    for name in everybody:
        assert open_as(name, sealed) == (Payload(kind, body), gossip[name])
    assert len({len(ciphertext) for ciphertext in sealed.ciphertexts.values()}) == 1
    assert len(sealed.common) == len(body) + sealing.COMMON_OVERHEAD_BYTES
    longest = max(len(gossip[name]) for name in everybody)
    assert len(sealed.ciphertexts[SENDER]) == longest + sealing.BOX_OVERHEAD_BYTES


def test_ciphertexts_say_nothing_twice() -> None:
    """The same boxes sealed again are other bytes, and no two recipients have anything in common."""
    one, other = seal_for(*NAMES), seal_for(*NAMES)
    heads = [ciphertext[8:40] for sealed in (one, other) for ciphertext in sealed.ciphertexts.values()]
    assert len(set(heads)) == len(heads) == 6
    assert one.common == other.common  # as long as the content key is


def test_largest_fits_into_what_acceptance_takes() -> None:
    body, gossip = bytes(PAYLOAD_BODY_BYTES_MAX), bytes(range(256)) * 20
    sealed = seal_for("alice", payload=Payload(PAYLOAD_DATA, body), alice=gossip[:GOSSIP_BYTES_MAX])
    assert open_as("alice", sealed) == (Payload(PAYLOAD_DATA, body), gossip[:GOSSIP_BYTES_MAX])
    own = sealed.ciphertexts[SENDER]
    assert (len(sealed.common), len(own)) == (MESSAGE_BYTES_MAX, CIPHERTEXT_BYTES_MAX)
    check_limits(1, 1, [(0, 0, len(sealed.common), len(own))])  # type: ignore[list-item]
    assert len(ciphertext_leaf_hashes(own, len(own))) == 1
    for code, payload, ours in (
        ("message-too-large", Payload(PAYLOAD_DATA, body + b"x"), b""),
        ("ciphertext-too-large", DATA, gossip[: GOSSIP_BYTES_MAX + 1]),
    ):
        with pytest.raises(Rejected) as caught:
            seal_for("alice", payload=payload, alice=ours)
        assert caught.value.code == code


def other_contexts(sealed: Sealed) -> Iterator[bytes]:
    root = sealed.recipients.root
    yield seal_context(OTHER_ORIGIN, SENDER, 7, root)
    yield seal_context(ORIGIN, device_of("bob"), 7, root)
    yield seal_context(ORIGIN, SENDER, 8, root)
    yield seal_context(ORIGIN, SENDER, 7, recipients_of("alice", "bob").root)
    yield seal_context(ORIGIN, SENDER, 7, recipients_of(*NAMES, salt="another").root)


def test_nothing_opens_as_part_of_another_message() -> None:
    sealed = seal_for(*NAMES)
    others = list(other_contexts(sealed))
    assert len({sealed.context, *others}) == 6
    for context in others:
        refused(open_box, context, SENDER, sealed.ciphertexts[SENDER], private_key_of("alice"))
        refused(open_common, context, sealed.common, CONTENT_KEY)


def test_box_opens_for_its_recipient_alone() -> None:
    sealed = seal_for(*NAMES)
    bob, carol = device_of("bob"), device_of("carol")
    refused(open_box, sealed.context, bob, sealed.ciphertexts[carol], private_key_of("bob"))
    refused(open_box, sealed.context, bob, sealed.ciphertexts[bob], private_key_of("carol"))
    refused(open_box, sealed.context, carol, sealed.ciphertexts[bob], private_key_of("bob"))
    renamed = prekey_id_of("carol") + sealed.ciphertexts[bob][8:]
    refused(open_box, sealed.context, bob, renamed, private_key_of("bob"))
    for key in (b"", b"short", bytes(33)):
        refused(open_box, sealed.context, bob, sealed.ciphertexts[bob], key)


def test_every_bit_counts() -> None:
    sealed = seal_for("alice", alice=b"gossip")
    own = sealed.ciphertexts[SENDER]
    for data, call in (
        (own, lambda changed: open_box(sealed.context, SENDER, changed, private_key_of("alice"))),
        (sealed.common, lambda changed: open_common(sealed.context, changed, CONTENT_KEY)),
    ):
        for place in range(len(data) * 8):
            # X25519 masks the top bit of a public key (RFC 7748, 5), yet HPKE hashes the encapsulation as it stands.
            changed = bytearray(data)
            changed[place // 8] ^= 1 << place % 8
            refused(call, bytes(changed))
        for cut in range(len(data)):
            refused(call, data[:cut])
        refused(call, data + b"\0")
    for cut in range(sealing.BOX_OVERHEAD_BYTES):
        refused(sealed_for, own[:cut])


@given(st.binary(max_size=300), st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_junk_is_refused(junk: bytes, key: bytes) -> None:
    context = seal_context(ORIGIN, SENDER, 1, bytes(32))
    refused(open_box, context, SENDER, junk, private_key_of("alice"))
    refused(open_box, context, SENDER, junk, key)
    refused(open_common, context, junk, CONTENT_KEY)
    refused(open_common, context, junk, key)


def make_box(context: bytes, plain: bytes) -> bytes:
    """A ciphertext that opens, and holds what its sender, who does not keep to the protocol, likes."""
    info = sha256(b"noise-seq/1/seal/box").digest() + context + SENDER + prekey_id_of("alice")
    return prekey_id_of("alice") + naive_hpke.seal(plain, box_for("alice").public, info, seed_of("ephemeral"))


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        bytes(17),
        CONTENT_KEY + b"\x00\x05abcd",
        CONTENT_KEY + b"\xff\xff" + bytes(50),
        CONTENT_KEY + b"\x00\x02ab\x01",
        CONTENT_KEY + b"\x00\x02ab" + bytes(30) + b"x",
    ],
)
def test_box_of_another_shape_is_refused(plain: bytes) -> None:
    context = seal_context(ORIGIN, SENDER, 1, bytes(32))
    refused(open_box, context, SENDER, make_box(context, plain), private_key_of("alice"))
    good = make_box(context, CONTENT_KEY + b"\x00\x02ab" + bytes(30))
    assert open_box(context, SENDER, good, private_key_of("alice")) == KeyBox(CONTENT_KEY, b"ab")


def test_small_order_encapsulations_are_refused() -> None:
    context = seal_context(ORIGIN, SENDER, 1, bytes(32))
    good = make_box(context, CONTENT_KEY + b"\0\0")
    for point in SMALL_ORDER_PUBLICS:
        refused(open_box, context, SENDER, good[:8] + point + good[40:], private_key_of("alice"))


def seal_as_kind(context: bytes, plain: bytes) -> bytes:
    return sealing._hash_commitment(CONTENT_KEY + context) + AESGCM(CONTENT_KEY).encrypt(bytes(12), plain, context)


def test_other_kinds_are_refused() -> None:
    context = seal_context(ORIGIN, SENDER, 1, bytes(32))
    for kind in (0, 3, 255):
        refused(open_common, context, seal_as_kind(context, bytes([kind]) + b"body"), CONTENT_KEY)
    refused(open_common, context, seal_as_kind(context, b""), CONTENT_KEY)
    assert open_common(context, seal_as_kind(context, b"\x02"), CONTENT_KEY) == Payload(PAYLOAD_GOSSIP, b"")


@pytest.mark.parametrize(
    "change",
    [
        {"content_key": b"short"},
        {"content_key": bytes(32)},
        {"payload": Payload(0, b"")},
        {"payload": Payload(256, b"")},
        {"boxes": boxes_for("alice")},
        {"boxes": boxes_for("alice", "bob", "carol")},
        {"boxes": {}},
        {"boxes": boxes_for("alice") | {device_of("bob"): box_for("bob")._replace(prekey_id=b"short")}},
        {"boxes": boxes_for("alice") | {device_of("bob"): box_for("bob")._replace(public=bytes(31))}},
        *(
            {"boxes": boxes_for("alice") | {device_of("bob"): box_for("bob")._replace(public=point)}}
            for point in sorted(SMALL_ORDER_PUBLICS)
        ),
    ],
)
def test_what_cannot_be_sealed(change: dict[str, Any]) -> None:
    arguments = {"payload": DATA, "content_key": CONTENT_KEY, "boxes": boxes_for("alice", "bob")} | change
    with pytest.raises(NoiseError) as caught:
        seal(ORIGIN, SENDER, 1, recipients_of("alice", "bob"), **arguments)
    assert (type(caught.value), caught.value.code) == (CannotSeal, "cannot-seal")


def test_fresh_keys_work_too() -> None:
    key = X25519PrivateKey.generate()
    box = BoxFor(bytes(8), key.public_key().public_bytes_raw(), b"")
    recipients = recipients_of("alice")
    _, (own,) = seal(ORIGIN, SENDER, 1, recipients, DATA, CONTENT_KEY, {SENDER: box})
    context = seal_context(ORIGIN, SENDER, 1, recipients.root)
    assert open_box(context, SENDER, own, key.private_bytes_raw()) == KeyBox(CONTENT_KEY, b"")
