"""Why a filesystem's free space is not used: then all of it is read."""


class NotTrusted(Exception):
    """The filesystem's allocation maps cannot be relied on; the message says why."""
