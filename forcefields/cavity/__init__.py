"""`cavity`: patches around each site in a tree of messages; O(N), local, deterministic."""

from forcefields.cavity.forcefield import Cavity

__all__ = ["Cavity"]
