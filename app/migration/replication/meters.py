"""What replication counts for Prometheus; labels are few, since a fleet must not become a million series."""

from prometheus_client import Counter

CHUNKS = Counter("go2cloud_put_chunks_total", "Chunks that agents put, by what became of them.", ["outcome"])
STORED_BYTES = Counter("go2cloud_stored_bytes_total", "Bytes by which packs made the store grow.")
CHECKPOINTS = Counter("go2cloud_checkpoints_total", "Checkpoints committed, by consistency label.", ["label"])
SOURCE_BYTES = Counter(
    "go2cloud_source_bytes_total",
    "Bytes of committed sessions: read, zero, known, sent, patched, omitted on the source; wire as sent.",
    ["kind"],
)
