"""What lets a caller in, in words for the administrator."""

import json

from ich_node.settings.sections import Sender
from ich_node.settings.tree import Settings
from ich_node.store.quarantine import RefusedCaller


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


def sender_entry(ae_title: str, address: str, certificate: str = "") -> str:
    """The lines of the settings that let a caller in."""
    # what a certificate says may hold quotes and control characters; JSON's strings are TOML's
    last = f"\ncertificate = {json.dumps(certificate)}" if certificate else ""
    return f'[[senders]]\nae_title = "{ae_title}"\naddress = "{address}"{last}'


def what_lets_in(caller: RefusedCaller, settings: Settings) -> str:
    """What to do so that a caller who was refused may send."""
    ours = settings.receiver
    if caller.trouble:
        return f"its TLS handshake failed: {caller.trouble}"
    if caller.called_ae_title != ours.ae_title:
        return f"it calls us {caller.called_ae_title!r}; set {ours.ae_title} at the sender"
    if not caller.certificate_sha256:
        entry = sender_entry(caller.calling_ae_title, caller.address)
        if any(one.certificate for one in settings.senders if one.ae_title == caller.calling_ae_title):
            return (
                f"it called in clear text, and its entry asks for a certificate: have it call port "
                f"{ours.tls_port} with TLS; or, without TLS, add to the settings:\n{entry}"
            )
        return f"to let it in, add to the settings:\n{entry}"
    named = caller.certificate_name or caller.certificate_sha256
    entry = sender_entry(caller.calling_ae_title, caller.address, named)
    return (
        "its certificate is good, and none of its entries names it; to let it in, add to the settings:\n"
        f"{entry}  # or its SHA-256 fingerprint, {caller.certificate_sha256}"
    )
