"""Every number that an application may choose, with its unit, its default and its reason.

Knows nothing of who obeys them. The limits of the wire are not chosen: see `noise.protocol.limits`.
"""

from typing import NamedTuple

from noise_client.retention import DEFAULT_POLICY, Policy


class Settings(NamedTuple):
    """The defaults suit a person at a desk and a server in a rack alike."""

    connect_timeout_s: float = 10.0
    """For each of: TCP and TLS, the WebSocket handshake, the provider's challenge, its first delta."""

    send_timeout_s: float = 20.0
    """For one frame to leave: a provider that does not read is as good as gone."""

    answer_timeout_s: float = 30.0
    """For a bundle's receipt or refusal; then the connection is given up and the same bytes are sent on another."""

    close_timeout_s: float = 2.0
    """For the last acknowledgement and the closing handshake."""

    ping_after_s: float = 15.0
    """Silence after which the provider is asked whether it is there."""

    silence_max_s: float = 20.0
    """Silence after which the connection is given up."""

    backoff_first_s: float = 0.1
    """Upper bound of the first wait before another attempt; it doubles with each."""

    backoff_max_s: float = 30.0
    """Upper bound of every wait before another attempt."""

    ack_quiet_s: float = 0.2
    """An acknowledgement is sent when nothing was taken for this long..."""

    ack_interval_s: float = 5.0
    """...or this long after the first delivery that it covers, whichever comes first."""

    backlog_bytes_max: int = 64 << 20
    """Deliveries kept in the trust store that the application has not taken. Beyond it, deltas are left to the
    provider, who is asked for them again when half of the backlog is gone."""

    queue_bytes_max: int = 64 << 20
    """Messages kept in the trust store that have no receipt yet."""

    seal: bool = True
    """Whether messages are sealed end to end. False: they travel, and are stored by the provider, as they are, for
    applications that encrypt by themselves; then gossip travels over links and files only."""

    keys_wait_s: float = 10.0
    """How long a message, and those behind it, wait for a recipient that has published no keys here; then it is refused
    with "no-prekeys"."""

    stale_after_s: float = 60.0
    """Without a newer verified epoch for so long, the verdict is stale; never less than two of the provider's own
    heartbeats and idle intervals together."""

    complains: bool = True
    """Whether a provider that is convicted is sent the proof, and its actors are asked which of them lied. False: only
    when the application says so."""

    retention: Policy = DEFAULT_POLICY
    """How long the provider's word is kept, for evidence."""


DEFAULT_SETTINGS = Settings()
