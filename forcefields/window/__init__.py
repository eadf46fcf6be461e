"""`window`: an open window around each site, expanded in Chebyshev polynomials; O(N), local, deterministic."""

from forcefields.window.forcefield import Window

__all__ = ["Window"]
