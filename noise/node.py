"""A provider in one process: makes it, opens it, runs it. The only place that picks a concrete store and exchange.

Knows nothing of command lines. A provider's directory holds `keys/` and `state/`, and `actors/` if the actors are kept
apart; `docs/operations.md` says what a thief of each gains.
"""

import shlex
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from noise.config import DEFAULT_PARAMETERS, LIED_MARK, ServeOptions, check_options
from noise.exchange.local import LocalExchange
from noise.keys import HighWater, KeyDamaged, KeyMissing, KeyRing, StateBehind, actor_key_name
from noise.pipeline.actor_state import ForgottenActor, check_custody, find_forgotten, young_actors
from noise.pipeline.assembly import Pipeline
from noise.pipeline.batches import RoutedLane
from noise.pipeline.fsck import Counts, check_store
from noise.pipeline.recovery import load_rosters, recover
from noise.pipeline.topology import Topology, make_topology
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role, origin_of, parse_actor
from noise.protocol.signing import SIGNED, Signed, Signer
from noise.protocol.statements import ROSTER, Parameters, Roster
from noise.rosters import ROOT_KEY, actors_of_shape, delete_ended_keys, sign_roster
from noise.store.base import Store, StoreCorrupt
from noise.store.custody import Custody
from noise.store.custody_apart import ApartCustody
from noise.store.custody_sqlite import create_custody, open_custody
from noise.store.custody_tables import EVERYBODY
from noise.store.sqlite import create_sqlite, open_sqlite
from noise.web.app import Face
from noise.web.gateway import Gateway
from noise.web.service import serve_web

_EXCHANGE_CAPACITY = 1


class Layout(NamedTuple):
    """Where things lie under a provider's directory."""

    data: Path

    @property
    def keys(self) -> Path:
        return self.data / "keys"

    @property
    def database(self) -> Path:
        return self.data / "state" / "noise.db"

    @property
    def custody(self) -> Path:
        """What all actors keep, unless they are kept apart."""
        return self.data / "state" / "custody.db"

    @property
    def actors(self) -> Path:
        """Holds a directory for each actor, if they are kept apart."""
        return self.data / "actors"

    @property
    def apart_mark(self) -> Path:
        """Is there if each actor has its keys, and what it keeps, in a directory of its own."""
        return self.keys / "apart"

    @property
    def is_apart(self) -> bool:
        return self.apart_mark.exists()

    def custody_of(self, actor: Actor) -> Path:
        """What one actor keeps."""
        return self.actors / str(actor) / "custody.db" if self.is_apart else self.custody

    def key_ring(self) -> KeyRing:
        return KeyRing(self.keys, self.actors if self.is_apart else None)


class OpenState(NamedTuple):
    """What a provider knows and signs with, but for what its actors keep. `rosters`: all, in order."""

    layout: Layout
    keys: KeyRing
    origin: bytes
    store: Store
    high_water: HighWater
    rosters: list[Signed]

    @property
    def roster(self) -> Roster:
        """The last one."""
        return ROSTER.decode(self.rosters[-1].body)

    async def add_roster(self, signed: Signed) -> None:
        """Raises StoreCorrupt, and adds nothing, when those whom it names cannot go on from what is stored."""
        await recover(self.store, self.origin, [*self.rosters, signed])
        await self.store.add_roster(len(self.rosters) + 1, SIGNED.encode(signed))
        self.rosters.append(signed)

    def recovery_steps(self, lost: Collection[Actor]) -> str:
        """What an operator does about these actors, whose state is lost for good, and all whose keys are missing."""
        lost = [
            actor
            for actor, n in ((parse_actor(entry.actor), entry.incarnation) for entry in self.roster.actors)
            if actor in lost or not self.keys.exists(actor_key_name(actor, n))
        ]
        names = " ".join(f"--actor {actor}" for actor in lost)
        return (
            "If there is no good copy, an actor comes back as another one only, with a new key, by a roster that the "
            f"root signs: see that {self.layout.keys / 'root.pem'} is there, run\n"
            f"  noise roster recover --data {shlex.quote(str(self.layout.data))} {names}\n"
            "and start again"
        )


class Node(NamedTuple):
    """An open provider: recovered, every epoch ended, ready to run."""

    origin: bytes
    pipeline: Pipeline
    store: Store
    custody: Custody
    rosters: list[SignedRoster]


async def create_node(data: Path, *, apart: bool = False) -> bytes:
    """Make a provider: root key, actor keys, an empty log. The only creator of state. Returns its origin.

    `apart`: each actor gets a directory of its own. Raises NoiseError when the directory holds anything already.
    """
    layout = Layout(data)
    if layout.keys.exists() or layout.database.parent.exists() or layout.actors.exists():
        raise NoiseError(
            f"{data} holds a provider, or the rest of one: choose another directory, or run noise serve --data {data}",
            code="data-exists",
        )
    try:
        layout.database.parent.mkdir(mode=0o700, parents=True)
        if apart:
            layout.actors.mkdir(mode=0o700)
            layout.keys.mkdir(mode=0o700)
            layout.apart_mark.touch(mode=0o600)
    except OSError as error:
        raise NoiseError(f"{data} cannot be made: {error.strerror}", code="data-unusable") from None
    keys = layout.key_ring()
    origin = origin_of(keys.create(ROOT_KEY).public_key)
    keys.write_origin(origin)
    roster = sign_roster(keys, [], 0, (1, 1), DEFAULT_PARAMETERS)
    await create_sqlite(layout.database, origin)
    async with open_sqlite(layout.database, origin) as store:
        await store.add_roster(1, SIGNED.encode(roster))
    HighWater(layout.keys).create()
    async with open_state(data) as state, open_custodies(state):
        return origin


def check_data(data: Path) -> Layout:
    """The layout of an existing provider. Raises NoiseError that says what is missing."""
    layout = Layout(data)
    if not layout.keys.exists():
        raise NoiseError(f"{data} holds no provider: make one with noise init --data {data}", code="no-provider")
    if layout.is_apart and not layout.actors.is_dir():
        raise NoiseError(
            f"{layout.actors} is not there, where the actors keep their keys and what they signed: mount it or put it "
            "back. Nothing is lost as long as it is somewhere",
            code="actors-missing",
        )
    return layout


def check_honest(data: Path) -> None:
    """Raises NoiseError for a provider that lied at a demo: whoever pins it may hold a proof against it."""
    if (data / LIED_MARK).exists():
        raise NoiseError(
            f"{data} is a provider that noise demo had lie: it is of no more use. Make one with noise init",
            code="demo-liar",
        )


@asynccontextmanager
async def open_state(data: Path) -> AsyncIterator[OpenState]:
    """Raises NoiseError when it is not there, not what was signed, or older than what these keys have signed."""
    layout = check_data(data)
    keys = layout.key_ring()
    origin = keys.origin()
    async with open_sqlite(layout.database, origin) as store:
        high_water = HighWater(layout.keys)
        high_water.open(await sealed_epochs(store), store.next_epoch)
        try:
            yield OpenState(layout, keys, origin, store, high_water, await load_rosters(store, origin))
        finally:
            high_water.close()


@asynccontextmanager
async def open_custodies(
    state: OpenState, *, coming: Collection[Actor] = (), lost: Collection[Actor] = (), may_make: bool = True
) -> AsyncIterator[Custody]:
    """What the actors keep. It is made for those that have signed nothing yet, also for those that are `coming`.

    `lost`: actors that need not have kept anything: they sign at most the epoch that a crash interrupted. Raises
    NoiseError "actor-state-lost" or "actor-state-behind" for others, and StateBehind if anybody kept what is not there.
    """
    layout, next_epoch = state.layout, state.store.next_epoch
    rosters = [ROSTER.decode(signed.body) for signed in state.rosters]
    old = {parse_actor(name) for name in rosters[-1].signers()}
    young = {parse_actor(name) for name in young_actors(rosters, next_epoch)} | {*lost}
    known = {parse_actor(entry.actor) for roster in rosters for entry in roster.actors} | {*coming}
    async with AsyncExitStack() as stack:
        opened: dict[bytes, Custody] = {}
        owners = [(actor.encode(), layout.custody_of(actor), actor in young or actor not in old) for actor in known]
        if not layout.is_apart:
            owners = [(EVERYBODY, layout.custody, old <= young)]
        for owner, path, is_new in sorted(owners):
            if path.exists() or (is_new and may_make and owner[:1] != bytes([Role.LOG])):
                if not path.exists():
                    await create_custody(path, state.origin, owner)
                owned = {parse_actor(owner)} if owner else old
                try:
                    opened[owner] = await stack.enter_async_context(open_custody(path, state.origin, owner))
                except StoreCorrupt as error:
                    if not owned <= {*lost}:
                        raise StoreCorrupt(f"{error.detail}. {state.recovery_steps({*lost, *owned})}") from None
                    await _replace_custody(path, state.origin, owner)
                    opened[owner] = await stack.enter_async_context(open_custody(path, state.origin, owner))
        custody = opened.get(EVERYBODY) or ApartCustody(opened)
        _check_newest(custody, known, next_epoch, await sealed_epochs(state.store))
        forgotten = [one for one in find_forgotten(custody, rosters, next_epoch) if one.actor not in lost]
        if forgotten:
            raise _forgotten_error(state, forgotten, lost)
        yield custody


def _check_newest(custody: Custody, actors: Collection[Actor], next_epoch: int, sealed: int) -> None:
    """Nobody kept an epoch of which no manifest is here, for those are durable before anything is made of them."""
    last, actor = max((custody.last_epoch(actor.encode()), actor) for actor in actors)
    if last >= sealed:
        raise StateBehind(
            f"the state ends before epoch {next_epoch}, but {actor} has kept what it signed in epoch {last}: the state "
            "is an old copy. Put the newest one back: signing from this one would prove the provider a liar. If there "
            "is none, the provider has come to its end, for nobody can sign its log again: its clients must move to a "
            "new one, with a new origin"
        )


async def _replace_custody(path: Path, origin: bytes, owner: bytes) -> None:
    """By an empty one; the damaged file stays beside it."""
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.replace(file.with_name(f"damaged-{file.name}"))
    await create_custody(path, origin, owner)


def _forgotten_error(state: OpenState, forgotten: Sequence[ForgottenActor], lost: Collection[Actor]) -> NoiseError:
    is_lost = any(one.last_epoch < 0 for one in forgotten)
    known = [
        f"what {one.actor} kept ends with epoch {one.last_epoch}"
        if one.last_epoch >= 0
        else f"{one.actor} kept nothing"
        for one in forgotten
    ]
    places = sorted({str(state.layout.custody_of(one.actor)) for one in forgotten})
    return NoiseError(
        f"the log ends with epoch {state.store.next_epoch - 1}, but {', '.join(known)}: an actor that does not know "
        f"what it signed could sign something else. Put the newest {', '.join(places)} back. "
        + state.recovery_steps({*lost, *(one.actor for one in forgotten)}),
        code="actor-state-lost" if is_lost else "actor-state-behind",
    )


@asynccontextmanager
async def open_node(options: ServeOptions) -> AsyncIterator[Node]:
    """Open a provider and end what a crash interrupted. Raises NoiseError when anything is not as it was signed."""
    check_options(options)
    async with open_state(options.data) as state:
        shape, _ = _wanted(options, state.roster)
        make_topology(options.topology, *shape)  # or refuse, before anything is made for it
        async with open_custodies(state, coming=actors_of_shape(*shape)) as custody:
            node = await build_node(options, state, custody)
            delete_ended_keys(state.keys, state.rosters)
            yield node


async def build_node(options: ServeOptions, state: OpenState, custody: Custody) -> Node:
    """Recover from an open state, end what was interrupted, and sign a new roster if another shape was asked for."""
    current = state.roster
    shape, parameters = _wanted(options, current)
    topology = make_topology(options.topology, *shape)
    pipeline = await build_pipeline(state, custody, topology, options.mailboxes_max)
    if await pipeline.finish_pending() is not None:
        pipeline = await build_pipeline(state, custody, topology, options.mailboxes_max)
    if (current.count_of(Role.INBOX), current.count_of(Role.OUTBOX), current.parameters) != (*shape, parameters):
        await state.add_roster(sign_roster(state.keys, state.rosters, state.store.next_epoch, shape, parameters))
        pipeline = await build_pipeline(state, custody, topology, options.mailboxes_max)
    return Node(state.origin, pipeline, state.store, custody, [SignedRoster(*roster) for roster in state.rosters])


async def build_pipeline(
    state: OpenState, custody: Custody, topology: Topology, mailboxes_max: int, has_signed: Collection[bytes] = ()
) -> Pipeline:
    """The stages under the last roster. `has_signed`: actors whose keys may be missing, for nothing is left to sign."""
    return Pipeline(
        await recover(state.store, state.origin, state.rosters),
        state.store,
        custody,
        topology,
        [SignedRoster(*roster) for roster in state.rosters],
        signer_of=_signer_finder(state, has_signed),
        time_ms=_wall_clock_ms,
        high_water=state.high_water,
        mailboxes_max=mailboxes_max,
        make_exchange=lambda n: LocalExchange[RoutedLane](n, _EXCHANGE_CAPACITY),
    )


def _wanted(options: ServeOptions, current: Roster) -> tuple[tuple[int, int], Parameters]:
    """(inboxes, outboxes) and intervals: what was asked for, else what the roster has; central has one of each."""
    central = options.topology == "central"
    inboxes = options.inboxes or (1 if central else current.count_of(Role.INBOX))
    outboxes = options.outboxes or (1 if central else current.count_of(Role.OUTBOX))
    asked = (
        options.epoch_ms,
        options.idle_ms,
        options.heartbeat_ms,
        options.custody_epochs,
        options.challenge_epochs,
    )
    chosen = [old if new is None else new for old, new in zip(current.parameters, asked, strict=True)]
    return (inboxes, outboxes), Parameters(*chosen)


class _AbsentSigner(Signer):
    """An actor whose key is lost, and that has signed already all that it is needed for."""

    def __init__(self, public_key: bytes, error: NoiseError) -> None:
        self.public_key = public_key
        self._error = error

    def sign_raw(self, _message: bytes) -> bytes:
        raise self._error

    def sign(self, _label: str, _origin: bytes, _body: bytes) -> Signed:
        raise self._error


def _signer_finder(state: OpenState, has_signed: Collection[bytes] = ()) -> Callable[[Actor, int], Signer]:
    roster = state.roster

    def find(actor: Actor, incarnation: int) -> Signer:
        try:
            signer = state.keys.load(actor_key_name(actor, incarnation))
        except (KeyMissing, KeyDamaged) as error:
            explained = type(error)(f"{error.detail}. {state.recovery_steps([actor])}")
            if actor.encode() in has_signed:
                return _AbsentSigner(roster.entry(actor).key, explained)
            raise explained from None
        if signer.public_key != roster.entry(actor).key:
            raise NoiseError(f"the key file of {actor} holds another key than the roster names", code="key-foreign")
        return signer

    return find


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


async def serve_node(
    node: Node,
    options: ServeOptions,
    on_ready: Callable[[str, bytes], None],
    stop: trio.Event,
    more: Sequence[Face] = (),
) -> None:
    """Serve until `stop`: then take nothing more, commit and show what was accepted, and return.

    `on_ready(url, origin)` is called once, when requests are being answered. `more`: faces beside the usual ones.
    """
    gateway = Gateway(
        node.origin,
        node.pipeline,
        node.store,
        node.rosters,
        _wall_clock_ms,
        frozenset(options.public_hosts),
        options.mailboxes_max,
        auditors=frozenset(options.auditors),
    )
    await serve_web(gateway, options.host, options.port, on_ready, stop, more)


async def check_node(data: Path, on_epoch: Callable[[int, int], None], *, renew_mark: bool) -> Counts:
    """Check a provider that nobody serves: state, keys and high-water mark. `on_epoch(done, total)`.

    `renew_mark`: the operator is sure that this state is the newest; after a clean check a new high-water mark says so.
    Raises NoiseError at the first thing that is wrong.
    """
    layout = check_data(data)
    keys = layout.key_ring()
    origin = keys.origin()
    async with open_sqlite(layout.database, origin) as store:
        high_water = HighWater(layout.keys)
        state = OpenState(layout, keys, origin, store, high_water, await load_rosters(store, origin))
        find = _signer_finder(state)
        for entry in state.roster.actors:
            find(parse_actor(entry.actor), entry.incarnation)
        total = store.next_epoch
        async with open_custodies(state, may_make=False) as custody:
            counts = await check_store(store, origin, state.rosters, lambda done: on_epoch(done, total))
            await check_custody(store, custody, [ROSTER.decode(signed.body) for signed in state.rosters])
        if renew_mark:
            high_water.renew()
        high_water.open(await sealed_epochs(store), store.next_epoch)
        high_water.close()
        return counts


async def sealed_epochs(store: Store) -> int:
    """One more than the last epoch of which some manifest is durable."""
    return max([manifest.epoch + 1 for manifest in await store.pending_manifests()], default=store.next_epoch)
