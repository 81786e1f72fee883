"""What lets a caller in, in words for the administrator."""

import shlex
from collections.abc import Sequence

from ich_node.settings.sections import Sender
from ich_node.settings.tree import Settings
from ich_node.store.database import Database
from ich_node.store.quarantine import RefusedCaller
from ich_node.store.senders import AllowedSender, list_allowed


def way_in(sender: Sender) -> str:
    """Who may send, from where, and how."""
    how = f" over TLS, with the certificate {sender.certificate}" if sender.certificate else ""
    return f"{sender.ae_title} from {sender.address}{how}"


def who_called(caller: RefusedCaller) -> str:
    """Who was refused; one whose handshake failed never said its AE title."""
    if caller.trouble:
        return f"a caller over TLS from {caller.address}"
    how = " over TLS" if caller.certificate_sha256 else ""
    return f"{caller.calling_ae_title!r} from {caller.address}{how}"


def command_for(ae_title: str, address: str, certificate: str = "") -> str:
    """The command that lets a caller in."""
    words = ["ich-node", "senders", "allow", ae_title, address]
    # what a caller says of itself may hold anything
    return shlex.join([*words, "--certificate", certificate] if certificate else words)


def with_allowed(settings: Settings, database: Database) -> Settings:
    """The settings, with the senders that an administrator let in beside theirs."""
    with database.reading() as connection:
        return beside(settings, list_allowed(connection))


def beside(settings: Settings, allowed: Sequence[AllowedSender]) -> Settings:
    """The settings, with these senders beside theirs."""
    senders = (*settings.senders, *(one.sender for one in allowed))
    return settings.model_copy(update={"senders": senders})


def what_lets_in(caller: RefusedCaller, settings: Settings) -> str:
    """What to do so that a caller who was refused may send; the settings hold all who may send now."""
    ours = settings.receiver
    if caller.trouble:
        return f"its TLS handshake failed: {caller.trouble}"
    if caller.called_ae_title != ours.ae_title:
        return f"it calls us {caller.called_ae_title!r}; set {ours.ae_title} at the sender"
    if not caller.certificate_sha256:
        command = command_for(caller.calling_ae_title, caller.address)
        if any(one.certificate for one in settings.senders if one.ae_title == caller.calling_ae_title):
            return (
                f"it called in clear text, and its entry asks for a certificate: have it call port "
                f"{ours.tls_port} with TLS; or, to let it in without TLS:\n{command}"
            )
        return f"to let it in:\n{command}"
    named = caller.certificate_name or caller.certificate_sha256
    command = command_for(caller.calling_ae_title, caller.address, named)
    return (
        "its certificate is good, and none of its entries names it; to let it in (its SHA-256 fingerprint, "
        f"{caller.certificate_sha256}, may stand there too):\n{command}"
    )
