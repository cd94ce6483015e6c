"""The `noise-client` command: make a device, send lines, listen.

Knows nothing of how messages travel: it is an application of the SDK like any other. Standard output carries results
only, one JSON line each, written when they are there; everything for a person goes to standard error.
"""

import argparse
import math
import os
import re
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from noise.protocol.errors import DecodeError, NoiseError, ProviderMisbehaved, Rejected
from noise.protocol.identifiers import format_id, parse_id
from noise.protocol.json_text import base64url, encode_json
from noise.protocol.limits import MESSAGE_BYTES_MAX
from noise_client.client import Client, open_client
from noise_client.errors import lone_exception, raise_alone
from noise_client.sending import Receipt, Sending
from noise_client.states import ClientState
from noise_client.trust_store import Delivery
from noise_client.trust_store_sqlite import create_device_file

OK, FAILED, USAGE, REFUSED, MISBEHAVED, TIMED_OUT, SIGPIPE_STATUS = 0, 1, 2, 3, 4, 5, 128 + signal.SIGPIPE

_LINES_WAITING_MAX = 4096
_READ_BYTES = 65_536
_STDIN, _STDOUT = 0, 1
_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{42}")
_USAGE_CODES = frozenset({"bad-id", "bad-url"})

_DESCRIPTION = """\
Send and receive through a noise provider that nobody has to trust: what is printed was verified.

  noise-client new --device alice.device
  noise-client new --device bob.device
  noise-client listen --device bob.device --server http://127.0.0.1:8080 --count 1
  echo hello | noise-client send --device alice.device --server http://127.0.0.1:8080 --to BOB_ID
"""

_EPILOG = """\
A device file holds a key, all that the device trusts, what it still has to send, and what it has not printed yet. It
belongs to one process at a time. The first provider that proves itself is pinned in it, or the one of --origin.

exit status:
  0  done                      4  the provider misbehaved: the evidence is in the device file
  1  failed                    5  --timeout-s passed first
  2  wrong usage               130, 143  stopped by SIGINT, SIGTERM
  3  the provider refused some lines; the others were sent
"""

_SEND = """\
Send standard input, one message a line, to some devices; and to oneself, as every message.

Lines are sent as they come, without waiting for each other's receipts. For each verified receipt a JSON line is
printed, in the order of the lines: {"seq": 32 hex digits, "epoch": number, "recipients": [ids]}. At the end of the
input all receipts are waited for, as long as it takes: a provider that is down is tried again and again.

Lines without a receipt wait in the device file, whatever ends the command. The next `send` with that device sends them
first, and prints their receipts first; `noise-client send ... </dev/null` sends nothing else.

examples:
  echo hello | noise-client send --device alice.device --server http://127.0.0.1:8080 --to BOB_ID
  tail -f log | noise-client send --device alice.device --server https://noise.example --to BOB_ID CAROL_ID
"""

_LISTEN = """\
Print verified messages, one JSON line each, in the provider's order: {"seq", "epoch", "sender", "text"}.

`text` is the message as UTF-8; one that is not UTF-8 has replacement characters in `text`, and its bytes in "base64"
(base64url without padding). Each message is printed once: those of a line that was not written completely come again.
Without --count it goes on until it is stopped, also over restarts of the provider.

examples:
  noise-client listen --device bob.device --server http://127.0.0.1:8080
  noise-client listen --device bob.device --server http://127.0.0.1:8080 --count 10 --timeout-s 60 | jq -r .text
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parsed = _parse(arguments)
    try:
        if parsed.command == "new":
            device = create_device_file(parsed.device)
            print(format_id(device.device_id), flush=True)
            return OK
        work = _send if parsed.command == "send" else _listen
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


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("noise-client", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=layout)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    new = commands.add_parser(
        "new",
        help="make a device file, and print the device's id",
        description="Make a device file, which must not exist yet, and print the device's id and nothing else.",
    )
    send = commands.add_parser(
        "send", help="send standard input, one message a line", description=_SEND, formatter_class=layout
    )
    listen = commands.add_parser(
        "listen", help="print what the device receives", description=_LISTEN, formatter_class=layout
    )
    for command in (new, send, listen):
        command.add_argument("--device", required=True, metavar="FILE", help="the device file")
    for command in (send, listen):
        command.add_argument(
            "--server", required=True, metavar="URL", help="http://HOST:PORT of the provider, or https"
        )
        command.add_argument("--origin", metavar="ID", help="the provider's id; else the first one seen is pinned")
        command.add_argument("--timeout-s", type=_positive(float), metavar="S", help="give up after this many seconds")
    send.add_argument("--to", required=True, nargs="+", metavar="ID", help="ids of the devices that shall receive it")
    listen.add_argument("--count", type=_positive(int), metavar="N", help="stop after N messages were printed")
    listen.add_argument("--own", action="store_true", help="print also what this device sent itself")
    return parser.parse_args([_shield_id(text) for text in (sys.argv[1:] if arguments is None else arguments)])


def _shield_id(text: str) -> str:
    """One id in 64 begins with a dash; argparse takes for a value what has a space in it, which `_parse_ids` strips."""
    return " " + text if _DASHED_ID.fullmatch(text) else text


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number = kind(text)
        if not 0 < number < math.inf:
            raise ValueError
        return number

    parse.__name__ = "positive number"  # what argparse calls it in its complaint
    return parse


def _parse_ids(texts: Sequence[str], option: str) -> list[bytes]:
    try:
        return [parse_id(text.strip()) for text in texts]
    except DecodeError:
        raise NoiseError(
            f"{option} takes ids, of 43 characters each, as `noise-client new` prints them", code="bad-id"
        ) from None


Work = Callable[[argparse.Namespace, Client, "_Terminal"], Awaitable[int]]


async def _run(parsed: argparse.Namespace, work: Work) -> int:
    """Open the client and work, until it is done, a signal comes or time is up."""
    origin = _parse_ids([parsed.origin], "--origin")[0] if parsed.origin else None
    stopped_by: list[int] = []
    status = TIMED_OUT
    client: Client | None = None
    terminal = _Terminal(f"noise-client {parsed.command}")
    try:
        with trio.move_on_after(parsed.timeout_s if parsed.timeout_s else math.inf):
            async with trio.open_nursery() as nursery:
                await nursery.start(_stop_on_signal, nursery.cancel_scope, stopped_by)
                async with open_client(parsed.server, parsed.device, origin=origin) as client:
                    nursery.start_soon(_show_states, client, terminal)
                    try:
                        status = await work(parsed, client, terminal)
                    finally:
                        terminal.clear()
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
    return 128 + stopped_by[0] if stopped_by else status


async def _stop_on_signal(scope: trio.CancelScope, stopped_by: list[int], task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            stopped_by.append(number)
            scope.cancel()


async def _show_states(client: Client, terminal: "_Terminal") -> None:
    async for state in client.states():
        if state is ClientState.BACKOFF and client.last_problem:
            terminal.show(f"{client.last_problem.detail}; trying again")
        else:
            terminal.show(state.value)


async def _send(parsed: argparse.Namespace, client: Client, terminal: "_Terminal") -> int:
    to = _parse_ids(parsed.to, "--to")
    earlier = client.unsent()
    put, taken = trio.open_memory_channel[Sending](_LINES_WAITING_MAX)
    printer = _ReceiptPrinter(parsed, terminal)
    problems: list[NoiseError] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read_lines, client, to, put, problems)
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
    client: Client, to: list[bytes], put: "trio.MemorySendChannel[Sending]", problems: list[NoiseError]
) -> None:
    """Queue each line of standard input as it comes. Empty lines are messages, and so is a last one without an end.

    A line that is too long is a problem, and the end: what came before it is sent.
    """
    with put:
        rest = b""
        while True:
            chunk = await trio.to_thread.run_sync(os.read, _STDIN, _READ_BYTES, abandon_on_cancel=True)
            *lines, rest = (rest + chunk).split(b"\n")
            if rest and (not chunk or len(rest) > MESSAGE_BYTES_MAX):
                lines.append(rest)
            for line in lines:
                if len(line) > MESSAGE_BYTES_MAX:
                    detail = f"a line has more than {MESSAGE_BYTES_MAX} bytes: split it; no line after it was read"
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
