"""What lets a caller in, in words for the administrator."""

from ich_node.store.quarantine import RefusedCaller


def sender_entry(ae_title: str, address: str) -> str:
    """The lines of the settings that let a caller in."""
    return f'[[senders]]\nae_title = "{ae_title}"\naddress = "{address}"'


def what_lets_in(caller: RefusedCaller, ae_title: str) -> str:
    """What to do so that a caller who was refused may send; `ae_title` is ours."""
    if caller.called_ae_title != ae_title:
        return f"it calls us {caller.called_ae_title!r}; set {ae_title} at the sender"
    entry = sender_entry(caller.calling_ae_title, caller.address)
    return f"to let it in, add to the settings:\n{entry}"
