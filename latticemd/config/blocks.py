"""The blocks of the input that every run has beside its physics: start, output, observables, replicas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from latticemd.config.messages import refuse
from latticemd.config.section import Section, choose
from latticemd.config.values import FLAG, INTERVAL, SEED, STEP, Choice, Expect, Integer, Real, Text
from latticemd.parameters import Bounds

Length = Annotated[float, Real("length")]
Noise = Annotated[float, Real("length", Bounds(ge=0))]

Velocity = Annotated[
    Literal["thermal", "zero"] | Annotated[float, Field(gt=0, allow_inf_nan=False)],
    Expect("'thermal', 'zero' or a number > 0 [length/time]", ("thermal", "zero")),
]

FileVelocity = Annotated[
    Literal["thermal", "zero", "file"] | Annotated[float, Field(gt=0, allow_inf_nan=False)],
    Expect("'thermal', 'zero', 'file' or a number > 0 [length/time]", ("thermal", "zero", "file")),
]


class Start(Section):
    """Base of the configurations a run can start from."""

    velocity: Velocity = Field(
        "thermal", description="velocities: thermal (of the bath), zero, or their standard deviation [length/time]"
    )
    seed: Annotated[int, SEED] = Field(0, description="seed of the random numbers of the start")


class NormalStart(Start):
    """Independent normal displacements, the infinitely hot lattice that a quench starts from."""

    kind: Literal["normal"] = Field("normal", description="kind of start")
    width: Annotated[float, Real("length", Bounds(gt=0))] = Field(1.0, description="standard deviation [length]")


class OrderedStart(Start):
    """The perfectly ordered pattern of the model plus normal noise; `checkerboard` is another word for it."""

    kind: Literal["ordered", "checkerboard"] = Field(description="kind of start")
    amplitude: Length = Field(1.0, description="amplitude of the order [length]")
    width: Noise = Field(0.0, description="standard deviation of the noise [length]")


class UniformStart(Start):
    """The same displacement everywhere plus normal noise."""

    kind: Literal["uniform"] = Field(description="kind of start")
    value: Length = Field(description="displacement of every site [length]")
    width: Noise = Field(0.0, description="standard deviation of the noise [length]")


class FileStart(Start):
    """Displacements from a NumPy array, or from a frame of the trajectory or checkpoint of a run."""

    velocity: FileVelocity = Field(  # type: ignore[assignment]  # one word more than other starts take
        "thermal",
        description="velocities: thermal (of the bath), zero, file (its momenta), or their standard deviation [length/time]",
    )
    kind: Literal["file"] = Field(description="kind of start")
    path: Annotated[str, Text("the path of a .npy or .h5 file")] = Field(description="a .npy or .h5 file")
    frame: Annotated[int, Integer()] = Field(-1, description="frame of a trajectory; negative counts from the end")

    @model_validator(mode="after")
    def exists(self, info: ValidationInfo) -> Self:
        """The file is there; a run that is resumed has no need of it any more."""
        if Path(self.path).suffix not in (".npy", ".h5"):
            refuse(f"expected the path of a .npy or .h5 file, got {self.path!r}", "path")
        if self.velocity == "file" and Path(self.path).suffix == ".npy":
            refuse(
                f"{self.path!r} holds no momenta; expected 'thermal', 'zero' or a number > 0, or a .h5 file", "velocity"
            )
        if (info.context or {}).get("resuming"):
            return self
        try:
            found = Path(self.path).is_file()
        except OSError:  # such as a name that is too long
            found = False
        if not found:
            refuse(f"no such file: {self.path!r} (paths count from the current directory)", "path")
        return self


InitialInput = Annotated[
    NormalStart | OrderedStart | UniformStart | FileStart,
    Field(discriminator="kind"),
    choose("kind", NormalStart, OrderedStart, UniformStart, FileStart, default="normal"),
]

FrameField = Annotated[str, Choice("displacement", "momentum", "force", "density", "uncertainty")]


class OutputInput(Section):
    """Where results go, and how often."""

    directory: Annotated[str, Text("the path of a directory")] | None = Field(
        None, description="directory of the run; runs/<name of the input> unless given"
    )
    every: Annotated[int, INTERVAL] = Field(10, description="steps between frames of the trajectory")
    checkpoint_every: Annotated[int, INTERVAL] = Field(100, description="steps between checkpoints")
    fields: Annotated[
        tuple[FrameField, ...],
        Field(strict=False, min_length=1),
        Expect("a list of displacement, momentum, force, density, uncertainty"),
    ] = Field(("displacement", "momentum", "density"), description="what a frame holds")
    figures: Annotated[bool, FLAG] = Field(True, description="whether to draw figures at the end")

    @model_validator(mode="after")
    def fields_once(self) -> Self:
        """No field is written twice."""
        for i, name in enumerate(self.fields):
            if name in self.fields[:i]:
                refuse(f"{name!r} is listed twice", "fields", i)
        return self


class Observable(Section):
    """Base of the quantities that are measured during the run, with the steps at which they are."""

    every: Annotated[int, INTERVAL] | None = Field(None, description="steps between values; output.every unless given")
    log: Annotated[int, INTERVAL] | None = Field(None, description="values per decade of steps, instead of every")
    after: Annotated[int, STEP] = Field(0, description="first step that is measured")
    before: Annotated[int, STEP] | None = Field(None, description="last step that is measured")

    @model_validator(mode="after")
    def one_schedule(self) -> Self:
        """Either every or log; and a window that is not empty."""
        if self.every is not None and self.log is not None:
            refuse("give either every (steps) or log (values per decade), not both", "log")
        if self.before is not None and self.before < self.after:
            refuse(f"expected a step not before after ({self.after}), got {self.before}", "before")
        return self


class Energy(Observable):
    """Kinetic, free and total energy."""

    name: Literal["energy"] = Field(description="name of the observable")


class Temperature(Observable):
    """Temperatures from momenta and forces."""

    name: Literal["temperature"] = Field(description="name of the observable")


class OrderParameter(Observable):
    """Global order and local amplitude."""

    name: Literal["order_parameter"] = Field(description="name of the observable")


class WallFraction(Observable):
    """Share of neighbour pairs that a domain wall cuts."""

    name: Literal["wall_fraction"] = Field(description="name of the observable")


class StructureFactor(Observable):
    """Squared Fourier amplitudes of the order."""

    name: Literal["structure_factor"] = Field(description="name of the observable")
    q: Annotated[
        Literal["all"]
        | Annotated[
            tuple[Annotated[tuple[Annotated[float, Real("pi/length")], ...], Field(strict=False)], ...],
            Field(strict=False, min_length=1),
        ],
        Expect("'all' or a list of wave vectors in units of pi, such as [[1, 1], [1, 0]]", ("all",)),
    ] = Field("all", description="wave vectors in units of pi, or all of the lattice")


class Correlation(Observable):
    """Correlation of the order over distance."""

    name: Literal["correlation"] = Field(description="name of the observable")


class ForceFieldDetails(Observable):
    """What the force field tells about its answers, such as the solves and the residual of a self-consistent one."""

    name: Literal["forcefield"] = Field(description="name of the observable")


OBSERVABLES = (Energy, Temperature, OrderParameter, WallFraction, StructureFactor, Correlation, ForceFieldDetails)

ObservableInput = Annotated[
    Energy | Temperature | OrderParameter | WallFraction | StructureFactor | Correlation | ForceFieldDetails,
    Field(discriminator="name"),
    choose("name", *OBSERVABLES),
]


REPLICAS = Integer(Bounds(ge=1, le=2**31 - 1))


class Replicas(Section):
    """Independent copies of the system that run together and differ in their noise."""

    count: Annotated[int, REPLICAS] = Field(1, description="number of replicas")
    first: Annotated[int, Integer(Bounds(ge=0, le=2**31 - 1))] = Field(0, description="index of the first replica")


def _counted(value: Any) -> Any:
    """`replicas: 4` is short for `replicas: {count: 4}`."""
    if isinstance(value, dict | Replicas):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and REPLICAS.allows(value):
        return {"count": value}
    return REPLICAS.refuse(value)


ReplicasInput = Annotated[Replicas, BeforeValidator(_counted)]
