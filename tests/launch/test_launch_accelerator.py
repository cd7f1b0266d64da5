"""The verdict about KVM: found by trying, kept for one boot of the node and one QEMU."""

import json
from pathlib import Path

import pytest

from app.contract.words import Accelerator
from app.launch.qemu import accelerator
from app.launch.qemu.accelerator import Verdict, choose, condemn, keep
from app.launch.qemu.process import boot_id

pytestmark = pytest.mark.slow


def test_the_verdict_is_kept_and_tried_again_after_a_reboot(tmp_path: Path) -> None:
    cache = tmp_path / "node" / "accelerator.json"
    first = choose(cache)
    assert first.boot == boot_id()
    assert first.reason
    keep(cache, Verdict(first.accelerator, "kept", first.boot, first.qemu))
    assert choose(cache).reason == "kept"
    for stale in (
        Verdict(first.accelerator, "kept", "another-boot", first.qemu),
        Verdict(first.accelerator, "kept", first.boot, "QEMU 1"),
    ):
        keep(cache, stale)
        assert choose(cache).accelerator is first.accelerator
        assert json.loads(cache.read_text())["boot"] == boot_id()
        assert choose(cache).reason != "kept"


def test_a_failing_machine_ends_kvm_for_this_boot(tmp_path: Path) -> None:
    cache = tmp_path / "accelerator.json"
    version = choose(cache).qemu
    keep(cache, Verdict(Accelerator.KVM, "firmware ran", boot_id(), version))
    assert choose(cache).accelerator is Accelerator.KVM
    condemn(cache, "internal error")
    assert choose(cache) == Verdict(Accelerator.TCG, "internal error", boot_id(), version)


def test_no_device_is_no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "KVM", tmp_path / "none")
    found = choose(tmp_path / "accelerator.json")
    assert found.accelerator is Accelerator.TCG
    assert str(tmp_path / "none") in found.reason
