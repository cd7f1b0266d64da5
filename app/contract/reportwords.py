"""The words of reports; as `words`, standard library only."""

from enum import StrEnum


class ProofResult(StrEnum):
    """What a report says of something that can be proved.

    `PROVED`: it was looked at and holds. `PARTLY`: it holds of a part, or of an earlier checkpoint, as the
    detail says. `REFUTED`: it was looked at and does not hold. `NOT_VERIFIED`: nobody looked.
    """

    PROVED = "PROVED"
    PARTLY = "PARTLY"
    REFUTED = "REFUTED"
    NOT_VERIFIED = "NOT_VERIFIED"
