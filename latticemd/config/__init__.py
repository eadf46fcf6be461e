"""The input: YAML text -> a validated `RunInput` with every default filled in, or one error about all that is wrong."""

from __future__ import annotations

from latticemd.config.loading import load_input, load_training, stored_input
from latticemd.config.schema import RunInput
from latticemd.config.schema_json import json_schema, training_json_schema
from latticemd.config.templates import input_template, template_names
from latticemd.config.train_input import TrainInput

__all__ = [
    "RunInput",
    "TrainInput",
    "input_template",
    "json_schema",
    "load_input",
    "load_training",
    "stored_input",
    "template_names",
    "training_json_schema",
]
