"""Refusals of targets."""

from app.kit.errors import Conflict, Invalid, NotFound, PreconditionFailed


class TargetNotFound(NotFound):
    """No target of the caller has this id or name."""

    code = "TARGET_NOT_FOUND"


class TargetExists(Conflict):
    """The name is taken in the project."""

    code = "TARGET_EXISTS"


class TargetChanged(PreconditionFailed):
    """The target is not at the version that the caller read."""

    code = "TARGET_CHANGED"


class TargetInUse(Conflict):
    """Something works with the target, or names it."""

    code = "TARGET_IN_USE"


class TargetBuiltIn(Conflict):
    """The target is part of go2cloud: it is neither changed nor deleted."""

    code = "TARGET_BUILT_IN"


class TargetUnfit(Conflict):
    """A target of this kind cannot do what is asked of it."""

    code = "TARGET_UNFIT"


class TargetInvalid(Invalid):
    """There is no such kind of target, or it has no such settings."""

    code = "TARGET_INVALID"
