"""Bundle folders: found, copied whole or not at all, and checked before anything relies on them.

They lie under storage.folder/bundles/NAME, so that a bundle stays where it is when the node is upgraded.
"""

import hashlib
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from ich_node.errors import RetrainingFailed, UsageError
from ich_node.settings.tree import Settings
from model.errors import BundleError
from model.manifest import MANIFEST_FILE, WEIGHTS_FILE, Manifest, bundle_sha256, read_manifest

GOLDEN_FILE = "golden.json"  # what the bundle says of the golden heads; no part of its identity

# in a process of its own: only there is torch loaded, and what crashes crashes there
_LOAD = (
    "import pathlib, sys; from model.bundle import load_bundle; "
    "sys.stdout.write(load_bundle(pathlib.Path(sys.argv[1])).sha256)"
)
_LOAD_WITHIN_S = 600


def bundles_folder(settings: Settings) -> Path:
    """Where the bundles of this installation lie."""
    return settings.storage.folder.absolute() / "bundles"


def configured_bundle(settings: Settings) -> Path:
    """The folder that the setting `bundle` names: shipped with the node, or anywhere. Raises UsageError."""
    shipped = Path(str(files("model"))) / "bundles" / settings.bundle
    for folder in (shipped, Path(settings.bundle)):
        if folder.is_dir():
            return folder
    raise UsageError(f"bundle: neither shipped with the node nor a folder: {settings.bundle}")


def checked_manifest(folder: Path) -> Manifest:
    """Read a manifest and prove that the weights beside it are the ones it names; raises RetrainingFailed."""
    try:
        manifest = read_manifest(folder)
        found = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    except BundleError as error:
        raise RetrainingFailed(f"bundle {folder.name}: {error}") from error
    except OSError as error:
        raise RetrainingFailed(f"bundle {folder.name}: {WEIGHTS_FILE}: {error.strerror}") from error
    if found != manifest.weights_sha256:
        raise RetrainingFailed(f"bundle {folder.name}: the weights are not those of its manifest")
    return manifest


def identity_of(folder: Path) -> str:
    """The SHA-256 that reports name; raises RetrainingFailed where the folder holds no bundle."""
    try:
        return bundle_sha256(folder)
    except BundleError as error:
        raise RetrainingFailed(f"bundle {folder.name}: {error}") from error


def keep_bundle(source: Path, target: Path) -> None:
    """Copy a bundle and its golden scores to its place, whole or not at all; harmless to repeat."""
    if target.exists():
        if identity_of(target) != identity_of(source):
            raise UsageError(f"{target}: holds another bundle; move it away")
        if not (target / GOLDEN_FILE).exists():
            _copy_golden(source, target)  # kept by a version that knew none
        return
    partial = target.with_name(f".{target.name}-{uuid4().hex[:8]}")
    partial.mkdir(parents=True)
    for name in (MANIFEST_FILE, WEIGHTS_FILE):
        shutil.copyfile(source / name, partial / name)
    _copy_golden(source, partial)
    try:
        partial.rename(target)
    except OSError:
        # another process was quicker: what counts is that the same bundle stands there now
        shutil.rmtree(partial)
        if identity_of(target) != identity_of(source):
            raise


def _copy_golden(source: Path, target: Path) -> None:
    if (source / GOLDEN_FILE).exists():
        partial = target / f"{GOLDEN_FILE}.part"
        shutil.copyfile(source / GOLDEN_FILE, partial)
        partial.replace(target / GOLDEN_FILE)


def prove_loadable(folder: Path, sha256: str) -> None:
    """Load a bundle as the worker would and compare its identity; raises RetrainingFailed."""
    command = [sys.executable, "-c", _LOAD, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LOAD_WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        raise RetrainingFailed(f"bundle {folder.name}: did not load in {_LOAD_WITHIN_S} s") from None
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RetrainingFailed(f"bundle {folder.name}: cannot be loaded: {words[-1]}")
    if done.stdout.strip() != sha256:
        raise RetrainingFailed(f"bundle {folder.name}: has changed since it was registered")
