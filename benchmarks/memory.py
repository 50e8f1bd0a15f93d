"""The peak memory of this process. ``ru_maxrss`` is no measure of a child: across fork and exec it keeps the parent's."""

from __future__ import annotations

from pathlib import Path


def peak_mib() -> int:
    """Return the peak resident memory of this process since it was executed, MiB (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) // 1024
