"""What verification counts for Prometheus."""

from prometheus_client import Counter

ENDED = Counter(
    "go2cloud_verifications_total",
    "Online verifications that ended, by verdict; BROKEN where the agent could not carry it out.",
    ["verdict"],
)
