"""The codes of the letters of splitting words, as kernels know them; see `latticemd.backends.specification.split`."""

from __future__ import annotations

DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION = range(4)
