"""Which addresses a webhook may call: https to the public internet, unless the operator allows more.

A server that calls whatever address it is given is a way into the network that it stands in (server-side request
forgery): what only the inside may reach, it reaches. A name is judged by what it resolves to at the moment of the call,
so this is asked twice: of the URL when it is registered, and of every resolved address before anything is connected.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ensembles.errors import Problem

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Global by their numbers, and answered inside a cloud's machines alone: metadata of Azure and of Oracle.
_METADATA = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24")))

#: IPv6 that carries an IPv4 address to be reached through a translator, tunnel or the kernel itself.
_CARRIERS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
    )
)


def problem_of(url: str, *, allow_private: bool, allow_http: bool) -> Problem | None:
    """The rule that a webhook's URL breaks by its text alone; None where it breaks none.

    Args:
        url: as it was asked for.
        allow_private: addresses of this machine and its networks may be called.
        allow_http: connections need no TLS.
    """
    schemes = ("https", "http") if allow_http else ("https",)
    needed = " or ".join(f"{scheme}://HOST/PATH" for scheme in schemes)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return Problem("url", needed, url)
    if parts.scheme not in schemes or not host or port == 0:
        return Problem("url", needed, url)
    if parts.username is not None or parts.password is not None:
        # It would stand in logs and on pages; the signature says who calls.
        return Problem("url", f"{needed}, without a user's name or password", f"{parts.scheme}://***@{host}")
    if parts.fragment:
        return Problem("url", f"{needed}, without a fragment", url)
    if allow_private:
        return None
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        inside = host.rstrip(".").lower()
        refused = inside == "localhost" or inside.endswith((".localhost", ".local", ".internal"))
    else:
        refused = not is_public(literal)
    return Problem("url", f"{needed} at a public address (SOFTVOTE_WEBHOOK_ALLOW_PRIVATE)", url) if refused else None


def is_public(address: IPAddress) -> bool:
    """Whether an address belongs to the public internet, and not to this machine, its networks or a cloud's insides."""
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    refused = _METADATA if address.version == 4 else _CARRIERS
    return not any(address in network for network in refused) and not getattr(address, "is_site_local", False)
