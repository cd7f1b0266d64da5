"""Calls on the replication of servers."""

from app.client.call import Call, model, segment
from app.contract.resources.replication import Replication
from app.contract.resources.server import Server
from app.contract.words import ReplicationOperation


def get(ref: str) -> Call[Replication]:
    """How replication of a server stands."""
    return Call("GET", f"/servers/{segment(ref)}/replication", model(Replication))


def order(ref: str, operation: ReplicationOperation) -> Call[Server]:
    """Give an order about a server's replication."""
    return Call("POST", f"/servers/{segment(ref)}:{operation}", model(Server))
