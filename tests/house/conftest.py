"""A whole node as processes, once on each kind of database, with DCMTK and a stand-in PACS as its PACS."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from model_builders import tiny_bundle

from ich_node.demo.node import DemoNode, free_port, running_node
from ich_node.demo.pacs import StandInPacs, stand_in_pacs


@dataclass(frozen=True, kw_only=True)
class House:
    """The node and what stands round it."""

    node: DemoNode
    pacs: StandInPacs
    storescp_folder: Path


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def house(request, tmp_path_factory, dcmtk) -> Iterator[House]:
    """A node with a small untrained bundle and two destinations; shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("house")
    settings = {"bundle": str(tiny_bundle(folder / "bundle")), "completion.quiet_s": 1}
    if request.param == "postgresql":
        settings["database.url"] = request.getfixturevalue("postgres").create(
            f"house_{folder.name}".replace("-", "_")
        )
    scp_folder, scp_port = folder / "storescp", free_port()
    scp_folder.mkdir()
    storescp = subprocess.Popen([dcmtk.storescp, "-od", scp_folder, "-aet", "DCMTK", str(scp_port)])
    with stand_in_pacs(folder / "pacs") as pacs:
        settings["destinations"] = [
            {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port},
            {"name": "dcmtk", "ae_title": "DCMTK", "host": "127.0.0.1", "port": scp_port},
        ]
        with running_node(folder / "node", pacs_port=pacs.port, settings=settings) as node:
            yield House(node=node, pacs=pacs, storescp_folder=scp_folder)
    storescp.terminate()
    storescp.wait(10)
