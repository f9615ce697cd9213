"""Memory of this process's control group (cgroup), version 1 or 2: what a container has used, and what it may use."""

from __future__ import annotations

from pathlib import Path

GROUP = Path("/sys/fs/cgroup")
# used, limit, statistics, and what the statistics call cache that the kernel gives back first
VERSIONS = (
    ("memory.current", "memory.max", "memory.stat", "inactive_file"),
    ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
UNLIMITED = 1 << 60  # bytes; version 1 has a huge number where there is no limit


def memory(group: Path = GROUP) -> tuple[int, int] | None:
    """(used, limit) in bytes, without cache that can be given back; None where no limit is set."""
    for used, limit, statistics, cache in VERSIONS:
        try:
            most, now = int((group / limit).read_text()), int((group / used).read_text())
            lines = dict(line.split() for line in (group / statistics).read_text().splitlines())
        except (OSError, ValueError):  # another version, or "max"
            continue
        if most < UNLIMITED:
            return now - int(lines.get(cache, 0)), most
    return None
