"""How checks fail, and how many of them are run together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Skipped = str | None  # None where a check holds, a sentence where it does not apply


def require(holds: bool, message: str) -> None:
    """Raise AssertionError with `message` unless `holds`; unlike the statement, also under `python -O`."""
    if not holds:
        raise AssertionError(message)


def require_within(value: float, limit: float, what: str) -> None:
    """Raise AssertionError with both numbers unless value <= limit; NaN fails."""
    require(value <= limit, f"{what}: {value:.2e} exceeds {limit:.2e}")


def run_all(subject: str, checks: Mapping[str, Callable[[], Skipped]]) -> dict[str, str]:
    """Do all checks, then raise one AssertionError that lists those that failed or ended in another error.

    Returns the checks that do not apply, each with the reason.
    """
    failures: dict[str, Exception] = {}
    skipped: dict[str, str] = {}
    for name, check in checks.items():
        try:
            reason = check()
        except Exception as error:  # whatever it is, the checks that follow are worth knowing
            failures[name] = error
        else:
            skipped |= {} if reason is None else {name: reason}
    if failures:
        lines = [f"{subject} fails {len(failures)} of {len(checks)} checks"]
        lines += [f"  {name}: {_told(error)}" for name, error in failures.items()]
        raise AssertionError("\n".join(lines)) from next(iter(failures.values()))
    return skipped


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"ended in {type(error).__name__}: {error}"
