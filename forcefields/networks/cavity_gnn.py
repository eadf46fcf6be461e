"""`cavity_gnn`: the cavity recursion as a message-passing network that starts as the exact method and learns its loops."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from forcefields.equivariant import Fields, LatticeGroup, Pair, Representation
from forcefields.equivariant.representations import neighbours_of
from forcefields.fermi import fermi_poles
from forcefields.networks.enn import Trunk
from forcefields.networks.features import Features
from forcefields.networks.messages import Complex, Messages, uniform_hopping
from forcefields.networks.module import require_fixed_mu
from forcefields.networks.patch import CORNERS, EDGES, Rim, centre
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.model import Model
from latticemd.parameters import parameter

_SWEEPS = 3


@dataclass(frozen=True)
class CavityNetwork:
    """n_i = 1/2 - slope e_i - sum_p c_p Re G_p, with G_p of an exact 3 x 3 patch whose rim is corrected by a network.

    Messages run on the bonds as in the force field `cavity`; a network of gated equivariant blocks, which is shown the messages and
    the level of each site, gives every patch the relative corrections of its rim: of the self-energies that the messages
    are (their tree has no loops), and of the shortest ways around between an edge and a corner. Each is a sum of a few
    functions 1/(1 + (w/w_k)^2) of the frequency, so one network serves all poles, and causality's symmetry G(-iw) = G(iw)^*
    is kept: real parts of corrections are even under particle-hole symmetry, imaginary parts odd. Untrained, corrections are zero.

    Square lattice with one orbital, one hopping and a fixed mu. Exactly symmetric, local, not conservative.

    Cost: that of the network and about 40 complex operations per pole and site.

    References: the cavity method as in `forcefields.cavity`; learning corrections of belief propagation,
    arXiv:2007.12000 (neural-enhanced belief propagation).
    """

    scalars: int = parameter(16, doc="hidden features of a site that nothing turns, even and odd ones each", ge=0)
    directed: int = parameter(4, doc="hidden features for each neighbour of a site", ge=0)
    regular: int = parameter(0, doc="hidden features for each operation of the group", ge=0)
    blocks: int = parameter(3, doc="residual blocks", ge=0)
    radius: float = parameter(1.5, doc="of the convolutions: 1.5 is 3 x 3", dimension="length", gt=0)
    scales: int = parameter(5, doc="number of scales of saturated features", ge=1, le=32)
    poles: int = parameter(8, doc="number of poles of the Fermi function", ge=2, le=32)
    half_width: float = parameter(
        40.0, doc="levels farther than this from mu are clipped there", dimension="energy", gt=0
    )

    def build(self, model: Model) -> _CavityModule:
        """The module for a model."""
        return _CavityModule(self, model)


class _CavityModule(nn.Module):
    def __init__(self, plan: CavityNetwork, model: Model) -> None:
        super().__init__()
        if model.lattice.type != "square" or model.components != 1:
            raise InputError("network cavity_gnn is for models with one displacement on a square lattice")
        require_fixed_mu(model)
        self.hopping = uniform_hopping(model)
        self.coupling, self.mu = float(model.coupling), float(model.mu or 0.0)  # type: ignore[attr-defined]
        self.shape = model.lattice.shape
        kT = model.electronic_temperature
        fermi = fermi_poles(kT, plan.half_width, count=plan.poles)
        self.slope, self.half_width = fermi.slope, plan.half_width
        # Plain tensors, not buffers: they belong to the temperature of this model, whatever shares the weights.
        self.poles, self.weights = torch.tensor(fermi.poles), torch.tensor(fermi.weights)
        cutoffs = kT * torch.tensor([4.0, 20.0, 100.0], dtype=torch.float64)
        self.profiles = 1.0 / (1.0 + (self.poles[None] / cutoffs[:, None]) ** 2)  # (K, P)
        group = LatticeGroup.of(model)
        if group.internal != "reversal":
            raise InputError("network cavity_gnn needs particle-hole symmetry: mu = 0 and an even number of cells")
        self.messages = Messages(group, self.hopping, _SWEEPS)
        self.features = Features(model, group, "cavity", plan.scales, known=True)
        # Corrections of each patch: one number per edge, and two kinds per (corner, side), the orbit of all operations.
        self.corrections = Fields.of(group, [("directed", len(cutoffs)), (_sides(group), 2 * len(cutoffs))])
        hidden = Fields.of(group, [("scalar", plan.scalars), ("directed", plan.directed), ("regular", plan.regular)])
        self.trunk = Trunk(
            self.features.even, self.features.odd, hidden, self.corrections, self.corrections, plan.blocks, plan.radius
        )
        order = neighbours_of(group)[0]
        self.order = [order.index((0, offset)) for offset in EDGES]

    @property
    def halo(self) -> int:
        """Cells around a site that its force depends on."""
        return int(2 + max(self.messages.reach, self.features.reach + self.trunk.reach))

    def on(self, lattice: Lattice) -> _CavityModule:
        """The same network, sharing all its tensors, on a lattice with other extents."""
        bound = copy.copy(self)
        bound.shape = lattice.shape
        return bound

    @torch.no_grad()
    def initialise(self, x: Tensor, force: Tensor) -> None:
        """Scales of the features from states x (B, N, D) of the training data."""
        u = self._energies(x)
        self.features.initialise(u)
        arriving = self._arriving(-u)
        self.trunk.normalise(self.features(u, self._density(-u, self._centre(-u, arriving, None))))

    def forward(self, x: Tensor) -> Tensor:
        """The electronic force (B, N, 1) at x (B, N, 1)."""
        u = self._energies(x)
        arriving = self._arriving(-u)
        bare = self._density(-u, self._centre(-u, arriving, None))
        rim = self._rim(self.trunk(self.features(u, bare), True))
        found = self._density(-u, self._centre(-u, arriving, rim))
        return self.coupling * found.reshape(len(x), -1, 1)

    def _energies(self, x: Tensor) -> Tensor:
        """u = g x + mu, (B, 1, L, L): the negative of the levels measured from mu, kept within the range of the poles."""
        u = self.coupling * x.reshape(len(x), 1, *self.shape) + self.mu
        return u.clamp(-self.half_width, self.half_width)

    def _arriving(self, levels: Tensor) -> list[Complex]:
        """The message into every site from its neighbour along each of EDGES, (B, P, L, L)."""
        real, imaginary = self.messages.into(levels, self.poles.to(levels))
        return [(real[:, :, k], imaginary[:, :, k]) for k in self.order]

    def _centre(self, levels: Tensor, arriving: list[Complex], rim: Rim | None) -> Complex:
        """G of the centre of each patch, (B, P, L, L)."""
        return centre(levels[:, 0], self.poles.to(levels), arriving, self.hopping, rim)

    def _density(self, levels: Tensor, green: Complex) -> Tensor:
        """n - 1/2, (B, 1, L, L)."""
        weights = self.weights.to(levels).reshape(1, -1, 1, 1)
        return -self.slope * levels - (weights * green[0]).sum(dim=1, keepdim=True)

    def _rim(self, features: Pair) -> Rim:
        """Corrections from what the trunk says: their real parts even, their imaginary parts odd."""
        even, odd = features
        assert odd is not None, "particle-hole symmetry makes odd features"
        profiles = self.profiles.to(even)
        count = len(profiles)

        def spread(values: Tensor, sites: int) -> Tensor:
            """(B, K, sites, L, L) on the poles: (sites, B, P, L, L)."""
            return torch.einsum("kp,Bks...->sBp...", profiles, values.reshape(len(even), count, sites, *self.shape))

        def parts(of: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            edges, corners, bonds = of.split((4 * count, 8 * count, 8 * count), dim=1)
            return spread(edges, 4), spread(corners, 8), spread(bonds, 8)

        real, imaginary = parts(even), parts(odd)
        edges, corners, bonds = ([(a[k], b[k]) for k in range(len(a))] for a, b in zip(real, imaginary, strict=True))
        return Rim(
            [edges[k] for k in self.order],
            [[corners[2 * k + s] for s in (0, 1)] for k in range(4)],
            [[bonds[2 * k + s] for s in (0, 1)] for k in range(4)],
        )


def _sides(group: LatticeGroup) -> Representation:
    """One feature for each side of each corner of a patch, number 2 k + s: permuted as (corner, edge next to it) is."""
    sides = [(CORNERS[k], EDGES[(k + s) % 4]) for k in range(4) for s in (0, 1)]
    matrices = np.zeros((group.order, 1, 8, 8))
    for g, matrix in enumerate(group.matrix):
        for i, (corner, edge) in enumerate(sides):
            image = [(int(a), int(b)) for a, b in (matrix @ corner, matrix @ edge)]
            matrices[g, 0, sides.index((image[0], image[1])), i] = 1.0
    return Representation("sides", matrices)
