"""`go2cloud server report` and `go2cloud report`: a file is got from the service and checked without it."""

import json
from pathlib import Path

import pytest

from app.contract.signedreport import sealed, sealed_page
from app.kit.errors import Json
from app.kit.signing import Signer
from tests.cli.conftest import CommandLine
from tests.services.running import Running, replicated

SIGNER = Signer.generated()
REPORT: dict[str, Json] = {
    "server": {"name": "web-1"},
    "createdAt": "2026-01-02T03:04:05Z",
    "createdBy": "ann",
}


@pytest.fixture(params=["json", "html"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    content = sealed(REPORT, SIGNER)
    path = tmp_path / f"report.{request.param}"
    path.write_bytes(content if request.param == "json" else sealed_page("<p>web-1\n", content, SIGNER))
    return path


def test_a_file_is_checked_without_a_service(stranger: CommandLine, file: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text(SIGNER.public.pem)
    fingerprint = SIGNER.public.fingerprint
    colons = ":".join(fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
    for expected in (fingerprint, colons, str(key)):
        output = stranger("report", "verify", str(file), "--key", expected)
        assert f"signed by: {fingerprint}, the key that was expected" in output
        assert "subject: web-1, made 2026-01-02T03:04:05Z for ann" in output
    stranger("report", "verify", str(file))
    assert "nothing says whose key that is" in stranger.notes


def test_a_foreign_key_is_refused_and_named(stranger: CommandLine, file: Path) -> None:
    stranger("report", "verify", str(file), "--key", "ab" * 32, code=1)
    assert "another key signed it" in stranger.notes
    assert SIGNER.public.fingerprint in stranger.notes


def test_an_altered_file_is_refused(stranger: CommandLine, file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"web-1", b"web-2").replace(b"<p>web-1", b"<p>web-3"))
    stranger("report", "verify", str(file), code=1)
    assert "is not as it was signed" in stranger.notes
    if file.suffix == ".json":
        assert "altered: /report/server/name" in stranger.notes


def test_what_is_no_file_or_no_key_is_said(stranger: CommandLine, file: Path, tmp_path: Path) -> None:
    stranger("report", "verify", str(tmp_path / "none"), code=1)
    assert "cannot be read" in stranger.notes
    stranger("report", "verify", str(file), "--key", "nonsense", code=2)
    assert "neither a fingerprint" in stranger.notes


def test_a_report_is_got_and_proves_itself(go2cloud: CommandLine, running: Running, tmp_path: Path) -> None:
    source = replicated(running, tmp_path, b"\x01" * (1 << 20))
    fingerprint = json.loads(go2cloud("report", "key", "-o", "json"))["fingerprint"]
    key = tmp_path / "key.pem"
    key.write_text(go2cloud("report", "key", "--pem"))
    for name, options in (("r.json", ()), ("r.html", ("--html",))):
        target = tmp_path / name
        assert go2cloud("server", "report", source.server, "-f", str(target), *options) == f"{target}\n"
        assert fingerprint in go2cloud("report", "verify", str(target), "--key", str(key))
    document = json.loads(go2cloud("server", "report", source.server))["report"]
    assert document["checkpoint"]["number"] == 1
    go2cloud("server", "report", source.server, "-f", str(tmp_path), code=2)
