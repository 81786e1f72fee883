"""Which bundle serves: registered at the first start, promoted through the gate, rolled back at once."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ich_node import vocabulary
from ich_node.core.gate import GateVerdict
from ich_node.core.states import BundleCommand, BundleState
from ich_node.errors import PromotionRefused, RetrainingFailed, UsageError
from ich_node.log import logger
from ich_node.retraining.bundle_folders import (
    bundles_folder,
    checked_manifest,
    configured_bundle,
    identity_of,
    keep_bundle,
    prove_loadable,
)
from ich_node.retraining.evidence import evidence_of, gate_json
from ich_node.settings.tree import Settings
from ich_node.store.bundles import (
    NewBundle,
    RegisteredBundle,
    ServingBundle,
    add_bundle,
    find_bundle,
    has_bundles,
    lock_bundles,
    previous_bundle,
    serving,
    set_serving,
)
from ich_node.store.database import Connection, Database


def register_first(database: Database, settings: Settings, *, now: datetime) -> ServingBundle:
    """Let the configured bundle serve a new installation; later calls change nothing.

    Raises UsageError or RetrainingFailed where that bundle is absent or not whole.
    """
    with database.transaction() as connection:
        if has_bundles(connection):
            return serving(connection)
    source = configured_bundle(settings)
    manifest = checked_manifest(source)
    folder = bundles_folder(settings) / manifest.name
    keep_bundle(source, folder)
    new = NewBundle(name=manifest.name, sha256=identity_of(folder), folder=folder, metrics={}, gate={})
    with database.transaction() as connection:
        lock_bundles(connection)
        if not has_bundles(connection):
            first = add_bundle(connection, new, now=now)
            set_serving(connection, first, command=BundleCommand.FIRST, now=now)
            logger().info("bundle.registered", bundle=new.sha256[:12])
        return serving(connection)


def gate(database: Database, name: str, *, minimum_patients: int) -> GateVerdict:
    """Judge a bundle by the numbers asked for now and against what serves now; changes nothing.

    Raises UsageError where there is no such bundle, or nothing to judge it by.
    """
    with database.transaction() as connection:
        return _verdict(connection, _named(connection, name), minimum_patients)


def promote(database: Database, name: str, *, minimum_patients: int, now: datetime) -> ServingBundle:
    """Let a bundle serve from the next study on, if the gate allows it here and now and the bundle loads.

    Raises PromotionRefused with the gate's reasons, UsageError, or RetrainingFailed for a broken bundle.
    """
    with database.transaction() as connection:
        bundle = _named(connection, name)
        _require_allowed(_verdict(connection, bundle, minimum_patients))
    prove_loadable(Path(bundle.folder), bundle.sha256)  # takes seconds: not within a transaction
    with database.transaction() as connection:
        lock_bundles(connection)
        # once more: something else may serve by now
        bundle = _named(connection, name)
        verdict = _verdict(connection, bundle, minimum_patients)
        _require_allowed(verdict)
        set_serving(connection, bundle, command=BundleCommand.PROMOTE, now=now, gate=gate_json(verdict))
        now_serving = serving(connection)
    logger().info("bundle.promoted", bundle=bundle.sha256[:12])
    return now_serving


def rollback(database: Database, *, now: datetime) -> ServingBundle:
    """Let the bundle serve that served before, from the next study on; asks no gate.

    Raises UsageError where none served before, RetrainingFailed where its folder is no longer whole.
    """
    with database.transaction() as connection:
        lock_bundles(connection)
        earlier = previous_bundle(connection)
        if earlier is None:
            raise UsageError("no other bundle has served before: there is nothing to go back to")
        _require_whole(earlier)
        set_serving(connection, earlier, command=BundleCommand.ROLLBACK, now=now)
        now_serving = serving(connection)
    logger().info("bundle.rolled_back", bundle=earlier.sha256[:12])
    return now_serving


def _named(connection: Connection, name: str) -> RegisteredBundle:
    bundle = find_bundle(connection, name)
    if bundle is None:
        raise UsageError(f"no bundle is named {name}; `ich-node bundles list` names them all")
    if bundle.state is BundleState.SERVING:
        raise UsageError(f"{name} serves already")
    return bundle


def _verdict(connection: Connection, bundle: RegisteredBundle, minimum_patients: int) -> GateVerdict:
    evidence = evidence_of(bundle.metrics)
    if evidence is None:
        raise UsageError(
            f"{bundle.name} was never compared with another bundle; "
            "if it served before, `ich-node bundles rollback` brings it back"
        )
    verdict = evidence.verdict(minimum_patients)
    champion = serving(connection)
    if champion.sha256 == evidence.champion_sha256:
        return verdict
    # better than something else says nothing about what serves now
    reason = vocabulary.gate_other_champion_sentence(champion.name)
    return replace(verdict, allowed=False, reasons=(reason, *verdict.reasons))


def _require_allowed(verdict: GateVerdict) -> None:
    if not verdict.allowed:
        raise PromotionRefused(verdict.reasons)


def _require_whole(bundle: RegisteredBundle) -> None:
    folder = Path(bundle.folder)
    checked_manifest(folder)
    if identity_of(folder) != bundle.sha256:
        raise RetrainingFailed(f"bundle {bundle.name}: has changed since it was registered")
