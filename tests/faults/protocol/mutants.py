"""The mutants: one rule of the protocol broken each. Every one must be caught, or the test tests nothing."""

from enum import Enum


class Mutant(Enum):
    """A broken rule; the value says it in words. The first eight are the ones that the design names."""

    ACK_BEFORE_FSYNC = "a put is acknowledged before fsync"
    NO_LIVE_CHECK = "the commit does not demand that what it refers to is live"
    CLEARED_AFTER_READ = "the dirty set is cleared after reading, not swapped before it"
    TRACKER_TRUSTED_AFTER_RESTART = "a restarted agent goes on with its old dirty set"
    NO_FENCE = "neither generation nor base is checked"
    IN_PLACE_WRITES = "a put overwrites what an earlier put stored"
    REFERENCE_IGNORED = "garbage collection condemns without comparing `reference`"
    GRANT_WITHOUT_PROOF = "a proof of possession is not checked"
    CHECKPOINTS_LISTED_FIRST = "garbage collection lists checkpoints before it notes `reference`"
    DELTAS_LISTED_BY_PACK = "garbage collection looks for deltas only in the packs that it listed before"
    LATE_ROWS = "a paused put registers what it wrote, however late"
    TWINS_BREAK_COMMIT = "the commit moves the head last, after inserting the numbered checkpoint"
    EVENTS_AT_ISSUE = "the tracker takes a write when it is issued, not when it is complete"
    GAP_IGNORED = "lost tracker events do not lead to a rescan"
    AGE_BY_SOURCE = "retention tells the age of a checkpoint by the source's clock"
    IN_FLIGHT_IGNORED = "writes in flight do not count against the label quiet"


NAMED = tuple(Mutant)[:8]
