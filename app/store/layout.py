"""Names of the store's objects.

    packs/<aa>/<hash>            aa: the first two digits of the hash (hex)
    leaves/<aa>/<hash>-<nonce>   the 32 KiB of a leaf, as they are
    roots/<aa>/<hash>-<nonce>    an encoded root node
    checkpoints/…                see `checkpointfile`

A leaf or root has its name from its content, and the same content comes back: a disk returns to an earlier
state. If a file kept its name too, a delayed deletion could take away one that was put again. So each writing
gets a name of its own by a random nonce, whichever verifies is read, and only old ones are deleted.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from app.store.backend import ObjectInfo

PACKS: Final = "packs/"
_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_NODE = re.compile(r"(leaves|roots)/([0-9a-f]{2})/(\2[0-9a-f]{62})-([0-9a-f]{16})")


class NodeKind(StrEnum):
    """What a node of a disk's tree is."""

    LEAF = "leaf"
    ROOT = "root"

    @property
    def prefix(self) -> str:
        """The folder of its objects, with the slash."""
        return "leaves/" if self is NodeKind.LEAF else "roots/"


def pack_key(name: bytes) -> str:
    """Object name of the pack with this hash."""
    digits = name.hex()
    return f"{PACKS}{digits[:2]}/{digits}"


def node_prefix(kind: NodeKind, name: bytes) -> str:
    """What the object names of all writings of the node start with."""
    digits = name.hex()
    return f"{kind.prefix}{digits[:2]}/{digits}-"


def new_node_key(kind: NodeKind, name: bytes) -> str:
    """An object name for one more writing of the node."""
    return node_prefix(kind, name) + secrets.token_hex(8)


def parse_pack_key(key: str) -> bytes | None:
    """The pack's hash; None for an object that is no pack."""
    found = _PACK.fullmatch(key)
    return bytes.fromhex(found[2]) if found else None


@dataclass(frozen=True)
class StoredNode:
    """One writing of a leaf or root."""

    kind: NodeKind
    name: bytes
    info: ObjectInfo

    @classmethod
    def parse(cls, info: ObjectInfo) -> Self | None:
        """What an object under leaves/ or roots/ is; None for a stranger."""
        found = _NODE.fullmatch(info.name)
        if not found:
            return None
        kind = NodeKind.LEAF if found[1] == "leaves" else NodeKind.ROOT
        return cls(kind, bytes.fromhex(found[3]), info)


@dataclass(frozen=True)
class StoredPack:
    """A pack as the backend lists it."""

    name: bytes
    info: ObjectInfo


def stored_packs(found: Iterator[ObjectInfo]) -> Iterator[StoredPack]:
    """The packs among the objects found; strangers are left alone."""
    for info in found:
        name = parse_pack_key(info.name)
        if name is not None:
            yield StoredPack(name, info)
