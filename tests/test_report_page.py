"""The page of a report in a real browser: the slider moves, what it shows is the trajectory, and nothing complains.

Needs Chromium and its driver (Debian: apt-get install chromium chromium-driver), else the tests are skipped.
"""

import base64
import importlib
import shutil
from io import BytesIO

import numpy as np
import pytest
from test_figures import order_fields, write_run

from latticemd import observables
from latticemd.figures.particles import half_edge, viewing_axes
from latticemd.figures.style import DIVERGING, DIVERGING_DARK
from latticemd.lattice import Lattice
from latticemd.output.trajectory import read_trajectory
from latticemd.report import write_report

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its driver: apt-get install chromium chromium-driver"
)
FLAGS = ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
         "disable-component-update", "disable-sync", "disable-dev-shm-usage")  # fmt: skip
WIDTH, HEIGHT = 1280, 900
SIDE, FRAMES = 16, 8


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}", f"window-size={WIDTH},{HEIGHT}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def fields():
    return order_fields(Lattice("square", (SIDE, SIDE)), FRAMES)


@pytest.fixture(scope="module")
def one(tmp_path_factory, fields):
    place = tmp_path_factory.mktemp("one") / "quench"
    write_run(place, Lattice("square", (SIDE, SIDE)), fields)
    return write_report([place])


@pytest.fixture(scope="module")
def two(tmp_path_factory, fields):
    """A run with all frames, and one that ended after three."""
    places = [tmp_path_factory.mktemp("two") / name for name in ("long", "brief")]
    for place, chosen in zip(places, (fields, -fields[:3]), strict=True):
        write_run(place, Lattice("square", (SIDE, SIDE)), chosen)
    return write_report(places, places[0].parent / "both.html")


def opened(browser, page, *, dark=False, width=WIDTH, height=HEIGHT):
    """The page, loaded and drawn, with an empty console."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
    )
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")  # what an earlier test has left
    browser.get(page.as_uri())
    waiting(browser, 20).until(lambda b: b.execute_script("return document.documentElement.dataset.ready") == "yes")
    assert browser.get_log("browser") == []
    return browser


def waiting(browser, seconds):
    """What waits for a browser; selenium is no dependency, so it is not imported above."""
    return importlib.import_module("selenium.webdriver.support.ui").WebDriverWait(browser, seconds)


def move_to(browser, place):
    """Move the slider as a hand does."""
    browser.execute_script(
        "const s = document.getElementById('time'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input', {bubbles: true}))",
        place,
    )


def text_of(browser, selector):
    return browser.find_element("css selector", selector).text


def pixels_of(browser, run=0):
    """Colours (rows, columns, 3) of a map."""
    flat = browser.execute_script(
        "const c = document.querySelectorAll('.field canvas')[arguments[0]];"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]",
        run,
    )
    return np.array(flat, dtype=np.uint8).reshape(SIDE, SIDE, 4)[..., :3]


def rows_of(field):
    """A field (N,) as rows of a picture, the first at the top."""
    return field.reshape(SIDE, SIDE).T[::-1]


def number(text):
    return float(text.replace("−", "-"))


def test_the_slider_shows_the_frames_of_the_trajectory(browser, one, fields):
    opened(browser, one)
    walls = observables.wall_fraction(fields[:, 0], Lattice("square", (SIDE, SIDE)).bonds())
    assert text_of(browser, "#now") == f"t = {0.5 * (FRAMES - 1):g}"
    for frame in (0, 3, FRAMES - 1):
        move_to(browser, frame)
        assert text_of(browser, "#now") == f"t = {0.5 * frame:g}"
        assert text_of(browser, ".map .at") == f"t = {0.5 * frame:g}, step {10 * frame}"
        assert number(text_of(browser, "[data-fact=wall_fraction]")) == pytest.approx(walls[frame], rel=1e-3)
    assert browser.get_log("browser") == []


def test_the_slider_is_moved_by_keys(browser, one):
    opened(browser, one)
    slider = browser.find_element("id", "time")
    slider.send_keys("\ue011")  # Home
    assert text_of(browser, "#now") == "t = 0"
    slider.send_keys("\ue014\ue014")  # twice to the right
    assert text_of(browser, "#now") == "t = 1"
    assert slider.get_attribute("aria-valuetext") == "t = 1"


@pytest.mark.parametrize(("dark", "stops"), [(False, DIVERGING), (True, DIVERGING_DARK)], ids=["light", "dark"])
def test_pixels_have_the_colours_of_the_values(browser, one, fields, dark, stops):
    opened(browser, one, dark=dark)
    move_to(browser, 5)
    ends = np.array([[int(stop[n : n + 2], 16) for n in (1, 3, 5)] for stop in stops])
    limit = np.quantile(np.abs(fields[-1, 0]), 0.995)
    place = 0.5 * (1 + np.clip(rows_of(fields[5, 0]) / limit, -1, 1)) * (len(stops) - 1)
    expected = np.stack([np.interp(place, np.arange(len(stops)), channel) for channel in ends.T], axis=2)
    assert np.abs(pixels_of(browser) - expected).max() < 6  # half a level of the value and of the colour table


def test_a_pointer_and_keys_read_values_of_sites(browser, one, fields):
    opened(browser, one)
    move_to(browser, 6)
    canvas = browser.find_element("css selector", ".field canvas")
    width = canvas.rect["width"]
    x, y = 11, 3
    corner = [(x + 0.5) / SIDE - 0.5, (SIDE - 1 - y + 0.5) / SIDE - 0.5]
    webdriver.ActionChains(browser).move_to_element_with_offset(
        canvas, *(round(share * width) for share in corner)
    ).perform()
    expected = fields[6, 0].reshape(SIDE, SIDE)
    name, value = text_of(browser, ".map .readout output").split(": ")
    assert name == "site (11, 3)"
    assert number(value) == pytest.approx(expected[11, 3], abs=0.5 * np.abs(fields).max() / 127 + 1e-4)
    canvas.send_keys("\ue013\ue014")  # up, right
    name, value = text_of(browser, ".map .readout output").split(": ")
    assert name == "site (12, 4)"
    assert number(value) == pytest.approx(expected[12, 4], abs=0.5 * np.abs(fields).max() / 127 + 1e-4)


def test_charts_zoom_by_dragging_and_show_all_again(browser, one):
    opened(browser, one)
    chart = browser.find_element("css selector", "#chart-length svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)

    def labels():
        return [text.text for text in chart.find_elements("css selector", "text")]

    whole = labels()
    webdriver.ActionChains(browser).move_to_element_with_offset(chart, -40, 0).click_and_hold().move_by_offset(
        90, 0
    ).release().perform()
    assert labels() != whole
    assert chart.find_elements("css selector", ".pick") == []
    webdriver.ActionChains(browser).double_click(chart).perform()
    assert labels() == whole
    chart.send_keys("+")
    assert labels() != whole
    browser.find_element("css selector", "#chart-length [data-do=all]").click()
    assert labels() == whole
    assert browser.get_log("browser") == []


def test_the_structure_factor_follows_the_slider_and_lengths_can_be_chosen(browser, one, fields):
    opened(browser, one)

    def curve(chart):
        return browser.find_element("css selector", f"#chart-{chart} .curve").get_attribute("d")

    last = curve("structure")
    move_to(browser, 1)
    assert curve("structure") != last
    half = curve("length")
    browser.find_element("css selector", "#chart-length select").send_keys("L from")
    assert curve("length") != half


def test_runs_stand_side_by_side_at_one_time(browser, two, fields):
    opened(browser, two)
    move_to(browser, FRAMES - 1)
    assert [one.text for one in browser.find_elements("css selector", ".map .at")] == [
        "t = 3.5, step 70",
        "t = 1, step 20",  # the last it has
    ]
    first, second = browser.find_elements("css selector", ".map")
    assert first.rect["y"] == second.rect["y"]
    assert first.rect["x"] < second.rect["x"]
    move_to(browser, 2)
    # Opposite fields have opposite colours: blue where the other is orange.
    signs = [
        np.sign(picture[..., 0].astype(int) - picture[..., 2]) for picture in (pixels_of(browser, n) for n in (0, 1))
    ]
    clear = np.abs(rows_of(fields[2, 0])) > 0.1
    assert (signs[0][clear] == -signs[1][clear]).all()
    assert len(browser.find_elements("css selector", "#chart-energy .curve")) == 2


def test_it_plays_to_the_end_and_stops(browser, one):
    opened(browser, one)
    button = browser.find_element("id", "play")
    button.click()
    assert button.get_attribute("aria-label") == "pause"
    waiting(browser, 10).until(lambda b: button.get_attribute("aria-label") == "play")
    assert text_of(browser, "#now") == f"t = {0.5 * (FRAMES - 1):g}"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_a_phone_and_looks_like_the_style_of_the_reader(browser, two, dark):
    from PIL import Image

    opened(browser, two, dark=dark, width=390, height=844)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    first, second = browser.find_elements("css selector", ".map")
    assert first.rect["x"] == second.rect["x"]  # one below the other
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    picture = np.asarray(Image.open(BytesIO(base64.b64decode(shot))).convert("L"))
    ground = np.bincount(picture.ravel()).argmax()  # the commonest grey
    assert ground < 40 if dark else ground > 230
    assert browser.get_log("browser") == []


def test_the_button_changes_light_to_dark(browser, one):
    opened(browser, one)
    before = pixels_of(browser)
    browser.find_element("id", "style").click()
    assert browser.execute_script("return document.documentElement.dataset.style") == "dark"
    assert (pixels_of(browser) != before).any()


@pytest.mark.parametrize(("name", "shape"), [("honeycomb", (6, 5)), ("chain", (24,)), ("cubic", (4, 4, 4))])
def test_other_lattices_are_drawn(browser, tmp_path, name, shape):
    lattice = Lattice(name, shape)
    phi = np.where(np.arange(lattice.sites) % 2, 0.4, -0.3) * np.array([1.0, 0.5, 1.0])[:, None]
    write_run(tmp_path / "run", lattice, phi[:, None])
    opened(browser, write_report([tmp_path / "run"]))
    move_to(browser, 1)
    canvas = browser.find_element("css selector", ".field canvas")
    canvas.send_keys("\ue014")
    name, value = text_of(browser, ".map .readout output").split(": ")
    cell = [int(n) for n in name.removeprefix("site ").strip("()").split(", ")]
    site = cell[0] if len(cell) == 1 else 16 * cell[0] + 4 * cell[1]
    assert number(value) == pytest.approx(phi[1, site], abs=0.002)
    assert browser.get_log("browser") == []


# particles


@pytest.fixture(scope="module")
def charges(tmp_path_factory):
    """A run of five charges, the frames of which are stored."""
    from test_report import CHARGED, ran

    place = ran(tmp_path_factory.mktemp("particles") / "charged", given=CHARGED)
    with read_trajectory(place / "trajectory.h5") as trajectory:
        return write_report([place]), trajectory.value("particles/replica_0000/displacement")[:]


def mark_of(browser):
    """Where the mark is on a picture, in parts of its width and height."""
    return [float(part) / 100 for part in browser.execute_script(
        "const m = document.querySelector('.mark').style; return [m.left, m.top].map((v) => v.replace('%', ''))"
    )]  # fmt: skip


def test_keys_read_where_particles_are_at_every_time(browser, charges):
    page, x = charges
    opened(browser, page)
    canvas = browser.find_element("css selector", ".field canvas")
    canvas.send_keys("\ue014\ue014")  # to the first, and on to the second
    for frame in (0, 7, 10):
        move_to(browser, frame)
        assert text_of(browser, "#now") == f"t = {0.1 * frame:.4g}"
        name, told = text_of(browser, ".map .readout output").split(": ")
        charge, place = told.split(" at ")
        assert (name, number(charge)) == ("particle 1", -2.0)
        read = [number(part) for part in place.strip("()").split(", ")]
        assert read == pytest.approx(x[frame, 1], rel=1e-3, abs=1e-3)
        spread = x[frame] - x[frame].mean(axis=0)
        assert number(text_of(browser, "[data-fact=gyration_radius]")) == pytest.approx(
            np.sqrt((spread**2).sum(axis=1).mean()), rel=1e-3
        )
    assert browser.get_log("browser") == []


def test_a_pointer_finds_a_particle_and_its_colour_is_that_of_its_charge(browser, charges):
    page, x = charges
    opened(browser, page)
    move_to(browser, 4)
    seen = x - x.mean(axis=(0, 1))
    axes = viewing_axes(seen)
    seen = seen @ axes.T
    edge = half_edge(seen[..., :2])
    front = np.argmax(seen[4, :, 2])
    along, up = seen[4, front, :2] / edge
    canvas = browser.find_element("css selector", ".field canvas")
    half = 0.5 * canvas.rect["width"]
    webdriver.ActionChains(browser).move_to_element_with_offset(
        canvas, round(along * half), round(-up * half)
    ).perform()
    assert text_of(browser, ".map .readout output").startswith(f"particle {front}:")
    assert mark_of(browser) == pytest.approx([0.5 * (1 + along), 0.5 * (1 - up)], abs=1e-4)
    pixel = browser.execute_script(
        "const c = document.querySelector('.field canvas');"
        "return [...c.getContext('2d').getImageData(arguments[0] * c.width, arguments[1] * c.height, 1, 1).data]",
        *mark_of(browser),
    )
    charge = [1, -2, 1, 1, -1, 0][front]
    ends = np.array([[int(stop[n : n + 2], 16) for n in (1, 3, 5)] for stop in DIVERGING])
    place = 0.5 * (1 + charge / 2.6) * (len(ends) - 1)
    assert pixel[:3] == pytest.approx([np.interp(place, np.arange(len(ends)), one) for one in ends.T], abs=3)


def test_a_drag_turns_the_cloud_like_a_solid_body(browser, charges):
    page, x = charges
    opened(browser, page)
    move_to(browser, 4)
    canvas = browser.find_element("css selector", ".field canvas")

    def places():
        """All particles on the picture, read from the mark."""
        found = []
        for n in range(x.shape[1]):
            canvas.send_keys("\ue014" if n else "\ue012" * x.shape[1])
            found.append(mark_of(browser))
        return np.array(found)

    canvas.send_keys("\ue014")
    before = places()
    width = canvas.rect["width"]
    webdriver.ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(
        round(0.5 * width), 0
    ).release().perform()
    after = places()
    # A quarter turn about the vertical: heights stay, and what was in front lies to the right.
    seen = x - x.mean(axis=(0, 1))
    seen = seen @ viewing_axes(seen).T
    assert after[:, 1] == pytest.approx(before[:, 1], abs=1e-3)
    assert after[:, 0] == pytest.approx(0.5 * (1 + seen[4, :, 2] / half_edge(seen[..., :2])), abs=0.01)
    canvas.send_keys("\ue008" + 12 * "\ue012" + "\ue008")  # Shift and arrows turn it back, 12 times pi/24
    assert places() == pytest.approx(before, abs=0.01)
    assert browser.get_log("browser") == []


def test_particles_play_and_stand_beside_a_lattice_on_a_phone(browser, charges, tmp_path, fields):
    page, _ = charges
    write_run(tmp_path / "lattice", Lattice("square", (SIDE, SIDE)), fields)
    both = write_report([page.parent, tmp_path / "lattice"], tmp_path / "both.html")
    opened(browser, both, dark=True, width=390, height=844)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    move_to(browser, 0)
    button = browser.find_element("id", "play")
    button.click()
    waiting(browser, 20).until(lambda b: button.get_attribute("aria-label") == "play")
    assert browser.get_log("browser") == []
