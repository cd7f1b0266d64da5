"""The network of the cluster: a namespace of its own, joined to the host by one pair of interfaces."""

import subprocess
from pathlib import Path

NAME = "g2c-kubernetes"
HOST, NODE = "10.88.9.1", "10.88.9.2"
"""The two ends; manifests of the end-to-end overlay name the host's."""

PODS, SERVICES = "10.88.7.0/24", "10.96.0.0/16"
_NEAR, _FAR = "g2ck8s-host", "g2ck8s-node"


def make() -> None:
    """Make the namespace and the link; what an earlier run left is removed first."""
    remove()
    _ip("netns", "add", NAME)
    _ip("link", "add", _NEAR, "type", "veth", "peer", "name", _FAR, "netns", NAME)
    _ip("addr", "add", f"{HOST}/30", "dev", _NEAR)
    _ip("link", "set", _NEAR, "up")
    for command in (
        ("ip", "link", "set", "lo", "up"),
        ("ip", "addr", "add", f"{NODE}/30", "dev", _FAR),
        ("ip", "link", "set", _FAR, "up"),
        ("ip", "route", "add", "default", "via", HOST),
        ("sysctl", "-qw", "net.ipv4.ip_forward=1"),
    ):
        subprocess.run([*inside(), *command], check=True, capture_output=True)
    for range_ in (PODS, SERVICES):
        _ip("route", "add", range_, "via", NODE)


def remove() -> None:
    """Remove what was made; harmless where nothing is."""
    if Path("/sys/class/net", _NEAR).exists():
        _ip("link", "del", _NEAR)
    if Path("/run/netns", NAME).exists():
        _ip("netns", "del", NAME)


def inside() -> list[str]:
    """What goes before a command that is to run in the namespace."""
    return ["nsenter", f"--net=/run/netns/{NAME}", "--"]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
