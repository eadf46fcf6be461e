"""The terminal shows what the files hold: colours of the right sign in the right place, series that rise and fall."""

import io

import numpy as np
import pytest
from rich.console import Console
from test_figures import order_fields, write_run

from latticemd.errors import InputError
from latticemd.figures.style import DIVERGING
from latticemd.lattice import Lattice
from latticemd.watch import blocks, colour_of, dashboard, glimpse_of, sparkline, watch


def colours_in(text):
    """(colour of the upper half, colour of the lower half) of every block, line by line."""
    styles = [str(span.style) for span in text.spans]
    width = len(text.plain.split("\n")[0])
    pairs = [tuple(style.split(" on ")) for style in styles]
    return [pairs[n : n + width] for n in range(0, len(pairs), width)]


def test_the_colours_are_those_of_the_maps():
    assert colour_of(-1.0) == DIVERGING[0]
    assert colour_of(0.0) == DIVERGING[3]
    assert colour_of(1.0) == colour_of(7.0) == DIVERGING[-1]


def test_a_field_is_drawn_with_its_first_row_at_the_top():
    field = np.array([[0.4, -0.4, -0.4], [-0.4, -0.4, 0.4], [0.4, 0.4, 0.4]])
    high, low = DIVERGING[-1], DIVERGING[0]
    lines = colours_in(blocks(field, 0.4, 80, 24))
    assert lines == [[(high, low), (low, low), (low, high)], [(high,), (high,), (high,)]]


def test_a_large_field_is_averaged_to_fit():
    field = np.kron(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones((64, 64)))
    text = blocks(field, 1.0, 40, 30)
    lines = text.plain.split("\n")
    assert len(lines) == 16
    assert {len(line) for line in lines} == {32}
    shown = colours_in(text)
    assert shown[0][0] == (DIVERGING[-1], DIVERGING[-1])
    assert shown[0][-1] == shown[-1][0] == (DIVERGING[0], DIVERGING[0])


def test_a_sparkline_follows_its_series():
    assert sparkline(np.arange(8.0), 20) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.array([3.0, 3.0, np.nan]), 20) == "▁▁"
    assert sparkline(np.array([np.nan]), 20) == ""
    long = sparkline(np.sin(np.linspace(0, np.pi, 1000)), 21)
    assert len(long) == 21
    assert long[10] == "█"
    assert long[0] == long[-1] == "▁"


def test_a_finished_run_is_shown_once(tmp_path):
    lattice = Lattice("square", (24, 16))
    write_run(tmp_path / "run", lattice, order_fields(lattice, frames=5, replicas=2))
    glimpse = glimpse_of(tmp_path / "run")
    assert (glimpse.step, glimpse.steps, glimpse.time, glimpse.finished) == (40, 100, 2.0, True)
    assert glimpse.field.shape == (16, 24)
    shown = io.StringIO()
    watch(tmp_path / "run", console=Console(file=shown, width=100, height=40, force_terminal=True))
    text = shown.getvalue()
    assert text.count("▀") in (8 * 24, 2 * 8 * 24)  # rich draws once more, over it, when it ends
    for words in ("Holstein model", "step 40 of 100, t = 2, finished", "wall fraction", "energy per site"):
        assert words in text


def test_a_run_under_way_tells_its_share_and_speed(tmp_path):
    lattice = Lattice("square", (8, 8))
    write_run(tmp_path / "run", lattice, order_fields(lattice, frames=3))
    (tmp_path / "run/summary.json").unlink()
    console = Console(file=io.StringIO(), width=100, height=40)
    console.print(dashboard(glimpse_of(tmp_path / "run"), 100, 34, speed=12.3))
    assert "step 20 of 100, t = 1, 20%, 12.3 steps/s" in console.file.getvalue()


@pytest.mark.parametrize(
    ("name", "shape", "rows", "columns"),
    [("chain", (12,), 1, 12), ("ladder", (7,), 2, 7), ("honeycomb", (4, 3), 3, 8), ("cubic", (4, 3, 3), 3, 4)],
)
def test_every_lattice_is_laid_out_in_the_plane(tmp_path, name, shape, rows, columns):
    lattice = Lattice(name, shape)
    write_run(tmp_path / "run", lattice, 0.4 * np.sin(np.arange(2 * lattice.sites)).reshape(2, 1, -1))
    assert glimpse_of(tmp_path / "run").field.shape == (rows, columns)


def test_what_has_not_begun_is_refused(tmp_path):
    with pytest.raises(InputError, match="give the directory of a run that has begun"):
        glimpse_of(tmp_path)
