"""A report holds the numbers of its runs, says what they close, is one small file, and gives nothing away."""

import base64
import json
import platform
import re
import zlib

import numpy as np
import pytest
from test_figures import order_fields, write_run

from latticemd import observables
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.output.trajectory import read_trajectory
from latticemd.report import write_report
from latticemd.report.fields import Shape, block_means
from latticemd.report.page import latex_to_html
from latticemd.report.reading import read_reported, without_folders
from latticemd.runner import run

SMALL = """
lattice: {type: square, shape: [8, 8]}
model: {name: holstein, coupling: 1.5}
forcefield: {name: ed}
initial: {kind: normal, width: 0.5, velocity: thermal, seed: 1}
dynamics: {integrator: verlet, dt: 0.05, steps: 60, temperature: 0.1, seed: 2}
output: {every: 5, figures: false}
observables: [{name: energy, every: 1}, {name: temperature, every: 1}]
"""


def ran(folder, *settings, given=SMALL):
    """The directory of a small run with the given settings."""
    source = folder.with_suffix(".yaml")
    source.write_text(given)
    run(load_input(source, [*settings, f"output.directory={folder}"]))
    return folder


def data_of(page):
    """The numbers that a page carries."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())[1])


def values_of(run_data):
    """The fields (frames, cells) of a run of a page, as its script reads them."""
    field = run_data["field"]
    levels = np.frombuffer(zlib.decompress(base64.b64decode(field["bytes"])), np.uint8).reshape(-1, field["cells"])
    return np.where(levels == 0, np.nan, (levels.astype(float) - 128) * field["step"])


def verdict_of(directory, name):
    """The verdict of a name on a run."""
    return next(one for one in read_reported(directory).verdicts if one.name == name)


# the field


def test_every_value_is_that_of_the_trajectory_to_half_a_level(tmp_path):
    lattice = Lattice("square", (12, 8))
    fields = order_fields(lattice, frames=5, replicas=2)
    write_run(tmp_path / "run", lattice, fields)
    (shown,) = data_of(write_report([tmp_path / "run"]))["runs"]
    values = values_of(shown).reshape(5, 8, 12)[:, ::-1]  # rows from the top
    expected = fields[:, 0].reshape(5, 12, 8).swapaxes(1, 2)
    largest = np.abs(fields[:, 0]).max()
    assert np.abs(values - expected).max() <= 0.5 * largest / 127 * (1 + 1e-5)
    assert shown["time"] == pytest.approx(0.5 * np.arange(5))
    walls = observables.wall_fraction(fields[:, 0], lattice.bonds())
    assert shown["facts"]["wall_fraction"] == pytest.approx(walls, rel=1e-5)


@pytest.mark.parametrize(("name", "shape"), [("honeycomb", (4, 3)), ("chain", (10,)), ("cubic", (4, 3, 3))])
def test_other_lattices_lie_as_their_maps_do(tmp_path, name, shape):
    lattice = Lattice(name, shape)
    fields = 0.4 * np.sin(np.arange(3 * lattice.sites)).reshape(3, 1, -1)
    write_run(tmp_path / "run", lattice, fields)
    (shown,) = data_of(write_report([tmp_path / "run"]))["runs"]
    values, kind = values_of(shown), shown["field"]["kind"]
    if name == "honeycomb":
        assert kind == "polygons"
        assert np.reshape(shown["field"]["points"], (-1, 2)) == pytest.approx(lattice.positions, abs=1e-4)
        assert shown["field"]["kinds"] == [0, 1] * 12
    if name == "chain":
        assert kind == "stripes"
    if name == "cubic":  # the layer z = 0
        assert kind == "pixels"
        layer = fields[:, 0].reshape(3, 4, 3, 3)[..., 0].swapaxes(1, 2)[:, ::-1]
        np.testing.assert_allclose(values, layer.reshape(3, -1), atol=0.4 / 250)
    else:
        np.testing.assert_allclose(values, fields[:, 0], atol=0.4 / 250)


def test_large_lattices_are_averaged_over_blocks():
    lattice = Lattice("square", (600, 300))
    shape = Shape.of(lattice)
    assert (shape.block, shape.cells) == (3, 200 * 100)
    x = lattice.cells[:, 0].astype(float)
    assert shape.values(x).reshape(100, 200)[17, :3].tolist() == [1.0, 4.0, 7.0]
    assert block_means(np.arange(5.0)[None], 2).tolist() == [[0.5, 2.5, 4.0]]  # what is left at the edge counts in full


def test_a_report_of_256_x_256_sites_and_100_frames_is_below_10_megabytes(tmp_path):
    lattice = Lattice("square", (256, 256))
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (100, 1, lattice.sites))  # which nothing can compress
    write_run(tmp_path / "run", lattice, noise, series=False)
    page = write_report([tmp_path / "run"])
    assert len(data_of(page)["runs"][0]["time"]) == 100
    assert page.stat().st_size < 10e6
    both = write_report([tmp_path / "run", tmp_path / "run"], tmp_path / "both.html")
    assert both.stat().st_size < 10e6
    assert [len(one["time"]) for one in data_of(both)["runs"]] == [50, 50]


# particles

CHARGED = """
system: particles
lattice: {type: points, shape: [6]}
model: {name: particles, charges: [1, -2, 1, 1, -1, 0]}
forcefield: {name: coulomb}
initial: {kind: normal, width: 1.5, velocity: 0.3, seed: 5}
dynamics: {integrator: verlet, dt: 0.005, steps: 200, temperature: 0}
output: {every: 20, figures: false}
replicas: 2
"""


def test_particles_are_where_the_trajectory_has_them(tmp_path):
    place = ran(tmp_path / "charged", given=CHARGED)
    (shown,) = data_of(write_report([place]))["runs"]
    field = shown["field"]
    x = np.frombuffer(zlib.decompress(base64.b64decode(field["bytes"])), "<f4").reshape(11, 6, 3)
    with read_trajectory(place / "trajectory.h5") as trajectory:
        stored = trajectory.value("particles/replica_0000/displacement")[:]
    np.testing.assert_allclose(x + np.array(field["centre"]), stored, atol=1e-5)
    assert field["charges"] == [1, -2, 1, 1, -1, 0]
    assert shown["step"] == list(range(0, 201, 20))
    spread = np.linalg.norm(stored - stored.mean(axis=1, keepdims=True), axis=2)
    assert shown["facts"]["gyration_radius"] == pytest.approx(np.sqrt((spread**2).mean(axis=1)), rel=1e-5)
    apart = np.linalg.norm(stored[:, :, None] - stored[:, None], axis=3) + np.where(np.eye(6), np.inf, 0.0)
    assert shown["facts"]["nearest_distance"] == pytest.approx(apart.min(axis=2).mean(axis=1), rel=1e-5)


def test_a_report_of_particles_has_their_charts_and_none_of_lattices(tmp_path):
    place = ran(tmp_path / "charged", given=CHARGED)
    content = data_of(write_report([place]))
    charts = {chart["id"]: chart for chart in content["charts"]}
    assert charts.keys() == {"structure", "reach", "energy"}
    assert charts["energy"]["choices"][0]["y"] == "total energy per particle"
    (((r, density),),) = (choice["curves"] for choice in charts["structure"]["choices"])
    share = np.array(density).sum(axis=1) * (r[1] - r[0])
    assert (share <= 1.0 + 1e-5).all()
    assert (share > 0.7).all()  # pairs of both replicas, few of them farther apart than the picture is wide
    assert verdict_of(place, "energy balance").verdict == "pass"
    assert verdict_of(place, "end").verdict == "pass"


def test_runs_of_particles_are_looked_at_from_one_side_and_distance(tmp_path):
    wide = ran(tmp_path / "wide", "initial.width=4.0", given=CHARGED)
    narrow = ran(tmp_path / "narrow", "model.charges=positive", given=CHARGED)
    first, second = (
        run_data["field"] for run_data in data_of(write_report([wide, narrow], tmp_path / "both.html"))["runs"]
    )
    assert first["axes"] == second["axes"]
    assert first["edge"] == second["edge"] > 4.0
    assert first["limit"] == second["limit"] == pytest.approx(2.6)


def test_particles_and_lattices_share_a_page(tmp_path):
    charged, quench = ran(tmp_path / "charged", given=CHARGED), ran(tmp_path / "quench")
    content = data_of(write_report([charged, quench], tmp_path / "both.html"))
    assert [run_data["field"]["kind"] for run_data in content["runs"]] == ["particles", "pixels"]
    charts = {chart["id"]: chart["choices"][0]["curves"] for chart in content["charts"]}
    assert [curve is None for curve in charts["walls"]] == [True, False]
    assert [curve is None for curve in charts["reach"]] == [False, True]


def test_particles_without_positions_cannot_be_shown(tmp_path):
    place = ran(tmp_path / "charged", "output.fields=[momentum]", given=CHARGED)
    with pytest.raises(InputError, match=r"its frames hold no positions; the run needs output\.fields displacement"):
        write_report([place])


# verdicts


def test_a_run_that_closes_its_energy_says_so_and_one_with_a_coarse_step_does_not(tmp_path):
    fine, coarse = ran(tmp_path / "fine"), ran(tmp_path / "coarse", "dynamics.dt=1.2")
    assert verdict_of(fine, "energy balance").verdict == "pass"
    assert verdict_of(coarse, "energy balance").verdict == "look"
    assert verdict_of(fine, "end") == verdict_of(coarse, "end")
    assert verdict_of(fine, "end").note == "finished: step 60 of 60"
    assert "there is no bath" in verdict_of(fine, "temperature").note


def test_the_temperature_of_a_bath_is_compared(tmp_path):
    settings = ("dynamics.integrator=langevin", "dynamics.friction=2.0", "dynamics.steps=400", "initial.width=0.0")
    hot = ran(tmp_path / "warm", *settings, "initial={kind: checkerboard, amplitude: 1.3, velocity: thermal, seed: 1}")
    late = ran(tmp_path / "quenched", "dynamics.integrator=langevin", "dynamics.friction=0.01", "initial.width=2.0")
    assert verdict_of(hot, "temperature").verdict == "pass"
    assert verdict_of(late, "temperature").verdict == "look"
    assert verdict_of(late, "temperature").note.endswith("bath 0.1")


def test_warnings_an_unfinished_run_and_stored_checks_are_told(tmp_path):
    place = ran(tmp_path / "run")
    log = place / "run.log"
    log.write_text(log.read_text() + "2026-01-01 00:00:00,000 WARNING the springs do not confine the lattice\n")
    (place / "summary.json").unlink()
    check = {"name": "restart", "verdict": "fail", "value": 0.5, "limit": 0.0, "note": "largest difference"}
    (place / "verify.json").write_text(json.dumps([check]))
    assert verdict_of(place, "warnings").note == "the springs do not confine the lattice"
    assert verdict_of(place, "end").verdict == "look"
    assert verdict_of(place, "verify: restart").note == "0.5, limit 0; largest difference"
    page = write_report([place]).read_text()
    assert "run: verify: restart fails" in page
    (place / "verify.json").write_text("{}")
    write_report([place])  # no checks at all
    (place / "verify.json").write_text("[1]")
    with pytest.raises(InputError, match=r"verify\.json holds no checks"):
        write_report([place])


# the page


def test_it_says_what_a_run_was_computed_with_and_not_where(tmp_path):
    place = ran(tmp_path / "run")
    known = read_reported(place).provenance
    assert (known["python"], known["numpy"]) == (platform.python_version(), np.__version__)
    assert known["numba"]
    assert known["processor"]
    assert int(known["threads"]) >= 1
    assert platform.node() not in known.values()


def test_what_comes_from_inputs_is_escaped_and_paths_lose_their_folders(tmp_path):
    lattice = Lattice("square", (6, 4))
    evil = tmp_path / "<b>&amp;"
    title = "title: '</script><script>alert(1)</script>'"
    start = "initial: {kind: file, path: /home/somebody/secret/start.h5}"
    write_run(evil, lattice, order_fields(lattice, 2), more=f"{title}\n{start}\n")
    text = write_report([evil, evil], tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert "<b>&amp;amp;" not in text
    assert "somebody" not in text
    assert "start.h5" in text
    assert str(tmp_path) not in text
    assert data_of(tmp_path / "page.html")["runs"][1]["name"] == "<b>&amp; (2)"


def test_paths_are_shortened_to_their_names_and_nothing_else_is():
    assert without_folders("path: /data/you/run/q.h5, [/a/b, '/c/d e']") == "path: q.h5, [b, 'd e']"
    assert without_folders("directory: runs/quench") == "directory: runs/quench"
    assert without_folders("energy/length^2 and 1/2") == "energy/length^2 and 1/2"


def test_a_page_asks_no_network_for_anything(tmp_path):
    lattice = Lattice("square", (6, 4))
    write_run(tmp_path / "run", lattice, order_fields(lattice, 2))
    text = write_report([tmp_path / "run"]).read_text()
    allowed = {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert set(re.findall(r"https?://[\w./-]+", text)) == allowed
    assert "default-src 'none'" in text
    assert not re.search(r'(src|href)="(?!#|data:,)', text)


def test_order_fields_are_written_as_html():
    assert latex_to_html(r"(n_i-1/2)\,(-1)^i") == "(<i>n</i><sub><i>i</i></sub>-1/2) (-1)<sup><i>i</i></sup>"
    assert "<b><i>S</i></b><sub><i>i</i></sub> · <b><i>M</i></b>" in latex_to_html(
        r"\sigma_i\,\mathbf{S}_i\cdot\mathbf{M}/|\mathbf{M}|"
    )


def test_bad_requests_are_answered_in_one_sentence(tmp_path):
    lattice = Lattice("square", (6, 4))
    write_run(tmp_path / "run", lattice, order_fields(lattice, 2))
    both = [tmp_path / "run"] * 2
    for match, arguments, options in (
        ("--output FILE.html is needed", (both,), {}),
        ("1 to 6 runs side by side, got 7", ([tmp_path / "run"] * 7, tmp_path / "x.html"), {}),
        ("ends in .html", (both, tmp_path / "x.pdf"), {}),
        ("--style sepia", (both, tmp_path / "x.html"), {"style": "sepia"}),
        ("does not exist", ([tmp_path],), {}),
    ):
        with pytest.raises(InputError, match=re.escape(match)):
            write_report(*arguments, **options)
