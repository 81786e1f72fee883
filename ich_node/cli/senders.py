"""Commands about who may send: list, allow, remove."""

from typing import Annotated

import typer
from pydantic import ValidationError

from ich_node.cli.audit import command_event, write
from ich_node.cli.context import given, now, say
from ich_node.core.urgency import Urgency
from ich_node.errors import UsageError
from ich_node.settings.sections import Sender
from ich_node.settings.tree import Settings

senders = typer.Typer(
    help="Who may send, and who was refused. What `allow` and `remove` say holds from the next association "
    "on, without a restart; the settings hold beside it.",
    no_args_is_help=True,
)
AETitle = Annotated[str, typer.Argument(metavar="AE_TITLE", help="calling AE title of the sender")]
Address = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="address it calls from, or a network (10.1.0.0/16)")
]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(senders, name="senders")


@senders.command("list")
def list_senders(context: typer.Context) -> None:
    """List who may send and who was refused, with the command that would let them in."""
    from ich_node.cli.callers import beside, way_in, what_lets_in, who_called
    from ich_node.store.quarantine import list_refused_callers
    from ich_node.store.senders import list_allowed

    settings = given(context).settings()
    with given(context).database().reading() as connection:
        allowed = list_allowed(connection)
        refused = list_refused_callers(connection)
    for sender in settings.senders:
        say(f"may send: {way_in(sender)}, by the settings")
    for one in allowed:
        say(f"may send: {way_in(one.sender)}, allowed on {one.allowed_at.astimezone():%Y-%m-%d %H:%M}")
    for caller in refused:
        say(
            f"refused {'once' if caller.count == 1 else f'{caller.count} times'}, "
            f"last {caller.last_at.astimezone():%Y-%m-%d %H:%M}: "
            f"{who_called(caller)}"
        )
        say("  " + what_lets_in(caller, beside(settings, allowed)).replace("\n", "\n  "))


@senders.command()
def allow(
    context: typer.Context,
    ae_title: AETitle,
    address: Address,
    certificate: Annotated[
        str, typer.Option(help="it must call over TLS and show this: a DNS name or a SHA-256 fingerprint")
    ] = "",
    urgency: Annotated[Urgency, typer.Option(help="how soon its studies are read")] = Urgency.NORMAL,
) -> None:
    """Let a sender in, from its next association on."""
    from ich_node.cli.callers import way_in
    from ich_node.store.senders import allow_sender

    try:
        sender = Sender(ae_title=ae_title, address=address, certificate=certificate, urgency=urgency)
    except ValidationError as error:
        raise UsageError(
            "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        ) from None
    _require_a_port(sender, given(context).settings())
    with given(context).database().transaction() as connection:
        allow_sender(connection, sender, now=now())
        write(connection, command_event("senders allow", about=way_in(sender), configures=True))
    say(f"may send: {way_in(sender)}")


@senders.command()
def remove(
    context: typer.Context,
    ae_title: AETitle,
    address: Address,
    certificate: Annotated[
        str | None, typer.Option(help="only the way in with this one ('' is clear text); else all of them")
    ] = None,
) -> None:
    """Let a sender in no more that `allow` let in; a running association of its goes on to its end."""
    from ich_node.cli.callers import way_in
    from ich_node.store.senders import list_allowed, remove_senders

    with given(context).database().transaction() as connection:
        before = [one.sender for one in list_allowed(connection)]
        remove_senders(connection, ae_title=ae_title, address=address, certificate=certificate)
        after = [one.sender for one in list_allowed(connection)]
        removed = [one for one in before if one not in after]
        for one in removed:
            write(connection, command_event("senders remove", about=way_in(one), configures=True))
    if not removed:
        raise UsageError(
            f"{ae_title} at {address} was not let in by `ich-node senders allow`; those of the settings are "
            "removed there, see `ich-node senders list`"
        )
    for one in removed:
        say(f"may send no more: {way_in(one)}")


def _require_a_port(sender: Sender, settings: Settings) -> None:
    """Refuse a sender that could never call."""
    if sender.certificate and not settings.receiver.tls_port:
        raise UsageError("it would have to call over TLS, and receiver.tls_port is 0: set it, with [tls]")
    if not sender.certificate and not settings.receiver.port:
        raise UsageError("it would call in clear text, and receiver.port is 0: give --certificate")
