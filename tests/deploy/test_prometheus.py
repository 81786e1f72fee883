"""The alert rules: promtool takes them, they fire when they should, and each metric they name exists."""

import re
import subprocess
from pathlib import Path

import pytest
from peers import program
from prometheus_client import CollectorRegistry, generate_latest
from reception import settings_for

from ich_node.store.database import Database
from ich_node.web.metrics import NodeMetrics

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES, CASES = FOLDER / "ich-node.rules.yml", FOLDER / "ich-node.rules.test.yml"
PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


def _promtool(*arguments):
    promtool = program("promtool", "prometheus")
    return subprocess.run(
        [promtool, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=FOLDER
    )


@pytest.mark.peer
def test_promtool_takes_the_rules():
    done = _promtool("check", "rules", RULES)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.peer
def test_each_rule_fires_when_it_should_and_only_then():
    done = _promtool("test", "rules", CASES)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_has_a_case_and_says_what_to_do():
    rules, cases = RULES.read_text(encoding="utf-8"), CASES.read_text(encoding="utf-8")
    names = re.findall(r"- alert: (\w+)", rules)

    assert [name for name in names if name not in cases] == []
    assert rules.count("summary: ") == rules.count("action: ") == rules.count("severity: ") == len(names)


def test_each_metric_that_a_rule_names_is_exported(sqlite_url, tmp_path):
    database = Database(sqlite_url)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeMetrics(database, settings_for(tmp_path, sqlite_url, 11112, destinations=[PACS])))
    exported = set(re.findall(r"^# HELP (\w+)", generate_latest(registry).decode(), re.MULTILINE))
    database.dispose()

    named = set(re.findall(r"\bich_node_\w+", re.sub(r"#.*", "", RULES.read_text(encoding="utf-8"))))

    # these need something to have happened, or to be set
    happened = {
        "ich_node_audit_oldest_unsent_seconds",
        "ich_node_certificate_days_left",
        "ich_node_last_instance_timestamp_seconds",
        "ich_node_canary_failed",
        "ich_node_canary_last_success_timestamp_seconds",
    }
    assert named - exported == happened
