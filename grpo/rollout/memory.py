"""How much memory this machine, or this container, still has."""

from __future__ import annotations

from pathlib import Path


def free_memory() -> int:
    """Bytes that can still be allocated: what the kernel calls available, or the cgroup leaves, if less."""
    free = _meminfo("MemAvailable")
    for limit, usage, cache in _cgroup_files():
        try:
            allowed = int(limit.read_text())  # "max", where there is no limit, is no number
            reclaimable = _field(cache.read_text(), "inactive_file")
            free = min(free, allowed - int(usage.read_text()) + reclaimable)
        except (OSError, ValueError):
            continue
    return max(free, 0)


def size(count: int) -> str:
    """Bytes in words: `4.1 MiB`."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {unit}"
    return f"{count} bytes"


def _cgroup_files() -> list[tuple[Path, Path, Path]]:
    new, old = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
    return [
        (new / "memory.max", new / "memory.current", new / "memory.stat"),
        (old / "memory.limit_in_bytes", old / "memory.usage_in_bytes", old / "memory.stat"),
    ]


def _meminfo(key: str) -> int:
    return _field(Path("/proc/meminfo").read_text().replace(":", " "), key) * 1024


def _field(text: str, key: str) -> int:
    rows = (line.split() for line in text.splitlines())
    return next((int(row[1]) for row in rows if len(row) > 1 and row[0] == key), 0)
