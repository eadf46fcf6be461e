"""Whether the machine can hold what a force field needs, asked before it is allocated."""

from __future__ import annotations

from latticemd.errors import InputError


def require_memory(needed: float, purpose: str, advice: str) -> None:
    """Raise InputError, with numbers, when `needed` bytes are not free."""
    available = available_memory()
    if needed > available:
        raise InputError(
            f"{purpose} needs {needed / 2**30:.1f} GiB, but only {available / 2**30:.1f} GiB are free; {advice}"
        )


def available_memory() -> float:
    """Bytes this process can still take [byte]; infinity where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return float("inf")
