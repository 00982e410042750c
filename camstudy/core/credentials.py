"""Requests with the credentials that the user's netrc has for a host; they go to that host and to no other."""

import base64
import netrc
import os
import urllib.request
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from camstudy.core.addresses import mistake, redact
from camstudy.core.errors import CamstudyError

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def open_address(url: str, headers: dict[str, str], timeout: float) -> HTTPResponse:
    """Ask a server for ``url`` and follow its redirections; the answer is to be closed.

    User and password come from ``~/.netrc`` or the file that ``$NETRC`` names, if it has an entry for this very host.
    They are sent by https alone, as others could read them otherwise, except to this machine; and where a server
    redirects to another one, not to that.

    Raises
    ------
    CamstudyError : netrc cannot be read, or the server redirects to what is no http or has a password in it.
    OSError, http.client.HTTPException : as `urllib.request.urlopen`.
    """
    request = urllib.request.Request(url, headers=headers)
    _authorise(request)
    try:
        return urllib.request.build_opener(_Redirections).open(request, timeout=timeout)
    except ValueError:
        raise _unfit(request, "a malformed address") from None


class _Redirections(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("http", "https") or mistake(newurl):
            raise _unfit(req, redact(newurl))
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        # urllib leaves out what was added as unredirected, and so the credentials.
        if made is not None and _origin(newurl) == _origin(req.full_url):
            _authorise(made)
        return made


def _unfit(request: urllib.request.Request, target: str) -> CamstudyError:
    return CamstudyError(
        f"{redact(request.full_url)}: redirects to {target}, which is not followed: it is not http or https, or"
        " malformed, or has a password in it; give another address"
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _authorise(request: urllib.request.Request) -> None:
    scheme, host, _ = _origin(request.full_url)
    if scheme != "https" and host not in _THIS_MACHINE:
        return
    path = os.environ.get("NETRC") or Path.home() / ".netrc"
    try:
        # By name, not by `default`, which would be given to any host; and the class itself looks at who may read it.
        found = netrc.netrc(os.environ.get("NETRC")).hosts.get(host or "")
    except FileNotFoundError:
        return
    except netrc.NetrcParseError as error:
        # Its message may quote a password.
        where = (
            f"near line {error.lineno}, it is not as netrc has it" if error.lineno else "others may read or write it"
        )
        raise CamstudyError(f"{path}: {where}; mend it, and `chmod 600` it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CamstudyError(f"{path}: cannot be read ({type(error).__name__}); mend it, or unset NETRC") from None
    if found:
        user, _, password = found
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
