"""What replication counts for Prometheus; labels are few, since a fleet must not become a million series."""

from prometheus_client import Counter, Gauge

CHUNKS = Counter("go2cloud_put_chunks_total", "Chunks that agents put, by what became of them.", ["outcome"])
STORED_BYTES = Counter("go2cloud_stored_bytes_total", "Bytes by which packs made the store grow.")
CHECKPOINTS = Counter("go2cloud_checkpoints_total", "Checkpoints committed, by consistency label.", ["label"])
SOURCE_BYTES = Counter(
    "go2cloud_source_bytes_total",
    "Bytes of committed sessions: read, zero, known, sent, patched, omitted on the source; wire as sent.",
    ["kind"],
)
HEARTBEATS = Counter("go2cloud_heartbeats_total", "Heartbeats of agents.")
STATE_CHANGES = Counter(
    "go2cloud_replication_state_changes_total",
    "Changes of servers' replication, by the new state.",
    ["state"],
)
SERVERS = Gauge(
    "go2cloud_servers",
    "Servers by replication state. Every process of role agent shows the whole fleet: take the max.",
    ["state"],
)
LAG_SECONDS = Gauge(
    "go2cloud_server_lag_seconds",
    "Now minus the source's time of a server's newest checkpoint; take the max over processes.",
    ["server", "project"],
)
BACKLOG_BYTES = Gauge(
    "go2cloud_server_backlog_bytes",
    "Bytes of a server known to be dirty and in no checkpoint; take the max over processes.",
    ["server", "project"],
)
