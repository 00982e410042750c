"""Addresses of downloads: what may be shown and recorded of one, what it identifies, and the file name in it."""

import hashlib
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from camstudy.core.errors import CamstudyError

HIDDEN = "..."
_LONGEST_NAME = 200  # bytes; file systems take 255, and endings are added while a download lasts
_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)?([^?#]*)([?#])?(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~-]*)(:[0-9]*)?")
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/[^\s\"'<>`]*")
# Parameters of a query that say who may have a file, and until when, but not which: those of Amazon, Google and
# CloudFront, and the usual words.
_PERMISSION = re.compile(
    r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|policy|expires|auth.*|sig|.*(token|key|secret|passw|pwd).*"
    r"|.*(credential|session).*|key-pair-id",
    re.IGNORECASE,
)
# And those of Azure, which only mean that beside `sig`.
_AZURE = {"sv", "ss", "srt", "sr", "sp", "se", "st", "spr", "sip", "sig", "si", "sdd"}
_AZURE |= {"skoid", "sktid", "skt", "ske", "sks", "skv"}


def redact(address: str) -> str:
    """Return an address without what may be secret: who asks and with which password, query and fragment.

    The two are replaced by ``...``; an address without them is returned as it is. Of one that is malformed, so that
    a password could stand where the host should, the host is replaced as well.

    >>> redact("https://me:word@host.org/nets/a.pth?X-Amz-Signature=0123")
    'https://host.org/nets/a.pth?...'
    """
    parts = _PARTS.fullmatch(address)
    assert parts  # of any text
    scheme, rest, mark, hidden = parts.groups(default="")
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    # A password may hold what ends the host or begins the query.
    if not _HOST.fullmatch(host) or (mark and not slash and "@" in hidden):
        host, path = HIDDEN, path.rpartition("@")[2]
    if not scheme or "//" in path:
        path = path.rpartition("@")[2]
    shown = f"{scheme}{host}{slash}{path}{mark and mark + HIDDEN}"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown)


def redact_text(text: str) -> str:
    """Return a text, such as a library's message, with every address in it redacted."""
    return _IN_TEXT.sub(lambda found: redact(found[0]), text)


def identity(address: str, sha256: str | None = None) -> str:
    """Return what decides which file an address means, fit to be recorded: the redacted address and, without the
    file's checksum, a digest of its query.

    Parameters that give permission are not in the digest, so that a new signature means the same file.
    """
    parameters = parse_qsl(urlsplit(address).query, keep_blank_values=True)
    azure = _AZURE if any(name == "sig" for name, _ in parameters) else set()
    named = [(name, value) for name, value in parameters if not _PERMISSION.fullmatch(name) and name not in azure]
    if sha256 is not None or not named:
        return redact(address)
    return f"{redact(address)}#{hashlib.sha256(repr(named).encode()).hexdigest()[:16]}"


def mistake(address: str) -> str | None:
    """Return what is wrong with an address of a download and what to do, None if nothing is."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return "it is malformed; write the host, or host:number, after the ://"
    if parts.scheme not in ("http", "https", "file"):
        return "give an address that begins with https://, http:// or file://"
    if parts.username is not None or parts.password is not None:
        return (
            "it has a user name or password in it, which would be in every copy of the study; leave them out here, and"
            f" put them into ~/.netrc, or the file that $NETRC names: `machine {parts.hostname} login ... password ...`"
        )
    if parts.scheme != "file" and not re.fullmatch(r"[!-~]+", address):
        return "it has spaces or other characters that an address cannot have; write them as %20 and the like"
    return None


def file_name(address: str, default: str) -> str:
    """Return the name of the file that an address means, for use in a folder; ``default`` if it names none.

    Raises `CamstudyError` for a name that a folder cannot have or that means another place; see `safe_name`.
    """
    try:
        name = unquote(urlsplit(address).path.rpartition("/")[2], errors="strict")
    except ValueError:
        name = "\0"
    return safe_name(name, address) if name else default


def safe_name(name: str, address: str) -> str:
    """Return a name that came with a download, if a file may be called so in whatever folder.

    Every name that was not given by the user, of an address, a header or a member of an archive, must pass here before
    it is a part of a path.

    Raises
    ------
    CamstudyError : the name is empty, has slashes, backslashes or control characters, begins with ``.`` or ``-``, or
        is too long.
    """
    if not name or name[0] in ".-" or re.search(r"[/\\]", name) or not name.isprintable():
        problem = "which is not the name of a file"
    elif len(name.encode(errors="replace")) > _LONGEST_NAME:
        problem = f"which is longer than {_LONGEST_NAME} bytes"
    else:
        return name
    raise CamstudyError(
        f"{redact(address)}: the last part of the address means the file {name[:60]!r}, {problem}; correct the address,"
        " or fetch the file yourself and give its place as `path`"
    )
