"""A movie shows the frames of the run, in their order, with the colours of the map."""

import itertools
import shutil

import numpy as np
import pytest
from PIL import Image
from test_figures import write_run

from latticemd.errors import InputError
from latticemd.figures.movie import draw_movie
from latticemd.figures.style import Look
from latticemd.lattice import Lattice


def frames_of(path):
    with Image.open(path) as movie:
        return [np.asarray(_at(movie, n).convert("RGB")).astype(int) for n in range(movie.n_frames)], movie.info


def _at(movie, n):
    movie.seek(n)
    return movie


@pytest.fixture
def walking_wall(tmp_path):
    """A wall that moves from the left to the right: the left side is positive."""
    lattice = Lattice("square", (12, 12))
    walls = np.arange(1, 12)
    fields = np.where(lattice.cells[:, 0] < walls[:, None], 0.45, -0.45)[:, None]
    write_run(tmp_path / "run", lattice, fields)
    return tmp_path / "run"


def orange_share(picture):
    red, blue = picture[..., 0], picture[..., 2]
    coloured = np.abs(red - blue) > 50
    return float((red > blue)[coloured].mean())


def test_frames_follow_the_wall_and_keep_their_colours(walking_wall):
    path = draw_movie(walking_wall, per_second=20)
    assert path == walking_wall / "figures/movie.gif"
    pictures, info = frames_of(path)
    assert len(pictures) == 11
    assert info["duration"] == 50
    shares = [orange_share(picture) for picture in pictures]
    assert all(after > before + 0.04 for before, after in itertools.pairwise(shares))
    # The map is most of what is coloured; the bar, half of it orange, is the rest.
    assert shares[5] == pytest.approx(0.5, abs=0.03)


def test_a_dark_movie_has_a_dark_ground_and_the_same_wall(walking_wall):
    path = draw_movie(walking_wall, frames=3, look=Look("dark"))
    assert path == walking_wall / "figures/movie_dark.gif"
    pictures, _ = frames_of(path)
    assert all(picture[0, 0].max() < 40 for picture in pictures)
    assert orange_share(pictures[1]) == pytest.approx(0.5, abs=0.03)


def test_as_many_frames_as_asked_for(walking_wall, tmp_path):
    few, _ = frames_of(draw_movie(walking_wall, tmp_path / "few.gif", frames=3))
    assert len(few) == 3
    assert orange_share(few[0]) < 0.2
    assert orange_share(few[-1]) > 0.8


def test_what_cannot_be_a_movie_is_refused(walking_wall, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.gif or \.mp4"):
        draw_movie(walking_wall, tmp_path / "movie.avi")
    with pytest.raises(InputError, match=r"trajectory\.h5 does not exist"):
        draw_movie(tmp_path)
    if not shutil.which("ffmpeg"):
        with pytest.raises(InputError, match="MP4 needs ffmpeg"):
            draw_movie(walking_wall, tmp_path / "movie.mp4")
    lattice = Lattice("chain", (12,))
    write_run(tmp_path / "chain", lattice, np.full((3, 1, 12), 0.3))
    with pytest.raises(InputError, match="chain moves in one direction only"):
        draw_movie(tmp_path / "chain")
