"""E-mail addresses: which are taken, and which two are one.

Compared by a key (NFKC, case folded, domain in its ASCII form), so that nobody registers a look-alike of the same
letters. Letters go to the address as its owner wrote it, never to the one that somebody typed into a form.
"""

import re
import unicodedata
from typing import NamedTuple

__all__ = ["Address", "read_address"]

_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.ASCII)
_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]", re.ASCII)
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
"""Those whose letters look alike; a local part is of one of them."""


class Address(NamedTuple):
    """`text` to write to, `key` to compare."""

    text: str
    key: str


def read_address(text: str) -> Address:
    """Raises ValueError that says what is wrong."""
    text = unicodedata.normalize("NFC", text.strip())
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain or len(text) > 254 or len(local) > 64:
        raise ValueError("is no e-mail address")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", local).casefold())
    _check_local(folded)
    try:
        ascii_domain = unicodedata.normalize("NFKC", domain).casefold().encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("has a domain that is none") from None
    if not _DOMAIN.fullmatch(ascii_domain):
        raise ValueError("has a domain that is none")
    return Address(text, f"{folded}@{ascii_domain}")


def _check_local(local: str) -> None:
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise ValueError("is no e-mail address")
    scripts = set()
    for letter in local:
        if letter.isascii():
            if not _LOCAL.fullmatch(letter):
                raise ValueError("holds a character that no e-mail address has")
            if letter.isalpha():
                scripts.add("LATIN")
        elif not letter.isalnum() and unicodedata.category(letter) not in ("Mn", "Mc"):
            raise ValueError("holds a character that no e-mail address has")
        else:
            script = unicodedata.name(letter, "").split(" ")[0]
            if script in _SCRIPTS:
                scripts.add(script)
    if len(scripts) > 1:
        raise ValueError("mixes letters of scripts that look alike")
