"""cloud-init stays, is switched off, or runs once more with given user-data: from values, no disk."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from app.launch.conversion import cloudinit
from app.launch.conversion.changes import FileChange, Plan
from app.launch.conversion.facts import CardAddressing, CloudInitWish, SourceFacts, Wishes
from app.launch.conversion.inspection import Filesystem, Inspection
from app.launch.conversion.planning import plan
from app.launch.conversion.report import ConversionReport
from app.launch.errors import SettingsWrong

ROOT = Filesystem("/dev/sda1", "ext4", "aaaa-1")
SECRET = "#cloud-config\npassword: s3cret\n"
ONCE = CloudInitWish("tst-1", SECRET)
INTERFACES = {"/etc/network/interfaces": "iface ens192 inet dhcp\n"}
GUEST = Inspection((ROOT,), ROOT, has_cloud_init=True)


def planned(
    wish: CloudInitWish | None, files: Mapping[str, str] | None = None, guest: Inspection = GUEST
) -> Plan:
    return plan(replace(guest, files=files or {}), SourceFacts(), Wishes(cloud_init=wish))


def texts(made: Plan) -> dict[str, str | None]:
    return {each.path: each.after for each in made.changes if isinstance(each, FileChange)}


def test_it_stays_as_it_is_unless_something_else_is_asked_for() -> None:
    assert planned(None) == Plan()


def test_it_is_disabled_where_it_is_installed() -> None:
    wish = CloudInitWish()
    assert list(texts(planned(wish))) == [cloudinit.DISABLED]
    assert planned(wish, guest=replace(GUEST, has_cloud_init=False)) == Plan()


def test_it_runs_once_for_each_launch_and_leaves_the_network_alone() -> None:
    network = f"{cloudinit.SEED}/network-config"
    files = {cloudinit.DISABLED: "", network: "version: 2\n"}
    made = planned(ONCE, files)
    after = texts(made)
    assert after[cloudinit.META_DATA] == "instance-id: tst-1\n"
    assert after[cloudinit.USER_DATA] == SECRET
    assert after[cloudinit.DISABLED] is after[network] is None
    assert "network: {config: disabled}\ndatasource_list: [NoCloud, None]\n" in str(after[cloudinit.CONFIG])
    done = {path: text for path, text in {**files, **after}.items() if text is not None}
    assert planned(ONCE, done) == Plan()
    other = texts(planned(replace(ONCE, instance="cut-2"), done))
    assert other == {cloudinit.META_DATA: "instance-id: cut-2\n"}


def test_user_data_is_in_no_report_and_in_no_text_of_a_value() -> None:
    made = planned(ONCE, {cloudinit.USER_DATA: "old s3cret of the source\n"})
    report = ConversionReport.of(GUEST, made, 1)
    assert "s3cret" not in f"{made}{report}{ONCE}"
    (change,) = (each for each in report.changes if each.path == cloudinit.USER_DATA)
    assert change.lines == ("-25 bytes, not shown", f"+{len(SECRET)} bytes, not shown")


@pytest.mark.parametrize(
    ("guest", "files", "why"),
    [
        (replace(GUEST, has_cloud_init=False), {}, "not installed in the guest"),
        (GUEST, {"/boot/grub/grub.cfg": "\tlinux /vmlinuz cloud-init=disabled ro\n"}, "cloud-init=disabled"),
        (GUEST, {cloudinit.IDENTIFY: "policy: disabled\n"}, "ds-identify.cfg"),
    ],
)  # fmt: skip
def test_where_it_would_not_run_that_is_said_and_nothing_is_changed(
    guest: Inspection, files: Mapping[str, str], why: str
) -> None:
    assert why in planned(ONCE, files, guest).refusals[0]


def test_it_does_not_undo_other_addresses() -> None:
    card = CardAddressing("ens192", "52:54:00:12:34:56", ("10.9.0.5/24",))
    found = replace(GUEST, files=INTERFACES)
    after = texts(plan(found, SourceFacts(), Wishes(addressing=(card,))))
    assert str(after[cloudinit.CONFIG]).endswith("network: {config: disabled}\n")
    without = replace(found, has_cloud_init=False)
    assert cloudinit.CONFIG not in texts(plan(without, SourceFacts(), Wishes(addressing=(card,))))


def test_an_instance_has_a_name_that_is_one_line() -> None:
    with pytest.raises(SettingsWrong):
        CloudInitWish("tst-1\nlocal-hostname: x", SECRET)
