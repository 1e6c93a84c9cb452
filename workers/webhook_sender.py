"""Sends deliveries of webhooks over HTTP, to addresses that are looked at before anything is connected."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import httpx

from app.config import Settings
from app.services.notifications.webhook_deliveries import Attempt, Outcome
from app.services.notifications.webhook_signatures import DELIVERY, EVENT, SIGNATURE, signature
from app.services.notifications.webhook_targets import IPAddress, is_public, problem_of

#: For everything of one attempt together: name, connection, TLS, answer. A receiver that drips cannot hold on to it.
TIMEOUT_SECONDS = 5.0
#: Of one name, tried in turn while there is time.
_ADDRESSES = 3


class RefusedTargetError(Exception):
    """An address that may not be called; never leaves this module."""


def send_all(attempts: Sequence[Attempt], settings: Settings) -> list[Outcome]:
    """Send several deliveries at once; an outcome each, in the same order."""

    async def together() -> list[Outcome]:
        # Fresh for each round: SSL_CERT_FILE is read again, and nothing is kept open in between.
        context = httpx.create_ssl_context()
        return await asyncio.gather(*(send(attempt, settings, context) for attempt in attempts))

    # In a thread of its own: the caller's may run a loop already, and asyncio allows one a thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, together()).result()


async def send(attempt: Attempt, settings: Settings, context: ssl.SSLContext) -> Outcome:
    """Make one attempt. Whatever goes wrong is its outcome."""
    problem = problem_of(
        attempt.url, allow_private=settings.webhook_allow_private, allow_http=settings.webhook_allow_http
    )
    if problem is not None:
        # It was allowed when it was registered; settings may have changed since.
        return Outcome(error="the address may not be called")
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await _post(attempt, settings, context)
    except TimeoutError:
        return Outcome(error=f"no answer within {TIMEOUT_SECONDS:g} seconds")
    except RefusedTargetError as error:
        return Outcome(error=str(error))
    except socket.gaierror:
        return Outcome(error="the name is unknown")
    except httpx.HTTPError as error:
        return Outcome(error=_reason(error))
    except (OSError, UnicodeError) as error:
        return Outcome(error=type(error).__name__)


async def _post(attempt: Attempt, settings: Settings, context: ssl.SSLContext) -> Outcome:
    url = httpx.URL(attempt.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    addresses = await _resolve(url.host, port)
    # All of them are looked at: a name that leads inside and outside means the inside.
    if not settings.webhook_allow_private and not all(map(is_public, addresses)):
        raise RefusedTargetError("the name leads to an address that is not public")
    body = attempt.body.encode()
    headers = {
        "Host": url.netloc.decode("ascii"),
        "User-Agent": f"softvote/{version('softvote')}",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        EVENT: attempt.event,
        DELIVERY: attempt.id,
        SIGNATURE: signature(attempt.secret, int(time.time()), body),
    }
    # No proxies and no netrc of the environment: what was looked at is what is connected.
    client = httpx.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS)
    async with client:
        for place, address in enumerate(addresses[:_ADDRESSES], start=1):
            # The name was resolved once, above. It stays in the Host header, and TLS holds the certificate against it.
            request = client.build_request(
                "POST",
                url.copy_with(host=str(address)),
                content=body,
                headers=headers,
                extensions={"sni_hostname": url.host},
            )
            try:
                response = await client.send(request, stream=True)
            except httpx.ConnectError:
                if place == min(len(addresses), _ADDRESSES):
                    raise
                continue
            # The body is of no interest, whatever its length.
            await response.aclose()
            return Outcome(status=response.status_code)
    raise RefusedTargetError("the name has no address")


async def _resolve(host: str, port: int) -> list[IPAddress]:
    """Every address of a name, in the order in which the system would try them; an address is its own."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in found))


def _reason(error: httpx.HTTPError) -> str:
    """In our words: what a library says may hold what the other side sent."""
    if isinstance(error, httpx.ConnectError):
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return f"the certificate is not valid: {cause.verify_message}"
            cause = cause.__cause__ or cause.__context__
        return "no connection"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {TIMEOUT_SECONDS:g} seconds"
    return f"no HTTP answer ({type(error).__name__})"
