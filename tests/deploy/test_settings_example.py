"""The example settings file names every setting, with the unit and the default that the code has."""

import tomllib
from pathlib import Path

from ich_node.settings.example import example
from ich_node.settings.sections import Storage
from ich_node.settings.tree import Settings, load

EXAMPLE = Path(__file__).parents[2] / "deploy" / "settings.example.toml"


def test_the_example_is_what_the_settings_say():
    assert EXAMPLE.read_text(encoding="utf-8") == example()


def test_the_example_loads_as_it_is_and_changes_nothing_but_the_folder(monkeypatch):
    monkeypatch.delenv("ICH_NODE_SETTINGS", raising=False)

    loaded = load(EXAMPLE)

    folder = Path("/var/lib/ich-node")
    assert loaded == Settings(storage=Storage(folder=folder))


def test_the_example_still_loads_when_every_line_is_uncommented():
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line or line.startswith("# [[") else line for line in lines
    )

    values = tomllib.loads(uncommented.replace('"..."', '"104"'))

    assert set(values) == set(Settings.model_fields)


def test_every_setting_has_a_line_of_help():
    sections = [field.annotation for field in Settings.model_fields.values()]

    for section in sections:
        for name, field in getattr(section, "model_fields", {}).items():
            assert field.description, name
