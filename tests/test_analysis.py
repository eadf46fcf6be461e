"""Analysis returns what is known beforehand: exponents, lengths and errors of fields that were made with them."""

import csv
import json
import tracemalloc

import h5py
import numpy as np
import pytest
from test_figures import write_run
from typer.testing import CliRunner

from latticemd.analysis.collapse import collapse_correlation, collapse_structure
from latticemd.analysis.distributions import edges_for, histogram
from latticemd.analysis.domains import domain_sizes, size_distribution, size_of_a_sites_domain
from latticemd.analysis.ensembles import compare
from latticemd.analysis.growth import growth_exponent, local_slope
from latticemd.analysis.labels import labels_of
from latticemd.analysis.measuring import energy_budget, measure_frames, measures_for
from latticemd.analysis.quantity import Quantity, merged
from latticemd.analysis.runner import analyze
from latticemd.analysis.shared import opened
from latticemd.analysis.statistics import (
    difference_of_means,
    mean_and_error,
    paired_difference,
    resampled_error,
    resampled_means,
)
from latticemd.cli import app
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.output.directory import RunDirectory
from latticemd.runner import run


def gaussian_fields(lattice, widths, samples=1, seed=0):
    """Fields (F, S, N) of white noise under a Gaussian of width s, for which C(r)/C(0) = exp(-r^2 / 4 s^2)."""
    rng = np.random.default_rng(seed)
    waves = np.fft.fftn(rng.normal(size=(samples, *lattice.shape)), axes=(1, 2))
    q = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in lattice.shape), indexing="ij")
    fields = [np.fft.ifftn(waves * np.exp(-0.5 * s**2 * (q[0] ** 2 + q[1] ** 2)), axes=(1, 2)).real for s in widths]
    return np.array([0.3 * f.reshape(samples, -1) / f.std() for f in fields])


def growing_lengths(time, samples, exponent=0.4, scatter=0.02, seed=0):
    """(F, S): L = A t^n with amplitudes and exponents of their own for each sample, as large boxes would have them."""
    rng = np.random.default_rng(seed)
    amplitude, own = np.exp(0.1 * rng.normal(size=samples)), exponent + scatter * rng.normal(size=samples)
    return amplitude * time[:, None] ** own


# statistics


def test_the_error_of_a_mean_is_the_scatter_over_the_root_of_the_samples():
    values = np.random.default_rng(1).normal(3.0, 0.5, size=(4, 50))
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(values.mean(axis=1))
    assert error == pytest.approx(values.std(axis=1, ddof=1) / np.sqrt(50))
    bootstrap = resampled_error(resampled_means(values, resamples=4000), 50)
    assert bootstrap == pytest.approx(error, rel=0.06)


def test_few_samples_have_the_bootstrap_error_of_the_textbook_too():
    values = np.random.default_rng(2).normal(size=(1, 3))
    assert resampled_error(resampled_means(values, 20_000), 3) == pytest.approx(mean_and_error(values)[1], rel=0.03)


def test_one_sample_has_no_error():
    assert np.isnan(mean_and_error(np.ones((2, 1)))[1]).all()
    assert np.isnan(resampled_error(np.ones((2, 100)), 1)).all()
    assert difference_of_means(np.ones(1), np.zeros(1)).verdict == "1 sample"


def test_groups_of_four_equal_samples_are_called_different_as_often_as_chance_allows():
    rng = np.random.default_rng(3)
    verdicts = [difference_of_means(*rng.normal(size=(2, 4))).verdict for _ in range(4000)]
    # 4.6 % beyond two and 0.27 % beyond three standard errors; without Student's tails it would be 8 % and 2 %.
    assert verdicts.count("agree") / 4000 == pytest.approx(0.954, abs=0.015)
    assert verdicts.count("differ") / 4000 < 0.008


def test_a_difference_is_told_in_its_own_errors():
    rng = np.random.default_rng(4)
    first, second = rng.normal(0.0, 1.0, 400), rng.normal(0.5, 2.0, 200)
    found = difference_of_means(first, second)
    assert found.error == pytest.approx(np.sqrt(1 / 400 + 4 / 200), rel=0.1)
    assert found.distance == pytest.approx(found.difference / found.error, rel=0.01)
    assert found.verdict == ("open" if 2 < found.distance < 3 else "differ")


def test_pairs_show_a_shift_that_is_far_below_the_scatter_between_seeds():
    start = np.random.default_rng(5).normal(size=6)
    shifted = start + 0.01 + 0.002 * np.random.default_rng(6).normal(size=6)
    assert difference_of_means(start, shifted).verdict == "agree"
    paired = paired_difference(start, shifted)
    assert paired.verdict == "differ"
    assert paired.difference == pytest.approx(0.01, abs=3 * 0.002 / np.sqrt(6))
    assert paired.first == pytest.approx(start.mean())


# growth laws


def test_a_power_law_has_its_exponent_and_amplitude():
    time = np.arange(0, 201.0)
    law = growth_exponent(time, np.repeat(2.5 * time[:, None] ** 0.37, 3, axis=1))
    assert law.exponent == pytest.approx(0.37, abs=1e-12)
    assert law.amplitude == pytest.approx(2.5)
    assert (law.start, law.end, law.samples) == (20.0, 200.0, 3)
    assert law.error == pytest.approx(0.0, abs=1e-12)
    assert law(np.array([50.0])) == pytest.approx([2.5 * 50**0.37])


def test_the_error_of_an_exponent_is_its_scatter_between_experiments():
    time = np.geomspace(1, 100, 20)
    laws = [growth_exponent(time, growing_lengths(time, 8, seed=n), resamples=200) for n in range(300)]
    found = np.array([law.exponent for law in laws])
    told = np.array([law.error for law in laws])
    # The mean of L is that of its largest samples more and more: by scatter^2 ln t.
    assert found.mean() == pytest.approx(0.4 + 0.02**2 * np.log(30), abs=4 * found.std() / np.sqrt(300))
    assert told.mean() == pytest.approx(found.std(), rel=0.15)


def test_the_exponent_does_not_depend_on_how_frames_are_spaced():
    def crossover(time):  # from t^1 to t^(1/3)
        return (time / (1 + (time / 20) ** (2 / 3)))[:, None]

    linear, logarithmic = np.linspace(1, 100, 2000), np.geomspace(1, 100, 300)
    one, other = (growth_exponent(t, crossover(t), start=2.0).exponent for t in (linear, logarithmic))
    assert one == pytest.approx(other, abs=2e-3)


def test_the_local_slope_follows_a_crossover():
    time = np.geomspace(0.1, 1000, 400)
    slope = local_slope(time, np.repeat(1 + time[:, None], 2, axis=1), span=1.5)
    assert slope.slope == pytest.approx(slope.time / (1 + slope.time), abs=2e-3)
    assert slope.time[0] == pytest.approx(0.1 * np.sqrt(1.5))
    assert len(slope.time) == 16


def test_frames_without_a_length_take_no_part():
    time = np.arange(0, 101.0)
    lengths = np.repeat(time[:, None] ** 0.5, 2, axis=1)
    lengths[0] = np.nan
    lengths[80:, 1] = np.nan  # one sample is a single domain from then on
    law = growth_exponent(time, lengths)
    assert law.end == 79.0
    assert law.exponent == pytest.approx(0.5)
    with pytest.raises(InputError, match=r"at least 3 frames .* there are 0 between t = 90 and 95"):
        growth_exponent(time, lengths, start=90, end=95)


# scaling


def test_correlations_of_one_scaled_shape_collapse_and_others_do_not():
    r, lengths = np.arange(0, 65.0), np.array([4.0, 6.0, 9.0, 13.0])
    scaled = np.exp(-((r / lengths[:, None]) ** 2))
    found = collapse_correlation(r, scaled * lengths[:, None], lengths)  # C(0) may change with time
    assert found.deviation < 3e-3
    assert found.quality < 0.03
    assert found.coordinate[-1] == pytest.approx(64 / 13)
    np.testing.assert_allclose(found.curves, np.exp(-(found.coordinate**2))[None].repeat(4, 0), atol=0.02)
    shapes = np.exp(-((r / lengths[:, None]) ** np.array([0.7, 1.0, 2.0, 4.0])[:, None]))
    assert collapse_correlation(r, shapes, lengths).quality > 0.5
    assert collapse_correlation(r, scaled, lengths[::-1]).quality > 1.0


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_structure_factors_of_one_scaled_shape_collapse(dimensions):
    k, lengths = np.linspace(0, np.pi, 200), np.array([5.0, 8.0, 12.0])
    structure = lengths[:, None] ** dimensions / (1 + (k * lengths[:, None]) ** (dimensions + 1))
    found = collapse_structure(k, structure, lengths, dimensions)
    # What is left is the part of the integral beyond the largest k.
    assert found.deviation < 0.07
    assert found.quality < 0.12
    assert collapse_structure(k, structure, lengths[::-1], dimensions).quality > 1.0


def test_a_collapse_needs_lengths():
    with pytest.raises(InputError, match="leave out the frames"):
        collapse_correlation(np.arange(5.0), np.ones((2, 5)), np.array([1.0, np.nan]))
    with pytest.raises(InputError, match="2 are empty"):
        collapse_structure(np.arange(4.0), np.array([[1.0, 0, 2, 0], [1, 1, 1, 1]]), np.array([1.0, 2.0]), 1)


# domains and distributions


def test_a_mosaic_has_as_many_domains_as_it_has_tiles():
    lattice = Lattice("square", (24, 24))
    mosaic = 1.0 - 2.0 * ((lattice.cells // 4).sum(axis=1) % 2)
    sizes = domain_sizes(0.4 * mosaic, lattice.bonds())
    assert sizes.tolist() == [16] * 36
    assert size_of_a_sites_domain(sizes) == 16.0
    size, share = size_distribution(sizes, lattice.sites)
    assert share[size == 16.0] == pytest.approx([1.0])
    assert share.sum() == pytest.approx(1.0)


def test_a_domain_goes_on_across_a_periodic_boundary_and_ends_at_an_open_one():
    def sizes(boundary):
        lattice = Lattice("square", (12, 9), boundary)
        outer = np.where((lattice.cells[:, 0] < 2) | (lattice.cells[:, 0] >= 9), 1.0, -1.0)
        return domain_sizes(outer, lattice.bonds()).tolist()

    assert sizes("periodic") == [63, 45]
    assert sizes("open") == [63, 27, 18]


@pytest.mark.parametrize(
    ("name", "shape"), [("ladder", (20,)), ("triangular", (8, 9)), ("honeycomb", (6, 6)), ("cubic", (4, 5, 6))]
)
def test_flipped_sites_are_domains_of_one_on_every_lattice(name, shape):
    lattice = Lattice(name, shape)
    field = np.full(lattice.sites, 0.3)
    field[[1, lattice.sites // 2]] = -0.1
    assert domain_sizes(field, lattice.bonds()).tolist() == [lattice.sites - 2, 1, 1]
    field[-1] = 0.0  # a vacancy
    assert domain_sizes(field, lattice.bonds()).sum() == lattice.sites - 1
    sizes = np.array([lattice.sites - 2, 1, 1])
    assert size_of_a_sites_domain(sizes) == pytest.approx(((lattice.sites - 2) ** 2 + 2) / lattice.sites)


def test_the_histogram_is_a_density():
    values = np.random.default_rng(7).normal(0.5, 1.2, size=(2, 200_000))
    edges = edges_for([3.0, np.abs(values).max()], bins=60)
    found, width = histogram(values, edges), edges[1] - edges[0]
    assert found.sum(axis=1) * width == pytest.approx([1.0, 1.0])
    middles = 0.5 * (edges[1:] + edges[:-1])
    expected = np.exp(-0.5 * ((middles - 0.5) / 1.2) ** 2) / (1.2 * np.sqrt(2 * np.pi))
    assert np.abs(found - expected).max() < 5 * np.sqrt(0.33 / width / 200_000) + 0.01 * width**2
    with pytest.raises(InputError, match=r"1 values lie outside the bins from -1 to 1, up to 2"):
        histogram(np.array([[0.0, 2.0]]), np.linspace(-1, 1, 3))


def test_the_energy_budget_adds_up():
    time = np.arange(5.0)
    known = {
        "free_energy": Quantity(time, -5.0 - time[:, None], "energy"),
        "classical_energy": Quantity(time[::2], 3.0 + time[::2, None], "energy"),
        "conserved_energy": Quantity(time, np.full((5, 1), -2.0), "energy"),
    }
    budget = energy_budget(known)
    assert budget["electronic_energy"].time.tolist() == [0, 2, 4]
    assert budget["electronic_energy"].values[:, 0].tolist() == [-8, -12, -16]
    assert budget["heat"].values[:, 0].tolist() == [-3, -4, -5, -6, -7]


# runs that repeat each other


QUENCH = """
lattice: {type: square, shape: [8, 8]}
model: {name: holstein, coupling: 1.5}
dynamics: {integrator: overdamped, dt: 0.1, temperature: 0.1, steps: 10}
"""


@pytest.fixture
def inputs(tmp_path):
    path = tmp_path / "input.yaml"
    path.write_text(QUENCH)
    return lambda *settings: load_input(path, settings)


def test_runs_that_differ_in_seeds_repeat_each_other(inputs):
    seeds = [inputs(f"dynamics.seed={n}", f"initial.seed={n}", f"output.directory=runs/{n}") for n in range(3)]
    assert labels_of(seeds) == ["", "", ""]
    assert labels_of([*seeds, inputs("model.coupling=2")]) == ["coupling 1.5"] * 3 + ["coupling 2"]


def test_force_fields_are_told_by_name_and_settings_only_where_they_have_company(inputs):
    ed, two, three = (
        inputs(f"forcefield={{{one}}}") for one in ("name: ed", "name: cavity, radius: 2", "name: cavity, radius: 3")
    )
    assert labels_of([ed, two]) == ["ed", "cavity"]
    assert labels_of([ed, two, three]) == ["ed", "cavity, radius 2", "cavity, radius 3"]
    assert labels_of([two, inputs("dynamics.temperature=0.2")], "dynamics.temperature") == ["0.1", "0.2"]
    with pytest.raises(
        InputError, match=r"--by forcefield.nmae: no input has this key; did you mean 'forcefield.name'"
    ):
        labels_of([ed], "forcefield.nmae")


def test_samples_are_put_together_at_the_times_that_all_runs_have():
    one = Quantity(0.1 * np.arange(0, 40, 4), np.arange(10.0)[:, None], "1")
    other = Quantity(0.2 * np.arange(0, 18, 3), 100 + np.arange(6.0)[:, None], "1")
    both = merged("walls", [one, other])
    assert both.time == pytest.approx([0.0, 1.2, 2.4])
    assert both.values.tolist() == [[0, 100], [3, 102], [6, 104]]
    with pytest.raises(InputError, match=r"no time in common \(0 to 3.6, 5 to 6\)"):
        merged("walls", [one, Quantity(np.array([5.0, 6.0]), np.zeros((2, 1)), "1")])


# from directories of runs to results


def table(path):
    """The rows of a CSV file."""
    return list(csv.DictReader(path.read_text().splitlines()))


def write_growing_runs(folder, seeds, more="", factor=1.2, side=96, spacing=0.5):
    """Runs of Gaussian fields whose width grows as factor t^(1/3), up to t = 20."""
    lattice = Lattice("square", (side, side))
    widths = factor * np.concatenate([[1e-3], np.arange(spacing, 20.1, spacing)]) ** (1 / 3)
    paths = []
    for seed in seeds:
        fields = gaussian_fields(lattice, widths, samples=2, seed=seed)
        paths.append(folder / f"{more[19:24].strip(' }') or 'run'}{seed}")
        write_run(paths[-1], lattice, fields, dt=spacing, more=f"{more}\ninitial: {{kind: normal, seed: {seed}}}")
    return paths


@pytest.fixture(scope="module")
def growing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("growing")
    runs = write_growing_runs(folder, range(3), "forcefield: {name: ed}")
    runs += write_growing_runs(folder, range(3, 6), "forcefield: {name: poles}", factor=1.5)
    analysis, files = analyze(runs, folder / "results")
    return folder, analysis, files


def test_the_lengths_of_gaussian_fields_are_those_on_paper(growing):
    _, analysis, _ = growing
    group = analysis.groups[0]
    assert (group.label, group.samples) == ("ed", 6)
    late = [10, 20, 40]
    width = 1.2 * group.quantities["length_half"].time[late] ** (1 / 3)
    half, moment, walls = (group.lengths[name].values[late].mean(axis=1) for name in ("half", "moment", "walls"))
    assert half == pytest.approx(2 * width * np.sqrt(np.log(2)), rel=0.05)
    # <k> of exp(-k^2 s^2) in one dimension is 1/(s pi^(1/2)); rings of a small box are coarse.
    assert moment == pytest.approx(2 * np.pi**1.5 * width, rel=0.12)
    # Neighbours of a Gaussian field differ in sign with probability arccos(C(1)/C(0))/pi (Rice).
    cut = np.arccos(np.exp(-1 / (4 * width**2))) / np.pi
    assert walls == pytest.approx(1 / cut, rel=0.05)


def test_the_growth_law_by_construction_is_found_by_all_definitions(growing):
    _, analysis, _ = growing
    for group in analysis.groups:
        for name, law in group.laws.items():
            assert law.exponent == pytest.approx(1 / 3, abs=max(4 * law.error, 0.01)), name
            assert law.error < 0.06
            assert (law.start, law.end) == (2.0, 20.0)
        assert group.collapses["correlation"].quality < 0.15
        assert group.collapses["structure_factor"].quality < 0.5


def test_groups_differ_in_what_was_made_different_and_in_nothing_else(growing):
    _, analysis, _ = growing
    (compared,) = analysis.comparisons.values()
    verdicts = {(row.quantity, row.time): row.difference for row in compared}
    assert verdicts["length_half", 20.0].verdict == "differ"
    assert verdicts["length_half", 20.0].second == pytest.approx(1.25 * verdicts["length_half", 20.0].first, rel=0.05)
    assert [row.difference.verdict for row in compared if row.quantity.startswith("exponent")] == ["agree"] * 3


def test_pairs_are_found_by_their_seeds_in_any_order(tmp_path):
    first = write_growing_runs(tmp_path, [1, 2, 3], "forcefield: {name: ed}", side=48, spacing=2.0)
    second = write_growing_runs(tmp_path, [3, 1, 2], "forcefield: {name: poles}", 1.202, side=48, spacing=2.0)
    analysis, _ = analyze([*first, *second], tmp_path / "results", paired=True)
    (compared,) = analysis.comparisons.values()
    apart = {(row.quantity, row.time): row.difference for row in compared}
    length = apart["length_half", 20.0]
    assert length.difference == pytest.approx(0.002 / 1.2 * length.first, rel=0.2)
    assert length.verdict == "differ"
    unpaired = compare(*analysis.groups)
    assert {row.difference.verdict for row in unpaired if row.quantity == "length_half"} == {"agree"}
    paired_error, error = (rows[-1].difference.error for rows in (compared, unpaired))
    assert compared[-1].quantity == "exponent_walls"
    assert paired_error < 0.1 * error
    with pytest.raises(InputError, match=r"the 6 samples of ed and the 4 of poles have not the same seeds"):
        analyze([*first, *second[:2]], tmp_path / "results", paired=True)


def test_results_are_written_with_dimensions(growing):
    folder, analysis, files = growing
    tables = {"series.csv", "growth.csv", "averages.csv", "comparison.csv"}
    figures = {"growth.png", "scaling.png", "states.png", "comparison.png"}
    assert {path.name for path in files} == {"analysis.h5"} | tables | figures
    with h5py.File(folder / "results/analysis.h5") as file:
        group = file["groups/1"]
        assert group.attrs["label"] == "poles"
        assert json.loads(group.attrs["lattice"])["shape"] == [96, 96]
        assert group["length_half/samples"].shape == (41, 6)
        assert group["correlation/mean"].shape == (41, len(group["correlation/coordinate"]))
        assert group["correlation/coordinate"].attrs["unit"] == "length"
        assert group["displacements/mean"].attrs["unit"] == "1/length"
        assert len(group["domain_distribution/time"]) == 12
        assert group["structure_factor/coordinate"].attrs["unit"] == "1/length"
        assert group["growth/half"].attrs["exponent"] == analysis.groups[1].laws["half"].exponent
        units = []
        file.visititems(lambda _, item: units.append("unit" in item.attrs) if isinstance(item, h5py.Dataset) else None)
        assert all(units)
    rows = table(folder / "results/growth.csv")
    assert [(row["group"], row["length"]) for row in rows] == [
        (group, length) for group in ("ed", "poles") for length in ("half", "moment", "walls")
    ]
    assert float(rows[0]["exponent"]) == pytest.approx(1 / 3, abs=0.05)


def test_one_run_is_analyzed_in_its_directory_and_the_table_is_shown(tmp_path):
    (path,) = write_growing_runs(tmp_path, [1], side=32)
    done = CliRunner().invoke(app, ["analyze", str(path)])
    assert done.exit_code == 0, done.output
    assert "exponent" in done.output
    assert (path / "analysis/figures/growth.png").is_file()
    with RunDirectory(path, overwrite=True):
        assert not (path / "analysis").exists()


@pytest.mark.filterwarnings("error")
def test_a_run_of_the_engine_is_analyzed_with_spectra_and_dynamics(tmp_path):
    (tmp_path / "input.yaml").write_text(VIBRATION)
    run(load_input(tmp_path / "input.yaml", [f"output.directory={tmp_path / 'run'}"]))
    done = CliRunner().invoke(app, ["analyze", str(tmp_path / "run"), "--spectra", "--dynamics", "--from", "0.1"])
    assert done.exit_code == 0, done.output
    assert "no growth law" in done.output  # one domain from the start
    names = {path.name for path in (tmp_path / "run/analysis/figures").iterdir()}
    assert names == {"growth.png", "states.png", "spectra.png", "dynamics.png"}
    with h5py.File(tmp_path / "run/analysis/analysis.h5") as file:
        group = file["groups/0"]
        assert group["density_of_states/samples"].shape[:2] == (4, 1)
        waves = group["dynamical_structure_factor"]
        uniform = waves["omega"][waves["mean"][0].argmax()]
        assert uniform == pytest.approx(np.sqrt(1 + 4 * 0.18), abs=waves["omega"][1])  # free vibrations at q = 0
        total, free, kinetic, classical, electronic = (
            group[f"{name}_energy/mean"][:] for name in ("total", "free", "kinetic", "classical", "electronic")
        )
        np.testing.assert_allclose(total, free + kinetic, rtol=1e-12)
        np.testing.assert_allclose(free, classical + electronic, rtol=1e-12)
        assert "heat" not in group  # there is no bath
    rows = {row["quantity"]: row for row in table(tmp_path / "run/analysis/averages.csv")}
    assert float(rows["temperature"]["mean"]) == pytest.approx(0.01, rel=0.6)


VIBRATION = """
lattice: {type: square, shape: [6, 6]}
model: {name: holstein, coupling: 1.5, intersite: 0.18}
initial: {kind: checkerboard, amplitude: 2.34, width: 0.05, velocity: thermal, seed: 2}
dynamics: {integrator: verlet, dt: 0.1, temperature: 0.01, steps: 800}
output: {every: 4, figures: false}
observables: [{name: energy}, {name: temperature}]
"""


def test_memory_is_that_of_one_frame(tmp_path):
    lattice = Lattice("square", (128, 128))
    write_run(tmp_path / "run", lattice, np.random.default_rng(8).normal(size=(60, 1, lattice.sites)))
    with opened(tmp_path / "run") as (_, frames):
        measures, _ = measures_for(frames)
        measure_frames(frames, measures, [0])  # tables of the lattice are made once
        tracemalloc.start()
        measure_frames(frames, measures, range(60))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 * 8 * lattice.sites  # the trajectory holds 120 such arrays


def test_a_lattice_with_two_sites_per_cell_is_told_what_it_cannot_have(tmp_path):
    lattice = Lattice("honeycomb", (6, 6))
    fields = 0.4 * np.sign(np.sin(np.arange(6 * lattice.sites))).reshape(6, 1, -1)
    write_run(tmp_path / "run", lattice, fields)
    analysis, _ = analyze([tmp_path / "run"])
    (group,) = analysis.groups
    assert set(group.lengths) == {"walls"}
    assert "one site per cell" in group.notes[0]


@pytest.mark.filterwarnings("error")
def test_one_frame_is_enough_for_its_numbers(tmp_path):
    lattice = Lattice("square", (6, 6), "open")
    write_run(tmp_path / "run", lattice, gaussian_fields(lattice, [1.0]))
    analysis, files = analyze([tmp_path / "run"])
    assert analysis.groups[0].laws == {}
    assert {path.name for path in files if path.suffix == ".png"} == {"growth.png", "states.png"}


def test_without_density_the_staggered_displacement_stands_in(tmp_path):
    lattice = Lattice("square", (8, 8))
    fields = gaussian_fields(lattice, [1.0, 1.0, 1.2, 1.5])
    write_run(tmp_path / "run", lattice, fields, density=False)
    analysis, _ = analyze([tmp_path / "run"])
    (group,) = analysis.groups
    assert group.quantities["local_amplitude"].values[:, 0] == pytest.approx(2 * np.abs(fields[:, 0]).mean(axis=1))
    assert group.quantities["local_amplitude"].unit == "length"
    assert "stands in" in group.notes[0]


def test_what_is_no_run_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"trajectory\.h5 does not exist"):
        analyze([tmp_path])
    with pytest.raises(InputError, match="where shall the analysis of 2 runs go"):
        analyze([tmp_path, tmp_path])
