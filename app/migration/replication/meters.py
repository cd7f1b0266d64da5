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
CHECKPOINT_AGE_SECONDS = Gauge(
    "go2cloud_server_checkpoint_age_seconds",
    "Seconds since a server's newest checkpoint was committed; take the max over processes.",
    ["server", "project"],
)
REPLICATING = Gauge(
    "go2cloud_server_replicating",
    "1 for a server that is neither stopped nor paused; take the max over processes.",
    ["server", "project"],
)
SESSIONS = Gauge(
    "go2cloud_agent_sessions",
    "Servers whose agent holds its lease at this moment; take the max over processes.",
)
STORE_FREE = Gauge(
    "go2cloud_store_free_bytes", "Bytes that may still be written to the store, its reserve left out."
)
STORE_SIZE = Gauge("go2cloud_store_size_bytes", "The size of what the store lies on.")
HELD_BYTES = Gauge(
    "go2cloud_held_bytes",
    "Bytes of all packs as stored, of their chunks raw, of the newest checkpoints' used blocks replicated: "
    "replicated / raw is the deduplication, raw / stored the compression. Take the max over processes.",
    ["kind"],
)
COLLECTED_AT = Gauge(
    "go2cloud_garbage_collected_timestamp_seconds",
    "When this process last came to the end of a garbage collection.",
)
COLLECTIONS_FAILED = Counter(
    "go2cloud_garbage_collections_failed_total", "Garbage collections that broke off."
)
BACKLOG_BYTES = Gauge(
    "go2cloud_server_backlog_bytes",
    "Bytes of a server known to be dirty and in no checkpoint; take the max over processes.",
    ["server", "project"],
)
