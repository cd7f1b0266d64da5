"""Processor model and count, from /proc/cpuinfo."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from app.wire.messages import Inventory

_MODEL_KEYS: Final = ("model name", "cpu model", "Processor", "cpu", "processor 0")


def collect_cpu(found: Inventory) -> Inventory:
    """Fill in cpu_model (empty on processors that do not say) and cpu_count."""
    text = Path("/proc/cpuinfo").read_text(errors="replace")
    return replace(found, cpu_model=model_of(text), cpu_count=os.cpu_count() or 0)


def model_of(cpuinfo: str) -> str:
    """The first processor's model in a cpuinfo text."""
    pairs = dict[str, str]()
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        pairs.setdefault(key.strip(), value.strip())
    return next((pairs[key] for key in _MODEL_KEYS if pairs.get(key)), "")
