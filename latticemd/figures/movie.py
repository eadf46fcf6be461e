"""A movie of the order field, or of particles: GIF, or MP4 where ffmpeg is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.build import build_model
from latticemd.config import stored_input
from latticemd.errors import InputError, OutputError
from latticemd.figures.maps import Map
from latticemd.figures.particles import Cloud
from latticemd.figures.reading import chosen_frames, heading
from latticemd.figures.style import LIGHT, Look, diverging, largest_shown, page, time_label
from latticemd.models.particles import Particles
from latticemd.output.directory import replace_atomically
from latticemd.output.frames import Frames
from latticemd.output.trajectory import read_trajectory

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]

COLOURS, GREYS = 96, 32  # of a GIF: those of the map, and of letters and lines
HEIGHT, RESOLUTION = 5.6, 100  # inch, dots per inch
TAIL = 15  # frames of the path behind a particle


def draw_movie(
    directory: Path,
    target: Path | None = None,
    *,
    frames: int = 100,
    per_second: float = 12.0,
    logarithmic: bool = False,
    look: Look = LIGHT,
) -> Path:
    """Draw the order field of the first replica over time, or its particles; return the path, DIR/figures/movie.gif unless given.

    At most so many frames, evenly in time, or in the logarithm of time, as domains grow. Frames are read and drawn one by one;
    the colours are those of the last one. Raises InputError where there is nothing to draw or a format cannot be written.
    """
    path = Path(directory) / "trajectory.h5"
    target = target or Path(directory) / "figures" / f"movie{look.suffix}.gif"
    if not path.is_file():
        raise InputError(f"{path} does not exist: a movie is drawn from the trajectory of a run; give its directory")
    if target.suffix not in (".gif", ".mp4"):
        raise InputError(f"{target}: expected a file name that ends in .gif or .mp4")
    if target.suffix == ".mp4" and not shutil.which("ffmpeg"):
        raise InputError(f"{target}: MP4 needs ffmpeg, which is not installed; a name that ends in .gif needs nothing")
    with read_trajectory(path) as trajectory:
        run_input = stored_input(trajectory.attributes["input"], path)
        seen = Frames(trajectory, *build_model(run_input), most=1)
        particles = isinstance(seen.model, Particles) and seen.has("displacement")
        if not particles and not seen.ordered:
            raise InputError(
                f"{path}: its frames tell no order field; the run needs output.fields displacement and density"
            )
        if not particles and seen.model.lattice.directions == 1:
            raise InputError(
                f"a {seen.model.lattice.type} moves in one direction only: all of its time is in figures/order_parameter.png"
            )
        chosen = _chosen(seen.time, frames, logarithmic)
        draw = _pictures_of_particles if particles else _pictures
        pictures = draw(seen, chosen, "  ·  ".join(heading(run_input, seen.model)))
        target.parent.mkdir(parents=True, exist_ok=True)
        with look.applied(), replace_atomically(target) as temporary:
            (_write_gif if target.suffix == ".gif" else _write_mp4)(pictures, temporary, per_second)
    return target


def _chosen(time: Array, count: int, logarithmic: bool) -> list[int]:
    if logarithmic:
        return chosen_frames(time, count)
    return np.unique(np.linspace(0, len(time) - 1, count).round().astype(int)).tolist()


def _pictures(seen: Frames, chosen: list[int], title: str) -> Iterator[Image]:
    """One picture for each frame; only the map and the time are drawn anew."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image as Images

    shown = Map(seen.model.lattice)
    figure = page(title, "", max(5.0, HEIGHT * shown.aspect + 0.6), HEIGHT)
    figure.set_dpi(RESOLUTION)
    canvas, axis = FigureCanvasAgg(figure), figure.subplots()
    drawn: Any = None
    limit = largest_shown(seen.order_field(chosen[-1])[0])
    for frame in chosen:
        field = seen.order_field(frame)[0]
        if drawn is None:
            drawn = shown.draw(axis, field, limit)
            bar = figure.colorbar(drawn, ax=axis, label=f"${seen.label}$", aspect=25, shrink=0.9)
            bar.outline.set_visible(False)
        else:
            drawn.set_array(shown.values(field))
        axis.set_title(time_label(seen.time[frame]))
        canvas.draw()
        yield Images.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _pictures_of_particles(seen: Frames, chosen: list[int], title: str) -> Iterator[Image]:
    """One picture for each frame, with the paths of the last TAIL of them behind the particles."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image as Images

    assert isinstance(seen.model, Particles), "of a run of particles"
    cloud = Cloud.of(np.stack([seen.displacement(frame)[0] for frame in chosen]), seen.model)
    figure = page(title, "", HEIGHT, HEIGHT)
    figure.set_dpi(RESOLUTION)
    canvas, axis = FigureCanvasAgg(figure), figure.subplots()
    for k, frame in enumerate(chosen):
        drawn = cloud.draw(axis, k, max(0, k - TAIL))
        axis.set_title(time_label(seen.time[frame]))
        canvas.draw()
        yield Images.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        for one in drawn:
            one.remove()


def _write_gif(pictures: Iterator[Image], path: Path, per_second: float) -> None:
    """All frames in one palette, so that colours neither flicker nor depend on the first frame."""
    from PIL.Image import Dither

    palette = _palette()
    frames = (picture.quantize(palette=palette, dither=Dither.NONE) for picture in pictures)
    first = next(frames)
    first.save(path, format="GIF", save_all=True, append_images=frames, duration=1000.0 / per_second, loop=0)


def _palette() -> Image:
    from PIL import Image as Images

    colours = diverging()(np.linspace(0.0, 1.0, COLOURS))[:, :3]
    greys = np.repeat(np.linspace(0.0, 1.0, GREYS)[:, None], 3, axis=1)
    palette = Images.new("P", (1, 1))
    palette.putpalette((255 * np.concatenate([colours, greys])).round().astype(np.uint8).tobytes())
    return palette


def _write_mp4(pictures: Iterator[Image], path: Path, per_second: float) -> None:
    # Players want even numbers of pixels and four bits of colour for twelve of light.
    even = ["-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-pix_fmt", "yuv420p", "-f", "mp4"]
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "image2pipe", "-framerate", f"{per_second:g}", "-i", "-"]
    with subprocess.Popen([*command, *even, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            for picture in pictures:
                picture.save(process.stdin, format="PNG")
        except BrokenPipeError:  # what ffmpeg says about it comes below
            pass
        _, said = process.communicate()
    if process.returncode:
        raise OutputError(f"{path.name}: ffmpeg failed: {said.decode(errors='replace').strip()}")
