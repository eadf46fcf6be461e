"""`kpm`: the density matrix as a Chebyshev polynomial of H, seen through a few vectors."""

from forcefields.kpm.forcefield import KernelPolynomial

__all__ = ["KernelPolynomial"]
