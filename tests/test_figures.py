"""Figures show the physics that the files hold: the right pixel, the right frame, the peak in the middle."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticemd import observables
from latticemd.errors import InputError
from latticemd.figures import draw_run, read_run
from latticemd.figures.maps import Map, columns_for, picture
from latticemd.figures.pages import centred_structure_factor
from latticemd.figures.reading import chosen_frames
from latticemd.figures.style import Look, diverging
from latticemd.lattice import Lattice
from latticemd.output.directory import RunDirectory
from latticemd.output.trajectory import TrajectoryHeader, TrajectoryWriter

INPUT = """
lattice: {{type: {type}, shape: {shape}, boundary: {boundary}}}
model: {{name: holstein, coupling: 1.5, filling: 0.5}}
dynamics: {{integrator: langevin, dt: 0.1, temperature: 0.1, steps: 100}}
"""


def order_fields(lattice, frames, replicas=1, seed=0):
    """Order fields (frames, R, N) whose domains grow: noise, smoothed over an ever larger distance."""
    rng = np.random.default_rng(seed)
    waves = np.fft.fftn(rng.normal(size=(replicas, *lattice.shape)), axes=(1, 2))
    distance = [2 * np.sin(np.pi * np.arange(n) / n) for n in lattice.shape]
    laplacian = distance[0][:, None] ** 2 + distance[1][None] ** 2
    smooth = [np.fft.ifftn(waves * np.exp(-0.3 * k * laplacian), axes=(1, 2)).real for k in range(frames)]
    return np.array([0.45 * np.tanh(3 * f / f.std()).reshape(replicas, -1) for f in smooth])


def write_run(path, lattice, fields, *, density=True, series=True, dt=0.5, more=""):
    """A finished run in `path`, frame k of `fields` (F, R, N) at step 10 k; `more` is added to its input."""
    replicas = fields.shape[1]
    header = TrajectoryHeader(
        version="0",
        author="test",
        box=(*map(float, lattice.shape), 1.0),
        replicas=replicas,
        provenance={
            "input": INPUT.format(type=lattice.type, shape=list(lattice.shape), boundary=lattice.boundary[0]) + more,
            "lattice": json.dumps(lattice.to_dict()),
            "model": json.dumps({"name": "holstein", "symbol": "Q"}),
        },
    )
    with RunDirectory(path) as directory, TrajectoryWriter(directory, header) as writer:
        for k, phi in enumerate(fields):
            now = (10 * k, dt * k)
            for r in range(replicas):
                group = "particles/lattice" if replicas == 1 else f"particles/replica_{r:04d}"
                charge = phi[r] * lattice.staggered
                writer.append(f"{group}/displacement", *now, 2 * charge[:, None], "length")
                if density:
                    writer.append(f"{group}/density", *now, 0.5 + charge, "1")
            if series:
                energy = -lattice.sites * (phi**2).mean(axis=1)
                scalars = {
                    "free_energy": energy,
                    "kinetic_energy": np.full(replicas, np.nan),
                    "total_energy": energy,
                    "wall_fraction": observables.wall_fraction(phi, lattice.bonds()),
                    "order_parameter": observables.order_parameter(phi),
                }
                for name, value in scalars.items():
                    writer.append(f"observables/{name}", *now, value, "1")
        writer.finish()
        directory.summary.write_text(json.dumps({"title": None, "steps": 10 * len(fields)}))


def pixels(path):
    from matplotlib.image import imread

    return imread(path)[..., :3]


def drawn_share(path):
    """Share of pixels that are not white."""
    return float((pixels(path).min(axis=2) < 0.99).mean())


# preparation of the data


def test_site_x_y_is_drawn_x_to_the_right_and_y_up():
    lattice = Lattice("square", (5, 3))
    values = 100 * lattice.cells[:, 0] + lattice.cells[:, 1]
    shown = picture(values, lattice)  # row 0 is the lowest
    assert shown.shape == (3, 5)
    assert shown[0, 4] == 400
    assert shown[2, 1] == 102


@pytest.mark.parametrize("shape", [(8, 8), (12, 6), (4, 10)])
def test_the_peak_of_perfect_order_is_the_middle_pixel(shape):
    lattice = Lattice("square", shape)
    shown, (left, right, bottom, top) = centred_structure_factor(np.full(lattice.sites, 0.5), lattice)
    assert shown.shape == (shape[1] + 1, shape[0] + 1)
    assert np.unravel_index(shown.argmax(), shown.shape) == (shape[1] // 2, shape[0] // 2)
    assert shown.max() == pytest.approx(lattice.sites / 4)
    assert (left + right) / 2 == pytest.approx(0, abs=1e-12)
    assert (bottom + top) / 2 == pytest.approx(0, abs=1e-12)


def test_a_wave_along_x_is_drawn_on_the_horizontal_axis():
    lattice = Lattice("square", (8, 6))
    wave = np.cos(2 * np.pi * 2 * lattice.cells[:, 0] / 8)
    shown, (left, right, *_) = centred_structure_factor(wave, lattice)
    peaks = np.argwhere(shown > 0.5 * shown.max())
    assert peaks.tolist() == [[3, 2], [3, 6]]  # q_y = 0, q_x = -pi/2 and pi/2
    centre_of_column_6 = left + 6.5 * (right - left) / 9
    assert centre_of_column_6 == pytest.approx(np.pi / 2)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60), st.integers(2, 16))
def test_the_chosen_frames_are_distinct_and_include_first_and_last(gaps, count):
    time = np.cumsum([0.0, *gaps])
    frames = chosen_frames(time, count)
    assert len(frames) == min(count, len(time))
    assert frames[0] == 0
    assert frames[-1] == len(time) - 1
    assert all(a < b for a, b in itertools.pairwise(frames))


def test_the_chosen_frames_are_evenly_spaced_in_the_logarithm_of_time():
    assert chosen_frames(np.arange(10_001) + 7.0, 6) == [0, 1, 10, 100, 1000, 10_000]
    assert chosen_frames(np.array([0.0, 1, 2, 4, 8, 16, 32, 64, 128]), 5) == [0, 1, 3, 6, 8]


def test_maps_fill_their_block_without_gaps():
    assert columns_for(6, aspect=1, target=1.5) == 3
    assert columns_for(6, aspect=1, target=5.5) == 6
    assert columns_for(6, aspect=20, target=5.5) == 1
    assert columns_for(1, aspect=1, target=1.5) == 1


# reading a run


def test_the_order_field_is_recovered_from_the_density_or_else_from_the_displacement(tmp_path):
    lattice = Lattice("square", (6, 4))
    fields = order_fields(lattice, frames=4)
    write_run(tmp_path / "charge", lattice, fields)
    write_run(tmp_path / "height", lattice, fields, density=False)
    charge, height = read_run(tmp_path / "charge"), read_run(tmp_path / "height")
    np.testing.assert_allclose(charge.fields, fields[:, 0], atol=1e-15)
    np.testing.assert_allclose(height.fields, 2 * fields[:, 0], atol=1e-15)
    assert charge.time == pytest.approx([0, 0.5, 1, 1.5])
    assert "n_i" in charge.label
    assert "Q_i" in height.label


def test_maps_show_the_first_replica_and_series_show_all(tmp_path):
    lattice = Lattice("square", (6, 4))
    fields = order_fields(lattice, frames=3, replicas=2)
    write_run(tmp_path / "run", lattice, fields)
    run = read_run(tmp_path / "run")
    np.testing.assert_allclose(run.fields, fields[:, 0], atol=1e-15)
    _, walls = run.series["wall_fraction"]
    assert walls.shape == (3, 2)
    assert walls[2] == pytest.approx(observables.wall_fraction(fields[2], lattice.bonds()))
    assert "2 replicas" in run.title


def test_series_without_a_finite_value_are_left_out_and_the_parameters_are_told(tmp_path):
    lattice = Lattice("square", (6, 4))
    write_run(tmp_path / "run", lattice, order_fields(lattice, frames=2))
    run = read_run(tmp_path / "run")
    assert "kinetic_energy" not in run.series
    assert run.title == "Holstein model  ·  square lattice 6 × 4"
    given = (
        "electronic temperature 0.1,  filling 0.5,  hopping 1,  coupling 1.5,  stiffness 1,  intersite 0.18,  mass 1"
    )
    assert run.parameters == f"{given},  temperature 0.1,  friction 0.2,  dt 0.1"


# drawing


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("shape", "frames", "replicas", "density"),
    [((16, 16), 20, 1, True), ((5, 5), 1, 1, True), ((24, 8), 7, 3, True), ((6, 18), 3, 1, False)],
    ids=["square", "one odd frame", "replicas", "no density"],
)
def test_every_figure_is_drawn_and_not_blank(tmp_path, shape, frames, replicas, density):
    lattice = Lattice("square", shape)
    write_run(tmp_path / "run", lattice, order_fields(lattice, frames, replicas), density=density)
    paths = draw_run(tmp_path / "run")
    assert [path.name for path in paths] == [
        "time_series.png",
        "order_parameter.png",
        "structure_factor.png",
        "summary.png",
        "summary.pdf",
    ]
    assert paths[-1].read_bytes().startswith(b"%PDF")
    for path in paths[:-1]:
        height, width, _ = pixels(path).shape
        assert 700 < height < 3000
        assert 1000 < width < 3200
        assert drawn_share(path) > 0.01, path.name
    assert drawn_share(tmp_path / "run/figures/order_parameter.png") > 0.3


def test_the_map_has_the_positive_domain_where_it_lies(tmp_path):
    lattice = Lattice("square", (12, 12))
    x, y = lattice.cells.T
    lower_right = np.where((x >= 6) & (y < 6), 0.45, -0.45)[None, None]
    write_run(tmp_path / "run", lattice, lower_right)
    draw_run(tmp_path / "run")
    image = pixels(tmp_path / "run/figures/order_parameter.png")
    red, blue = image[..., 0], image[..., 2]
    # Wide blocks of saturated colour, not the text or the bar: columns of the map are where much is coloured.
    coloured = np.abs(red - blue) > 0.2
    rows, columns = (np.flatnonzero(coloured.mean(axis=axis) > 0.4) for axis in (1, 0))
    mapped = (red - blue)[rows[0] : rows[-1], columns[0] : columns[0] + len(rows)]
    half = len(rows) // 2
    inner = half // 10
    positive = mapped[half + inner : -inner, half + inner : -inner]
    assert (positive > 0.2).all()
    assert (mapped[inner : half - inner] < -0.2).all()
    assert (mapped[half + inner :, inner : half - inner] < -0.2).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("lattice", "rings"),
    [
        (Lattice("chain", (12,)), True),
        (Lattice("ladder", (7,)), False),
        (Lattice("triangular", (5, 4)), True),
        (Lattice("honeycomb", (4, 3)), False),
        (Lattice("kagome", (3, 4), "open"), False),
        (Lattice("cubic", (4, 3, 3)), True),
        (Lattice("square", (5, 6), "open"), False),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_every_lattice_has_its_pictures(tmp_path, lattice, rings):
    fields = 0.4 * np.sin(np.arange(3 * lattice.sites)).reshape(3, 1, -1)
    write_run(tmp_path / "run", lattice, fields)
    paths = draw_run(tmp_path / "run")
    assert ("structure_factor.png" in [path.name for path in paths]) == rings
    assert drawn_share(tmp_path / "run/figures/order_parameter.png") > 0.1
    np.testing.assert_allclose(read_run(tmp_path / "run").fields, fields[:, 0], atol=1e-15)


@pytest.mark.parametrize("name", ["triangular", "honeycomb", "kagome", "square"])
def test_the_polygons_of_a_map_tile_the_cells(name):
    lattice = Lattice(name, (4, 3))
    polygons = Map(lattice)._polygons
    corners = [np.roll(polygon, -1, axis=0) for polygon in polygons]
    areas = [0.5 * abs(np.linalg.det(np.stack([a, b], axis=1)).sum()) for a, b in zip(polygons, corners, strict=True)]
    assert sum(areas) == pytest.approx(12 * abs(np.linalg.det(lattice.vectors)))
    for polygon, site in zip(polygons, lattice.positions, strict=True):
        assert np.ptp(np.linalg.norm(polygon - site, axis=1)) < 2.0
        nearest = np.linalg.norm(lattice.positions - polygon.mean(axis=0), axis=1).argmin()
        np.testing.assert_array_equal(lattice.positions[nearest], site)


@pytest.mark.filterwarnings("error")
def test_a_perfectly_ordered_run_without_series_is_drawn_too(tmp_path):
    lattice = Lattice("square", (8, 8))
    write_run(tmp_path / "run", lattice, np.full((2, 1, 64), 0.45), series=False)
    names = [path.name for path in draw_run(tmp_path / "run")]
    assert names == ["order_parameter.png", "structure_factor.png", "summary.png", "summary.pdf"]


def test_drawing_leaves_the_global_style_alone_and_is_reproducible(tmp_path):
    import matplotlib

    lattice = Lattice("square", (6, 6))
    write_run(tmp_path / "run", lattice, order_fields(lattice, frames=3))
    before = dict(matplotlib.rcParams)
    first = [path.read_bytes() for path in draw_run(tmp_path / "run")]
    assert dict(matplotlib.rcParams) == before
    assert [path.read_bytes() for path in draw_run(tmp_path / "run")] == first


def test_dark_figures_show_the_same_on_a_dark_ground(tmp_path):
    lattice = Lattice("square", (12, 12))
    x, y = lattice.cells.T
    write_run(tmp_path / "run", lattice, np.where((x >= 6) & (y < 6), 0.45, -0.45)[None, None])
    light, dark = (draw_run(tmp_path / "run", Look(style)) for style in ("light", "dark"))
    assert [path.name.replace("_dark", "") for path in dark] == [path.name for path in light]
    for bright, dim in zip(light, dark, strict=True):
        if bright.suffix == ".png":
            assert pixels(bright).shape == pixels(dim).shape
            assert (pixels(bright)[0, 0] == 1).all()
            assert pixels(dim)[0, 0] == pytest.approx(np.array([0x14, 0x17, 0x1C]) / 255, abs=0.01)
    orange = [pixels(path)[..., 0] - pixels(path)[..., 2] > 0.2 for path in (light[1], dark[1])]
    assert abs(orange[0].sum() / orange[1].sum() - 1) < 0.1  # the domain, in dark orange or in light


def test_figures_for_print_are_as_wide_as_a_page(tmp_path):
    write_run(tmp_path / "run", Lattice("square", (12, 12)), order_fields(Lattice("square", (12, 12)), frames=7))
    paths = draw_run(tmp_path / "run", Look(size="print"))
    assert {path.suffix for path in paths if path.stem == "time_series_print"} == {".png", ".pdf"}
    widths = [pixels(path).shape[1] for path in paths if path.suffix == ".png"]
    assert widths == [pytest.approx(178 / 25.4 * 300, abs=1)] * 4


@pytest.mark.parametrize("style", ["light", "dark"])
def test_colours_of_a_map_are_told_apart_by_lightness_on_both_sides(style):
    with Look(style).applied():
        colours = diverging()(np.linspace(0, 1, 101))[:, :3]
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    outwards = np.diff(lightness[50:]), np.diff(lightness[50::-1])
    for steps in outwards:
        assert (steps < 0).all() if style == "light" else (steps > 0).all()


def test_unknown_looks_are_refused_with_the_nearest_word():
    with pytest.raises(InputError, match="--style drak: expected light or dark; did you mean 'dark'"):
        Look("drak")
    with pytest.raises(InputError, match="--size page: expected screen or print"):
        Look(size="page")


def test_a_directory_without_a_run_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"trajectory\.h5 does not exist"):
        draw_run(tmp_path)
