"""Who sends, with which priority, and how old a study is, decides how long it stands back."""

import pytest
from builders import ct_series
from reception import NODE, SCANNER, Message, associate, receiving, settings_for

from ich_node.core.urgency import OLD_S
from ich_node.store.database import Database
from ich_node.store.studies import find_study

EMERGENCY, RESEARCH = "CT_ER", "RESEARCH"
MEDIUM, HIGH, LOW = 0, 1, 2
TODAY = {"StudyDate": "", "StudyTime": ""}


def _send(port, folder, *, calling, priority, number, **tags):
    (image,) = ct_series(slices=1, rows=8, columns=8, study_uid=f"1.2.3.{number}", **tags)
    message = Message.of(image)
    path = folder / f"{number}.dcm"
    path.write_bytes(message.file())
    association = associate(
        port, [(message.sop_class_uid, [message.transfer_syntax_uid])], calling=calling, called=NODE
    )
    assert association.send_c_store(path, priority=priority).Status == 0
    association.release()


@pytest.fixture
def handicaps(sqlite_url, tmp_path, free_port):
    """Sends (calling AE title, priority, tags) each as a study; how long each stands back."""
    senders = [
        {"ae_title": SCANNER, "address": "127.0.0.1"},
        {"ae_title": EMERGENCY, "address": "127.0.0.0/8"},
        {"ae_title": EMERGENCY, "address": "127.0.0.1", "urgency": "high"},
        {"ae_title": RESEARCH, "address": "127.0.0.1", "urgency": "low"},
    ]

    def sent(*calls):
        with receiving(settings_for(tmp_path, sqlite_url, free_port, senders=senders)) as port:
            for number, (calling, priority, tags) in enumerate(calls):
                _send(port, tmp_path, calling=calling, priority=priority, number=number, **tags)
        with Database(sqlite_url).transaction() as connection:
            return [find_study(connection, f"1.2.3.{number}").handicap_s for number in range(len(calls))]

    return sent


def test_a_study_stands_back_by_its_sender_and_the_priority_of_its_request(handicaps):
    by_sender = [(calling, MEDIUM, TODAY) for calling in (EMERGENCY, SCANNER, RESEARCH)]
    by_priority = [(SCANNER, priority, TODAY) for priority in (HIGH, MEDIUM, LOW)]

    found = handicaps(*by_sender, *by_priority)

    assert found[:3] == found[3:] == sorted(set(found))
    assert found[0] == 0


def test_a_study_of_another_day_stands_back_and_one_whose_day_makes_no_sense_does_not(handicaps):
    old, odd, ahead = (
        {"StudyDate": day, "StudyTime": "120000"} for day in ("20200131", "20261399", "29991231")
    )

    now, *others = handicaps(*((SCANNER, MEDIUM, tags) for tags in (TODAY, old, odd, ahead)))

    assert others == [now + OLD_S, now, now]
