"""Files that a reader may open at any time."""

from pathlib import Path


def write_atomically(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never a part."""
    partial = file.with_name(file.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
