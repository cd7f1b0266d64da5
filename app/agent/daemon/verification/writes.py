"""What a verification asks of the tracker: was this written since the head's point in time?"""

from typing import Protocol


class Writes(Protocol):
    """The writes that are in no committed checkpoint. Safe to use beside the passes of the agent."""

    def drain(self) -> None:
        """Take in all that the kernel has told of by now."""

    def tracks(self, key: str) -> bool:
        """Whether every write to the disk since the head's point in time is known."""

    def touched(self, key: str, start: int, end: int) -> bool:
        """Whether something in the bytes [start, end) of the disk was written since the head's point in time.

        That is: whether it is dirty, be it noted for the next pass or taken by one that has not committed.
        """


class Untracked:
    """No tracker: everything may have been written, and what differs proves nothing."""

    def drain(self) -> None:
        """Nothing is noted."""

    def tracks(self, key: str) -> bool:  # noqa: ARG002 - the same for every disk
        """No disk's writes are known."""
        return False

    def touched(self, key: str, start: int, end: int) -> bool:  # noqa: ARG002 - the same for every range
        """It may have been."""
        return True
