"""Does the test suite notice when the engine is wrong? Small errors made by hand, and the fast test that fails for each.

Each mutation is applied alone to a copy of the sources in a temporary folder, where the test that should catch it is run;
it must fail there, and pass without the mutation. tests/README.md lists the same table.

Usage: python tools/mutations.py [NAME ...] [--list]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("latticemd", "forcefields", "cuda_kernels", "tests", "inputs", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """An error: in `file`, `right` becomes `wrong`; `test` must notice."""

    name: str
    file: str
    right: str
    wrong: str
    test: str


SPLITTING, RESCALING = "latticemd/integrators/splitting.py", "latticemd/integrators/rescaling.py"
MOTION, STENCIL = "latticemd/backends/cpu/motion.py", "latticemd/backends/cpu/stencil.py"
PHILOX, THERMOSTATS = "cuda_kernels/philox.py", "cuda_kernels/thermostats.py"
OVERDAMPED, HOLSTEIN, ED = "latticemd/integrators/overdamped.py", "latticemd/models/holstein.py", "forcefields/ed.py"
INTERACTION = "latticemd/models/interaction.py"
TRAINER, DATA = "latticemd/learning/trainer.py", "latticemd/learning/data.py"
INTEGRATORS, KERNELS = "tests/test_integrators.py::", "tests/test_kernels.py::"
TRAINING = "tests/test_training.py::"

MUTATIONS = (
    Mutation("the kick has the wrong sign", SPLITTING, "return tau, tau * stiffness if", "return -tau, tau * stiffness if",
             INTEGRATORS + "test_verlet_follows_its_own_exact_solution_for_free_oscillators"),
    Mutation("the second half kick is dropped", SPLITTING, 'word: str = "BAB"', 'word: str = "BA"',
             INTEGRATORS + "test_energy_error_falls_with_the_square_of_dt"),
    Mutation("half kicks are whole kicks", SPLITTING, "tau = self.dt / self.word.count(letter)",
             'tau = self.dt / (self.word.count(letter) if letter != "B" else 1)',
             INTEGRATORS + "test_verlet_follows_its_own_exact_solution_for_free_oscillators"),
    Mutation("the drift forgets the mass", SPLITTING, "return tau / mass, 0.0, 0.0", "return tau, 0.0, 0.0",
             INTEGRATORS + "test_verlet_follows_its_own_exact_solution_for_free_oscillators"),
    Mutation("the rotation turns backwards", SPLITTING, "math.sin(frequency * tau)\n", "-math.sin(frequency * tau)\n",
             INTEGRATORS + "test_free_oscillators_follow_the_exact_trajectory_under_r_at_any_dt"),
    Mutation("R and the kick both hold the spring", SPLITTING, 'tau * stiffness if "R" in self.word else 0.0', "0.0",
             INTEGRATORS + "test_free_oscillators_follow_the_exact_trajectory_under_r_at_any_dt"),
    Mutation("the noise has the wrong amplitude", SPLITTING, "-math.expm1(-2.0 * self.friction * tau)",
             "-math.expm1(-self.friction * tau)", INTEGRATORS + "test_ornstein_uhlenbeck_relaxes_at_exactly_its_rate"),
    Mutation("the bath stays at its first temperature", SPLITTING, "settings = (self.temperature(step)",
             "settings = (self.temperature(0)", INTEGRATORS + "test_a_temperature_ramp_is_followed"),
    Mutation("a new force is not waited for", SPLITTING, "if arrived is not None:", "if arrived is None:",
             INTEGRATORS + "test_verlet_follows_its_own_exact_solution_for_free_oscillators"),
    Mutation("two O letters of a step share their noise", SPLITTING, "noise, drawn, inverse_mass", "noise, 0, inverse_mass",
             INTEGRATORS + "test_the_o_letters_of_a_step_have_noise_of_their_own"),
    Mutation("the heat has the wrong sign", MOTION, "gained[i] = -(ps[i] * ps[i])", "gained[i] = ps[i] * ps[i]",
             INTEGRATORS + "test_heat_closes_the_energy_balance_of_a_bath"),
    Mutation("overdamped noise lacks the 2", OVERDAMPED, "math.sqrt(2.0 * self", "math.sqrt(1.0 * self",
             INTEGRATORS + "test_known_bias_of_simple_schemes"),
    Mutation("Leimkuhler-Matthews draws fresh noise", MOTION, "step = words[3] + np.uint64(later)",
             "step = words[3] + np.uint64(1000 * later)", KERNELS + "test_overdamped_move"),
    Mutation("a stream id is used twice", "latticemd/rng.py", "VELOCITY_RESCALING = 5", "VELOCITY_RESCALING = 3",
             "tests/test_rng.py::test_streams_never_share_a_number"),
    Mutation("the noise forgets the step", PHILOX, "c2 = step & _LOW", "c2 = stream & _LOW",
             "tests/test_rng.py::test_counters_differ_whenever_who_asks_differs"),
    Mutation("replicas share their noise", MOTION, "words[4] + np.uint64(r), first, a, c, ps", "words[4], first, a, c, ps",
             "tests/test_conformance.py::test_integrators_keep_their_promises"),
    Mutation("a typing error in Philox", PHILOX, "0xCD9E8D57", "0xCD9E8D75",
             "tests/test_rng.py::test_philox_gives_the_published_answers"),
    Mutation("the chain drags with the wrong sign", THERMOSTATS, "math.exp(-0.25 * h", "math.exp(0.25 * h",
             INTEGRATORS + "test_a_nose_hoover_chain_conserves_its_energy_to_the_square_of_dt_also_while_the_temperature_ramps"),
    Mutation("the chain counts one degree of freedom too few", RESCALING, "            degrees,\n            self",
             "            degrees - 1,\n            self",
             INTEGRATORS + "test_a_nose_hoover_chain_conserves_its_energy_to_the_square_of_dt_also_while_the_temperature_ramps"),
    Mutation("rescaling lacks its cross term", THERMOSTATS, " + 2.0 * first * math.sqrt(", " + 0.0 * first * math.sqrt(",
             INTEGRATORS + "test_velocity_rescaling_relaxes_the_kinetic_energy_at_exactly_its_rate"),
    Mutation("both halves of a rescaled step share their noise", RESCALING, "int(Stream.VELOCITY_RESCALING), half, step",
             "int(Stream.VELOCITY_RESCALING), 0, step",
             INTEGRATORS + "test_both_halves_of_a_rescaled_step_have_noise_of_their_own"),
    Mutation("rows wrap around one site short", STENCIL, "xs[:ahead], ys[width - ahead :]", "xs[:ahead], ys[width - ahead - 1 :]",
             KERNELS + "test_neighbour_sum_without_a_table"),
    Mutation("neighbours push instead of pull", HOLSTEIN, "-self.stiffness, -self.intersite", "-self.stiffness, self.intersite",
             "tests/test_forces.py::test_force_is_minus_the_derivative_of_the_free_energy"),
    Mutation("the free energy forgets mu N", ED, "extra = mu * model.filling", "extra = 0 * model.filling",
             "tests/test_forces.py::test_force_is_minus_the_derivative_of_the_free_energy"),
    Mutation("a checkpoint forgets the bath", "latticemd/output/checkpoint.py",
             'for name, value in sorted(state.thermostat.items())', 'for name, value in ()',
             "tests/test_run.py::test_an_interrupted_run_resumes_to_the_same_bytes"),
    Mutation("a resumed run shows its first frame again", "latticemd/runner.py", "state, reporters, resumed=resume)",
             "state, reporters)", "tests/test_run.py::test_an_interrupted_run_resumes_to_the_same_bytes"),
    Mutation("a rim is one layer short", "latticemd/parallel/partition.py", "last + self.halo)", "last + self.halo - 1)",
             "tests/test_parallel.py::test_every_integrator_moves_blocks_as_it_moves_the_whole"),
    Mutation("a block has the noise of the first sites", "latticemd/parallel/share.py", "cut(here, first * per_cell, length",
             "cut(here, 0 * per_cell, length",
             "tests/test_parallel.py::test_every_integrator_moves_blocks_as_it_moves_the_whole"),
    Mutation("exchange has the wrong sign", INTERACTION, "return Fields(onsite, -weight * rho.bonds",
             "return Fields(onsite, weight * rho.bonds",
             "tests/test_hubbard_holstein.py::test_terms_of_holstein_go_together_with_repulsion"),
    Mutation("spin flips are left out", INTERACTION, "unit - own * rho.onsite", "unit - own * rho.onsite * unit",
             "tests/test_hubbard_holstein.py::test_the_fields_turn_with_the_spins"),
    Mutation("the interaction is counted twice", "forcefields/mean_field/forcefield.py", "electrons.energy[0] - counted",
             "electrons.energy[0]", "tests/test_hubbard_holstein.py::test_antiferromagnet_solves_the_gap_equation"),
    Mutation("a second look at a step starts from the first", "latticemd/state.py",
             "return self.start if step == self.step else self.result", "return self.result",
             "tests/test_mean_field.py::test_what_is_remembered_belongs_to_a_step"),
    Mutation("longer bonds push their ends apart", "latticemd/models/ssh.py", "(-2.0 * self.coupling * between)",
             "(2.0 * self.coupling * between)",
             "tests/test_ssh.py::test_force_is_minus_the_derivative_of_the_free_energy_by_every_coordinate"),
    Mutation("modes turn without their orbitals", "latticemd/models/jahn_teller.py", "rotation[: len(operation.rotation), ",
             "rotation[: 0 * len(operation.rotation), ",
             "tests/test_jahn_teller.py::test_all_operations_of_space_turn_orbitals_and_modes_together"),
    Mutation("boundaries have no phases", HOLSTEIN, "amplitude * bonds.phase if self.lattice.twisted else amplitude",
             "amplitude", "tests/test_disorder.py::test_a_twist_shifts_the_wave_vectors"),
    Mutation("vacancies are the lowest sites", HOLSTEIN, "+ EMPTY * self", "- EMPTY * self",
             "tests/test_disorder.py::test_a_vacancy_is_a_site_that_is_not_there"),
    Mutation("hops are conjugated the wrong way round", ED, "np.where(i > j, one.amplitude, np.conj(one.amplitude))",
             "np.where(i < j, one.amplitude, np.conj(one.amplitude))",
             "tests/test_hamiltonian.py::test_exact_force_fields_serve_every_hamiltonian"),
    Mutation("every exchange is accepted", "latticemd/integrators/kinetic.py", "np.maximum(y, 0.0)", "0.0 * y",
             "tests/test_kinetic.py::test_rates_obey_detailed_balance_for_every_exchange"),
    Mutation("damping leads spins uphill", "cuda_kernels/spins.py", "time * (fx - damping * tx), time * (fy - damping * ty), "
             "time * (fz - damping * tz)", "time * (fx + damping * tx), time * (fy + damping * ty), time * (fz + damping * tz)",
             "tests/test_spins.py::test_damping_leads_down_along_the_exact_path"),
    Mutation("spins precess backwards", "cuda_kernels/spins.py", "hx, hy, hz = 0.5 * wx, 0.5 * wy, 0.5 * wz",
             "hx, hy, hz = -0.5 * wx, -0.5 * wy, -0.5 * wz",
             "tests/test_spins.py::test_a_spin_precesses_clockwise_about_its_field_with_a_frequency_exact_to_second_order"),
    Mutation("labels are those of the force field that moves", "latticemd/learning/labelling.py",
             "build_state(run, model), _Frames(labels)", "build_state(run, model), _Frames(system)",
             "tests/test_labelling.py::test_another_force_field_may_give_the_labels"),
    Mutation("the average forgets the weights", TRAINER, "lerp_(value, 1.0 - decay)", "lerp_(value, 0.0)",
             TRAINING + "test_a_training_learns_and_leaves_what_it_promises"),
    Mutation("a resumed training begins with new moments", TRAINER, '"state": moments', '"state": {}',
             TRAINING + "test_a_killed_training_resumes_from_its_last_validation_to_the_same_bytes"),
    Mutation("every epoch has the same order", DATA, "default_rng([seed, epoch])", "default_rng([seed, 0])",
             TRAINING + "test_every_state_comes_once_in_an_epoch"),
    Mutation("a trajectory may be on both sides", DATA, "if _identity(trajectory) in wholes:", "if False:",
             TRAINING + "test_a_trajectory_on_both_sides_is_refused"),
    Mutation("forces are turned and positions are not", "latticemd/learning/augmentation.py",
             "table.applied(states.x, drawn, shifted=True)", "states.x",
             TRAINING + "test_augmentation_turns_positions_and_forces_by_symmetries"),
    Mutation("J v stands in for its transpose", "latticemd/learning/invariants.py",
             "return forwards.detach(), backwards.detach()", "return forwards.detach(), forwards.detach()",
             "tests/test_evaluation.py::test_the_antisymmetric_share_is_that_of_the_matrix"),
)  # fmt: skip


def applied(mutation: Mutation | None, folder: Path) -> None:
    """Copy the sources to `folder` with one error in them. Raises ValueError when the text to change is not there once."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    if mutation is not None:
        path = folder / mutation.file
        text = path.read_text()
        if text.count(mutation.right) != 1:
            raise ValueError(
                f"{mutation.name}: {mutation.file} holds {mutation.right!r} {text.count(mutation.right)} times"
            )
        path.write_text(text.replace(mutation.right, mutation.wrong))


def passes(mutation: Mutation | None, tests: list[str]) -> bool:
    """Whether these tests pass on a copy with this error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        applied(mutation, folder)
        environment = os.environ | {"PYTHONPATH": str(folder)}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n0", *tests]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):  # neither passed nor failed: the tests could not be run
            raise RuntimeError(done.stdout + done.stderr)
        return done.returncode == 0


def main() -> int:
    """Run the mutations named, or all; return 1 when one is not caught."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="mutations to run; all unless given")
    parser.add_argument("--list", action="store_true", help="print the table of tests/README.md and stop")
    arguments = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if not arguments.names or mutation.name in arguments.names]
    if arguments.list:
        print("\n".join(f"| {m.name} | `{m.file}` | `{m.test.removeprefix('tests/')}` |" for m in chosen))
        return 0
    if not passes(None, sorted({mutation.test for mutation in chosen})):
        print("the tests fail without any mutation")
        return 1
    missed = 0
    for mutation in chosen:
        caught = not passes(mutation, [mutation.test])
        missed += not caught
        print(f"{'caught' if caught else 'MISSED'}  {mutation.name}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
