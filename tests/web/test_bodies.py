"""Bodies are bounded alone and together: many slow clients cannot fill the memory."""

from pathlib import Path

import trio

from noise.web.app import create_app
from tests.provider import Device, running_provider
from tests.web.face import OCTETS, Face, Reader, problem_code, request_bytes
from tests.web.live_http import read_answer, reset, serving

BUDGET = 300_000


async def test_uploads_share_a_budget_and_give_it_back(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with running_provider(tmp_path / "provider") as provider:
            app = create_app(provider.gateway)
            app.budget.bytes_max = BUDGET
            async with serving(app) as live:
                face = Face(provider, live)
                large = Device("alice").write(provider.origin, [bytes(200_000)])
                whole = request_bytes("POST", "/v1/bundles", {"Content-Type": OCTETS}, large.encode())
                slow = await live.connect(whole[:-1])
                while app.budget.used < 200_000:
                    await trio.lowlevel.checkpoint()
                second = Device("bob").write(provider.origin, [bytes(200_000)])
                answer = await face.ask("POST", "/v1/bundles", second.encode(), Content_Type=OCTETS)
                assert (problem_code(answer), answer.headers[b"retry-after"]) == ("busy", b"2")
                held = len(large.encode()) - 1
                while app.budget.used > held:  # until what was taken of the refused one is given back
                    await trio.lowlevel.checkpoint()
                app.budget.bytes_max = held
                await face.send(Device("carol").write(provider.origin, [b"a short one gets through"]))
                app.budget.bytes_max = BUDGET
                await slow.send_all(whole[-1:])
                assert (await read_answer(slow)).status == 201
                await face.send(second)
                gone = await live.connect(whole[:-1])
                while app.budget.used < 200_000:
                    await trio.lowlevel.checkpoint()
                reset(gone)
                while app.budget.used:
                    await trio.lowlevel.checkpoint()


async def test_responses_share_it_too(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with running_provider(tmp_path / "provider") as provider:
            app = create_app(provider.gateway)
            async with serving(app) as live:
                face = Face(provider, live)
                alice = Device("alice")
                for _ in range(8):
                    await provider.submit(alice.write(provider.origin, [bytes(250_000)] * 4))
                token = await face.log_in(alice)
                request = request_bytes("GET", "/v1/mailbox", {"Authorization": token})
                # Nobody reads this one: more than the kernel's buffers take.
                slow = await live.connect(request, receive_buffer_bytes=4_096)
                while app.budget.used < 1_000_000:
                    await trio.lowlevel.checkpoint()
                app.budget.bytes_max = app.budget.used
                assert await face.code("GET", "/v1/mailbox", Authorization=token) == "busy"
                assert (await face.ask("GET", "/v1/roster")).status == 200
                reset(slow)
                while app.budget.used:
                    await trio.lowlevel.checkpoint()
                assert await Reader(face, alice).read_page(token)
                while app.budget.used:
                    await trio.lowlevel.checkpoint()
