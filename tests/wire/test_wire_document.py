"""docs/wire.md says what the code does: names, numbers, layouts, paths and refusals, in both directions."""

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from app.agent.gateway.routes import router
from app.wire import frames, messages, tree
from app.wire.chunks import KIB, MIB
from app.wire.codec import Codec
from app.wire.frames import PUT_TYPES, FrameType, most_payload
from app.wire.jsonform import AtMost
from tests.wire.message_strategies import KINDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "wire.md").read_text()
UNITS = {"KiB": KIB, "MiB": MIB, "GiB": 1024 * MIB}
OF_THE_WIRE = sorted((ROOT / "app" / "wire").glob("*.py"))
OF_THE_GATEWAY = sorted((ROOT / "app" / "agent" / "gateway").glob("*.py"))
OF_REPLICATION = sorted((ROOT / "app" / "migration" / "replication").glob("*.py"))
NOT_OF_THE_PROTOCOL = {
    "app.wire.chunks.KIB",
    "app.wire.chunks.MIB",
    "app.wire.memory.HUGE_PAGE",
    "app.agent.gateway.commands.LOOK_SECONDS",
    "app.agent.gateway.intake.PARSED_INLINE_BYTES",
    "app.agent.gateway.answers.BYTES",
}
"""Units, and how the service does its work."""

NOT_FOR_AGENTS = {"WIRE_ERROR", "NOTHING_TO_VERIFY", "OPERATION_NOT_ALLOWED"}
"""The base class of an error, and what only the REST API answers."""


def table(*heads: str) -> list[list[str]]:
    """The rows of the one table whose first columns have these heads."""
    wanted = "| " + " | ".join(heads) + " |"
    found = [at for at, line in enumerate(TEXT.splitlines()) if line.startswith(wanted)]
    assert len(found) == 1, f"{len(found)} tables begin with {wanted}"
    rows = []
    for line in TEXT.splitlines()[found[0] + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def plain(cell: str) -> str:
    """A cell without its back-quotes."""
    return cell.strip("` ")


def constants_of(path: Path) -> Iterator[tuple[str, object]]:
    """The public constants that a module defines itself: numbers and texts."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name)
    for statement in ast.parse(path.read_text()).body:
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        )
        for target in targets:
            if isinstance(target, ast.Name) and re.fullmatch(r"[A-Z][A-Z_]+", target.id):
                value = getattr(module, target.id)
                if isinstance(value, int | float | str):
                    yield f"{name}.{target.id}", value


def test_every_constant_that_is_named_has_its_value() -> None:
    for name, value in table("constant", "value"):
        module, _, constant = plain(name).rpartition(".")
        assert str(getattr(importlib.import_module(module), constant)) == plain(value), name


def test_every_constant_of_the_protocol_is_named() -> None:
    named = {plain(row[0]) for row in table("constant", "value")}
    there = {name for path in (*OF_THE_WIRE, *OF_THE_GATEWAY) for name, _ in constants_of(path)}
    assert there - NOT_OF_THE_PROTOCOL == {name for name in named if "migration" not in name}


def test_the_frame_types_are_those_of_the_code() -> None:
    rows = table("type", "name")
    assert [(int(row[0]), plain(row[1])) for row in rows] == [(kind.value, kind.name) for kind in FrameType]
    assert [int(row[3]) for row in rows] == [most_payload(kind) for kind in FrameType]
    assert [row[4] == "yes" for row in rows] == [kind in PUT_TYPES for kind in FrameType]


def test_the_codecs_are_those_of_the_code() -> None:
    assert [(int(row[0]), plain(row[1])) for row in table("codec", "name")] == [
        (c.value, c.name) for c in Codec
    ]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("frame header", frames.HEADER),
        ("root node", tree._HEADER),
        ("chunk record", frames._CHUNK),
        ("patch record", frames._PATCH),
        ("proof record", frames._PROOF),
        ("leaf patch record", frames._LEAF_PATCH),
        ("leaf change", frames._LEAF_CHANGE),
    ],
)
def test_a_layout_is_gapless_and_as_long_as_in_the_code(name: str, form: Any) -> None:
    at = 0
    for _, offset, length, _ in table(name, "offset"):
        assert int(offset) == at
        at += int(length)
    assert at == form.size


def test_the_layouts_have_the_fields_of_the_code_where_they_are_said_to_be() -> None:
    header = frames.HEADER.pack(b"g2", 1, 2, 3, 4, 0)
    places = {
        plain(row[3]).split(",")[0]: (int(row[1]), int(row[2])) for row in table("frame header", "offset")
    }
    read = {name: int.from_bytes(header[at : at + length], "big") for name, (at, length) in places.items()}
    assert (read["version"], read["type"], read["record count"], read["payload length"]) == (1, 2, 3, 4)
    node = tree.RootNode.empty(5 * 1024 * 65536, 65536).encode()
    assert int.from_bytes(node[8:16], "big") == 5 * 1024 * 65536
    assert int.from_bytes(node[16:20], "big") == 65536
    assert int.from_bytes(node[20:24], "big") == 5


def test_the_paths_are_those_of_the_code() -> None:
    app = FastAPI()
    app.include_router(router())
    there = {
        (method, context.path)
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.methods or ()
    }
    assert {(row[0], plain(row[1])) for row in table("method", "path")} == there


def test_the_limits_of_bodies_are_those_of_the_code() -> None:
    most = {plain(row[1]).rpartition("/")[2]: row[3] for row in table("method", "path")}
    read = {name: int(text.split()[0]) * UNITS[text.split()[1]] for name, text in most.items() if text != "0"}
    values = {plain(row[0]).rpartition(".")[2]: plain(row[1]) for row in table("constant", "value")}
    assert read == {
        "enroll": int(values["INVENTORY_BYTES"]),
        "poll": int(values["INVENTORY_BYTES"]),
        "release": int(values["RELEASE_BYTES"]),
        "sessions": int(values["OPEN_BYTES"]),
        "have": int(values["MAX_HAVE"]) * 32,
        "signatures": int(values["MAX_HAVE"]) * 32,
        "put": int(values["PUT_BYTES"]),
        "commit": int(values["MAX_MESSAGE"]),
        "preflights": int(values["PREFLIGHT_BYTES"]),
        "sink": int(values["SINK_BYTES"]),
        "progress": int(values["PROGRESS_BYTES"]),
        "result": int(values["RESULT_BYTES"]),
        "report": int(values["REPORT_BYTES"]),
    }


def test_the_messages_have_the_fields_of_the_code() -> None:
    missing = dataclasses.MISSING
    there = {
        kind.__name__: [
            f"`{item.name}`" + ("" if item.default is missing and item.default_factory is missing else "?")
            for item in dataclasses.fields(kind)
        ]
        for kind in KINDS
    }
    assert {plain(row[0]): row[1].split() for row in table("message", "fields")} == there


def test_the_lengths_of_texts_are_those_of_the_code() -> None:
    there = {
        f"{kind.__name__}.{name}": limit.most
        for kind in KINDS
        for name, hint in get_type_hints(kind, include_extras=True).items()
        if get_origin(hint) is Annotated and get_args(hint)[0] is str
        for limit in get_args(hint)[1:]
        if isinstance(limit, AtMost)
    }
    assert {plain(row[0]): int(row[1]) for row in table("text", "most characters")} == there


@cache
def codes_in(folder: Path) -> frozenset[str]:
    """All codes of errors that modules of a folder define or raise."""
    return frozenset(code for path in folder.rglob("*.py") for code in _codes(ast.parse(path.read_text())))


def _codes(module: ast.AST) -> Iterator[str]:
    for node in ast.walk(module):
        value: ast.expr | None = None
        if isinstance(node, ast.keyword) and node.arg == "code":
            value = node.value
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            value = node.value if isinstance(target, ast.Name) and target.id == "code" else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.isupper():
            yield value.value


def documented_codes() -> set[str]:
    """The codes of the table of refusals."""
    codes = [plain(row[1]) for row in table("status", "code")]
    assert len(set(codes)) == len(codes)
    return set(codes)


def test_every_refusal_that_is_named_exists() -> None:
    of_http = {"METHOD_NOT_ALLOWED"}
    assert documented_codes() - codes_in(ROOT / "app") == of_http


def test_every_refusal_of_the_agent_tier_is_named() -> None:
    rooms = ("agent/gateway", "wire", "migration/replication", "migration/verification")
    there = frozenset().union(*(codes_in(ROOT / "app" / room) for room in rooms))
    assert there - documented_codes() == NOT_FOR_AGENTS


def test_the_statuses_are_those_of_the_errors() -> None:
    from app.kit.errors import Go2CloudError
    from app.migration.access import errors as access
    from app.migration.preflight import errors as preflight
    from app.migration.replication import errors as replication
    from app.migration.servers import errors as servers
    from app.migration.verification import errors as verification
    from app.store import errors as store

    known = {
        kind.code: kind.status
        for module in (access, preflight, replication, servers, store)
        for module in (access, replication, servers, verification, store)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Go2CloudError)
    }
    for status, code, *_ in table("status", "code"):
        assert known.get(plain(code), int(status)) == int(status), code


def test_the_refused_records_are_those_of_the_code() -> None:
    there = {
        node.args[1].value
        for path in OF_REPLICATION
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused"
        if isinstance(node.args[1], ast.Constant)
    }
    assert {plain(row[0]) for row in table("refused record", "meaning")} == there


def test_what_have_answers_is_said_as_it_is() -> None:
    assert f"{messages.HAVE_SEND} send it; {messages.HAVE_KNOWN} it is known" in TEXT
    assert f"{messages.HAVE_PROVE} the" in TEXT.replace("\n", " ")
