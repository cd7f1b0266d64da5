"""What can be refused about waves and applications.

NotFound
├── WaveNotFound
├── ApplicationNotFound
└── RunNotFound
Conflict
├── WaveNameTaken, ApplicationNameTaken
├── ServerInApplication         the server belongs to another application
├── ApplicationInWave           the application belongs to another wave
├── RunStands                   a run of the same servers is not over
├── NoRun                       there is no run to abort
└── NothingToRun                no server is in it
PreconditionFailed
└── WaveChanged, ApplicationChanged
Invalid
├── ApplicationOrderCircular    applications would come after each other
└── ProjectsDiffer              what belongs together lies in two projects
"""

from app.kit.errors import Conflict, Invalid, NotFound, PreconditionFailed


class WaveNotFound(NotFound):
    """No such wave in the projects of the caller."""

    code = "WAVE_NOT_FOUND"


class ApplicationNotFound(NotFound):
    """No such application in the projects of the caller."""

    code = "APPLICATION_NOT_FOUND"


class RunNotFound(NotFound):
    """The wave or application had no such run."""

    code = "RUN_NOT_FOUND"


class WaveNameTaken(Conflict):
    """Another wave of the project has the name."""

    code = "WAVE_NAME_TAKEN"


class ApplicationNameTaken(Conflict):
    """Another application of the project has the name."""

    code = "APPLICATION_NAME_TAKEN"


class ServerInApplication(Conflict):
    """The server belongs to another application."""

    code = "SERVER_IN_APPLICATION"


class ApplicationInWave(Conflict):
    """The application belongs to another wave."""

    code = "APPLICATION_IN_WAVE"


class RunStands(Conflict):
    """A run of these servers, or of some of them, is not over."""

    code = "RUN_STANDS"


class NoRun(Conflict):
    """There is no run that could be aborted."""

    code = "NO_RUN"


class NothingToRun(Conflict):
    """No server is in the wave or application."""

    code = "NOTHING_TO_RUN"


class WaveChanged(PreconditionFailed):
    """The wave was changed since the caller read it."""

    code = "WAVE_CHANGED"


class ApplicationChanged(PreconditionFailed):
    """The application was changed since the caller read it."""

    code = "APPLICATION_CHANGED"


class ApplicationOrderCircular(Invalid):
    """Applications would come after each other in a circle; `cycle` names them."""

    code = "APPLICATION_ORDER_CIRCULAR"


class ProjectsDiffer(Invalid):
    """What is to belong together lies in two projects."""

    code = "PROJECTS_DIFFER"
