"""A whole report, for tests of what is made of one."""

import base64
from datetime import UTC, datetime
from typing import Any

from app.contract.resources.report import ServerReport

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROOT = "ab" * 32


def report(name: str = "web-1", **changes: Any) -> ServerReport:
    """A server that was copied, verified on all levels, tested, converted and cut over; texts hold `name`."""
    boot = {
        "id": "tst-1",
        "job_id": "job-1",
        "state": "TERMINATED",
        "checkpoint_number": 3,
        "label": "frozen",
        "source_time": TIME,
        "target": "qemu",
        "requested_by": name,
        "created_at": TIME,
        "passed": True,
        "detail": name,
        "seconds": 12.5,
        "phases": [{"name": "kernel", "seconds": 3.5}],
        "checks": [{"name": name, "kind": "login", "passed": True, "after": 9.0, "detail": name}],
    }
    disk = {
        "id": "dsk-1",
        "key": name,
        "path": name,
        "size_bytes": 65536,
        "used_bytes": 65536,
        "omitted_bytes": 0,
        "unreadable_bytes": 0,
        "label": "frozen",
        "source_root": ROOT,
        "replica_root": ROOT,
        "volume_root": ROOT,
    }
    amounts = ("size", "used", "read", "zero", "known", "sent", "patched", "wire", "stored")
    whole: dict[str, Any] = {
        "id": "rep-1",
        "created_at": TIME,
        "created_by": name,
        "product": "go2cloud 0",
        "server": {
            "id": "srv-1",
            "name": name,
            "hostname": name,
            "project_id": "prj-1",
            "project_name": name,
            "lifecycle_state": "CUTTING_OVER",
            "replication_state": "CONTINUOUS",
            "goal": "RUN",
            "os": name,
            "enrolled_at": TIME,
        },
        "checkpoint": {
            "id": "chk-1",
            "number": 3,
            "label": "frozen",
            "source_time": TIME,
            "created_at": TIME,
            "freeze_seconds": 0.2,
            "rounds": 2,
            "degraded": False,
            "confirmed": True,
        },
        "copied": {"checkpoints": 3, **{f"{amount}_bytes": 1 for amount in amounts}},
        "disks": [disk],
        "verification": [
            {"level": level, "claim": name, "result": "PROVED", "time": TIME, "detail": name}
            for level in ("v0", "v1", "v2", "v3", "v4")
        ],
        "boots": [boot],
        "cutover": {
            "id": "cut-1",
            "job_id": "job-2",
            "state": "SUCCEEDED",
            "target": name,
            "requested_by": name,
            "created_at": TIME,
            "source_stopped": True,
            "passed": True,
            "detail": name,
            "ledger": [["kept", name, name]],
            "downtime_seconds": 61.25,
            "phases": [{"name": name, "started_at": TIME, "seconds": 1.0, "state": "SUCCEEDED"}],
        },
        "conversion": {
            "of": "cut-1",
            "system": name,
            "root": name,
            "changes": [{"path": name, "reason": name, "lines": [name]}],
        },
        "screenshot": {
            "of": "tst-1",
            "is_thumbnail": False,
            "sha256": ROOT,
            "png": base64.b64encode(b"\x89PNG").decode(),
        },
        "jobs": [
            {
                "id": "job-1",
                "kind": name,
                "state": "FAILED",
                "requested_by": name,
                "created_at": TIME,
                "detail": name,
            }
        ],
        "trail": [
            {"time": TIME, "who": name, "action": name, "resource": "srv-1", "details": [[name, name]]}
        ],
    }
    return ServerReport.model_validate(whole | changes)
