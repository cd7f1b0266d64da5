"""What was measured on the way to a running machine; see docs/performance.md for what the numbers mean."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Materialised:
    """A raw file was made of a disk that holds `used` bytes.

    `written` are the seconds until it was on stable storage, None where that is not known apart, `verified`
    those until all of it was compared as well; `cpu` the CPU seconds of both.
    """

    peer: str
    used: int
    written: float | None
    verified: float
    cpu: float


@dataclass(frozen=True)
class Advanced:
    """The product brought a disk to another checkpoint, in which `changed` bytes differ in such pieces."""

    piece: int
    changed: int
    verified: float


@dataclass(frozen=True)
class Booted:
    """A machine showed its login prompt.

    `phases` has the seconds from the launch to each phase. `steps` are those of each step of the product's
    job, `job` from its order to its end; none and None of a machine that was started by hand.
    """

    peer: str
    accelerator: str
    phases: dict[str, float]
    steps: dict[str, float]
    job: float | None


@dataclass(frozen=True)
class CutOver:
    """A host that wrote `churn` bytes a second moved to a machine.

    `phases` are the seconds of each part, `downtime` those from the order to stop its services to the
    moment the last check passed, `login` from the launch to the login prompt; `delivered` bytes came
    after the checkpoint that was written while the host ran, up to the final one, for which the host was
    frozen `freeze` ms.
    """

    churn: int
    phases: dict[str, float]
    downtime: float
    login: float
    freeze: int
    delivered: int


LaunchResult = Materialised | Advanced | Booted | CutOver
