"""The shape of the code: what style asks for, measured, so that it cannot slip unseen."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("ich_node", "model") for path in (ROOT / package).rglob("*.py"))
MODULES = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in SOURCES]
LONGEST_MODULE = 400
LONGEST_BODY = 50
MOST_POSITIONAL = 5


def _functions(path: Path) -> Iterator[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _body_lines(function: ast.FunctionDef) -> int:
    body = function.body
    starts_with_words = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = body[1] if starts_with_words and len(body) > 1 else body[0]
    return (body[-1].end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("path", MODULES)
def test_a_module_can_be_read_in_one_sitting(path):
    lines = path.read_text(encoding="utf-8").splitlines()

    assert len(lines) <= LONGEST_MODULE


@pytest.mark.parametrize("path", MODULES)
def test_a_function_fits_a_screen_and_takes_few_arguments(path):
    for function in _functions(path):
        positional = [argument for argument in function.args.args if argument.arg not in ("self", "cls")]

        assert _body_lines(function) <= LONGEST_BODY, f"{function.name} is {_body_lines(function)} lines long"
        assert len(positional) <= MOST_POSITIONAL or _is_command(path), (
            f"{function.name} takes {len(positional)}"
        )


def _is_command(path: Path) -> bool:
    """Commands declare each option as an argument: that is typer's way."""
    return path.parent.name == "cli"


@pytest.mark.parametrize("path", MODULES)
def test_a_module_says_what_it_is_for(path):
    source = path.read_text(encoding="utf-8")

    assert path.name == "__init__.py" or ast.get_docstring(ast.parse(source))
    assert path.name != "__init__.py" or not source.strip()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ich_node.intake.receiver", ("torch", "timm", "highdicom")),
        ("ich_node.delivery.serve", ("torch", "timm", "highdicom")),
        ("ich_node.scheduler", ("torch", "timm", "highdicom")),
        ("ich_node.web.serve", ("torch", "timm", "highdicom")),
        ("ich_node.worker", ("torch", "timm")),  # its child loads them
    ],
)
def test_only_the_process_that_reads_loads_torch(module, absent):
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in {absent}))"

    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 0
