"""`latticemd bench` compares force fields on the input's own configuration, and recommends by error first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from test_run import QUENCH, latticemd

from latticemd.bench import Row, Sample, bench, recommended
from latticemd.config import load_input
from latticemd.forcefield import Capabilities
from latticemd.lattice import Lattice
from latticemd.models.holstein import Holstein
from latticemd.parameters import parameter
from latticemd.plugins import register


@dataclass(frozen=True)
class HalfFilled:
    """Half an electron everywhere: fast and wrong by a known amount."""

    ladder: ClassVar = ({}, {"calls": 2})
    calls: int = parameter(1, doc="how often it is asked", ge=1)

    def capabilities(self, model, replicas):
        return Capabilities(False, True, False, True, 0, 1234)

    def prepare(self, model, replicas):
        pass

    def evaluate(self, model, x, step, out):
        out.density[...] = 0.5
        out.force[...] = 0.0

    def close(self):
        pass


@pytest.fixture
def load(tmp_path):
    register("forcefield", "half_filled", HalfFilled)
    (tmp_path / "input.yaml").write_text(QUENCH)
    return lambda *settings: load_input(tmp_path / "input.yaml", settings)


def test_errors_are_those_of_the_density_and_the_force(load):
    rows = {(row.name, *row.settings): row for row in bench(load("lattice.shape=[8, 8]"))}
    assert rows["ed",].density_error == rows["ed",].force_error == 0.0
    assert rows["ed",].sites_per_second == pytest.approx(64 / rows["ed",].seconds)
    wrong = rows["half_filled",]
    assert wrong.force_error == pytest.approx(1.5 * wrong.density_error)  # F = g (n - 1/2)
    assert 0.1 < wrong.density_error < 0.5
    assert wrong.bytes_needed == 1234
    assert rows["half_filled", "calls"].density_error == wrong.density_error
    # Exact methods agree with the reference, the others to what they can.
    for (name, *_), row in rows.items():
        if row.note == "" and name != "half_filled":
            assert row.density_error < (1e-9 if name == "poles" and not row.settings else 0.1)


def test_a_lattice_too_large_for_the_reference_is_compared_on_a_corner(load):
    rows = list(bench(load("lattice.shape=[64, 60]"), patience=0.05))
    ed = next(row for row in rows if row.name == "ed")
    assert ed.note.startswith("not run: about ")
    assert np.isnan(ed.seconds)
    assert ed.density_error == 0.0
    fast = next(row for row in rows if row.name == "half_filled")
    assert fast.sites_per_second == pytest.approx(64 * 60 / fast.seconds)


def test_a_corner_keeps_the_positions_of_its_cells():
    model = Holstein(Lattice("square", (8, 6)))
    x = np.arange(48.0).reshape(1, 48, 1)
    corner = Sample(model, x).corner((4, 4))
    assert corner.model.lattice.shape == (4, 4)
    assert corner.x.reshape(4, 4).tolist() == x.reshape(8, 6)[:4, :4].tolist()


def test_what_does_not_serve_the_model_says_why(load):
    rows = list(bench(load("lattice.shape=[4, 4]")))
    refused = [row for row in rows if row.name == "cavity" and row.settings.get("radius", 2) > 1]
    assert refused
    assert all("needs at least" in row.note and np.isnan(row.seconds) for row in refused)


def test_a_chooser_among_the_others_is_not_compared_with_them(load):
    assert "auto" not in {row.name for row in bench(load("lattice.shape=[6, 6]", "forcefield.name=auto"))}


def test_the_recommendation_is_the_fastest_that_is_good_enough():
    rows = [
        Row("exact", {}, seconds=1.0, density_error=0.0),
        Row("good", {}, seconds=0.1, density_error=1e-5),
        Row("rough", {}, seconds=0.01, density_error=1e-2),
        Row("refused", {}, density_error=0.0),
    ]
    names = [row and row.name for row in (recommended(rows, error) for error in (1e-1, 1e-4, 1e-6))]
    assert names == ["rough", "good", "exact"]
    assert recommended(rows[2:], 1e-4) is None


def test_the_command_prints_a_table_and_json(tmp_path):
    (tmp_path / "input.yaml").write_text(QUENCH)
    done = latticemd("bench", "input.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["recommended"]["name"] in {row["name"] for row in printed["rows"]}
    assert {"seconds", "sites_per_second", "bytes_needed", "density_error", "force_error"} <= printed["rows"][0].keys()
    table = latticemd("bench", "input.yaml", "--tolerance", "1e-14", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "forcefield: {name: ed}" in table.stdout
