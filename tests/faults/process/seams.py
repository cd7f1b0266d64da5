"""The named points of both programs, hung into the product's code from outside.

`.before` and `.after` stand around a call, `.half` inside a write of which half is done. The lists are what
the tests choose from; a point that the product no longer has fails at the start of the program.
"""

import http.client
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.faults.process.ledger import Ledger

Reach = Callable[[str], None]

SERVICE_POINTS = (
    "session.open.before",
    "session.open.after",
    "leaves.write.before",
    "leaves.write.after",
    "pack.write.before",
    "file.make_folder.before",
    "file.make_folder.after",
    "file.write.before",
    "file.write.half",
    "file.write.after",
    "file.fsync.before",
    "file.fsync.after",
    "file.rename.before",
    "file.rename.after",
    "pack.write.after",
    "pack.record.before",
    "pack.record.after",
    "roots.write.before",
    "roots.write.after",
    "checkpoint.write.before",
    "checkpoint.write.after",
    "commit.transaction.before",
    "commit.transaction.after",
    "database.commit.before",
    "database.commit.after",
    "checkpoint.confirm.before",
    "checkpoint.confirm.after",
)
AGENT_POINTS = (
    "poll.before",
    "poll.after",
    "open.before",
    "open.after",
    "leaves.before",
    "leaves.after",
    "have.before",
    "have.after",
    "signatures.after",
    "put.begin.before",
    "put.begin.after",
    "put.write.before",
    "put.write.half",
    "put.write.after",
    "put.result.before",
    "put.result.after",
    "commit.before",
    "commit.sent",
    "commit.after",
    "state.write.before",
    "state.rename.before",
    "state.write.after",
    "release.before",
    "release.after",
)
OFTEN = frozenset({"file", "pack", "database", "have", "put"})
"""First words of points that one replication reaches many times."""


def around(owner: Any, name: str, point: str, reach: Reach) -> None:
    """Put points before and after a function of a module or a method of a class."""
    original = getattr(owner, name)

    async def later(*args: Any, **named: Any) -> Any:
        reach(f"{point}.before")
        result = await original(*args, **named)
        reach(f"{point}.after")
        return result

    def now(*args: Any, **named: Any) -> Any:
        reach(f"{point}.before")
        result = original(*args, **named)
        reach(f"{point}.after")
        return result

    wrapper: Callable[..., Any | Awaitable[Any]] = later if inspect.iscoroutinefunction(original) else now
    setattr(owner, name, wrapper)


def hang_into_service(reach: Reach, pack_bytes: int) -> None:
    """Points of the service; packs are sealed and chunks gathered at `pack_bytes`, so that a small disk has
    many and little is in flight."""
    from app.agent.gateway import replication as gateway
    from app.kit import database
    from app.migration.replication import commit, gathering, ingest, packing
    from app.store.folder import FileCalls
    from app.store.objects import ObjectStore
    from app.store.pack import PackBuilder

    around(gateway, "open_session", "session.open", reach)
    around(ingest, "write_leaves", "leaves.write", reach)
    around(packing, "record_pack", "pack.record", reach)
    around(commit, "write_roots", "roots.write", reach)
    around(commit, "_commit", "commit.transaction", reach)
    around(database, "_commit", "database.commit", reach)
    for method in ("write_pack", "write_checkpoint", "confirm_checkpoint"):
        verb, noun = method.split("_")
        around(ObjectStore, method, f"{noun}.{verb}", reach)
    _halve_writes(FileCalls, reach)
    for method in ("write", "fsync", "rename", "make_folder"):
        around(FileCalls, method, f"file.{method}", reach)
    vars(packing)["PackBuilder"] = lambda project, server: PackBuilder(project, server, pack_bytes)
    vars(gathering)["GATHERED_BYTES"] = pack_bytes


def _halve_writes(calls: Any, reach: Reach) -> None:
    original = calls.write

    def write(self: Any, descriptor: int, parts: Sequence[Any]) -> None:
        whole = b"".join(parts)
        original(self, descriptor, [whole[: len(whole) // 2]])
        reach("file.write.half")
        original(self, descriptor, [whole[len(whole) // 2 :]])

    calls.write = write


def hang_into_agent(reach: Reach, ledger: Ledger) -> None:
    """Points of the agent; its ledger is written."""
    from pathlib import Path

    from app.agent.daemon import state
    from app.agent.daemon.service import PutStream, Service, Session

    _halve_puts(PutStream, reach)
    _keep_ledger(PutStream, ledger)
    for method in ("poll", "open", "release"):
        around(Service, method, method, reach)
    for method in ("leaves", "have", "signatures", "commit"):
        around(Session, method, method, reach)
    around(Session, "begin_put", "put.begin", reach)
    around(PutStream, "write", "put.write", reach)
    around(PutStream, "result", "put.result", reach)
    around(state, "write_atomically", "state.write", reach)
    around(Path, "rename", "state.rename", reach)
    _watch_commits(reach)


def _keep_ledger(stream: Any, ledger: Ledger) -> None:
    begin, write, result = stream.__init__, stream._write, stream.result

    def begin_and_note(self: Any, *args: Any) -> None:
        ledger.note("begin")
        begin(self, *args)

    def write_and_note(self: Any, data: Any) -> None:
        ledger.note(f"sent {len(data)}")
        write(self, data)

    def result_and_note(self: Any) -> Any:
        found = result(self)
        ledger.note("result")
        return found

    stream.__init__, stream._write, stream.result = begin_and_note, write_and_note, result_and_note


def _halve_puts(stream: Any, reach: Reach) -> None:
    original = stream._write

    def write(self: Any, data: Any) -> None:
        if len(data) > 4096:  # the end of a body is no frame
            half = len(data) // 2
            original(self, data[:half])
            reach("put.write.half")
            data = data[half:]
        original(self, data)

    stream._write = write


def _watch_commits(reach: Reach) -> None:
    """A point between a commit's request and its answer."""
    original, send = http.client.HTTPConnection.getresponse, http.client.HTTPConnection.putrequest

    def putrequest(self: Any, method: str, url: str, *args: Any, **named: Any) -> None:
        self.is_commit = url.endswith("/commit")
        send(self, method, url, *args, **named)

    def getresponse(self: Any) -> Any:
        if getattr(self, "is_commit", False):
            reach("commit.sent")
        return original(self)

    http.client.HTTPConnection.putrequest = putrequest  # type: ignore[method-assign]
    http.client.HTTPConnection.getresponse = getresponse  # type: ignore[method-assign]
