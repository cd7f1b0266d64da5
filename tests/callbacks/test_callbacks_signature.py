"""A signature holds for one body of one event for a short while; what docs/callbacks.md shows checks it."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.contract.signedcallback import WINDOW_SECONDS, SignatureRefused, require_signed, signed

ROOT = Path(__file__).parents[2]
SECRET, ID, BODY, NOW = "a secret of the two of us", "evt-1", b'{"id":"evt-1"}', 1_790_000_000


def test_what_was_signed_is_accepted() -> None:
    require_signed(SECRET, signed(SECRET, NOW, ID, BODY), ID, BODY, NOW + WINDOW_SECONDS)


def test_the_form_is_the_documented_one() -> None:
    header = "t=1790000000,v1=" + "7" * 64
    assert re.fullmatch(r"t=\d+,v1=[0-9a-f]{64}", signed(SECRET, NOW, ID, BODY))
    with pytest.raises(SignatureRefused, match="not that of this body"):
        require_signed(SECRET, header, ID, BODY, NOW)


def test_a_flipped_bit_anywhere_is_refused() -> None:
    header = signed(SECRET, NOW, ID, BODY)
    for place in range(len(BODY)):
        flipped = bytearray(BODY)
        flipped[place] ^= 1
        with pytest.raises(SignatureRefused):
            require_signed(SECRET, header, ID, bytes(flipped), NOW)


@pytest.mark.parametrize("header", ["", "t=1", "v1=00", f"t=1,v1={'g' * 64}", f"t=1,v1={'0' * 64},v1=x"])
def test_a_malformed_header_is_refused(header: str) -> None:
    with pytest.raises(SignatureRefused, match="malformed"):
        require_signed(SECRET, header, ID, BODY, NOW)


@pytest.mark.parametrize("event", ["", "evt-", "evt-1.x", "evt-1\n", "EVT-1", "job-1"])
def test_an_id_that_is_none_is_refused_though_signed(event: str) -> None:
    with pytest.raises(SignatureRefused, match="Event-Id is missing or malformed"):
        require_signed(SECRET, signed(SECRET, NOW, event, BODY), event, BODY, NOW)


def test_a_part_of_the_body_does_not_pass_for_the_id(is_genuine: Callable[..., bool]) -> None:
    """The bytes under the signature are the same."""
    now = int(time.time())
    header = signed(SECRET, now, "evt-1", b"2.{}")
    assert header == signed(SECRET, now, "evt-1.2", b"{}")
    with pytest.raises(SignatureRefused):
        require_signed(SECRET, header, "evt-1.2", b"{}", now)
    headers = {"X-Go2cloud-Event-Id": "evt-1.2", "X-Go2cloud-Signature": header}
    assert not is_genuine(SECRET, headers, b"{}")


def test_another_id_secret_or_time_is_refused() -> None:
    header = signed(SECRET, NOW, ID, BODY)
    for secret, event, now in (
        ("another secret than that", ID, NOW),
        (SECRET, "evt-2", NOW),
        (SECRET, ID, NOW + WINDOW_SECONDS + 1),
        (SECRET, ID, NOW - WINDOW_SECONDS - 1),
    ):
        with pytest.raises(SignatureRefused):
            require_signed(secret, header, event, BODY, now)


def test_a_later_time_cannot_be_put_over_an_old_signature() -> None:
    later = NOW + 10 * WINDOW_SECONDS
    header = signed(SECRET, NOW, ID, BODY).replace(f"t={NOW}", f"t={later}")
    with pytest.raises(SignatureRefused, match="not that of this body"):
        require_signed(SECRET, header, ID, BODY, later)


@pytest.fixture
def is_genuine() -> Callable[..., bool]:
    """The receiver of the documents, as it stands there."""
    text = (ROOT / "docs" / "callbacks.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.strip().splitlines()) <= 14
    names: dict[str, Callable[..., bool]] = {}
    exec(compile(example, "docs/callbacks.md", "exec"), names)
    return names["is_genuine"]


def test_the_documented_receiver_tells_genuine_from_forged(is_genuine: Callable[..., bool]) -> None:
    now = int(time.time())
    headers = {"X-Go2cloud-Event-Id": ID, "X-Go2cloud-Signature": signed(SECRET, now, ID, BODY)}
    assert is_genuine(SECRET, headers, BODY)
    assert not is_genuine(SECRET, headers, BODY + b" ")
    assert not is_genuine("another secret than that", headers, BODY)
    old = headers | {"X-Go2cloud-Signature": signed(SECRET, now - 2 * WINDOW_SECONDS, ID, BODY)}
    assert not is_genuine(SECRET, old, BODY)
