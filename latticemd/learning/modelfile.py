"""The file of a network: weights as safetensors, and a card in JSON that says what they are and where they may be used.

One file, nothing is ever unpickled. The card is read without torch; the weights are checked against the module that the card
describes. Format: https://github.com/huggingface/safetensors, the card being the only entry of its metadata.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latticemd import __version__
from latticemd.errors import InputError
from latticemd.forcefield import Array
from latticemd.learning.networks import build_network, require_torch
from latticemd.learning.records import Record, electronic_differences, model_of
from latticemd.models.model import Model
from latticemd.output.directory import write_atomically
from latticemd.parameters import parameters_of

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1
CARD = "latticemd"  # the name of the card in the metadata; one entry only, since several come in no fixed order
LARGEST_HEADER = 64 * 2**20  # bytes


@dataclass(frozen=True)
class Card:
    """What a file of a network says about itself.

    ============  ==================================================================================================
    field         meaning
    ============  ==================================================================================================
    network       name and parameters of the plug-in
    model         name, parameters and lattice of the model it was trained on first
    components    D
    dtype         of the weights
    parameters    number of trained numbers
    symmetry      operations about a site, internal symmetries, and the order of their product
    ranges        of x (smallest, largest, rms) [length], of the temperature of the bath [energy], and of the model's
                  parameters in the training data
    data          by set: trajectories, states and sha256
    errors        by set: states, rms error of the force [energy/length] and relative to the rms force
    training      the resolved input, and the steps of the optimiser behind the weights
    horizon       of a network that says where particles will be: after which time [time]; None for forces
    version       of latticemd
    format        of the file
    ============  ==================================================================================================
    """

    network: dict[str, Any]
    model: Record
    components: int
    dtype: str
    parameters: int
    symmetry: dict[str, Any]
    ranges: dict[str, Any]
    data: dict[str, Any]
    errors: dict[str, Any]
    training: dict[str, Any]
    horizon: float | None = None
    version: str = __version__
    format: int = FORMAT


def symmetry_of(model: Model) -> dict[str, Any]:
    """The finite group of a model, translations apart."""
    point, internal = list(model.symmetries(translations=False)), model.internal_symmetries()
    names = [symmetry.name for symmetry in internal]
    return {
        "group": " x ".join([f"{len(point)} operations about a site of the {model.lattice.type} lattice", *names]),
        "point_operations": len(point),
        "internal": names,
        "order": len(point) * (len(internal) + 1),
    }


def save_network(path: Path, card: Card, weights: Mapping[str, Any]) -> None:
    """Write a network's tensors with its card, complete or not at all; the same content gives the same bytes."""
    from safetensors.torch import save

    text = json.dumps(dataclasses.asdict(card), sort_keys=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    write_atomically(path, save(tensors, {CARD: text}))


def read_card(path: Path) -> Card:
    """The card of a network's file. Raises InputError for any other file, or one of a newer format."""
    path = Path(path)
    text = _metadata(path).get(CARD)
    if not isinstance(text, str):
        raise InputError(f"{path}: a safetensors file, but without the card of a latticemd network")
    try:
        about = json.loads(text)
        number = int(about["format"])
        if number > FORMAT:
            raise InputError(
                f"{path}: has format {number} of latticemd {about.get('version')}, and this version reads formats up to {FORMAT}"
            )
        return Card(**about)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its card cannot be read: {error}") from error


def load_network(path: Path, precision: str | None = None) -> tuple[Card, nn.Module]:
    """The card and the module with its trained weights, on the lattice it was trained on, ready to evaluate.

    It computes in `precision`, float32 or float64: that of its training unless given. Raises InputError where the file is no
    network, or its weights are not those of the network on its card.
    """
    card = read_card(path)
    if card.horizon is not None:
        raise InputError(
            f"{path}: says where particles are after {card.horizon:g}, and knows no force; use dynamics: {{propagator: "
            "point_network, model: FILE}"
        )
    require_torch()
    import torch

    with torch.random.fork_rng(devices=[]):
        module = build_network(card.network["name"], card.network["parameters"], model_of(card.model))
    module.to(getattr(torch, precision or card.dtype))
    load_weights(path, card, module)
    return card, module


def load_weights(path: Path, card: Card, module: nn.Module) -> None:
    """Give a module the weights of a file and make it ready to evaluate. Raises InputError where they do not fit it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: its weights do not fit the network {card.network['name']}: {reason}") from error
    module.eval()


def require_kind(card: Card, model: Model, path: Path) -> None:
    """Raise InputError where a network is for another kind of model or lattice: no warning would make sense of that."""
    trained = model_of(card.model)
    if type(trained) is not type(model) or card.components != model.components:
        raise InputError(f"{path}: is for the model {card.model['name']}, not for {type(model).__name__}")
    mine, its = trained.lattice, model.lattice
    if (mine.type, mine.custom, mine.boundary) != (its.type, its.custom, its.boundary):
        kinds = [f"{lattice.type} with boundary {list(lattice.boundary)}" for lattice in (mine, its)]
        raise InputError(f"{path}: is for the lattice {kinds[0]}, not for {kinds[1]}")


def warnings_outside(card: Card, model: Model, x: Array | None = None) -> list[str]:
    """Sentences with numbers about what lies outside the ranges that a network has seen; empty if all is inside.

    Of the model, what its electrons depend on; of positions x (R, N, D), where given, their extremes and the rms of each replica.
    """
    sentences = []
    trained = model_of(card.model)
    local = dataclasses.replace(trained, lattice=model.lattice)
    for name in electronic_differences(local, model):
        seen, used = card.ranges["model"].get(name), getattr(model, name)
        number = isinstance(used, int | float) and not isinstance(used, bool)
        if isinstance(seen, list) and number and seen[0] <= used <= seen[1]:
            continue
        words = f"between {seen[0]:g} and {seen[1]:g}" if isinstance(seen, list) else f"at {seen}"
        sentences.append(f"{name} is {used}, and the network was trained {words}")
    if x is None:
        return sentences
    low, high, rms = (card.ranges["x"][key] for key in ("min", "max", "rms"))
    if float(x.min()) < low or float(x.max()) > high:
        sentences.append(
            f"x reaches from {x.min():.4g} to {x.max():.4g}, and the network has seen {low:.4g} to {high:.4g}"
        )
    mine = np.sqrt(np.mean(np.square(x), axis=(1, 2)))
    if mine.max() > rms[1] or mine.min() < rms[0]:
        there = f"{mine.min():.4g}" if len(mine) == 1 else f"{mine.min():.4g} to {mine.max():.4g}"
        sentences.append(f"the rms of x is {there}, and states of the training had {rms[0]:.4g} to {rms[1]:.4g}")
    return sentences


def parameter_ranges(models: list[Model]) -> dict[str, Any]:
    """Of each parameter of models of one kind: [smallest, largest] of numbers, else the values there are."""
    ranges: dict[str, Any] = {}
    for field, _ in parameters_of(type(models[0])):
        values = [getattr(model, field.name) for model in models]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) == len(values):
            ranges[field.name] = [min(numbers), max(numbers)]
        else:
            ranges[field.name] = ", ".join(sorted({str(value) for value in values}))
    return ranges


def _metadata(path: Path) -> dict[str, Any]:
    """The metadata of a safetensors file, by the standard library alone: a length, then JSON."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; `latticemd train` writes networks")
    refusal = f"{path}: not a network of latticemd (a .safetensors file that `latticemd train` wrote)"
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, path.stat().st_size - 8):
            raise InputError(refusal)
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise InputError(refusal) from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(metadata, dict):
        raise InputError(refusal)
    return metadata
