"""Who runs this process, as the audit trail names people: the account, and who logged in to use it."""

import os
import pwd
import socket

from ich_node.dicom.audit import Party


def current_user() -> Party:
    """The person behind this process where one has logged in, else the account that it runs as."""
    host = socket.gethostname()
    account = _account()
    person = _logged_in() or account
    other = "" if person == account else f"{account}@{host}"
    return Party(user=f"{person}@{host}", other_user=other, address=host)


def _account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run as a number that has no name
        return str(os.geteuid())


def _logged_in() -> str:
    """Who logged in at the terminal: still the same person where sudo made another account of it."""
    try:
        return os.getlogin()
    except OSError:
        return ""
