"""Settings of a target, checked by its kind."""

from collections.abc import Mapping

from pydantic import ValidationError

from app.migration.targets.errors import TargetInvalid
from app.migration.targets.kind import TargetKind, TargetSettings
from app.migration.targets.kinds import KINDS


def kind_named(name: str) -> TargetKind:
    """A kind of target. Raises TargetInvalid."""
    found = KINDS.get(name)
    if found is None:
        raise TargetInvalid(
            f"there is no kind of target {name!r}", remedy=f"kinds are: {', '.join(sorted(KINDS))}"
        )
    return found


def checked(kind: str, settings: Mapping[str, object]) -> TargetSettings:
    """The settings as the kind reads them. Raises TargetInvalid that names each that is wrong."""
    try:
        return kind_named(kind).settings.model_validate(dict(settings))
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise TargetInvalid(
            f"these settings are none of a target of kind {kind}: {'; '.join(wrong)}",
            remedy="see docs/targets.md",
            errors=list(wrong),
        ) from error
