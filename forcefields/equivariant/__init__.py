"""Lattice-equivariant layers for any finite group of a lattice and the internal symmetries of its model."""

from forcefields.equivariant.blocks import GatedBlock, Lift, Pair, RegularBlock, sign_regular
from forcefields.equivariant.convolution import Convolution, convolved, wrapped
from forcefields.equivariant.fields import INTERNAL_COMPONENTS, Fields
from forcefields.equivariant.group import LatticeGroup
from forcefields.equivariant.intertwiners import Intertwiners, intertwiners
from forcefields.equivariant.products import PairProducts, TensorProduct, clebsch_gordan
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
    "PairProducts",
    "RegularBlock",
    "Representation",
    "TensorProduct",
    "clebsch_gordan",
    "convolved",
    "intertwiners",
    "representation",
    "sign_regular",
    "wrapped",
]
