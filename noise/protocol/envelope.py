"""Messages: recipient sets, envelopes, and bundles that a device signs once.

Knows nothing of epochs, positions or mailboxes. The bytes are `docs/protocol.md`, "Messages". On the wire everything
that follows from other fields is left out; `open_bundle` reconstructs it and checks the one signature.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import sha256
from operator import lt
from typing import Annotated, NamedTuple

from noise.protocol.encoding import (
    U16,
    U32,
    U64,
    Bytes16,
    Bytes32,
    Bytes64,
    Hashes,
    Vec32,
    list_of,
    struct_codec,
)
from noise.protocol.errors import DecodeError, Rejected
from noise.protocol.identifiers import device_id_of
from noise.protocol.limits import (
    BUNDLE_BYTES_MAX,
    BUNDLE_CIPHERTEXTS_MAX,
    BUNDLE_MESSAGES_MAX,
    BUNDLE_RECIPIENT_IDS_MAX,
    CIPHERTEXT_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    RECIPIENTS_MAX,
)
from noise.protocol.merkle import Tree, leaf_hash, tree_root
from noise.protocol.signing import Signer, hasher, tag, verify_strict

RECIPIENT_LEAF = (16).to_bytes(2, "big")
ENVELOPE_LEAF = (17).to_bytes(2, "big")
CIPHERTEXT_LEAF = (18).to_bytes(2, "big")

hash_envelope = hasher("env")
hash_bundle = hasher("bundle")
hash_ciphertext = hasher("ct")
_hash_recipient = hasher("rcpt")
_hash_salt = hasher("rsalt")
_PAYLOAD_TAG = tag("h/payload")
_ENVELOPE_TAG = tag("h/env")
_ENVELOPE_LEAF_PREFIX = b"\x00" + ENVELOPE_LEAF
_NO_CIPHERTEXTS = Tree(())


class Envelope(NamedTuple):
    """What a sender commits to for one message. `n_ciphertexts` is 0 (common ciphertext only) or `n_recipients`."""

    sender: Bytes32
    sender_ctr: U64
    recipients_root: Bytes32
    n_recipients: U16
    common_len: U32
    payload_hash: Bytes32
    n_ciphertexts: U16
    ciphertexts_root: Bytes32
    created_ms: U64


ENVELOPE = struct_codec(Envelope, record_type=1)


class BundleHeader(NamedTuple):
    """What a device signs: `n_envelopes` envelopes with contiguous counters, and the root over their hashes."""

    origin: Bytes32
    sender: Bytes32
    key: Bytes32
    first_ctr: U64
    n_envelopes: U16
    root: Bytes32


BUNDLE_HEADER = struct_codec(BundleHeader, record_type=2)


class RecipientSet(NamedTuple):
    """Who receives (sorted, unique), and the salt that hides them in `recipients_root`; evidence never opens it."""

    env_salt: Bytes16
    device_ids: Hashes


RECIPIENT_SET = struct_codec(RecipientSet)


class EnvelopeRow(NamedTuple):
    """The part of an envelope that nothing else implies. `ciphertext_len` 0: no per-recipient ciphertexts."""

    set_index: U16
    created_ms: U64
    common_len: U32
    ciphertext_len: U16


ENVELOPE_ROW = struct_codec(EnvelopeRow)


class BundleWire(NamedTuple):
    """A bundle as a device sends it. `sets` stand in the order of their first use.

    `commons`: the rows' common ciphertexts, joined. `ciphertexts`: for each row that has them, one of `ciphertext_len`
    bytes for each recipient in the set's order, joined.
    """

    origin: Bytes32
    key: Bytes32
    first_ctr: U64
    signature: Bytes64
    sets: Annotated[tuple[RecipientSet, ...], list_of(RECIPIENT_SET)]
    rows: Annotated[tuple[EnvelopeRow, ...], list_of(ENVELOPE_ROW)]
    commons: Vec32
    ciphertexts: Vec32


BUNDLE_WIRE = struct_codec(BundleWire)
BUNDLE_KEY_AT = 32
"""Where the sender's key stands in an encoded bundle."""


class Recipients:
    """A recipient set whose root is computed. `device_ids` is sorted and unique."""

    __slots__ = ("device_ids", "env_salt", "root")

    def __init__(self, recipient_set: RecipientSet) -> None:
        """Raises Rejected when the set is empty, too large, unsorted or repeats, DecodeError when its parts have other
        lengths. Costs four hashes a recipient."""
        self.env_salt, self.device_ids = recipient_set
        if len(self.env_salt) != 16 or not {32}.issuperset(map(len, self.device_ids)):
            raise DecodeError("a salt has 16 bytes, a device id 32")
        if not self.device_ids:
            raise Rejected("a message needs recipients", code="no-recipients")
        if len(self.device_ids) > RECIPIENTS_MAX:
            raise Rejected(f"more than {RECIPIENTS_MAX} recipients", code="too-many-recipients")
        if not all(map(lt, self.device_ids, self.device_ids[1:])):
            repeats = len(set(self.device_ids)) < len(self.device_ids)
            raise Rejected(
                "recipients must be sorted and unique",
                code="duplicate-recipients" if repeats else "unsorted-recipients",
            )
        self.root = tree_root(recipient_leaf_hashes(self.env_salt, self.device_ids))

    def index(self, device_id: bytes) -> int:
        """The place of a device in the set, or -1."""
        place = bisect_left(self.device_ids, device_id)
        return place if place < len(self.device_ids) and self.device_ids[place] == device_id else -1


def recipient_leaf_hashes(env_salt: bytes, device_ids: Sequence[bytes]) -> list[bytes]:
    """Leaf hashes over `H("rcpt", salt_i || id)`, `salt_i = H("rsalt", env_salt || id)[:16]`: one opens alone."""
    return [leaf_hash(RECIPIENT_LEAF + _hash_recipient(_hash_salt(env_salt + i)[:16] + i)) for i in device_ids]


def ciphertext_leaf_hashes(ciphertexts: bytes, size: int) -> list[bytes]:
    """Leaf hashes of equally long ciphertexts that stand joined; `size` is the length of one, in bytes."""
    return [
        leaf_hash(CIPHERTEXT_LEAF + hash_ciphertext(ciphertexts[i : i + size]))
        for i in range(0, len(ciphertexts), size)
    ]


def envelope_leaf_hashes(env_hashes: Sequence[bytes]) -> list[bytes]:
    """Leaf hashes of a bundle's tree."""
    return [sha256(_ENVELOPE_LEAF_PREFIX + h).digest() for h in env_hashes]


def split_commons(rows: Sequence[EnvelopeRow], commons: bytes) -> list[bytes]:
    """The joined common ciphertexts, apart. Raises DecodeError when lengths do not add up."""
    parts = []
    pos = 0
    for row in rows:
        end = pos + row[2]
        parts.append(commons[pos:end])
        pos = end
    if pos != len(commons):
        raise DecodeError("common ciphertexts do not fill their column")
    return parts


def hash_envelopes(
    sender: bytes,
    ctrs: Sequence[int],
    rows: Sequence[EnvelopeRow],
    recipients: Sequence[Recipients],
    commons: Sequence[bytes],
    ciphertexts_roots: Sequence[bytes],
) -> tuple[list[bytes], list[bytes]]:
    """(env_hash, payload_hash) columns of envelopes, from what the wire carries and what was reconstructed."""
    pack = ENVELOPE.pack
    payload_hashes = [sha256(_PAYLOAD_TAG + common).digest() for common in commons]
    shapes = [(r.root, len(r.device_ids)) for r in recipients]
    env_hashes = []
    for ctr, (set_index, created_ms, common_len, ct_len), payload_hash, ct_root in zip(
        ctrs, rows, payload_hashes, ciphertexts_roots, strict=True
    ):
        root, n = shapes[set_index]
        body = pack(sender, ctr, root, n, common_len, payload_hash, n if ct_len else 0, ct_root, created_ms)
        env_hashes.append(sha256(_ENVELOPE_TAG + body).digest())
    return env_hashes, payload_hashes


class Bundle:
    """An accepted or built bundle, with all that the wire leaves out, as columns.

    `ciphertext_columns[i]` is the joined per-recipient ciphertexts of row i (empty: none), `ciphertext_trees[i]` the
    tree over them: every recipient gets a proof from it.
    """

    __slots__ = (
        "_tree",
        "body",
        "bundle_hash",
        "ciphertext_columns",
        "ciphertext_trees",
        "ciphertexts_roots",
        "commons",
        "env_hashes",
        "first_ctr",
        "has_ciphertexts",
        "key",
        "origin",
        "payload_hashes",
        "recipients",
        "root",
        "rows",
        "sender",
        "signature",
    )

    def __init__(
        self,
        origin: bytes,
        key: bytes,
        first_ctr: int,
        recipients: list[Recipients],
        rows: tuple[EnvelopeRow, ...],
        commons: list[bytes],
        ciphertexts: bytes,
    ) -> None:
        self.origin = origin
        self.key = key
        self.sender = device_id_of(key)
        self.first_ctr = first_ctr
        self.recipients = recipients
        self.rows = rows
        self.commons = commons
        self.ciphertext_columns = _split_ciphertexts(rows, recipients, ciphertexts)
        self.has_ciphertexts = any(self.ciphertext_columns)
        self.ciphertext_trees = [
            Tree(ciphertext_leaf_hashes(column, row[3])) if column else _NO_CIPHERTEXTS
            for row, column in zip(rows, self.ciphertext_columns, strict=True)
        ]
        self.ciphertexts_roots = [tree.root for tree in self.ciphertext_trees]
        ctrs = range(first_ctr, first_ctr + len(rows))
        self.env_hashes, self.payload_hashes = hash_envelopes(
            self.sender, ctrs, rows, recipients, commons, self.ciphertexts_roots
        )
        self._tree = Tree(envelope_leaf_hashes(self.env_hashes))
        self.root = self._tree.root
        self.body = BUNDLE_HEADER.pack(origin, self.sender, key, first_ctr, len(rows), self.root)
        self.bundle_hash = hash_bundle(self.body)
        self.signature = b""

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def delivery_count(self) -> int:
        """How many deliveries its messages make, one for each recipient of each."""
        sizes = [len(recipients.device_ids) for recipients in self.recipients]
        return sum([sizes[row[0]] for row in self.rows])

    def tree(self) -> Tree:
        """The tree over the envelope hashes, for proofs of a part of the bundle."""
        return self._tree

    def encode(self) -> bytes:
        """The wire form. Needs the signature."""
        sets = tuple(RecipientSet(r.env_salt, r.device_ids) for r in self.recipients)
        return BUNDLE_WIRE.encode(
            BundleWire(
                self.origin,
                self.key,
                self.first_ctr,
                self.signature,
                sets,
                self.rows,
                b"".join(self.commons),
                b"".join(self.ciphertext_columns),
            )
        )


def _split_ciphertexts(
    rows: Sequence[EnvelopeRow], recipients: Sequence[Recipients], ciphertexts: bytes
) -> list[bytes]:
    if not ciphertexts and not any(row[3] for row in rows):
        return [b""] * len(rows)
    columns = []
    pos = 0
    for row in rows:
        end = pos + row[3] * len(recipients[row[0]].device_ids)
        columns.append(ciphertexts[pos:end])
        pos = end
    if pos != len(ciphertexts):
        raise DecodeError("per-recipient ciphertexts do not fill their column")
    return columns


class Draft(NamedTuple):
    """One message to be bundled. `ciphertexts` is empty, or one per recipient in sorted order, equally long."""

    recipients: Recipients
    common: bytes
    ciphertexts: tuple[bytes, ...]
    created_ms: int


def build_bundle(signer: Signer, origin: bytes, first_ctr: int, drafts: Sequence[Draft]) -> Bundle:
    """Sign drafts as one bundle. The sender must be in every recipient set. Raises Rejected or DecodeError."""
    recipients: list[Recipients] = []
    places: dict[bytes, int] = {}
    rows = []
    for draft in drafts:
        place = places.setdefault(draft.recipients.root, len(recipients))
        if place == len(recipients):
            recipients.append(draft.recipients)
        sizes = [len(ciphertext) for ciphertext in draft.ciphertexts]
        if sizes and (sizes != sizes[:1] * len(draft.recipients.device_ids) or not sizes[0]):
            raise DecodeError("ciphertexts are one for each recipient, equally long, and not empty")
        rows.append(EnvelopeRow(place, draft.created_ms, len(draft.common), sizes[0] if sizes else 0))
    check_limits(first_ctr, len(rows), rows)
    check_ciphertexts(rows, [len(members.device_ids) for members in recipients])
    bundle = Bundle(
        origin,
        signer.public_key,
        first_ctr,
        recipients,
        tuple(rows),
        [draft.common for draft in drafts],
        b"".join([ciphertext for draft in drafts for ciphertext in draft.ciphertexts]),
    )
    check_sender(bundle.sender, recipients)
    bundle.signature = signer.sign("bundle", origin, bundle.body).signature
    return bundle


def check_limits(first_ctr: int, n_envelopes: int, rows: Sequence[EnvelopeRow]) -> None:
    """The limits of one bundle, of which `rows` are all or a part. Raises Rejected with a code of its own for each."""
    if not rows or n_envelopes > BUNDLE_MESSAGES_MAX:
        raise Rejected(f"a bundle has 1 to {BUNDLE_MESSAGES_MAX} messages", code="bundle-count")
    if first_ctr + n_envelopes > 2**64 - 1:
        raise Rejected("sender counter is exhausted", code="counter-overflow")
    if max([row[2] for row in rows]) > MESSAGE_BYTES_MAX:
        raise Rejected(f"a message has at most {MESSAGE_BYTES_MAX} bytes", code="message-too-large")
    if max([row[3] for row in rows]) > CIPHERTEXT_BYTES_MAX:
        raise Rejected(f"a ciphertext has at most {CIPHERTEXT_BYTES_MAX} bytes", code="ciphertext-too-large")


def check_ciphertexts(rows: Sequence[EnvelopeRow], set_sizes: Sequence[int]) -> None:
    """A bundle's per-recipient ciphertexts are not too many to prove. Raises Rejected. Before anything is hashed."""
    if sum([set_sizes[row[0]] for row in rows if row[3]]) > BUNDLE_CIPHERTEXTS_MAX:
        raise Rejected(
            f"a bundle has at most {BUNDLE_CIPHERTEXTS_MAX} per-recipient ciphertexts", code="too-many-ciphertexts"
        )


def check_sender(sender: bytes, recipients: Sequence[Recipients]) -> None:
    """A sender receives what it sends: it sees its own order. Raises Rejected."""
    if any(members.index(sender) < 0 for members in recipients):
        raise Rejected("the sender must be among the recipients", code="sender-not-recipient")


def _check_sets(wire: BundleWire) -> None:
    if sum([len(recipient_set.device_ids) for recipient_set in wire.sets]) > BUNDLE_RECIPIENT_IDS_MAX:
        raise Rejected(f"a bundle names at most {BUNDLE_RECIPIENT_IDS_MAX} recipients", code="too-many-recipients")
    used = list(dict.fromkeys([row[0] for row in wire.rows]))
    if used != list(range(len(wire.sets))) or len(set(wire.sets)) < len(wire.sets):
        raise DecodeError("recipient sets must stand in the order of their first use, once each")
    check_ciphertexts(wire.rows, [len(recipient_set.device_ids) for recipient_set in wire.sets])


def open_bundle(data: bytes, origin: bytes, recipients_of: Callable[[RecipientSet], Recipients] = Recipients) -> Bundle:
    """Decode, reconstruct and verify a bundle that a device sent to `origin`.

    `recipients_of` may be a cache over `Recipients`. Raises DecodeError, SignatureError or Rejected.
    """
    if len(data) > BUNDLE_BYTES_MAX:
        raise Rejected(f"a bundle has at most {BUNDLE_BYTES_MAX} bytes", code="bundle-too-large")
    wire = BUNDLE_WIRE.decode(data)
    if wire.origin != origin:
        raise Rejected("the bundle is addressed to another provider", code="wrong-origin")
    check_limits(wire.first_ctr, len(wire.rows), wire.rows)
    _check_sets(wire)
    bundle = Bundle(
        origin,
        wire.key,
        wire.first_ctr,
        [recipients_of(s) for s in wire.sets],
        wire.rows,
        split_commons(wire.rows, wire.commons),
        wire.ciphertexts,
    )
    check_sender(bundle.sender, bundle.recipients)
    verify_strict(wire.key, wire.signature, "bundle", origin, bundle.body)
    bundle.signature = wire.signature
    return bundle
