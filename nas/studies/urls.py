"""URLs of storages as they may be shown: without passwords, however the URL is written."""

import re
import urllib.parse

_IN_QUERY = re.compile(r"([?&;][^=&;]*(?:pass|pwd|secret|token)[^=&;]*=)([^&]*(?:&[^=&]*(?=&|$))*)", re.IGNORECASE)
_PORT = re.compile(r"\d{0,5}(?:[/?]|$)")


def redacted(url: str) -> str:
    """The URL without its passwords, to be shown; of a URL that is malformed, rather too little than a password."""
    return _redacted_and_secrets(url)[0]


def _redacted_and_secrets(url: str) -> tuple[str, list[str]]:
    """The URL without its passwords, and these."""
    secrets = [match[2] for match in _IN_QUERY.finditer(url)]
    shown = _IN_QUERY.sub(r"\1***", url)
    if shown.startswith("sqlite:///"):  # a path follows
        return shown, secrets
    scheme, slashes, rest = shown.partition("//") if "//" in shown else ("", "", shown)
    before, at, host = rest.rpartition("@") if "@" in rest else (rest, "", "")  # the last: passwords may hold others
    user, colon, password = before.partition(":")
    if not at and _PORT.match(password):
        return shown, secrets
    if colon:
        secrets.append(password)
        user += ":***"
    return f"{scheme}{slashes}{user}{at}{host}", secrets


def without_secrets(error: Exception, url: str) -> str:
    """What went wrong, in the driver's words unless it may have split a password elsewhere and quote a piece of it."""
    shown, secrets = _redacted_and_secrets(url)
    if any(len(secret) < 4 or re.search(r"[@:/?#&\s]", secret) for secret in secrets if secret):
        return (
            f"{type(error).__name__}. The driver's message may hold a part of the password and is not shown. Write "
            "@ : / ? # & in a password as %40 %3A %2F %3F %23 %26"
        )
    message = (str(error).splitlines() or [type(error).__name__])[0].replace(url, shown)
    for secret in filter(None, secrets):
        message = message.replace(secret, "***").replace(urllib.parse.unquote(secret), "***")
    return message


__all__ = ["redacted", "without_secrets"]
