"""The version that every request names."""

import pytest

from app.wire.errors import UnsupportedVersion
from app.wire.version import VERSION, require_supported


def test_the_own_version_is_accepted() -> None:
    require_supported(str(VERSION))


@pytest.mark.parametrize("text", [None, "", "0", "2", "1.0", " 1", "one", "1" * 100_000])
def test_any_other_is_refused_by_name_and_briefly(text: str | None) -> None:
    with pytest.raises(UnsupportedVersion, match="upgrade the older") as refusal:
        require_supported(text)
    assert len(str(refusal.value)) < 200
    assert (text or "not stated")[:32] in str(refusal.value)
