"""When something happens: a pure function of the step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class When:
    """Every `every` steps, or at `log` logarithmically spaced steps per decade; only within [after, before].

    Log-spaced steps are 0 and the rounded powers 10^(k/log), k = 0, 1, ...
    """

    every: int = 0
    log: int = 0
    after: int = 0
    before: int | None = None

    def __post_init__(self) -> None:
        if (self.every > 0) == (self.log > 0):
            raise ValueError("a schedule needs either every > 0 or log > 0")

    def due(self, step: int) -> bool:
        """Whether it happens at this step."""
        if step < self.after or (self.before is not None and step > self.before):
            return False
        if self.every:
            return step % self.every == 0
        if step <= 1:
            return True
        decades = len(str(step))
        return any(
            round(10.0 ** (k / self.log)) == step for k in range((decades - 1) * self.log, decades * self.log + 1)
        )
