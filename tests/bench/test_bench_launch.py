"""What the bench makes of its measurements of launches, and how it changes a disk for them."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.contract.cutoverwords import CutoverPhase
from bench.changes import scattered
from bench.freespace import Ranges, joined
from bench.images import Image
from bench.launch.report import launch_tables
from bench.launch.results import Advanced, Booted, CutOver, LaunchResult, Materialised
from bench.peers.registry import OURS
from bench.plan import BLOCK, MB, MIB

BOOT = {"firmware": 1.0, "bootloader": 2.0, "kernel": 3.0, "login": 8.0}


def _made(peer: str, verified: float) -> Materialised:
    written = None if peer == OURS else verified / 2
    return Materialised(peer, 100 * MB, written, verified, cpu=1.5)


def test_materialising_is_told_as_medians_as_a_rate_and_as_a_multiple_of_ours() -> None:
    runs = [_made(OURS, 1.0), _made("other", 4.0), _made(OURS, 9.0), _made(OURS, 2.0)]
    _, header, ours, theirs = launch_tables(runs).splitlines()
    assert header.startswith("peer")
    assert ours.split() == [OURS, "—", "2.00", "50", "1.00", "1.50"]
    assert theirs.split() == ["other", "2.00", "4.00", "25", "2.00", "1.50"]


def test_an_advance_is_told_as_a_share_of_materialising_in_the_same_run() -> None:
    runs: list[LaunchResult] = [_made(OURS, 2.0), Advanced(BLOCK, MIB, 1.0), Advanced(MIB, MIB, 0.1)]
    blocks, pieces = launch_tables(runs).splitlines()[-2:]
    assert blocks.split() == ["1", "MiB", "4", "KiB", "1.00", "0.50"]
    assert pieces.split()[-2:] == ["0.10", "0.05"]


def test_an_advance_alone_has_no_share() -> None:
    assert launch_tables([Advanced(BLOCK, MIB, 1.0)]).splitlines()[-1].endswith("—")


def test_a_boot_is_told_by_its_phases_and_its_job_by_its_steps() -> None:
    steps = {"materialise": 0.5, "check": 13.0}
    ours = [Booted(OURS, "tcg", BOOT, {**steps, "check": check}, check + 1) for check in (13.0, 12.0, 30.0)]
    by_hand = Booted("QEMU", "tcg", {"kernel": 3.0, "login": 4.0}, {}, None)
    text = launch_tables([*ours, by_hand])
    assert [OURS, "1.00", "2.00", "3.00", "8.00", "1.00", "tcg"] in [
        line.split() for line in text.splitlines()
    ]
    assert ["QEMU", "—", "—", "3.00", "4.00", "0.50", "tcg"] in [line.split() for line in text.splitlines()]
    assert text.endswith("job of the test: 14.00 s, of which materialise 0.50, check 13.00")


def test_what_of_a_downtime_is_in_no_phase_is_told_and_what_came_before_does_not_count() -> None:
    phases = {phase.value: 1.0 for phase in CutoverPhase} | {"verify": 60.0}
    text = launch_tables([CutOver(5 * MB, phases, 7.5, 8.0, 50, 12 * MB)])
    title, _, *lines = text.splitlines()
    assert title.startswith("cutover at 5 MB/s: frozen for 50 ms, 12.0 MB")
    assert title.endswith("before the downtime verify 60.00 s, precopy 1.00 s")
    assert [line.split()[0] for line in lines[:7]] == [
        "stop",
        "cut",
        "apply",
        "convert",
        "keep",
        "launch",
        "check",
    ]
    assert [line.split()[-1] for line in lines[7:]] == ["0.50", "7.50"]


def test_nothing_measured_is_nothing_told() -> None:
    assert launch_tables([]) == ""


def test_a_piece_that_touches_a_range_meets_it() -> None:
    ranges = Ranges((100, 300), (200, 400))
    assert [ranges.meets(*piece) for piece in ((0, 100), (0, 101), (199, 250), (200, 300), (150, 160))] == [
        False,
        True,
        True,
        False,
        True,
    ]


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """8 MiB in use, of whose first MiB one block is metadata; the last MiB is free."""
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(range(256)) * (9 * MIB // 256))
    free, metadata = joined([(8 * MIB, 9 * MIB)]), joined([(BLOCK, 2 * BLOCK)])
    return Image(path, 9 * MIB, 200 * MIB, free, metadata)


@pytest.mark.parametrize("piece", [BLOCK, MIB])
def test_only_data_changes_and_all_of_it_comes_back(image: Image, piece: int) -> None:
    before = image.path.read_bytes()
    with scattered(image, 1, piece) as changed:
        after = image.path.read_bytes()
        different = [
            at for at in range(0, len(before), piece) if before[at : at + piece] != after[at : at + piece]
        ]
        assert len(different) * piece == changed == 2 * MIB
        assert after[8 * MIB :] == before[8 * MIB :]
        assert after[BLOCK : 2 * BLOCK] == before[BLOCK : 2 * BLOCK]
    assert image.path.read_bytes() == before


def test_a_disk_without_room_for_the_changes_is_refused(image: Image) -> None:
    full = Image(image.path, image.size, 800 * MIB, image.free, image.metadata)
    with pytest.raises(ValueError, match="has 7 pieces"), scattered(full, 1, MIB):
        pass


@pytest.mark.parametrize("case", ["launch", "login", "full,materialise,cutover"])
def test_cases_of_launching_may_be_asked_for_by_name_or_all_together(case: str) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "bench", "--cases", case, "--packages", "--peers", "go2cloud"]
    asked = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
