"""The page behind the links that people get: the owner's, invitations, addresses to verify, forgotten passwords."""

from collections.abc import Sequence
from functools import partial
from importlib.resources import files

from api_shim.models import Query
from api_shim.route import Answer, Call, Route

__all__ = ["PageRoutes"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HTML, _JS = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
_PAGES = {
    "/setup": "Become the owner of a new server",
    "/register": "Make the account that one was invited to",
    "/verify": "Verify an address",
    "/reset": "Set a new password",
}


class LetterQuery(Query):
    """What the page's script reads; nothing of it is read here."""

    token: str = ""
    invitation: str = ""


class PageRoutes:
    """The same page for each; it knows by its path what it is for."""

    def routes(self) -> Sequence[Route]:
        """The routes."""
        shown = [(path, summary, "letter.html", _HTML) for path, summary in _PAGES.items()]
        return [
            Route(
                method="GET", path=path, handler=partial(_send, name, media_type), public=True, tag="pages",
                query=LetterQuery, summary=summary, raw=True, produces=(media_type.partition(";")[0],),
            )
            for path, summary, name, media_type in [*shown, ("/letter/letter.js", "Its script", "letter.js", _JS)]
        ]  # fmt: skip


async def _send(name: str, media_type: str, call: Call) -> Answer:
    """For browsers; programs call what the page calls."""
    # The address holds a token: it is told to nobody.
    headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return Answer(files("plugins.auth").joinpath("static", name).read_bytes(), headers=headers, media_type=media_type)
