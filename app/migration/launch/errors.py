"""What can be refused about launching a server."""

from app.kit.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed


class TestNotFound(NotFound):
    """The server has no such test."""

    __test__ = False
    code = "TEST_NOT_FOUND"


class EvidenceNotFound(NotFound):
    """The test has no such picture or log."""

    code = "EVIDENCE_NOT_FOUND"


class NoTestMachine(Conflict):
    """The server has no test machine that could be terminated."""

    code = "NO_TEST_MACHINE"


class TestMoved(Conflict):
    """The test is in a state in which this cannot happen to it: somebody led it on meanwhile."""

    __test__ = False
    code = "TEST_MOVED"


class TestNotPassed(Conflict):
    """The server's newest test did not pass, or it was never tested."""

    __test__ = False
    code = "TEST_NOT_PASSED"


class TestTooOld(Conflict):
    """The checkpoint that was tested is older than the policy allows."""

    __test__ = False
    code = "TEST_TOO_OLD"


class MachineTooLarge(Forbidden):
    """Launch settings ask for more processors or memory than operators may order."""

    code = "MACHINE_TOO_LARGE"


class AddressingWrong(Invalid):
    """A network card of the source cannot be given these addresses."""

    code = "ADDRESSING_WRONG"


class CloudInitWrong(Invalid):
    """The guest's cloud-init cannot be told this."""

    code = "CLOUD_INIT_WRONG"


class UserDataGone(Conflict):
    """User-data is named by its digest, and is not that of the server's launch settings."""

    code = "USER_DATA_GONE"


class LaunchSettingsChanged(PreconditionFailed):
    """The launch settings were changed since the caller read them."""

    code = "LAUNCH_SETTINGS_CHANGED"
