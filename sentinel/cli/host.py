"""What is known of a rule's host: whether it is left alone, until when and why, and how often it is asked."""

from __future__ import annotations

import time

from sentinel.cli.values import iso
from sentinel.decide.host import Host
from sentinel.settings import Settings


def host_document(name: str, known: Host | None, settings: Settings) -> dict[str, object]:
    """As JSON. `known`: from the checks of all rules of its workspace; None: nothing is wrong with it."""
    endpoint = (known or Host()).endpoint
    now = time.time()

    def ahead(at: float | None) -> str | None:
        return None if at is None or at <= now else iso(at)

    opened = endpoint.open_until
    return {
        "host": name,
        "rate_per_second": settings.rate_per_domain if settings.rate_limiting else None,
        "breaker": "closed" if opened is None else "open" if opened > now else "half_open",
        "breaker_open_until": ahead(opened),
        "retry_after_until": ahead(endpoint.retry_at),
        "failing_since": None if endpoint.failing_since is None else iso(endpoint.failing_since),
        "failing_rules": list(known.failing) if known is not None else [],
        "last_error": endpoint.last_error,
    }


def host_words(document: dict[str, object]) -> str:
    """The same for people."""
    rate = document["rate_per_second"]
    often = "as often as is due" if rate is None else f"at most {rate:g} fetches a second"
    told = [f"{document['host']}, {often}"]
    if document["retry_after_until"] is not None:
        told.append(f"it asked to be left alone until {document['retry_after_until']}")
    if document["breaker"] == "open":
        told.append(f"it does not answer, and one check tries it at {document['breaker_open_until']}")
    elif document["breaker"] == "half_open":
        told.append("it did not answer, and the next check tries it")
    elif document["failing_rules"]:
        told.append("not every rule gets an answer")
    if document["last_error"] is not None and len(told) > 1:
        told.append(str(document["last_error"]))
    return "; ".join(told)
