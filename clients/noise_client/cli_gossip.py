"""`noise-client gossip`, `export`, `import` and `proofs`: compare what the provider shows to different devices.

Knows nothing of how comparing works: it is an application of the SDK like any other.
"""

import argparse
import sys
from pathlib import Path

import trio

from noise.protocol.errors import NoiseError
from noise.protocol.exported_view import EXPORTED_BYTES_MAX
from noise.protocol.identifiers import format_id, parse_id
from noise.protocol.json_text import encode_json
from noise_client.cli_verdicts import ProofFiles, describe, judgement_json
from noise_client.client import Client
from noise_client.gossip_link import parse_peer_url
from noise_client.offline import open_offline
from noise_client.verdicts import Verdict

GOSSIP = """\
Compare what the provider shows us with what it shows others, over links that the provider does not carry.

One device serves with --gossip-listen, others dial it with --gossip; both must know each other's address, by whatever
way. Each proves its device key. `send` and `listen` take the same options. A JSON line is printed for each change of
the verdict: {"verdict": ok, stale, suspected or exposed, "reasons": [...]}. Proofs are written beside the device file.

examples:
  noise-client gossip --device alice.device --server http://127.0.0.1:8080 --gossip-listen 127.0.0.1:9001
  noise-client gossip --device bob.device --server http://127.0.0.1:8080 --gossip ws://127.0.0.1:9001
"""

EXPORT = """\
Write what the provider showed this device into a file, signed by it, for --peer to compare with its own view, where no
connection leads; without --peer, the log's checkpoints alone, for anybody. Nothing else may use the device meanwhile.

example:
  noise-client export --device alice.device --peer BOB_ID --output alice.view
"""

IMPORT = """\
Compare the view in a file, which a peer has exported for this device, with what the provider showed us. Prints the
verdict as a JSON line, and writes proofs beside the device file. If it says that nothing proves why the views differ,
export a view for that peer and let it import that: then it has what was missing. Exit status 4: exposed.

example:
  noise-client import --device bob.device alice.view
"""

PROOFS = """\
Write every proof of misbehaviour that a device keeps into files beside it, and print their names: also those that name
one actor of the provider, once its actors were asked, and files about actors that did not answer, which prove no lie.
"""


async def serve_and_dial(client: Client, listen: str | None, urls: list[str], nursery: trio.Nursery) -> None:
    """What --gossip-listen and --gossip ask for, in the background: a peer may be away. Raises NoiseError."""
    if listen is not None:
        host, separator, port = listen.rpartition(":")
        if not separator or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 65536:
            raise NoiseError("--gossip-listen takes HOST:PORT", code="bad-url")
        chosen = await client.serve_gossip(host.strip("[]"), int(port))
        print(f"noise-client: gossip at ws://{host}:{chosen}", file=sys.stderr, flush=True)
    for url in urls:
        parse_peer_url(url)
        nursery.start_soon(_dial, client, url)


async def _dial(client: Client, url: str) -> None:
    peer = await client.gossip_with(url, deadline_s=float("inf"))
    print(f"noise-client: gossip with {format_id(peer)} at {url}", file=sys.stderr, flush=True)


def run_export(parsed: argparse.Namespace) -> int:
    """Write a view."""
    peer = parse_id(parsed.peer.strip()) if parsed.peer else None
    with open_offline(parsed.device) as (device, witness, _):
        Path(parsed.output).write_bytes(witness.export(device, peer))
    return 0


def run_import(parsed: argparse.Namespace) -> int:
    """Compare a view."""
    path = Path(parsed.view)
    if path.stat().st_size > EXPORTED_BYTES_MAX:
        raise NoiseError(f"{path} is too large for an exported view", code="file-too-large")
    with open_offline(parsed.device) as (_, witness, store):
        peer = witness.hear_exported(path.read_bytes())
        judgement = witness.judgement
        ProofFiles(parsed.device, "noise-client import").write(store.proofs())
    print(encode_json({"peer": format_id(peer)} | judgement_json(judgement)).decode(), flush=True)
    if judgement.verdict is not Verdict.OK:
        print(f"noise-client import: {describe(judgement)}", file=sys.stderr)
    return 4 if judgement.verdict is Verdict.EXPOSED else 0


def run_proofs(parsed: argparse.Namespace) -> int:
    """Write all proofs."""
    with open_offline(parsed.device) as (_, _, store):
        for path in ProofFiles(parsed.device, "noise-client proofs").write(store.proofs()):
            print(path, flush=True)
    return 0
