"""The force field that runs a trained network: nothing of training is needed here."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from forcefields.hopping import plain_matrix
from latticemd.backends import gpu, on_device, on_host
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.learning.modelfile import load_network, require_kind, warnings_outside
from latticemd.learning.networks import Bound, require_torch
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.model import Model
from latticemd.parameters import parameter

if TYPE_CHECKING:
    import torch

SHIPPED = Path(__file__).parent / "trained"  # networks that come with the package, by name
# Cells of a tile along each of d directions: small enough for caches, larger than its halo.
_TILE = {1: 4096, 2: 128, 3: 16}
_WHOLE = 2**14  # sites up to which a lattice is one tile
_TILE_ON_GPU, _WHOLE_ON_GPU = (
    {1: 2**18, 2: 512, 3: 64},
    2**18,
)  # a card has no caches to spare tiles for, but wants to be full
_BYTES_PER_SITE = 4096  # of the features of a tile while it is worked on

_LOOK = 50  # steps between looks at the range of positions

log = logging.getLogger("latticemd.run")


@dataclass(frozen=True)
class NetworkForceField:
    """The electronic force that a network has learned, F^(x), from its file.

    Direct networks give forces that are not the gradient of anything, so energies are unknown (NaN) and conserved
    quantities cannot be followed; conservative ones give the energy too, up to a constant. Where the force of a site is a
    function of its density, as in the Holstein model, the density follows from it.

    Lattices larger than a tile are done tile by tile, each with its halo, so memory is that of a tile. Outside what the network
    has seen (on its card) it answers, and the log says by how much it is outside.

    Cost: O(N), see docs/networks.md. For electrons without interaction compare with `cavity` and `poles` by
    `latticemd evaluate MODEL DATA --against cavity,poles` before you prefer a network.
    """

    architecture: ClassVar[str] = ""
    ladder: ClassVar[tuple[dict[str, Any], ...]] = ()

    model: str = parameter(
        doc="file of a network that `latticemd train` wrote, or the name of one that comes with latticemd"
    )
    precision: Literal["float32", "float64"] | None = parameter(
        None, doc="of the arithmetic; that of the file unless given"
    )
    compiled: bool = parameter(
        False,
        doc="let torch compile the network for this machine: half a minute, then up to twice as fast; needs a C++ compiler",
    )
    _prepared: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return found_network(self.model)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Local, and deterministic on one machine and number of threads."""
        bound = self._bound()
        module: Any = bound.module
        conservative = bool(getattr(module, "conservative", False))
        halo = getattr(module, "halo", None)
        if halo is not None:
            halo += getattr(module, "base_halo", 0)
        sites = min(model.lattice.sites, 2 * _WHOLE)
        return Capabilities(
            conservative=conservative,
            deterministic=True,
            energy=conservative,
            density=_density_follows(model),
            halo=halo,
            bytes_needed=_BYTES_PER_SITE * sites,
            interactions=model.interacting,  # whatever made the labels
            single=next(module.parameters()).element_size() == 4,
            free_rim=halo is not None,
            cuda=plain_matrix(model) and not conservative and _torch_has_gpu(),
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Read the file. Raises InputError where it is for another kind of model or lattice."""
        bound, card = self._bound(), self._prepared["card"]
        require_kind(card, model, self.path)
        for sentence in warnings_outside(card, model):
            log.warning("%s: %s", self.path.name, sentence)
        module: Any = bound.to(model)
        if hasattr(module, "require"):
            module.require(model)

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Forces of all replicas at x (R, N, D)."""
        import torch

        bound = self._bound()
        self._warn(model, x, step)
        module: Any = bound.to(model)
        if on_device(x):
            self._evaluate_on_device(module, model, x, out)
            return
        positions = torch.as_tensor(x, dtype=next(module.parameters()).dtype)
        of_cells: list[Array] = []
        with torch.no_grad():
            for r in range(len(x)):
                force, energies = in_tiles(module, model, positions[r : r + 1])
                out.force[r] = force.numpy()
                if energies is not None:
                    of_cells.append(energies.double().numpy())
        out.energy[...] = _total(model, np.stack(of_cells)) if of_cells else np.nan
        out.mu[...] = np.nan if model.mu is None else model.mu
        if _density_follows(model):
            out.density[...] = _density(model, x, out.force)

    def _evaluate_on_device(self, module: Any, model: Model, x: Array, out: Electrons) -> None:
        """Forces of all replicas at x on a GPU, which torch reads and writes where they are."""
        import torch

        from latticemd.backends.cuda.arrays import to_torch

        positions, force = to_torch(x), to_torch(out.force)
        if next(module.parameters()).device != positions.device:
            module.to(positions.device)
        # Of the precision that was asked for, and the same bytes each time.
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
        with torch.no_grad():
            for r in range(len(x)):
                one = positions[r : r + 1].to(next(module.parameters()).dtype)
                force[r : r + 1] = in_tiles(module, model, one)[0].to(force.dtype)
        out.mu.fill(np.nan if model.mu is None else model.mu)
        out.energy.fill(np.nan)
        if _density_follows(model):
            out.density[...] = _density(model, x, out.force)

    def close(self) -> None:
        """Forget the network."""
        self._prepared.clear()

    def _bound(self) -> Bound:
        if "bound" not in self._prepared:
            require_torch()
            import torch

            from latticemd.learning.records import model_of

            card, module = load_network(self.path)
            name = card.network["name"]
            if self.architecture not in ("", name):
                raise InputError(
                    f"{self.path}: holds a network {name}; use forcefield: {{name: {name}, model: {self.model}}}"
                )
            if self.precision is not None:
                module.to(getattr(torch, self.precision))
            self._make_fast(module)
            self._prepared["card"] = card
            self._prepared["bound"] = Bound(
                name, card.network["parameters"], model_of(card.model), module, self._make_fast
            )
        bound: Bound = self._prepared["bound"]
        return bound

    def _make_fast(self, module: Any) -> None:
        """For inference alone; compiled where that is wanted."""
        make_fast(module)
        if self.compiled:
            import torch

            module.trunk = torch.compile(module.trunk)

    def _warn(self, model: Model, x: Array, step: int) -> None:
        """Say once what about positions lies outside the training data, looking now and then."""
        if "warned" in self._prepared or step % _LOOK:
            return
        sentences = set(warnings_outside(self._prepared["card"], model, on_host(x))) - set(
            warnings_outside(self._prepared["card"], model)
        )
        for sentence in sorted(sentences):
            self._prepared["warned"] = True
            log.warning("%s: %s", self.path.name, sentence)


class Enn(NetworkForceField):
    """A trained `forcefields.networks.enn`."""

    architecture = "enn"


class CavityGNN(NetworkForceField):
    """A trained `forcefields.networks.cavity_gnn`."""

    architecture = "cavity_gnn"


class IrrepMLP(NetworkForceField):
    """A trained `forcefields.networks.irrep_mlp`."""

    architecture = "irrep_mlp"


class GCN(NetworkForceField):
    """A trained `forcefields.networks.gcn`."""

    architecture = "gcn"


class CNN(NetworkForceField):
    """A trained `forcefields.networks.cnn`."""

    architecture = "cnn"


def found_network(name: str) -> Path:
    """The file of this path, or the network of this name that comes with the package; the path itself if there is neither."""
    path = Path(name)
    shipped = SHIPPED / f"{name}.safetensors"
    if not path.is_file() and shipped.is_file():
        return shipped
    return path


def make_fast(module: Any) -> None:
    """Put kernels together once and for all, with features of a cell next to each other in memory."""
    import torch

    from forcefields.equivariant import Convolution

    module.requires_grad_(False)
    module.to(memory_format=torch.channels_last)
    for part in module.modules():
        if isinstance(part, Convolution):
            part.freeze()


def in_tiles(module: Any, model: Model, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The force (1, N, D) of one replica and the energies of its cells (cells...), if it knows them; tile by tile where the lattice
    is larger than a tile.
    """
    import torch

    lattice, halo = model.lattice, getattr(module, "halo", None)
    whole, longest = (_WHOLE_ON_GPU, _TILE_ON_GPU) if x.is_cuda else (_WHOLE, _TILE)
    conservative = getattr(module, "conservative", False)
    if halo is None or lattice.sites <= whole:
        if not conservative:
            return torch.as_tensor(module(x)), None
        energies, force = module.energies_and_force(x)
        return force, energies[0]
    reference = None if conservative or not hasattr(module, "reference") else module.reference(x)
    grid = (*lattice.shape, -1)
    out = torch.zeros_like(x.reshape(grid))
    of_cells = out.new_zeros(lattice.shape) if conservative else None
    pieces = [_pieces(first, last, longest[lattice.directions]) for first, last in lattice.asked]
    tiles: dict[tuple[int, ...], Any] = {}
    for piece in itertools.product(*pieces):
        places = [
            torch.arange(first - halo, last + halo, device=x.device) % n
            for (first, last), n in zip(piece, lattice.shape, strict=True)
        ]
        part = _taken(x.reshape(grid), places)
        shape = tuple(part.shape[:-1])
        if shape not in tiles:
            tiles[shape] = module.on_tile(shape) if hasattr(module, "on_tile") else module.on(lattice.resized(shape))
        here = tuple(slice(first, last) for first, last in piece)
        inner = tuple(slice(halo, halo + last - first) for first, last in piece)
        flat = part.reshape(1, -1, x.shape[2])
        if of_cells is not None:
            energies, force = tiles[shape].energies_and_force(flat)
            of_cells[here] = energies[0][inner]
        else:
            known = () if reference is None else (_taken(reference.reshape(grid), places).reshape(flat.shape),)
            force = tiles[shape](flat, *known)
        out[here] = force.reshape(part.shape)[inner]
    return out.reshape(x.shape), of_cells


def _total(model: Model, of_cells: Array) -> Array:
    """The sums (R,) over the whole lattice of the energies of cells (R, cells...), each counted at the first site of its cell."""
    at_sites = np.zeros((*of_cells.shape, len(model.lattice.cell.basis)))
    at_sites[..., 0] = of_cells
    return model.lattice.total(at_sites.reshape(len(of_cells), -1))


def _taken(values: torch.Tensor, places: list[torch.Tensor]) -> torch.Tensor:
    for axis, index in enumerate(places):
        values = values.index_select(axis, index)
    return values


def _pieces(first: int, last: int, most: int) -> list[tuple[int, int]]:
    """Nearly equal parts of first ... last - 1, none longer than `most`."""
    extent = last - first
    count = -(-extent // most)
    ends = [first + extent * i // count for i in range(count + 1)]
    return list(itertools.pairwise(ends))


def _torch_has_gpu() -> bool:
    """Whether torch computes on the GPU; where that is simulated, it computes on the host's memory that stands for it."""
    import torch

    return gpu.simulated() or bool(torch.cuda.is_available())


def _density_follows(model: Model) -> bool:
    """Whether the electronic force of a site is linear in its own density and nothing else."""
    return model.components == 1 and not model.needs_bonds


def _density(model: Model, x: Array, force: Array) -> Array:
    """The density (R, N) behind a force that is linear in it."""
    empty, full = np.empty_like(force), np.empty_like(force)
    o = model.orbitals
    each = np.ones_like(force[..., 0]) if o == 1 else np.broadcast_to(np.eye(o), (*force.shape[:2], o, o))
    model.electronic_force(DensityMatrix(0.0 * each), x, empty)
    model.electronic_force(DensityMatrix(each), x, full)
    found: Array = o * ((force - empty) / (full - empty))[..., 0]
    return found
