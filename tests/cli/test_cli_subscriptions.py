"""`go2cloud subscription …`"""

import json
from pathlib import Path

from tests.callbacks.receivers import Receiver
from tests.cli.conftest import CommandLine

SECRET = "a-secret-of-the-two-of-us"


def test_subscriptions_are_made_changed_tested_and_deleted(go2cloud: CommandLine, tmp_path: Path) -> None:
    with Receiver().listening() as receiver:
        secret = go2cloud("subscription", "create", "hook", receiver.url, "--kind", "job.ended").strip()
        assert secret.startswith("g2w_")
        assert "shown this once" in go2cloud.notes
        told = go2cloud("subscription", "test", "hook", code=1)
        assert "FORBIDDEN" in told
        assert receiver.deliveries == []
    assert go2cloud("subscription", "list", "-o", "name") == "hook\n"
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    changes = ("--disable", "--all-kinds", "--secret-file", str(file), "-o", "json")
    found = json.loads(go2cloud("subscription", "update", "hook", *changes))
    assert (found["enabled"], found["kinds"], found["secret"]) == (False, None, None)
    assert SECRET not in go2cloud("subscription", "show", "hook", "-o", "json")
    go2cloud("subscription", "delete", "hook", code=2)
    assert go2cloud("subscription", "delete", "hook", "--yes") == "hook\n"
    go2cloud("subscription", "show", "hook", code=3)


def test_a_made_up_secret_is_shown_in_every_form(go2cloud: CommandLine) -> None:
    for form in ("name", "table", "wide", "json", "yaml"):
        shown = go2cloud("subscription", "create", form, "https://h.example.org", "-o", form)
        assert "g2w_" in shown, form


def test_what_is_wrong_is_named_and_no_secret_shown(go2cloud: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("too short")
    go2cloud("subscription", "create", "hook", "https://h.example.org", "--secret-file", str(file), code=2)
    assert "secret" in go2cloud.notes
    assert "too short" not in go2cloud.notes
    go2cloud("subscription", "create", "hook", "ftp://h.example.org", code=2)
    assert "begins with http" in go2cloud.notes
