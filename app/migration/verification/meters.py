"""What verification counts for Prometheus."""

from prometheus_client import Counter

from app.contract.words import Verdict

BROKEN = "BROKEN"

ENDED = Counter(
    "go2cloud_verifications_total",
    "Online verifications that ended, by verdict; BROKEN where the agent could not carry it out.",
    ["verdict"],
)
for _verdict in (*Verdict, BROKEN):
    ENDED.labels(_verdict)  # from 0 on: an increase from nothing to one would be seen by no alert
