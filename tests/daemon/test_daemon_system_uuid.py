"""The firmware's UUID is reported where there is one, and which server to be is said once and clearly."""

from pathlib import Path

import pytest

from app.agent.daemon.inventory.system_uuid import collect_system_uuid
from app.wire.messages import Inventory
from tests.e2e.source_host import SourceHost

URL = ("--url", "http://127.0.0.1:1", "--no-preflight")


def test_it_is_taken_from_the_first_place_that_has_it(tmp_path: Path) -> None:
    first, second = tmp_path / "dmi", tmp_path / "hypervisor"
    second.write_text("00-Xen\n")
    assert collect_system_uuid(Inventory("web"), (first, second)).system_uuid == "00-xen"
    first.write_text("4C4C4544-0042\n")
    assert collect_system_uuid(Inventory("web"), (first, second)).system_uuid == "4c4c4544-0042"


def test_a_machine_without_one_is_nothing_to_warn_of(tmp_path: Path) -> None:
    assert collect_system_uuid(Inventory("web"), (tmp_path / "none",)) == Inventory("web")


@pytest.mark.parametrize(
    "options",
    [
        ("--token", "g2i_x", "--new", "--server", "web"),
        ("--token", "g2i_x", "--replace", "web", "--server", "web"),
        ("--token", "g2i_x", "--server", ""),
        ("--token", "g2r_x", "--new"),
        ("--token", "g2r_x", "--server", "web"),
    ],
)
def test_a_claim_that_makes_no_sense_is_wrong_usage(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, message = SourceHost(tmp_path / "agent").refused("enroll", *URL, *options)
    assert code == 2, message
    assert "--" in message
