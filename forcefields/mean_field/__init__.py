"""`mean_field`: electrons that interact, in self-consistent mean field on top of any other force field."""

from forcefields.mean_field.forcefield import MeanField

__all__ = ["MeanField"]
