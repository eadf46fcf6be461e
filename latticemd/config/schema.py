"""The whole input, and what its blocks take from each other."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, model_validator

from latticemd.config.blocks import (
    Correlation,
    InitialInput,
    NormalStart,
    Observable,
    ObservableInput,
    OutputInput,
    Replicas,
    ReplicasInput,
    StructureFactor,
)
from latticemd.config.components import (
    DynamicsInput,
    ForceFieldInput,
    ModelInput,
    PropagatorInput,
    chosen,
    chosen_motion,
)
from latticemd.config.label_input import LabelInput
from latticemd.config.lattice_input import LatticeInput
from latticemd.config.messages import MISSING, refuse
from latticemd.config.parallel_input import ParallelInput
from latticemd.config.ramp_input import values_of
from latticemd.config.section import Section
from latticemd.config.stop_input import StopInput
from latticemd.config.values import Choice, Expect, Text
from latticemd.config.writing import to_yaml
from latticemd.errors import InputError
from latticemd.lattice import POINTS
from latticemd.models.model import Motion
from latticemd.observables import require_transform
from latticemd.plugins import load_plugin, plugin_names


class RunInput(Section):
    """A resolved input: `lattice`, `model` and `dynamics` must be given, everything else has a default."""

    title: Annotated[str, Text()] | None = Field(None, description="what the run is about")
    system: Annotated[str, Choice("lattice", "particles")] | None = Field(
        None, description="lattice, or particles: points in space; what lattice.type says unless given"
    )
    lattice: LatticeInput = Field(description="the lattice: type and shape")
    model: Annotated[ModelInput, chosen("model", "name")] = Field(description="the Hamiltonian: name and parameters")
    forcefield: Annotated[ForceFieldInput, chosen("forcefield", "name", "ed")] = Field(
        {"name": "ed"},  # validated like one that is given
        validate_default=True,
        description="the way to get the force",
    )
    initial: InitialInput = Field(NormalStart(), description="the configuration to start from")
    dynamics: Annotated[DynamicsInput | PropagatorInput, chosen_motion()] = Field(
        description="equations of motion: an integrator, or a propagator that has learned them"
    )
    output: OutputInput = Field(OutputInput(), description="files the run leaves")
    observables: (
        Annotated[
            tuple[ObservableInput, ...],
            Field(strict=False),
            Expect("a list of observables, such as [{name: energy, every: 1}]"),
        ]
        | None
    ) = Field(None, description="what is measured; energies, temperature, order and walls unless given")
    replicas: ReplicasInput = Field(Replicas(), description="number of independent copies")
    backend: Annotated[str, Choice("cpu", "cuda")] = Field(
        "cpu", description="where the kernels run: cpu, or cuda, a GPU"
    )
    precision: Annotated[str, Choice("fp64", "mixed", "fp32")] = Field(
        "fp64",
        description="fp64; mixed: force fields compute in single precision; fp32: positions and momenta too, on a GPU only",
    )
    parallel: ParallelInput = Field(
        ParallelInput(), description="how ranks share replicas and cells; what suits their number unless given"
    )
    stop_when: StopInput | None = Field(None, description="what ends the run before its last step")
    label: LabelInput | None = Field(
        None, description="what `latticemd label` makes of this input; every other command leaves it aside"
    )

    @model_validator(mode="after")
    def resolve(self, info: ValidationInfo) -> Self:
        """Fill in what follows from other blocks: the electrons' temperature, the output directory, the schedules."""
        self._check_system()
        self._check_motion()
        name = (info.context or {}).get("name", "latticemd")
        directory = self.output.directory or f"runs/{name}"
        return self.model_copy(
            update={
                "model": self._model_at_the_bath_temperature(),
                "forcefield": self._forcefield_in_precision(),
                "output": self.output.model_copy(update={"directory": directory}),
                "observables": self._scheduled_observables(),
                "label": self._stages_of_labels(name),
            }
        )

    def to_yaml(self) -> str:
        """The input with everything filled in, itself a runnable input that loads to an equal one."""
        return to_yaml(self)

    def _check_system(self) -> None:
        """Particles are points, and points are particles."""
        points = self.lattice.type == POINTS
        if self.system is not None and (self.system == "particles") is not points:
            wanted = f"expected {POINTS} for system: particles" if not points else "points are for system: particles"
            refuse(f"{wanted}, got {self.lattice.type}", "lattice", "type")

    def _check_motion(self) -> None:
        """What moves the variables is for the kind that the model has."""

        default, kind = Motion.DISPLACEMENT, "integrator"
        if isinstance(self.dynamics, PropagatorInput):
            kind = "propagator"

        def motion_of(mover: str) -> Motion:
            known = mover in plugin_names(kind)  # a word moves displacements
            return getattr(load_plugin(kind, mover), "motion", default) if known else default

        wanted, name = load_plugin("model", self.model.name).motion, self.dynamics.mover
        if motion_of(name) is wanted:
            return
        suits = [other for other in plugin_names(kind) if motion_of(other) is wanted]
        refuse(
            f"{name} moves {motion_of(name).value}s, but the variables of model {self.model.name} are {wanted.value}s; "
            f"expected one of {', '.join(suits) or 'none that is installed'}",
            "dynamics",
            kind,
        )

    def _model_at_the_bath_temperature(self) -> ModelInput:
        if getattr(self.model, "electronic_temperature", 0.0) is not None:
            return self.model
        bath = self.dynamics.temperature
        if min(values_of(bath)) <= 0:
            message = "missing; expected a number > 0 [energy], since its default, dynamics.temperature, reaches 0"
            refuse(message, "model", "electronic_temperature", kind=MISSING)
        return self.model.model_copy(update={"electronic_temperature": bath})

    def _forcefield_in_precision(self) -> ForceFieldInput:
        """The force field takes single precision from `precision`, unless it is told its own."""
        forcefield = self.forcefield
        if self.precision == "fp32" and self.backend != "cuda":
            refuse("fp32 is for backend: cuda; expected fp64 or mixed", "precision")
        if (
            self.precision == "fp64"
            or not hasattr(forcefield, "precision")
            or "precision" in forcefield.model_fields_set
        ):
            return forcefield
        single = "mixed" if forcefield.name == "poles" else "float32"
        return forcefield.model_copy(update={"precision": single})

    def _scheduled_observables(self) -> tuple[Observable, ...] | None:
        if self.observables is None:
            return None
        scheduled: dict[str, Any] = {}
        for i, item in enumerate(self.observables):
            if item.name in scheduled:
                refuse(f"{item.name!r} is listed twice", "observables", i, "name")
            self._check_fourier(item, i)
            every = self.output.every if item.log is None and item.every is None else item.every
            scheduled[item.name] = item.model_copy(update={"every": every})
        return tuple(scheduled.values())

    def _stages_of_labels(self, name: str) -> LabelInput | None:
        """Labels are made where the trajectory has its frames, unless the block says otherwise."""
        if self.label is None:
            return None
        for i, step in enumerate(self.label.at or ()):
            if self.label.states is None and step > self.dynamics.steps:
                refuse(f"expected a step up to dynamics.steps ({self.dynamics.steps}), got {step}", "label", "at", i)
        update: dict[str, Any] = {"output": self.label.output or f"data/{name}.h5"}
        if self.label.at is None and self.label.every is None and self.label.states is None:
            update["every"] = self.output.every
        return self.label.model_copy(update=update)

    def _check_fourier(self, item: Observable, index: int) -> None:
        if isinstance(item, StructureFactor):
            self._check_wave_vectors(item, index)
        if isinstance(item, Correlation) or (isinstance(item, StructureFactor) and item.q == "all"):
            try:
                require_transform(self.lattice.to_lattice())
            except InputError as error:
                refuse(str(error), "observables", index, "name")

    def _check_wave_vectors(self, item: StructureFactor, index: int) -> None:
        dimensions = self.lattice.to_lattice().dimensions
        for j, vector in enumerate(item.q if item.q != "all" else ()):
            if len(vector) != dimensions:
                wanted = f"expected {dimensions} components on a {self.lattice.type} lattice"
                refuse(f"{wanted}, got {len(vector)}", "observables", index, "q", j)
