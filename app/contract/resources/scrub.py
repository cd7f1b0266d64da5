"""Scrubbing: the store's packs, read again round by round."""

from app.contract.resources.base import Resource, UtcTime


class ScrubFinding(Resource):
    """Something that is wrong; `kind` is a name that `go2cloud store check` explains, `object` its name."""

    kind: str
    object: str
    detail: str
    chunks: int


class ScrubRound(Resource):
    """One reading of all packs. `share` is how much of it is done, 0 to 1.

    `findings` are the first of `finding_count`; the chunks of `chunks_damaged` are sent again by the next
    session of an agent that still has them.
    """

    id: str
    started_at: UtcTime
    finished_at: UtcTime | None = None
    share: float
    packs: int
    bytes_read: int
    chunks_damaged: int
    finding_count: int
    findings: tuple[ScrubFinding, ...] = ()


class Scrub(Resource):
    """`current` is the round that runs, `last` the newest that is over; `bytes_per_second` 0: it is off."""

    bytes_per_second: int
    days: int
    current: ScrubRound | None = None
    last: ScrubRound | None = None
