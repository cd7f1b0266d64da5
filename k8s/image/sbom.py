"""Write the software bill of materials of the image that this runs in: CycloneDX 1.5, on standard output.

    podman run --rm --interactive --network=none IMAGE python - < k8s/image/sbom.py

It needs Python 3.11 and nothing else. It names every Python distribution that is installed, with its licence
and what it requires, and every Debian package; both by package URL (purl), which scanners of vulnerabilities
look up.
The same image gives the same document: it bears no time and no random number.
"""

import hashlib
import importlib.metadata
import json
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DPKG_STATUS = Path("/var/lib/dpkg/status")
PRODUCT = "go2cloud"


def normalized(name: str) -> str:
    """A distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def python_purl(distribution: importlib.metadata.Distribution) -> str:
    """The package URL of an installed distribution."""
    return f"pkg:pypi/{normalized(distribution.metadata['Name'])}@{distribution.version}"


def python_component(distribution: importlib.metadata.Distribution) -> dict[str, Any]:
    """One distribution as CycloneDX has it."""
    metadata = distribution.metadata
    purl = python_purl(distribution)
    component: dict[str, Any] = {
        "type": "application" if metadata["Name"] == PRODUCT else "library",
        "bom-ref": purl,
        "name": metadata["Name"],
        "version": distribution.version,
        "purl": purl,
    }
    licence = metadata.get("License-Expression") or metadata.get("License") or ""
    if licence and len(licence) < 100:
        component["licenses"] = [{"license": {"name": licence}}]
    return component


def edges(distributions: list[importlib.metadata.Distribution]) -> Iterator[dict[str, Any]]:
    """Which distribution requires which, of those that are installed."""
    installed = {normalized(each.metadata["Name"]): python_purl(each) for each in distributions}
    for each in distributions:
        names = {normalized(re.split(r"[^\w.-]", need, maxsplit=1)[0]) for need in each.requires or ()}
        yield {
            "ref": python_purl(each),
            "dependsOn": sorted(installed[name] for name in names if name in installed),
        }


def debian_components() -> Iterator[dict[str, Any]]:
    """The installed Debian packages; nothing where the base is no Debian."""
    if not DPKG_STATUS.exists():
        return
    for paragraph in DPKG_STATUS.read_text().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", paragraph, re.MULTILINE))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        version = fields["Version"].replace("+", "%2B").replace(":", "%3A")
        purl = f"pkg:deb/debian/{fields['Package']}@{version}?arch={fields['Architecture']}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": fields["Package"],
            "version": fields["Version"],
            "purl": purl,
        }


def bill() -> dict[str, Any]:
    """The whole document."""
    distributions = sorted(
        importlib.metadata.distributions(), key=lambda each: normalized(each.metadata["Name"])
    )
    components = [*map(python_component, distributions), *debian_components()]
    (product,) = (each for each in components if each["name"] == PRODUCT)
    digest = hashlib.sha256(json.dumps(components).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {"component": product},
        "components": [each for each in components if each is not product],
        "dependencies": list(edges(distributions)),
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
    sys.stdout.write("\n")
