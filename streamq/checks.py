"""What programs hand us, looked at where they do it: an error with the option's name, and not later.

msgspec checks types and bounds of what it decodes, not of what is constructed.
"""

from __future__ import annotations

from streamq.errors import InvalidJob


def check_number(name: str, value: object, least: float, most: float, *, what: str = "") -> None:
    """Raises InvalidJob, naming the option, for what is no number from `least` to `most`; `what` they are."""
    # Also subclasses, as numpy's floats are; but True is no number of anything.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # type: ignore[operator]
        unit = f" {what}" if what else ""
        raise InvalidJob(f"{name}={value!r} is not between {least:g} and {most:g}{unit}")


def check_whole(name: str, value: object, least: int, most: int) -> None:
    """Raises InvalidJob for what is no whole number from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidJob(f"{name}={value!r} is no whole number between {least:,} and {most:,}")


def check_name(name: str, value: object, most: int) -> None:
    """Raises InvalidJob for what is no text of 1 to `most` characters that can be written as UTF-8."""
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise InvalidJob(f"{name} must have 1 to {most} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidJob(f"{name}={value!r} cannot be written as UTF-8") from None


def check_tuple(name: str, value: object, of: type, most: int) -> None:
    """Raises InvalidJob for what is no tuple of at most `most` things of that type."""
    if not isinstance(value, tuple) or len(value) > most or not all(isinstance(one, of) for one in value):
        raise InvalidJob(f"{name}={value!r:.200} is no tuple of at most {most:,} of {of.__name__}")
