"""Amounts as people read them."""


def size_text(count: float) -> str:
    """Bytes in powers of 1,024: ``12 B``, ``3.4 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if count < 1024 or unit == "PiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
