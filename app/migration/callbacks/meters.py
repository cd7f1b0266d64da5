"""What callbacks count for Prometheus.

Subscriptions are many, and their names are people's: no label names one. `subscriber` is `platform` or
`webhook`; which webhook fails says `go2cloud subscription list`.
"""

from prometheus_client import Counter, Gauge

from app.contract.callbackwords import DeliveryOutcome

PLATFORM, WEBHOOK = "platform", "webhook"
SUBSCRIBERS = (PLATFORM, WEBHOOK)
TOO_OLD, ORPHANED, TOO_MANY = "too_old", "orphaned", "too_many"

WAITING = Gauge(
    "go2cloud_outbox_events",
    "Events that wait for their delivery; take the max over processes.",
    ["subscriber"],
)
OLDEST_SECONDS = Gauge(
    "go2cloud_outbox_oldest_seconds",
    "Age of the oldest event that waits for its delivery; take the max over processes.",
    ["subscriber"],
)
FAILING = Gauge(
    "go2cloud_callback_failing_subscriptions",
    "Subscriptions whose last delivery failed; take the max over processes.",
    ["subscriber"],
)
MOST_FAILURES = Gauge(
    "go2cloud_callback_failures_in_a_row",
    "The most failures in a row of one subscription; take the max over processes.",
    ["subscriber"],
)
ATTEMPTS = Counter(
    "go2cloud_callback_attempts_total", "Attempts to deliver an event, by outcome.", ["subscriber", "outcome"]
)
DROPPED = Counter("go2cloud_callback_dropped_total", "Events that were given up, by reason.", ["reason"])

for _subscriber in SUBSCRIBERS:
    for _outcome in DeliveryOutcome:
        ATTEMPTS.labels(_subscriber, _outcome)
for _reason in (TOO_OLD, ORPHANED, TOO_MANY):
    DROPPED.labels(_reason)


def subscriber_of(project_id: str | None) -> str:
    """The label of a subscription."""
    return PLATFORM if project_id is None else WEBHOOK
