"""The relay to a machine that took over carries both ways, tells who accepted, and leaves nothing behind."""

import asyncio

import pytest

from app.launch.libvirt.relay import Relay
from tests.services.processes import free_port


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A guest's service: it answers when all of a question came."""
    writer.write((await reader.read()).upper())
    writer.close()


async def nowhere() -> None:
    return None


async def here() -> str:
    return "127.0.0.1"


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"who")
    writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:  # closed with our question unread
        return b""
    finally:
        writer.close()


async def test_what_the_machine_answers_arrives_and_counts_as_accepted() -> None:
    async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
        port, silent = server.sockets[0].getsockname()[1], free_port()
        async with Relay(here, (port, silent)) as relay:
            assert [forward.guest for forward in relay.forwards] == [port, silent]
            assert not relay.accepted(port)
            assert await ask(relay.forwards[0].host) == b"WHO"
            assert relay.accepted(port)
            assert await ask(relay.forwards[1].host) == b""
            assert not relay.accepted(silent)


async def test_a_machine_whose_address_is_not_known_yet_accepts_nothing() -> None:
    async with Relay(nowhere, (80,)) as relay:
        assert await ask(relay.forwards[0].host) == b""
        assert not relay.accepted(80)


async def test_nothing_listens_and_nothing_runs_after_the_check() -> None:
    async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
        async with Relay(here, (server.sockets[0].getsockname()[1],)) as relay:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.forwards[0].host)
            await asyncio.sleep(0.1)
        assert await reader.read() == b""
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await ask(relay.forwards[0].host)
    assert asyncio.all_tasks() == {asyncio.current_task()}
