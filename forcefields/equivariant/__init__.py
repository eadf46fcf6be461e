"""Lattice-equivariant layers for any finite group of a lattice and the internal symmetries of its model."""

from forcefields.equivariant.blocks import GatedBlock, Lift, Pair, TensorProduct
from forcefields.equivariant.convolution import Convolution, wrapped
from forcefields.equivariant.fields import INTERNAL_COMPONENTS, Fields
from forcefields.equivariant.group import LatticeGroup
from forcefields.equivariant.intertwiners import Intertwiners, intertwiners
from forcefields.equivariant.representations import Representation, representation

__all__ = [
    "INTERNAL_COMPONENTS",
    "Convolution",
    "Fields",
    "GatedBlock",
    "Intertwiners",
    "LatticeGroup",
    "Lift",
    "Pair",
    "Representation",
    "TensorProduct",
    "intertwiners",
    "representation",
    "wrapped",
]
