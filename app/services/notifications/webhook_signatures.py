"""How deliveries are signed: HMAC-SHA-256 with the webhook's secret, over the moment of the attempt and the body."""

from __future__ import annotations

import hashlib
import hmac

SIGNATURE = "Softvote-Signature"
EVENT = "Softvote-Event"
DELIVERY = "Softvote-Delivery"


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The value of the signature's header.

    Args:
        secret: of the webhook, as it was shown.
        timestamp: Unix seconds of this attempt; signed too, so that a copy that is sent later can be told.
        body: what is sent, to the byte.
    """
    digest = hmac.new(secret.encode(), b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"
