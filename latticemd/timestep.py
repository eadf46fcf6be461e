"""Which time step suits an input: measured on its own forces, about 60 evaluations in all.

===========================  =======================================================================================
limit                        from
===========================  =======================================================================================
stability                    the largest curvature of the free energy, by Lanczos iteration on force differences at the
                             initial positions and a few steps later, or the classical bound if that is larger
accuracy, with momenta       the energy error of bath-free steps at a small dt, extrapolated with its order
accuracy, `overdamped`       the bias K dt/2 gamma of <x^2> in a well of curvature K, taken over all modes
accuracy, `overdamped_lm`    dt < gamma/K: no mode overshoots (harmonic wells are sampled without bias)
accuracy, `llg`              the energy error of spins, as with momenta
===========================  =======================================================================================

Errors are per degree of freedom and in units of kT: a tolerance of 0.01 leaves every mode its energy to about one percent,
on lattices of any size. Electrons soften or stiffen the lattice, so K differs from that of the springs; the larger of the
two counts, because electrons that soften small displacements have nothing left to give to large ones. Spins have the
curvature of the free energy along their spheres, of whichever sign, for a frequency, and no classical bound. Everything is
measured on the first replica, with all ramps at their values for step 0.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from latticemd.backends import kernels_for
from latticemd.build import build_first_replica, build_forcefield, build_integrator, build_model, require_cpu
from latticemd.config import RunInput
from latticemd.errors import InputError
from latticemd.integrators import Integrator
from latticemd.integrators.overdamped import LeimkuhlerMatthews
from latticemd.integrators.splitting import Splitting
from latticemd.models.model import Motion
from latticemd.rng import Stream
from latticemd.simulation import Simulation
from latticemd.stability import stability_limit
from latticemd.state import Array, State
from latticemd.system import System

# rms energy error per degree of freedom / kT; Verlet then makes <x^2> of a mode 1.4 % too large
ENERGY_TOLERANCE = 0.01
STABILITY_MARGIN = 0.8  # of the stability limit, for modes that become stiffer later
# Lanczos steps at the first place, and at the second from the stiffest mode of the first
PRODUCTS, MORE_PRODUCTS = 11, 5
SETTLING_STEPS = 5  # between the two places where the curvature is measured
# dt times the stiffest frequency in the measurement of the energy error: well inside its leading order
SMALL_STEP = 0.4
ENERGY_STEPS = 8  # about half a period of the stiffest mode, in which its energy error goes once through its range
EXACT = 1e-9  # an energy error / kT that is only rounding
GENERIC_ORDERS = (1.0, 4.0)  # what a measured order is trusted to be, for integrators whose order is not known


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One line of the advice."""

    name: str
    value: float
    dimension: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Advice:
    """The suggested dt [time], what limits it, and what that says about the `dt` of the input."""

    quantities: tuple[Quantity, ...]
    suggested: float
    limited_by: str
    dt: float
    verdict: str
    force_calls: int


@dataclasses.dataclass(frozen=True)
class Curvature:
    """Of the free energy at one place: bounds on its lowest and highest value, and the stiffest mode (1, N, D).

    `rms` is that of all modes if the iteration began with a random vector.
    """

    lowest: float
    highest: float
    rms: float
    mode: Array


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The dt up to which the error is tolerable [time], and how that was found."""

    dt: float
    reason: str
    quantities: tuple[Quantity, ...] = ()


def suggest_dt(run_input: RunInput, energy_tolerance: float = ENERGY_TOLERANCE) -> Advice:
    """Measure on the first replica of an input, and suggest a time step for its integrator.

    Raises InputError where occupations move, for which any dt will do.
    """
    probe = Probe(run_input)
    model, integrator = probe.system.model, probe.integrator
    classical = 0.0 if probe.spins else model.largest_stiffness()
    first = probe.curvature(probe.state.x, _normals(probe.state.x, 0), PRODUCTS)
    settled = probe.settled(_limit(probe, [first.highest, classical]))
    later = probe.curvature(settled.x, first.mode, MORE_PRODUCTS)
    stiffest = max(first.highest, later.highest, classical)
    if probe.spins:
        stiffest = max(stiffest, -first.lowest, -later.lowest)
    limit = _limit(probe, [first.lowest, stiffest])
    accuracy = _accuracy(probe, stiffest, first.rms, energy_tolerance)
    quantities = [
        *_stiffness(integrator, classical, first, later, model.inertia()),
        Quantity("stability limit of dt", limit, "time", _words(integrator)),
        *accuracy.quantities,
        Quantity("dt for accuracy", accuracy.dt, "time", accuracy.reason),
    ]
    suggested = _rounded_down(min(STABILITY_MARGIN * limit, accuracy.dt))
    limited_by = (
        accuracy.reason if accuracy.dt < STABILITY_MARGIN * limit else f"stability, with margin {STABILITY_MARGIN}"
    )
    return Advice(
        tuple(quantities),
        suggested,
        limited_by,
        integrator.dt,
        _verdict(integrator.dt, suggested, limit),
        probe.system.force_calls,
    )


class Probe:
    """The first replica of an input: its system without ramps, initial state and integrator."""

    def __init__(self, run_input: RunInput) -> None:
        require_cpu(run_input, "info --suggest-dt")
        model, _ = build_model(run_input)
        if model.motion is Motion.OCCUPATION:
            raise InputError("no dt is better than another: kinetic Monte Carlo is the same process for any of them")
        if not model.electronic:
            raise InputError(
                "no dt suits all distances between particles: halve it until the energy that `latticemd verify` shows is steady"
            )
        self.system = System(model, build_forcefield(run_input), 1)
        self.state = build_first_replica(run_input, model)
        self.integrator = build_integrator(run_input)
        self.spins = model.motion is Motion.SPIN
        # The bath where there is one; NVE runs are measured against the temperature of the electrons.
        self.temperature = self.integrator.temperature(0) or model.electronic_temperature

    def curvature(self, x: Array, begin: Array, products: int) -> Curvature:
        """Extreme and root-mean-square curvature of the free energy at x, by `products` products with its second derivative.

        H v = -(F(x + h v) - F(x - h v))/2h; Lanczos iteration from `begin` with full reorthogonalisation. What a Ritz value
        misses of its eigenvalue is at most its residual, which is added. The mean square over modes is |H v|^2 of a random v.

        Reference: Zhou, Saad, Tiago and Chelikowsky, doi:10.1016/j.jcp.2006.03.017 (the bound).
        """
        # A hundredth of the thermal length, or of a radian: far above rounding, also of single precision, and still in the
        # linear range.
        one = 1.0 if self.spins else math.sqrt(self.temperature / self.system.model.largest_stiffness())
        length = 0.01 * one * math.sqrt(x.size)
        begin = self._across(x, begin)
        basis = [begin / np.linalg.norm(begin)]
        diagonal: list[float] = []
        beside: list[float] = []
        while len(diagonal) < min(products, x.size):
            forward, backward = (self._force(x + sign * length * basis[-1]) for sign in (1.0, -1.0))
            product = self._across(x, (backward - forward) / (2.0 * length))
            diagonal.append(float(np.vdot(basis[-1], product)))
            for _ in range(2):  # once is not enough in finite precision
                for vector in basis:
                    product -= np.vdot(vector, product) * vector
            beside.append(float(np.linalg.norm(product)))
            if beside[-1] < 1e-6 * abs(diagonal[0]):  # nothing new is left: the values found are exact
                break
            basis.append(product / beside[-1])
        matrix = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
        values, vectors = np.linalg.eigh(matrix)
        residuals = beside[-1] * np.abs(vectors[-1])
        return Curvature(
            float(values[0] - residuals[0]),
            float(values[-1] + residuals[-1]),
            math.hypot(diagonal[0], beside[0]),
            np.einsum("n,n...->...", vectors[:, -1], np.stack(basis[: len(diagonal)])),
        )

    def settled(self, limit: float) -> State:
        """The state a few steps later, with the input's own dt if that is stable."""
        integrator = dataclasses.replace(self.integrator, dt=min(self.integrator.dt, 0.5 * limit))
        simulation = Simulation(self.system, integrator, self.state.copy())
        simulation.run(SETTLING_STEPS)
        return simulation.state

    def energy_error(self, dt: float, steps: int) -> float:
        """Root mean square, over all degrees of freedom and `steps` steps, of their `energy_errors` / kT of the motion.

        kT is the bath's or, if that is larger, the kinetic temperature in these steps: a start far hotter than the bath has
        larger energies and with them larger errors, but needs no smaller dt.
        """
        errors, kinetic = self.energy_errors(dt, steps)
        return float(np.sqrt(np.mean(errors**2))) / max(self.temperature, kinetic)

    def energy_errors(self, dt: float, steps: int) -> tuple[Array, float]:
        """Energy error of each degree of freedom after each step, (steps, N, D) [energy], and the kinetic temperature.

        e_i = (p_i/m) dp_i - F_i dx_i, with (dx, dp) the deviation from the trajectory without error. That is known from a
        run with half the step: of the deviation from it, order p leaves 1 - 2^-p. The sum of e_i is the error of the whole
        energy to first order, but unlike it, e_i tells how large the errors are that cancel between modes. Being early or
        late is no error: then dp = F dt and dx = p/m dt. Of a spin, whose motion is across F, the sum over components counts.
        """
        (x, p, _), (fine_x, fine_p, force) = self._path(dt, steps, 1), self._path(0.5 * dt, steps, 2)
        share = 1.0 - 2.0 ** -(_known_order(self.integrator) or 2)
        mass = self.system.model.inertia()
        errors = (fine_p / mass * (p - fine_p) - force * (x - fine_x)) / share
        if self.spins:
            errors = errors.sum(axis=-1, keepdims=True)
        return errors, float(np.mean(fine_p**2)) / mass

    def _path(self, dt: float, steps: int, every: int) -> tuple[Array, Array, Array]:
        """x, p and F (steps, N, D) at every so many of the steps from the initial state, without bath where there can be none."""
        integrator = self.integrator.isolated(dt) or dataclasses.replace(self.integrator, dt=dt)
        simulation = Simulation(self.system, integrator, self.state.copy())
        frames = []
        for n in range(1, steps + 1):
            simulation.run(n * every)
            frames.append(
                [simulation.state.x[0].copy(), simulation.state.p[0].copy(), simulation.frame().force[0].copy()]
            )
        x, p, force = (np.stack(values) for values in zip(*frames, strict=True))
        return x, p, force

    def _force(self, x: Array) -> Array:
        """The force at x; of spins, the field across them at the directions of x."""
        state = State.at_rest(self.system.model.admissible(x))
        self.system.update_forces(state, 0)
        return self._across(state.x, state.f)

    def _across(self, x: Array, vectors: Array) -> Array:
        """`vectors` without their part along x where only directions move; as they are for displacements."""
        return vectors - x * np.einsum("rnd,rnd->rn", x, vectors)[..., None] if self.spins else vectors


def _accuracy(probe: Probe, stiffest: float, rms: float, tolerance: float) -> Accuracy:
    integrator, model = probe.integrator, probe.system.model
    percent = f"{100 * tolerance:g} % of kT"
    if isinstance(integrator, LeimkuhlerMatthews):
        return Accuracy(integrator.friction / stiffest, "no mode overshoots: dt < friction/curvature")
    if not integrator.momenta and not probe.spins:
        # The energy kT/2 of a mode is too large by K dt/2 gamma of itself.
        reason = f"bias of the energies of modes, rms {percent}"
        instead = Quantity("dt for overdamped_lm", integrator.friction / stiffest, "time", "at the same cost")
        return Accuracy(4.0 * tolerance * integrator.friction / rms, reason, (instead,))
    frequency = stiffest if probe.spins else math.sqrt(stiffest / model.inertia())
    dt = SMALL_STEP / frequency
    error = probe.energy_error(dt, ENERGY_STEPS)
    order: float | None = _known_order(integrator)
    if order is None:
        half = probe.energy_error(0.5 * dt, 2 * ENERGY_STEPS)
        order = float(np.clip(math.log2(error / half), *GENERIC_ORDERS)) if half else GENERIC_ORDERS[1]
    measured = Quantity("energy error", error, "kT", f"at dt = {dt:.3g} without bath, order {order:.2g} in dt")
    if error < EXACT:
        return Accuracy(math.inf, "the energy error is rounding", (measured,))
    reason = f"rms energy error per degree of freedom {percent}"
    return Accuracy(dt * (tolerance / error) ** (1.0 / order), reason, (measured,))


def _known_order(integrator: Integrator) -> int | None:
    """Order in dt of the motion without bath; None for integrators that know no such motion."""
    return integrator.order if integrator.isolated(integrator.dt) else None


def _limit(probe: Probe, curvatures: list[float]) -> float:
    model = probe.system.model
    return stability_limit(probe.integrator, curvatures, model.harmonic_stiffness(), model.inertia())


def _stiffness(
    integrator: Integrator, classical: float, first: Curvature, later: Curvature, mass: float
) -> list[Quantity]:
    if integrator.motion is Motion.SPIN:
        return [
            Quantity(f"fastest precession, {place}", max(at.highest, -at.lowest), "1/time", "measured, with electrons")
            for place, at in (("start", first), (f"step {SETTLING_STEPS}", later))
        ]

    def scale(curvature: float) -> float:
        stiff = max(curvature, 0.0)
        return math.sqrt(stiff / mass) if integrator.momenta else stiff / integrator.friction

    name = "stiffest frequency" if integrator.momenta else "fastest rate"
    return [
        Quantity(f"{name}, springs alone", scale(classical), "1/time", "upper bound"),
        Quantity(f"{name}, start", scale(first.highest), "1/time", "measured, with electrons"),
        Quantity(f"{name}, step {SETTLING_STEPS}", scale(later.highest), "1/time", "measured, with electrons"),
    ]


def _words(integrator: Integrator) -> str:
    if isinstance(integrator, Splitting):
        return f"of the word {integrator.word}"
    if integrator.motion is Motion.SPIN:
        return "1/frequency, a turn by one radian"
    return "2/frequency, that of Verlet" if integrator.momenta else "2/rate"


def _verdict(dt: float, suggested: float, limit: float) -> str:
    if dt >= limit:
        return f"too large: unstable, {dt / limit:.2g} times the stability limit"
    if dt > 1.1 * suggested:
        return f"too large: stable, but {dt / suggested:.2g} times the suggested one"
    if dt < suggested / 1.5:
        return f"could be {suggested / dt:.2g} times larger"
    return "ok"


def _rounded_down(value: float) -> float:
    """To two digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.floor(value / unit) * unit:.1e}")


def _normals(like: Array, occurrence: int) -> Array:
    out = np.empty_like(like)
    kernels_for(out).normals(0, int(Stream.CHECKS), occurrence, 0, 0, out)
    return out
