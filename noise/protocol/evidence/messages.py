"""Contradictions about messages: left out, changed, reordered, or delivered to the wrong mailbox.

Knows nothing of how an opening leads to a signature, nor of what else a mailbox's history holds. What a provider
commits to of a message is its leaf; a device's signature is not among it, so that one is missing, or wrong, cannot be
proven.
"""

from typing import Annotated, NamedTuple

from noise.protocol.encoding import Indexes, Vec16, list_of, struct_codec
from noise.protocol.envelope import (
    BUNDLE_HEADER,
    ENVELOPE,
    BundleHeader,
    envelope_leaf_hashes,
    hash_bundle,
    hash_envelope,
)
from noise.protocol.evidence.absences import ABSENCE, Absence, open_absence
from noise.protocol.evidence.openings import (
    COMMITTED_LEAF,
    LEAF_OPENING,
    RECIPIENT_OPENING,
    CommittedLeaf,
    LeafHashes,
    LeafOpening,
    OpenedLeaf,
    ProofHashes,
    RecipientOpening,
    open_committed,
    open_leaf,
    open_recipient,
)
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import PROVIDER, NotProven, Verdict, name_signer
from noise.protocol.identifiers import device_id_of, format_id, parse_seq
from noise.protocol.merkle import root_from_subset
from noise.protocol.statements import MessageLeaf


class Omission(NamedTuple):
    """A message that was sequenced, or delivered to another; one recipient of it; its absence there."""

    message: Annotated[CommittedLeaf, COMMITTED_LEAF]
    recipient: Annotated[RecipientOpening, RECIPIENT_OPENING]
    absence: Annotated[Absence, ABSENCE]


OMISSION = struct_codec(Omission)


class Conflict(NamedTuple):
    """Two messages at one position."""

    one: Annotated[CommittedLeaf, COMMITTED_LEAF]
    other: Annotated[CommittedLeaf, COMMITTED_LEAF]


CONFLICT = struct_codec(Conflict)


class AlteredMessage(NamedTuple):
    """A message, and the envelope or the bundle that it names, which say something else.

    `envelope`: the Envelope that has the message's env_hash, or empty. `header`: the BundleHeader that has its
    bundle_hash, or empty. `env_hashes`: with a header, the hashes of the bundle's envelopes `places`, and the subset
    proof of them (of all: no proof). Empty: the header contradicts the message by itself.
    """

    message: Annotated[CommittedLeaf, COMMITTED_LEAF]
    envelope: Vec16
    header: Vec16
    places: Indexes
    env_hashes: LeafHashes
    proof: ProofHashes


ALTERED_MESSAGE = struct_codec(AlteredMessage)


class CounterViolation(NamedTuple):
    """Two messages of one sender whose counters and positions run in opposite directions, or one counter twice."""

    one: Annotated[CommittedLeaf, COMMITTED_LEAF]
    other: Annotated[CommittedLeaf, COMMITTED_LEAF]


COUNTER_VIOLATION = struct_codec(CounterViolation)


class Misdelivery(NamedTuple):
    """A message in a mailbox, and the neighbours among its recipients between which that mailbox's device is not.

    One of them, where it is the first or the last. None, for a message without recipients.
    """

    message: Annotated[LeafOpening, LEAF_OPENING]
    recipients: Annotated[tuple[RecipientOpening, ...], list_of(RECIPIENT_OPENING, 2)]


MISDELIVERY = struct_codec(Misdelivery)


def verify_omission(rosters: Rosters, finding: Omission) -> Verdict:
    message = open_committed(rosters, finding.message)
    device_id = open_recipient(message.leaf, finding.recipient)
    if message.mailbox == device_id:
        raise NotProven("the message was delivered to this very recipient")
    absence = open_absence(rosters, finding.absence, message.leaf.seq)
    if absence.mailbox != device_id:
        raise NotProven("the absence from another mailbox")
    detail = (
        f"{_describe(message)} is for {format_id(device_id)} too, and did not arrive there by the provider's own word: "
        f"{absence.form}"
    )
    return Verdict("Omission", PROVIDER, rosters.origin, message.epoch, detail)


def verify_conflict(rosters: Rosters, finding: Conflict) -> Verdict:
    one, other = (open_committed(rosters, opening) for opening in finding)
    if one.leaf.seq != other.leaf.seq or one.encoded == other.encoded:
        raise NotProven("messages at two positions, or one message twice")
    fields = zip(MessageLeaf._fields, one.leaf, other.leaf, strict=True)
    differing = ", ".join([name for name, a, b in fields if a != b])
    detail = f"{_describe(one)}, and {_describe(other)}, are not the same: they differ in {differing}"
    return Verdict("Conflict", PROVIDER, rosters.origin, one.epoch, detail)


def verify_altered_message(rosters: Rosters, finding: AlteredMessage) -> Verdict:
    message = open_committed(rosters, finding.message)
    if finding.envelope:
        what = _compare_envelope(message.leaf, finding.envelope)
    else:
        what = _compare_bundle(rosters.origin, message.leaf, finding)
    detail = f"{_describe(message)} is not what its sender made: {what}"
    accused = _name_sequencers(message)
    return Verdict("AlteredMessage", accused, rosters.origin, message.epoch, detail)


def verify_counter_violation(rosters: Rosters, finding: CounterViolation) -> Verdict:
    one, other = (open_committed(rosters, opening) for opening in finding)
    first, second = sorted((one, other), key=lambda message: message.leaf.seq)
    if one.leaf.sender != other.leaf.sender:
        raise NotProven("messages of two senders")
    if first.leaf.seq == second.leaf.seq or first.leaf.sender_ctr < second.leaf.sender_ctr:
        raise NotProven("the sender's counters run as the positions do")
    accused = _name_sequencers(one, other)
    detail = (
        f"{_describe(first)} has counter {first.leaf.sender_ctr} of its sender {format_id(first.leaf.sender)}, and "
        f"{_describe(second)}, which comes later, has counter {second.leaf.sender_ctr}"
    )
    return Verdict("CounterViolation", accused, rosters.origin, second.epoch, detail)


def verify_misdelivery(rosters: Rosters, finding: Misdelivery) -> Verdict:
    message = open_leaf(rosters, finding.message)
    mailbox = finding.message.record.state.mailbox
    check_not_among(message.leaf, finding.recipients, mailbox)
    detail = f"{_describe(message)}, whose device is not among its {message.leaf.n_recipients} recipients"
    return Verdict("Misdelivery", PROVIDER, rosters.origin, message.epoch, detail)


def _name_sequencers(*messages: OpenedLeaf) -> str:
    """The inbox whose one key sequenced all of them. Whoever delivered one may have been given it like this."""
    if any(message.mailbox is not None for message in messages):
        return PROVIDER
    return name_signer(*[message.signer for message in messages])


def _describe(message: OpenedLeaf) -> str:
    where = "sequenced" if message.mailbox is None else f"delivered to {format_id(message.mailbox)}"
    return "the message {}/{}/{} that was ".format(*parse_seq(message.leaf.seq)) + where


def _compare_envelope(leaf: MessageLeaf, encoded: bytes) -> str:
    if hash_envelope(encoded) != leaf.env_hash:
        raise NotProven("the envelope of another message")
    envelope = ENVELOPE.decode(encoded)
    shared = [name for name in envelope._fields if name in leaf._fields]
    differing = [name for name in shared if getattr(envelope, name) != getattr(leaf, name)]
    if not differing:
        raise NotProven("the message is as its envelope says")
    return f"its own envelope has another {', '.join(differing)}"


def _compare_bundle(origin: bytes, leaf: MessageLeaf, finding: AlteredMessage) -> str:
    if hash_bundle(finding.header) != leaf.bundle_hash:
        raise NotProven("the bundle of another message")
    header = BUNDLE_HEADER.decode(finding.header)
    wrong = _compare_header(origin, leaf, header)
    if wrong:
        return wrong
    hashes = envelope_leaf_hashes(finding.env_hashes)
    if root_from_subset(header.n_envelopes, finding.places, hashes, finding.proof) != header.root:
        raise NotProven("the envelopes of another bundle")
    place = leaf.sender_ctr - header.first_ctr
    if place not in finding.places or finding.env_hashes[finding.places.index(place)] == leaf.env_hash:
        raise NotProven("the bundle has this message's envelope, or this is not shown")
    return f"its bundle has another envelope with counter {leaf.sender_ctr}"


def _compare_header(origin: bytes, leaf: MessageLeaf, header: BundleHeader) -> str:
    if header.origin != origin:
        return "its bundle is addressed to another provider"
    if header.sender != leaf.sender:
        return "its bundle is another sender's"
    if header.sender != device_id_of(header.key):
        return "its bundle names a key that is not its sender's"
    if not header.first_ctr <= leaf.sender_ctr < header.first_ctr + header.n_envelopes:
        return f"its bundle has no message with counter {leaf.sender_ctr}"
    return ""


def check_not_among(leaf: MessageLeaf, openings: tuple[RecipientOpening, ...], device_id: bytes) -> None:
    """Recipients are sorted: these are neighbours, or one is at an end, and `device_id` is between or beyond."""
    ids = [open_recipient(leaf, opening) for opening in openings]
    places = [opening.place for opening in openings]
    if not ids:
        is_out = leaf.n_recipients == 0
    elif len(ids) == 2:
        is_out = places[0] + 1 == places[1] and ids[0] < device_id < ids[1]
    else:
        is_out = (places[0] == 0 and device_id < ids[0]) or (places[0] == leaf.n_recipients - 1 and ids[0] < device_id)
    if not is_out:
        raise NotProven("the mailbox's device may be among the recipients")
