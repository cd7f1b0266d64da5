"""Ids, clock and secrets."""

import hashlib
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.kit.clock import ManualClock, SystemClock
from app.kit.ids import ALPHABET, is_id, new_id
from app.kit.secrets import digest, hash_password, new_secret, verify_password


def test_an_id_is_its_noun_and_26_letters_without_ambiguous_ones() -> None:
    name = new_id("srv")
    assert len(name) == 30
    assert name.startswith("srv-")
    assert set(name[4:]) <= set(ALPHABET)
    assert not set("ilou") & set(ALPHABET)
    assert is_id(name, "srv")


def test_ids_sort_by_the_time_of_their_making() -> None:
    made = []
    for _ in range(5):
        made.append(new_id("job"))
        time.sleep(0.002)
    assert made == sorted(made)


def test_many_ids_are_all_different_and_in_order_within_a_millisecond() -> None:
    made = [new_id("job") for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert made == sorted(made)


@pytest.mark.parametrize("prefix", ["", "sr", "serv", "SRV", "s-v", "srv-", "sr1"])
def test_a_prefix_that_is_no_noun_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="three lower-case letters"):
        new_id(prefix)


@pytest.mark.parametrize(
    "text", ["", "srv-", "srv-1", "SRV-" + "0" * 26, "srv-" + "u" * 26, "job-" + "0" * 26]
)
def test_what_is_not_an_id_of_a_server_is_told_apart(text: str) -> None:
    assert not is_id(text, "srv")


def test_the_system_clock_is_aware_and_in_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_a_manual_clock_moves_only_when_told_to() -> None:
    clock = ManualClock(datetime(2026, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    clock.advance(timedelta(seconds=90))
    assert clock.now() == datetime(2026, 5, 1, 12, 1, 30, tzinfo=UTC)


def test_a_manual_clock_refuses_a_naive_start() -> None:
    with pytest.raises(ValueError, match="time zone"):
        ManualClock(datetime(2026, 5, 1))  # noqa: DTZ001  (naive is the point)


def test_a_secret_tells_its_kind_and_is_never_the_same() -> None:
    one, other = new_secret("g2ct"), new_secret("g2ct")
    assert one.startswith("g2ct_")
    assert len(one) == len("g2ct_") + 43
    assert one != other


def test_a_digest_is_the_sha_256() -> None:
    assert digest("g2ct_x") == hashlib.sha256(b"g2ct_x").digest()


def test_a_password_is_stored_salted_and_verified() -> None:
    stored = hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert stored != hash_password("correct horse")
    assert verify_password(stored, "correct horse")
    assert not verify_password(stored, "Correct horse")
