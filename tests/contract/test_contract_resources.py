"""What travels: camelCase, UTC, durations, hashes; strict in what is sent, lenient in what is read."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from app.contract.resources.access import InstallTokenCreate, TokenCreate
from app.contract.resources.base import Listing, Problem
from app.contract.resources.checkpoint import VERIFY_EVENT, ByteRange, VerifyFailed, VerifyProgress
from app.contract.resources.project import Project, ProjectCreate
from app.contract.resources.server import Disk
from app.contract.words import DedupScope, Role

MADE = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))


@dataclass(frozen=True)
class Row:
    id: str = "prj-1"
    name: str = "shop"
    description: str = ""
    dedup_scope: DedupScope = DedupScope.PROJECT
    pace: None = None
    created_at: datetime = MADE
    version: int = 3


def test_a_services_dataclass_becomes_camel_case_in_utc() -> None:
    project = Project.model_validate(Row())
    assert project.model_dump(mode="json", by_alias=True) == {
        "id": "prj-1",
        "name": "shop",
        "description": "",
        "dedupScope": "project",
        "pace": None,
        "createdAt": "2030-01-02T01:04:05Z",
        "version": 3,
    }


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValidationError):
        Project.model_validate(Row(created_at=MADE.replace(tzinfo=None)))


def test_an_older_client_reads_a_newer_service() -> None:
    newer = Project.model_validate(Row()).model_dump(mode="json", by_alias=True) | {"colour": "red"}
    page = Listing[Project].model_validate({"items": [newer], "nextCursor": None, "total": 1})
    assert page.items == (Project.model_validate(Row()),)


def test_what_is_sent_has_no_unknown_member() -> None:
    with pytest.raises(ValidationError, match="colour"):
        ProjectCreate.model_validate({"name": "shop", "colour": "red"})


def test_durations_are_iso_8601() -> None:
    body = TokenCreate(name="ci", role=Role.VIEWER, expires_in=timedelta(days=7))
    assert body.model_dump(mode="json", by_alias=True)["expiresIn"] == "P7D"
    assert InstallTokenCreate.model_validate({"name": "x", "expiresIn": "PT2H"}).expires_in == timedelta(
        hours=2
    )


def test_a_root_may_be_handed_over_as_bytes() -> None:
    disk = Disk(
        id="dsk-1",
        server_id="srv-1",
        key="k",
        path="/dev/sda",
        size_bytes=1,
        sector_size=512,
        root=b"\xab" * 32,
    )
    assert disk.root == "ab" * 32


@pytest.mark.parametrize(
    "event",
    [
        VerifyProgress(checked_bytes=1, total_bytes=2),
        VerifyFailed(code="STORE_UNAVAILABLE", detail="away"),
    ],
)
def test_events_of_a_verification_are_told_apart(event: VerifyProgress | VerifyFailed) -> None:
    assert VERIFY_EVENT.validate_json(event.model_dump_json(by_alias=True)) == event


def test_ranges_are_plain() -> None:
    assert ByteRange(offset=4096, length=512).model_dump(by_alias=True) == {"offset": 4096, "length": 512}


def test_a_problem_of_another_service_still_reads() -> None:
    problem = Problem.model_validate({"status": 503})
    assert (problem.code, problem.remedy, dict(problem.extra)) == ("UNKNOWN", None, {})


def test_the_words_stand_on_the_standard_library() -> None:
    check = (
        "import sys; before = set(sys.modules); import app.contract.words; "
        "print(sorted(name for name in set(sys.modules) - before "
        "if name.partition('.')[0] not in sys.stdlib_module_names | {'app'}))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_times_are_utc_whatever_the_offset() -> None:
    assert Project.model_validate(Row()).created_at.tzinfo is UTC
