"""The answer to a request is for whoever asked, whatever pynetdicom's reactor does at that moment."""

import threading

import pytest
from builders import ct_series
from pynetdicom.dimse_primitives import C_ECHO, N_EVENT_REPORT
from reception import NODE, SCANNER, associate, receiving, settings_for

from ich_node.demo.scanner import send

CT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"
AT_ONCE, IMAGES = 20, 20


def test_the_reactor_is_given_requests_and_no_answers(sqlite_url, tmp_path, free_port):
    request, answer = N_EVENT_REPORT(), C_ECHO()
    answer.MessageIDBeingRespondedTo = 0  # nothing was asked yet
    given = []

    with receiving(settings_for(tmp_path, sqlite_url, free_port)) as port:
        association = associate(port, [(CT, [IMPLICIT])])
        took = threading.Event()

        def serve(message, _context_id):
            given.append(message)
            took.set()

        association._serve_request = serve
        association.dimse.msg_queue.put((1, request))
        assert took.wait(10)
        association.dimse.msg_queue.put((1, answer))  # the reactor runs, and looks every millisecond
        assert not association.dul.is_alive() or association.is_established
        threading.Event().wait(0.2)
        assert association.dimse.get_msg(block=True) == (1, answer)
        association.release()

    assert given == [request]


def test_an_answer_that_comes_twice_is_not_the_answer_to_the_next_request(sqlite_url, tmp_path, free_port):
    with receiving(settings_for(tmp_path, sqlite_url, free_port)) as port:
        association = associate(port, [(VERIFICATION, [IMPLICIT])])
        stray = C_ECHO()
        stray.MessageIDBeingRespondedTo, stray.Status = 1, 0xA700
        assert association.send_c_echo().Status == 0
        association._reactor_checkpoint.clear()  # as the next request begins
        association.dimse.msg_queue.put((1, stray))
        status = association.send_c_echo().Status
        association.release()

    assert status == 0


@pytest.mark.timeout(240)
def test_many_senders_in_one_process_hear_every_answer(sqlite_url, tmp_path, free_port):
    studies = [ct_series(seed=number, slices=IMAGES, rows=16, columns=16) for number in range(AT_ONCE)]
    sent = {}

    with receiving(settings_for(tmp_path, sqlite_url, free_port)) as port:

        def one(number):
            titles = {"calling_ae": SCANNER, "called_ae": NODE}
            sent[number] = [one.status for one in send(studies[number], "127.0.0.1", port, **titles)]

        threads = [threading.Thread(target=one, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [sent.get(number) for number in range(AT_ONCE)] == [[0] * IMAGES] * AT_ONCE
