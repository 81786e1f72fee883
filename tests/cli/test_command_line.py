"""The command line as a hospital's IT person meets it: help that teaches, wrong settings named at once."""

import subprocess
import sys

import pytest

GROUPS = {
    "": "demo serve receive work deliver schedule migrate explain doctor fetch settings",
    "studies": "list show read-again send-again quarantine",
    "senders": "list",
    "labels": "import export",
    "retrain": "start status watch cancel resume",
    "bundles": "list gate promote rollback",
}
COMMANDS = [[*group.split(), name] for group, names in GROUPS.items() for name in names.split()]


def _run(*arguments, settings=None, **environment):
    named = ["--settings", str(settings)] if settings else []
    return subprocess.run(
        [sys.executable, "-m", "ich_node", *named, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "200", **environment},
    )


@pytest.fixture
def settings_file(tmp_path):
    from model_builders import tiny_bundle

    file = tmp_path / "settings.toml"
    bundle = tiny_bundle(tmp_path / "tiny")
    file.write_text(
        f'bundle = "{bundle}"\nstorage = {{ folder = "{tmp_path / "storage"}", reserve_mb = 0 }}\n'
    )
    return file


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command):
    from click.testing import CliRunner
    from typer.main import get_command

    from ich_node.cli.app import app

    done = CliRunner().invoke(get_command(app), [*command, "--help"], env={"COLUMNS": "200"})

    assert done.exit_code == 0
    assert len(done.output) > 150, "a command says what it does"


def test_the_first_help_says_how_to_begin_and_what_it_is_not_for():
    done = _run("--help")

    assert done.returncode == 0
    for words in ("Not for diagnostic use", "ich-node demo", "migrate", "doctor", "serve", "Exit status"):
        assert words in done.stdout


def test_wrong_settings_are_named_all_at_once_with_what_to_do(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(
        'mode = "loud"\nreciever = 1\n[receiver]\nport = 99999\nae_title = "FAR TOO LONG A TITLE"\n'
        '[[senders]]\nae_title = "CT1"\naddress = "the basement"\n'
    )

    done = _run("doctor", settings=file, ICH_NODE_DATABSE__URL="sqlite:///x")

    assert done.returncode == 2
    for key in (
        "mode",
        "reciever",
        "receiver.port",
        "receiver.ae_title",
        "senders.0.address",
        "ICH_NODE_DATABSE",
    ):
        assert key in done.stderr
    assert "settings.example.toml" in done.stderr
    assert "6 problems in the settings:" in done.stderr
    assert "host names are not served here" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_settings_file_that_is_not_there_is_said_in_one_sentence(tmp_path):
    done = _run("doctor", settings=tmp_path / "absent.toml")

    assert done.returncode == 2
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_command_is_wrong_use():
    assert _run("dianose").returncode == 2


def test_a_database_that_was_never_migrated_is_named_with_the_command_that_helps(settings_file):
    done = _run("studies", "list", settings=settings_file)

    assert done.returncode == 2
    assert "ich-node migrate" in done.stderr


@pytest.mark.parametrize("question", [["studies", "list"], ["doctor"]], ids=" ".join)
def test_a_question_without_settings_makes_no_database(question, tmp_path):
    done = _run(*question, HOME=str(tmp_path))

    assert done.returncode in (1, 2)
    assert "no settings were named" in done.stdout + done.stderr
    assert not any(tmp_path.iterdir())


def test_the_help_of_the_demo_says_where_its_files_go():
    done = _run("demo", "--help")

    assert "/tmp" in done.stdout
    assert "./out" in done.stdout


def test_a_new_installation_is_migrated_examined_and_quiet(settings_file):
    migrated = _run("migrate", settings=settings_file)
    again = _run("migrate", settings=settings_file)
    doctor = _run("doctor", settings=settings_file)
    listed = _run("bundles", "list", settings=settings_file)

    assert (migrated.returncode, again.returncode) == (0, 0), migrated.stderr
    assert "quiet" in doctor.stdout
    assert "cpu" in doctor.stdout.lower()
    assert "nobody may send; `ich-node senders allow" in doctor.stdout
    assert doctor.returncode == 1, "a node to which nobody may send is not well"
    assert "serving" in listed.stdout


def test_the_shipped_bundle_passes_its_constancy_check_in_a_new_installation(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(
        f'storage = {{ folder = "{tmp_path / "storage"}", reserve_mb = 0 }}\n'
        'senders = [{ ae_title = "CT1", address = "127.0.0.1" }]\n'
    )

    migrated = _run("migrate", settings=file)
    doctor = _run("doctor", "--constancy", settings=file)

    assert migrated.returncode == 0, migrated.stderr
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "ok   constancy: 2 golden heads on " in doctor.stdout


def test_explain_reads_a_folder_without_a_node(tmp_path):
    from builders import ct_series, write_files

    write_files(ct_series(slices=14), tmp_path / "study")
    (tmp_path / "empty").mkdir()

    found = _run("explain", str(tmp_path / "study"), "--json")
    nothing = _run("explain", str(tmp_path / "empty"))

    assert found.returncode == 0, found.stderr
    assert '"verdict"' in found.stdout
    assert nothing.returncode == 3


def test_questions_about_what_is_not_there_are_wrong_use(settings_file):
    _run("migrate", settings=settings_file)

    for question in (
        ["studies", "show", "7"],
        ["studies", "read-again", "7"],
        ["studies", "show", "7", "--out", "/nonexistent/out"],
        ["bundles", "promote", "x"],
        ["bundles", "rollback"],
    ):
        done = _run(*question, settings=settings_file)

        assert done.returncode in (1, 2), question
        assert done.stderr.strip(), question
        assert "Traceback" not in done.stderr


def test_two_destinations_of_one_name_are_refused(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(
        "".join(
            f'[[destinations]]\nname = "pacs"\nae_title = "{title}"\nhost = "localhost"\nport = 104\n'
            for title in ("A", "B")
        )
    )

    done = _run("doctor", settings=file)

    assert done.returncode == 2
    assert "a name of its own; more than one is pacs" in done.stderr
