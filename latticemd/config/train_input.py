"""The input of `latticemd train`: data, network, optimiser, and when to stop."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationInfo, model_validator
from pydantic_core import core_schema

from latticemd.config.active_input import ActiveInput
from latticemd.config.components import NetworkInput, chosen
from latticemd.config.messages import MISSING, refuse, shown
from latticemd.config.section import Section
from latticemd.config.values import FLAG, INTERVAL, SEED, STEP, Choice, Expect, Integer, Real, Text
from latticemd.config.writing import to_yaml
from latticemd.parameters import Bounds

File = Annotated[str, Text("the path of a .h5 file that `latticemd label` has written")]
Files = Annotated[
    tuple[File, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(strict=False, min_length=1),
    Expect("the path of a dataset, or a list of paths"),
]


class ValidationShare(Section):
    """A share of the training trajectories is kept for validation: whole trajectories, drawn by a seed."""

    fraction: Annotated[float, Real("1", Bounds(gt=0, lt=1))] = Field(description="share of the trajectories")
    seed: Annotated[int, SEED] = Field(0, description="which of them")


class HeldOut(Expect):
    """A share or files: what is wrong with the one is not said of the other. Annotates `ValidationShare | Files`."""

    def check(self, value: Any, accept: core_schema.ValidatorFunctionWrapHandler) -> Any:
        """The share, or the paths."""
        if isinstance(value, dict | ValidationShare):
            return ValidationShare.model_validate(value)
        if isinstance(value, str | list | tuple):
            return _FILES.validate_python(value)
        return self.refuse(value)


_FILES: TypeAdapter[tuple[str, ...]] = TypeAdapter(Files)


class DataInput(Section):
    """Datasets. A trajectory is in one of them as a whole: training, validation or a test set."""

    train: Files = Field(description="what the network learns from")
    validation: Annotated[ValidationShare | Files, HeldOut("a path, a list of paths or {fraction: 0.1}")] = Field(
        ValidationShare(fraction=0.1), description="what tells when to stop, and which weights are the best"
    )
    states: Annotated[int, Integer(Bounds(ge=1, le=2**31 - 1))] | None = Field(
        None, description="learn from so many states only, drawn from all training trajectories; more hold fewer"
    )
    test: dict[str, Files] = Field({}, description="by name: sets that are only looked at in the end")

    @model_validator(mode="after")
    def names_are_free(self) -> Self:
        """Errors are reported by the name of the set."""
        for name in self.test:
            if name in ("train", "validation") or not name.isprintable():
                refuse(f"expected a name other than train and validation, got {shown(name)}", "test", name)
        return self


class OptimiserInput(Section):
    """Adam, with weight decay apart from the gradient (adamw) or without it (adam), and its learning rate over time."""

    name: Annotated[str, Choice("adamw", "adam")] = Field("adamw", description="name of the optimiser")
    learning_rate: Annotated[float, Real("1", Bounds(gt=0))] = Field(1e-3, description="largest learning rate")
    weight_decay: Annotated[float, Real("1", Bounds(ge=0))] = Field(0.0, description="decay of the weights, of adamw")
    schedule: Annotated[str, Choice("cosine", "constant")] = Field("cosine", description="learning rate over time")
    warmup: Annotated[int, STEP] = Field(0, description="steps in which the learning rate rises from zero")
    clip: Annotated[float, Real("1", Bounds(gt=0))] | None = Field(
        None, description="largest norm of the gradient; longer ones are shortened to it"
    )

    @model_validator(mode="after")
    def decay_is_used(self) -> Self:
        """Adam has no decay that would be left out without a word."""
        if self.name == "adam" and self.weight_decay:
            refuse(f"adam has no weight decay, got {self.weight_decay:g}; use name: adamw", "weight_decay")
        return self


class LossInput(Section):
    """Mean squared error of the electronic force, relative to the mean square of the force itself."""

    relative: Annotated[str, Choice("all", "trajectory")] = Field(
        "all",
        description="whose mean square: of all training forces, or of each trajectory, so that those with small forces count",
    )


class TrainingOutput(Section):
    """Where the results go."""

    directory: Annotated[str, Text("the path of a directory")] | None = Field(
        None, description="directory of the training; models/<name of the input> unless given"
    )
    figures: Annotated[bool, FLAG] = Field(True, description="whether to draw the learning curve")


class TrainInput(Section):
    """A resolved input of a training: `data`, `network` and an end must be given, everything else has a default."""

    title: Annotated[str, Text()] | None = Field(None, description="what the training is about")
    data: DataInput = Field(description="datasets to learn from and to be judged by")
    network: Annotated[NetworkInput, chosen("network", "name")] = Field(description="the network: name and parameters")
    start: Annotated[str, Text("the path of a .safetensors file that `latticemd train` has written")] | None = Field(
        None, description="a network of the same kind whose weights are the first, instead of random ones"
    )
    loss: LossInput = Field(LossInput(), description="what is minimised")
    optimiser: OptimiserInput = Field(OptimiserInput(), description="how it is minimised")
    batch: Annotated[int, Integer(Bounds(ge=1, le=2**31 - 1))] = Field(8, description="states per step")
    steps: Annotated[int, INTERVAL] | None = Field(None, description="steps of the optimiser")
    epochs: Annotated[int, INTERVAL] | None = Field(None, description="passes over the training data, instead of steps")
    time_limit: Annotated[float, Real("second", Bounds(gt=0))] | None = Field(
        None, description="wall-clock time of the training; alone, or as a limit beside steps or epochs [second]"
    )
    validate_every: Annotated[int, INTERVAL] | None = Field(
        None, description="steps between validations; a pass over the training data unless given"
    )
    early_stop: Annotated[int, INTERVAL] | None = Field(
        None, description="validations without improvement after which the training ends"
    )
    ema: Annotated[float, Real("1", Bounds(ge=0, lt=1))] = Field(
        0.999, description="decay per step of the moving average of the weights, which is what is kept; 0 for none"
    )
    augment: Annotated[bool, FLAG] = Field(
        False,
        description="whether to turn each state by a random symmetry of its model, for networks that don't keep them",
    )
    seed: Annotated[int, SEED] = Field(0, description="seed of the first weights and of the order of the states")
    precision: Annotated[str, Choice("float32", "float64")] = Field("float32", description="of weights and forces")
    threads: Annotated[int, Integer(Bounds(ge=1, le=4096))] = Field(1, description="threads that compute")
    output: TrainingOutput = Field(TrainingOutput(), description="files the training leaves")
    active: ActiveInput | None = Field(
        None, description="what `latticemd train --active` does; without that option it is left aside"
    )

    @model_validator(mode="after")
    def resolve(self, info: ValidationInfo) -> Self:
        """One end, a seed that the generator of the weights can take, and the directory."""
        if self.steps is not None and self.epochs is not None:
            refuse("give either steps or epochs, not both", "epochs")
        if self.steps is None and self.epochs is None and self.time_limit is None:
            refuse("missing; expected one of steps, epochs or time_limit", "steps", kind=MISSING)
        if self.output.directory is not None:
            return self
        name = (info.context or {}).get("name", "network")
        return self.model_copy(update={"output": self.output.model_copy(update={"directory": f"models/{name}"})})

    def to_yaml(self) -> str:
        """The input with everything filled in, itself an input that loads to an equal one."""
        return to_yaml(self)
