"""Reports as Chromium shows them: two quenches for docs/report.md, or with --particles two clusters for docs/particles.md.

Usage: python tools/report_figure.py [--particles] [FILE]      (half a minute; needs selenium, and Chromium with its driver)
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image

from latticemd.config import load_input
from latticemd.report import write_report
from latticemd.runner import run

ROOT = Path(__file__).parent.parent
WIDTH, HEIGHTS = 1280, {"report_dark.png": 1640, "report_particles.png": 1460}
COUPLINGS = {"strong": 1.5, "weak": 0.9}
ENDS = {"slowly": 4000, "at once": 1}  # steps over which clusters are cooled


def main() -> None:
    """Run, write the page, move the slider to two thirds, take the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--particles", action="store_true")
    parser.add_argument("file", nargs="?", type=Path)
    arguments = parser.parse_args()
    name, style = ("report_particles.png", "light") if arguments.particles else ("report_dark.png", "dark")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.particles:
            runs = [cluster(Path(folder) / label, end) for label, end in ENDS.items()]
        else:
            runs = [quench(Path(folder) / label, coupling) for label, coupling in COUPLINGS.items()]
        page = write_report(runs, Path(folder) / "report.html", style=style)
        shot = Path(folder) / "shot.png"
        photograph(page, shot, HEIGHTS[name])
        target = arguments.file or ROOT / "docs" / name
        colours = Image.open(shot).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE, kmeans=3)
        colours.save(target, optimize=True)


def cluster(directory: Path, end: int) -> Path:
    """Thirteen Lennard-Jones particles, cooled by step `end`."""
    settings = (f"dynamics.temperature.end={end}", "output.figures=false", f"output.directory={directory}")
    run(load_input(ROOT / "inputs" / "particles_cluster.yaml", settings))
    return directory


def quench(directory: Path, coupling: float) -> Path:
    """A quench of 96 x 96 sites."""
    settings = (
        "lattice.shape=[96, 96]",
        "forcefield={name: cavity, radius: 2}",
        "output.every=4",
        "output.figures=false",
    )
    own = (f"model.coupling={coupling}", f"output.directory={directory}")
    run(load_input(ROOT / "inputs" / "holstein_quench.yaml", [*settings, *own]))
    return directory


def photograph(page: Path, target: Path, height: int) -> None:
    """What the page looks like."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("headless", "no-sandbox", "disable-gpu", f"window-size={WIDTH},{height}", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))) as browser:
        browser.get(page.as_uri())
        time.sleep(2)
        browser.execute_script(
            "const s = document.getElementById('time'); s.value = Math.round(0.67 * s.max);"
            "s.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        browser.save_screenshot(str(target))


if __name__ == "__main__":
    main()
