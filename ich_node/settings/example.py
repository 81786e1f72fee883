"""Writes the example settings file from the settings themselves."""

import json
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from ich_node.settings.sections import Section
from ich_node.settings.tree import Settings


def example() -> str:
    """The example settings file: every setting with its help, unit and default; only the folder is set."""
    lines = [
        "# ICH node: every setting with its default. Uncomment what you change.",
        "# storage.folder is set: a service and its administrator must mean the same place.",
        "# Any key can also come from the environment: ICH_NODE_RECEIVER__PORT=104",
        "# Durations end in _s (seconds), sizes in _mb or _bytes.",
        "",
    ]
    sections = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Section):
            sections += ["", f"[{name}]", *_example_lines(type(default))]
        elif isinstance(default, tuple):
            item, _ = get_args(field.annotation)  # tuple[Sender, ...]
            sections += ["", f"# {field.description}", f"# [[{name}]]", *_example_lines(item)]
        else:
            lines += _example_line(name, field, default)
    return "\n".join([*lines, *sections]) + "\n"


def _example_lines(section: type[Section]) -> list[str]:
    lines = []
    for name, field in section.model_fields.items():
        required = (field.examples or ["..."])[0]
        default = required if field.is_required() else field.get_default(call_default_factory=True)
        lines += _example_line(name, field, default)
    return lines


def _example_line(name: str, field: FieldInfo, default: object) -> list[str]:
    if isinstance(default, Path):
        # the default lies in the home of whoever runs it; a service and its administrator must name one place
        return [f"# {field.description}", f'{name} = "/var/lib/ich-node"']
    # JSON's scalars are TOML's
    return [f"# {field.description}", f"# {name} = {json.dumps(default)}"]
