"""Warnings and gaps: what is wrong or was not looked at is said, and nothing where all is well."""

from typing import Any

import pytest

from app.migration.report.remarks import gaps, warnings
from tests.report.reports import report


def codes(changes: dict[str, Any], first: int = 1) -> set[str]:
    found = report(**changes)
    return {remark.code for remark in (*warnings(found), *gaps(found, first))}


def changed(member: str, **changes: Any) -> dict[str, Any]:
    """The member of the whole report, an object, with other values."""
    return {member: report().model_dump()[member] | changes}


def first_changed(member: str, **changes: Any) -> dict[str, Any]:
    """The member of the whole report, a list, with other values in its first item."""
    first, *rest = report().model_dump()[member]
    return {member: [first | changes, *rest]}


def level(at: int, result: str) -> dict[str, Any]:
    found = [dict(each) for each in report().model_dump()["verification"]]
    found[at]["result"] = result
    return {"verification": found}


def test_a_migration_of_which_all_was_looked_at_has_no_remark() -> None:
    assert codes({}) == set()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (changed("cutover", source_stopped=False), "SOURCE_STILL_ACTIVE"),
        (changed("cutover", source_stopped=None), "SOURCE_STILL_ACTIVE"),
        (changed("cutover", state="REVERTING", source_gone="burnt down"), "SOURCE_NOT_GIVEN_BACK"),
        (changed("checkpoint", label="fuzzy"), "CHECKPOINT_FUZZY"),
        (first_changed("disks", unreadable_bytes=512), "BYTES_UNREADABLE"),
        (first_changed("disks", omitted_bytes=512), "FREE_SPACE_LEFT_OUT"),
        (level(1, "REFUTED"), "STORE_HAS_FAULTS"),
        (level(2, "REFUTED"), "REPLICA_DIFFERS"),
        (level(4, "REFUTED"), "VOLUME_DIFFERS"),
        (level(0, "NOT_VERIFIED"), "V0_NOT_VERIFIED"),
        (level(1, "PARTLY"), "V1_PARTLY"),
        (level(4, "NOT_VERIFIED"), "V4_NOT_VERIFIED"),
        (changed("server", replication_reason="AGENT_NOT_SEEN"), "REPLICATION_TROUBLED"),
        (first_changed("boots", passed=False), "TEST_FAILED"),
        (first_changed("boots", passed=None), "NOT_TESTED"),
        ({"boots": ()}, "NOT_TESTED"),
        ({"checkpoint": None}, "NO_CHECKPOINT"),
        ({"screenshot": None}, "NO_SCREENSHOT"),
        ({"cutover": None}, "NOT_CUT_OVER"),
        (changed("cutover", state="UNDONE"), "NOT_CUT_OVER"),
        (changed("cutover", state="REVERTED", source_stopped=False), "NOT_CUT_OVER"),
        (changed("cutover", override="late", passed_over=("NOT_FROZEN",)), "DOUBT_PASSED_OVER"),
        ({"conversion": None}, "NO_CONVERSION"),
        (changed("conversion", system=None), "NO_CONVERSION"),
        (changed("conversion", warnings=["no GRUB was found"]), "CONVERSION_DOUBT"),
        (
            first_changed("trail", action="server.markReady", details=[["passedOver", '"TEST_NOT_PASSED"']]),
            "TEST_OVERRIDDEN",
        ),
        ({"jobs": [report().jobs[0].model_dump()] * 100}, "LIST_CUT"),
    ],
)
def test_what_is_wrong_or_lacking_is_said(changes: dict[str, Any], code: str) -> None:
    assert codes(changes) == {code}


def test_a_test_of_another_checkpoint_is_said_unless_the_cutover_proved_more() -> None:
    older = first_changed("boots", checkpoint_number=2)
    assert codes(older) == set()
    assert codes(older | {"cutover": None}) == {"NOT_CUT_OVER", "TEST_OF_ANOTHER_CHECKPOINT"}


def test_a_machine_that_did_not_come_up_is_a_warning() -> None:
    failed = changed("cutover", state="LAUNCHED", passed=False)
    assert codes(failed) == {"CUTOVER_FAILED", "NOT_CUT_OVER"}


def test_dropped_checkpoints_are_said_not_to_be_counted() -> None:
    assert codes({}, first=7) == {"COUNTERS_INCOMPLETE"}


def test_a_mark_without_an_override_is_no_warning() -> None:
    marked = first_changed("trail", action="server.markReady", details=[["passedOver", "null"]])
    assert codes(marked) == set()
