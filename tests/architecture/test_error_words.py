"""The words of an error reach a log or a person only where they are our own: others may quote a header."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ich_node.errors
import model.errors
from ich_node.errors import IchNodeError
from model.errors import ModelError

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "ich_node").rglob("*.py"))
OURS = {
    name
    for module in (ich_node.errors, model.errors)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, (IchNodeError, ModelError))
}
# whose words are not ours, and why they name no patient
OTHERS = {
    "Unusable": "retraining.labels_csv writes them itself, without what stands in the file",
    "Exception in intake/messages.py": "only of OverLimit, whose words stand there",
    "OSError in demo/wrap.py": "about a file that the demo reads",
    "OSError in cli/constancy.py": "about the file of golden scores",
    "ValueError in cli/constancy.py": "about the file of golden scores",
    "KeyError in cli/constancy.py": "about the file of golden scores",
    "TypeError in cli/constancy.py": "about the file of golden scores",
    "ValueError in settings/sections.py": "about an address in the settings",
    "OSError in settings/tree.py": "about the settings file",
    "UnicodeDecodeError in settings/tree.py": "about the settings file",
    "TOMLDecodeError in settings/tree.py": "about the settings file",
    "OSError in audit_channel.py": "handed to what chooses words of our own",
}


def _quoted(path: Path) -> Iterator[tuple[int, set[str]]]:
    """Where a caught error is turned into text, and of which kinds it may be."""
    for handler in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None:
            continue
        kinds = {part.attr if isinstance(part, ast.Attribute) else part.id for part in _kinds(handler)}
        for node in ast.walk(handler):
            if _is_text_of(node, handler.name):
                yield node.lineno, kinds


def _kinds(handler: ast.ExceptHandler) -> list[ast.Name | ast.Attribute]:
    listed = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [part for part in listed if isinstance(part, ast.Name | ast.Attribute)]


def _is_text_of(node: ast.AST, name: str) -> bool:
    """Whether it is str(name), repr(name), or a place for it in an f-string."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr"):
        return any(isinstance(argument, ast.Name) and argument.id == name for argument in node.args)
    if isinstance(node, ast.FormattedValue):
        return isinstance(node.value, ast.Name) and node.value.id == name
    return False


def _foreign(path: Path) -> list[str]:
    place = str(path.relative_to(ROOT / "ich_node")) if path.is_relative_to(ROOT) else path.name
    return [
        f"{place}:{line} {kind}"
        for line, kinds in _quoted(path)
        for kind in sorted(kinds - OURS)
        if kind not in OTHERS and f"{kind} in {place}" not in OTHERS
    ]


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in SOURCES])
def test_no_words_of_a_foreign_error_are_passed_on(path):
    assert _foreign(path) == []


@pytest.mark.parametrize("words", ["str(error)", "repr(error)", 'f"it failed: {error}"', 'f"{error!r}"'])
def test_passing_on_what_a_library_says_is_found(tmp_path, words):
    file = tmp_path / "code.py"
    file.write_text(f"try:\n    f()\nexcept (DatabaseAway, ValueError) as error:\n    log(error={words})\n")

    assert _foreign(file) == ["code.py:4 ValueError"]
