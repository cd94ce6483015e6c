"""Every limit of the wire, with its unit and the reason for it. What an operator may choose is in the roster instead.

Knows nothing of who enforces them.
"""

RECIPIENTS_MAX = 1024
"""Devices an envelope names, its sender included: a recipient list of 32 KiB, an inclusion proof of 10 hashes."""

BUNDLE_RECIPIENT_IDS_MAX = 4096
"""Recipient ids in all sets of a bundle together: each may make a mailbox, and costs four hashes before a refusal."""

BUNDLE_MESSAGES_MAX = 256
"""Envelopes under one signature: the signature's cost per message is then under 1 us."""

BUNDLE_CIPHERTEXTS_MAX = 8192
"""Per-recipient ciphertexts in a bundle: each is hashed into a tree before a refusal, and proven at delivery."""

BUNDLE_BYTES_MAX = 1 << 20
"""An encoded bundle: one HTTP body or WebSocket frame that a server must hold before it can judge it."""

MESSAGE_BYTES_MAX = 256 << 10
"""A common ciphertext. Larger content belongs in blob storage, with its key in a message."""

CIPHERTEXT_BYTES_MAX = 4096
"""A per-recipient ciphertext: an HPKE encapsulation, a content key and gossip, with room."""

FRAME_BYTES_MAX = 24 << 20
"""A pushed frame: one epoch of one mailbox, whose content an epoch's own limit bounds, and its proofs."""

EPOCH_BYTES_MAX = 8 << 20
"""Encoded bundles in one epoch, over all lanes; each lane takes one bundle at least. With LANES_MAX lanes that are
twice as many bytes, and still fit into a frame."""

EPOCH_MESSAGES_MAX = 16384
"""Messages in one epoch, over all lanes: bounds the time that one epoch takes, hence everybody's latency."""

EPOCH_DELIVERIES_MAX = 1 << 17
"""Deliveries in one epoch, over all lanes, unless a single bundle has more: one message may have 1024 recipients."""

PAGE_BYTES_MAX = 1 << 20
"""Content in one catch-up page, unless a single epoch of the mailbox is larger: bounds memory per resuming client."""

PAGE_RECORDS_MAX = 256
"""History records in one catch-up page."""

ROSTERS_MAX = 1024
"""Rosters in one delta: what a client missed. Each costs it a signature check before it can refuse."""

LANES_MAX = 16
"""Inboxes of one provider: each takes a bundle into any epoch, and all of them must fit into one delta."""

OUTBOXES_MAX = 512
"""Outboxes of one provider: a roster must fit into 64 KiB."""

CONNECTION_RECIPIENT_IDS_MAX = 4096
"""Recipient ids that both ends of a push connection remember, oldest list forgotten first: 128 KiB."""

CHALLENGE_MS = 60_000
"""Life of an authentication challenge, single use."""

PREKEYS_IN_UPLOAD_MAX = 128
"""Prekeys in one upload: each costs the server a signature check before it can refuse, 15 ms in all."""

PREKEY_UPLOAD_BYTES_MAX = 32 << 10
"""An encoded upload: 128 prekeys of 213 bytes."""

PREKEYS_MAX = 256
"""One-time prekeys that a server keeps for a device: 64 KiB of its disk, and four hours at one a minute."""

PREKEY_LIFE_MS = 90 * 24 * 3600 * 1000
"""How far ahead a prekey's end may lie: what a device left behind that never came back is dropped then."""
