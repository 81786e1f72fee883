"""The folder of one retraining run: what lies where, and what may go once the run is over."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Paths below the folder of one run."""

    path: Path

    @property
    def plan(self) -> Path:
        """The labelled studies as JSON, by pseudonym."""
        return self.path / "plan.json"

    @property
    def snapshot(self) -> Path:
        """The prepared slices."""
        return self.path / "snapshot"

    @property
    def slices(self) -> Path:
        """Their table; written last, so that it is there only if all of them are."""
        return self.snapshot / "slices.csv"

    @property
    def training(self) -> Path:
        """What `model.train` writes: the new bundle, progress.json, curves.csv, checkpoints."""
        return self.path / "training"

    @property
    def trained(self) -> Path:
        """There once the training has ended well: a manifest alone may be one before calibration."""
        return self.path / "trained"

    @property
    def progress(self) -> Path:
        return self.training / "progress.json"

    @property
    def champion(self) -> Path:
        """The evaluation of the bundle that serves."""
        return self.path / "champion"

    @property
    def challenger(self) -> Path:
        """The evaluation of the new bundle."""
        return self.path / "challenger"

    @property
    def evidence(self) -> Path:
        return self.path / "evidence.json"

    @property
    def log(self) -> Path:
        """What the processes of the run say."""
        return self.path / "log.txt"

    @property
    def child(self) -> Path:
        """Which process works for the run, so that one left behind is found."""
        return self.path / "child.json"

    @staticmethod
    def write(file: Path, text: str) -> None:
        """Write a file so that a reader sees all of it or nothing."""
        partial = file.with_name(f"{file.name}.part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)

    def forget_pictures(self) -> None:
        """Let patients' slices and large files go; figures and log stay."""
        shutil.rmtree(self.snapshot / "images", ignore_errors=True)
        self.plan.unlink(missing_ok=True)
        for file in self.training.glob("*.safetensors*"):
            file.unlink(missing_ok=True)
