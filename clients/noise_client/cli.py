"""The `noise-client` command: make a device, send lines, listen, compare with peers.

Knows nothing of how messages travel: it is an application of the SDK like any other. Standard output carries results
only, one JSON line each, written when they are there; everything for a person goes to standard error.
"""

import argparse
import math
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from noise.protocol.errors import NoiseError, ProviderMisbehaved, Rejected
from noise.protocol.identifiers import format_id
from noise.protocol.json_text import base64url, encode_json
from noise.protocol.limits import MESSAGE_BYTES_MAX
from noise.protocol.sealing import PAYLOAD_BODY_BYTES_MAX
from noise_client.cli_arguments import parse_arguments, parse_ids
from noise_client.cli_gossip import run_export, run_import, run_proofs, serve_and_dial
from noise_client.cli_verdicts import ProofFiles, describe, judgement_json
from noise_client.client import Client, open_client
from noise_client.errors import DeadlineExceeded, lone_exception, raise_alone
from noise_client.sending import Receipt, Sending
from noise_client.settings import Settings
from noise_client.states import ClientState
from noise_client.trust_store import Delivery, Seal
from noise_client.trust_store_sqlite import create_device_file
from noise_client.verdicts import FINE, Verdict

OK, FAILED, USAGE, REFUSED, MISBEHAVED, TIMED_OUT, SIGPIPE_STATUS = 0, 1, 2, 3, 4, 5, 128 + signal.SIGPIPE

_LINES_WAITING_MAX = 4096
_READ_BYTES = 65_536
_LAST_WORDS_S = 10.0
_STDIN, _STDOUT = 0, 1
_USAGE_CODES = frozenset({"bad-id", "bad-url"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parsed = parse_arguments(arguments)
    try:
        if parsed.command == "new":
            device = create_device_file(parsed.device)
            print(format_id(device.device_id), flush=True)
            return OK
        offline = {"export": run_export, "import": run_import, "proofs": run_proofs}
        if parsed.command in offline:
            return offline[parsed.command](parsed)
        work = {"send": _send, "listen": _listen, "gossip": _gossip}[parsed.command]
        return trio.run(_run, parsed, work)
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # so that nothing fails at exit
        return SIGPIPE_STATUS
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (NoiseError, OSError) as error:
        print(f"noise-client {parsed.command}: {_explain(error, parsed)}", file=sys.stderr)
        if isinstance(error, ProviderMisbehaved):
            return MISBEHAVED
        return USAGE if getattr(error, "code", "") in _USAGE_CODES else FAILED


def _explain(error: NoiseError | OSError, parsed: argparse.Namespace) -> str:
    if isinstance(error, ProviderMisbehaved):
        return f"the provider misbehaved: {error}; trust in it ends here, and the evidence is in {parsed.device}"
    return " ".join(str(error).split())


Work = Callable[[argparse.Namespace, Client, "_Terminal"], Awaitable[int]]


async def _run(parsed: argparse.Namespace, work: Work) -> int:
    """Open the client and work, until it is done, a signal comes or time is up."""
    origin = parse_ids([parsed.origin], "--origin")[0] if parsed.origin else None
    stopped_by: list[int] = []
    status = TIMED_OUT
    client: Client | None = None
    terminal = _Terminal(f"noise-client {parsed.command}")
    files = ProofFiles(parsed.device, f"noise-client {parsed.command}")
    try:
        with trio.move_on_after(parsed.timeout_s if parsed.timeout_s else math.inf):
            async with trio.open_nursery() as nursery:
                await nursery.start(_stop_on_signal, nursery.cancel_scope, stopped_by)
                settings = Settings(seal=not parsed.unsealed)
                async with open_client(parsed.server, parsed.device, origin=origin, settings=settings) as client:
                    nursery.start_soon(_show_states, client, terminal)
                    nursery.start_soon(_show_verdicts, client, files, terminal)
                    try:
                        await serve_and_dial(client, parsed.gossip_listen, parsed.gossip, nursery)
                        status = await work(parsed, client, terminal)
                    except ProviderMisbehaved:
                        if parsed.gossip or parsed.gossip_listen:
                            await _wait_exposed(client)
                        raise
                    finally:
                        terminal.clear()
                        with trio.CancelScope(shield=True):
                            files.write(await client.proofs())
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = lone_exception(group)
        if error is None:
            raise
        raise_alone(error)
    finally:
        terminal.clear()
    unsent = len(client.unsent()) if client else 0
    if unsent and (stopped_by or status == TIMED_OUT):
        print(
            f"noise-client {parsed.command}: {unsent} messages wait in {parsed.device}; the next send sends them",
            file=sys.stderr,
        )
    if client is not None and client.verdict.verdict is Verdict.EXPOSED:
        return MISBEHAVED
    return 128 + stopped_by[0] if stopped_by else status


async def _stop_on_signal(scope: trio.CancelScope, stopped_by: list[int], task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            stopped_by.append(number)
            scope.cancel()


async def _wait_exposed(client: Client) -> None:
    """What we refused a peer may turn into a proof: there is a link, so give it a moment."""
    with trio.move_on_after(_LAST_WORDS_S):
        async for judgement in client.verdicts():
            if judgement.verdict is Verdict.EXPOSED:
                return


async def _show_states(client: Client, terminal: "_Terminal") -> None:
    async for state in client.states():
        if state is ClientState.BACKOFF and client.last_problem:
            terminal.show(f"{client.last_problem.detail}; trying again")
        else:
            terminal.show(state.value)


async def _show_verdicts(client: Client, files: ProofFiles, terminal: "_Terminal") -> None:
    """Say what changes, and write what is proven at once: the command may not live to its end."""
    async for judgement in client.verdicts():
        if judgement != FINE:
            terminal.clear()
            files.say(describe(judgement))
            files.write(await client.proofs())


async def _gossip(_: argparse.Namespace, client: Client, terminal: "_Terminal") -> int:
    async for judgement in client.verdicts():
        terminal.clear()
        await _write(encode_json(judgement_json(judgement)) + b"\n")
    return OK


async def _send(parsed: argparse.Namespace, client: Client, terminal: "_Terminal") -> int:
    to = parse_ids(parsed.to, "--to")
    earlier = client.unsent()
    put, taken = trio.open_memory_channel[Sending](_LINES_WAITING_MAX)
    printer = _ReceiptPrinter(parsed, terminal)
    problems: list[NoiseError] = []
    async with trio.open_nursery() as nursery:
        bytes_max = MESSAGE_BYTES_MAX if parsed.unsealed else PAYLOAD_BODY_BYTES_MAX
        nursery.start_soon(_read_lines, client, to, put, problems, bytes_max)
        for sending in earlier:
            await printer.add(sending)
        with taken:
            while True:
                try:
                    sending = taken.receive_nowait()
                except trio.WouldBlock:
                    await printer.flush()
                    try:
                        sending = await taken.receive()
                    except trio.EndOfChannel:
                        break
                except trio.EndOfChannel:
                    break
                await printer.add(sending)
    await printer.flush()
    with suppress(DeadlineExceeded):  # or nobody would compare the last receipts with what is delivered
        await client.wait_settled(deadline_s=_LAST_WORDS_S)
    if problems:
        raise problems[0]
    return REFUSED if printer.refused_count else OK


class _ReceiptPrinter:
    """Prints receipts in the order of their messages; those that are there already go out together."""

    def __init__(self, parsed: argparse.Namespace, terminal: "_Terminal") -> None:
        self.refused_count = 0
        self._sent_count = 0
        self._command = f"noise-client {parsed.command}"
        self._terminal = terminal
        self._lines: list[bytes] = []

    async def add(self, sending: Sending) -> None:
        if not sending.has_ended:
            await self.flush()
        try:
            self._lines.append(_receipt_line(await sending.wait_receipt(deadline_s=math.inf)))
            self._sent_count += 1
        except Rejected as error:
            self.refused_count += 1
            self._terminal.clear()
            print(f"{self._command}: a line was refused: {error}", file=sys.stderr)

    async def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._terminal.clear()
            await _write(b"".join(lines))
            self._terminal.show(f"{self._sent_count} sent")


async def _read_lines(
    client: Client,
    to: list[bytes],
    put: "trio.MemorySendChannel[Sending]",
    problems: list[NoiseError],
    bytes_max: int,
) -> None:
    """Queue each line of standard input as it comes. Empty lines are messages, and so is a last one without an end.

    A line that is too long is a problem, and the end: what came before it is sent.
    """
    with put:
        rest = b""
        while True:
            chunk = await trio.to_thread.run_sync(os.read, _STDIN, _READ_BYTES, abandon_on_cancel=True)
            *lines, rest = (rest + chunk).split(b"\n")
            if rest and (not chunk or len(rest) > bytes_max):
                lines.append(rest)
            for line in lines:
                if len(line) > bytes_max:
                    detail = f"a line has more than {bytes_max} bytes: split it; no line after it was read"
                    problems.append(NoiseError(detail, code="line-too-long"))
                    return
                await put.send(await client.send_soon(to, line, deadline_s=math.inf))
            if not chunk:
                return


async def _listen(parsed: argparse.Namespace, client: Client, terminal: "_Terminal") -> int:
    printed_count = 0
    async for delivery in client.deliveries():
        if delivery.sender == client.device_id and not parsed.own:
            continue
        terminal.clear()
        await _write(_delivery_line(delivery))
        printed_count += 1
        if printed_count == parsed.count:
            break
    return OK


def _receipt_line(receipt: Receipt) -> bytes:
    recipients = [format_id(device_id) for device_id in receipt.recipients]
    return encode_json({"seq": receipt.seq.hex(), "epoch": receipt.epoch, "recipients": recipients}) + b"\n"


def _delivery_line(delivery: Delivery) -> bytes:
    text = delivery.data.decode("utf-8", errors="replace")
    shown = {"seq": delivery.seq.hex(), "epoch": delivery.epoch, "sender": format_id(delivery.sender), "text": text}
    if text.encode() != delivery.data:
        shown["base64"] = base64url(delivery.data)
    if delivery.seal is not Seal.OPENED:
        shown["seal"] = delivery.seal.name.lower()
    return encode_json(shown) + b"\n"


async def _write(data: bytes) -> None:
    """Write to standard output; in a thread if it could wait, for a slow reader must not silence the connection."""

    def write() -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(_STDOUT, left) :]

    if len(data) <= select.PIPE_BUF and select.select([], [_STDOUT], [], 0)[1]:
        write()
    else:
        await trio.to_thread.run_sync(write, abandon_on_cancel=True)


class _Terminal:
    """One line of progress on standard error, if that is a terminal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_on = sys.stderr.isatty()
        self._is_shown = False

    def show(self, text: str) -> None:
        if self._is_on:
            print(f"\r\x1b[K{self._name}: {text}"[:120], end="", file=sys.stderr, flush=True)
            self._is_shown = True

    def clear(self) -> None:
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._is_shown = False
