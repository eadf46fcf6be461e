"""The picture of docs/report.md: a report of two quenches as Chromium shows it.

Usage: python tools/report_figure.py [FILE]      (about a minute of one core; needs selenium, and Chromium with its driver)
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from latticemd.config import load_input
from latticemd.report import write_report
from latticemd.runner import run

ROOT = Path(__file__).parent.parent
FIGURE = ROOT / "docs" / "report_dark.png"
WIDTH, HEIGHT = 1280, 1640
COUPLINGS = {"strong": 1.5, "weak": 0.9}


def main() -> None:
    """Run, write the page, move the slider to two thirds, take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [quench(Path(folder) / name, coupling) for name, coupling in COUPLINGS.items()]
        page = write_report(runs, Path(folder) / "report.html", style="dark")
        shot = Path(folder) / "shot.png"
        photograph(page, shot)
        target = Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURE
        Image.open(shot).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE, kmeans=3).save(target, optimize=True)


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


def photograph(page: Path, target: Path) -> None:
    """What the page looks like."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("headless", "no-sandbox", "disable-gpu", f"window-size={WIDTH},{HEIGHT}", "hide-scrollbars"):
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
