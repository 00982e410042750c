"""Download a file: resumed where it was cut, tried again after failures, verified, in place only when whole."""

import hashlib
import http.client
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from camstudy.core.addresses import identity, mistake, redact
from camstudy.core.credentials import open_address
from camstudy.core.errors import CamstudyError
from camstudy.core.files import remove
from camstudy.core.provenance import read_json, sha256_file, write_json

BLOCK = 1 << 20
TIMEOUT = 60  # seconds without a byte
PATIENCE, LEAST_RATE = 60, 1000  # how many seconds a server may send fewer bytes a second
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP states that another attempt may not meet
_LONGEST_WAIT = 120  # seconds


class _Interrupted(Exception):
    """An attempt that failed for a reason that may pass.

    ``wait`` is the server's wish in seconds, if any; what came in too slowly is no progress.
    """

    def __init__(self, reason: object, wait: float | None = None, *, slow: bool = False) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.wait, self.slow = wait, slow


@dataclass(frozen=True)
class _Origin:
    """What a partial file is a part of: without it, a changed file would be resumed into a mixture."""

    address: str  # sha256 of the address's identity: of the address itself, nothing may be recorded
    validator: str | None  # strong ETag, else date of last modification
    size: int | None

    def continues(self, url: str, *, pinned: bool) -> bool:
        """Whether a later answer can be told to be of the same file: by the server's word, or by its checksum."""
        return self.address == _address(url) and (self.validator is not None or pinned)


def fetch(url: str, destination: Path, sha256: str | None = None, *, attempts: int = 4) -> str:
    """Download ``url`` to ``destination`` and return the sha256 (hex) of the file.

    A file that is there with the wanted ``sha256`` is not fetched again; any other is replaced. While it lasts,
    the download is in ``destination`` + ``.part`` beside its origin in ``.part.json``; whoever is cut off leaves
    both, and the next call goes on from there if the server still has the same file (by ETag or date, or by ``sha256``
    in the end).

    Parameters
    ----------
    url : http://, https:// or file://; of its query, nothing is shown or recorded, and it may hold no password: see
        `camstudy.core.credentials` for that
    destination : the file to write; its folder is made
    sha256 : what the checksum must be
    attempts : how often in a row it may fail without getting further

    Raises
    ------
    CamstudyError
        for an address that does not exist or is refused (at once), for one that cannot be reached (after the
        attempts), and for another checksum: nothing is kept then.
    """
    destination = Path(destination)
    if sha256 is not None and destination.is_file() and sha256_file(destination) == sha256.lower():
        return sha256.lower()
    part, shown = destination.with_name(destination.name + ".part"), redact(url)
    if wrong := mistake(url):
        raise CamstudyError(f"{shown}: cannot be fetched; {wrong}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    if urlsplit(url).scheme == "file":
        _copy(url, part)
    else:
        _persist(url, part, attempts, pinned=sha256 is not None)
    found = sha256_file(part)
    if sha256 is not None and found != sha256.lower():
        _forget(part)
        raise CamstudyError(
            f"{shown}: its sha256 is {found}, expected {sha256}; nothing was kept. Run again in case the download was"
            " damaged; if the file was replaced by another one that you trust, correct `sha256`"
        )
    if destination.is_dir():
        remove(destination)
    part.replace(destination)
    _forget(part)
    return found


def _persist(url: str, part: Path, attempts: int, *, pinned: bool) -> None:
    failures, furthest = 0, _size(part)
    while True:
        try:
            return _download(url, part, pinned=pinned)
        except _Interrupted as error:
            failures = 1 if _size(part) > furthest and not error.slow else failures + 1
            furthest = max(furthest, _size(part))
            if failures >= attempts:
                origin = _origin(part)
                goes_on = _size(part) and origin and origin.continues(url, pinned=pinned)
                kept = f"; {_size(part):,} bytes are kept and the next run goes on from there" if goes_on else ""
                raise CamstudyError(
                    f"{redact(url)}: {error} ({failures} attempts without progress){kept}. Check the connection, or"
                    " fetch the file elsewhere and give its place as file:///..."
                ) from None
            wait = min(2 ** (failures - 1) if error.wait is None else error.wait, _LONGEST_WAIT)
            print(f"{redact(url)}: {error}; trying again in {wait:g} s", file=sys.stderr, flush=True)
            time.sleep(wait)


def _download(url: str, part: Path, *, pinned: bool) -> None:
    """Make one attempt: go on with the partial file, or begin, until all that the server announced is there."""
    origin, start = _origin(part), _size(part)
    if origin is None or not origin.continues(url, pinned=pinned):
        _forget(part)
        origin, start = None, 0
    if origin and start == origin.size:
        return
    headers = {"User-Agent": "camstudy"}
    if origin and start:
        headers["Range"] = f"bytes={start}-"
        if origin.validator:
            headers["If-Range"] = origin.validator
    try:
        with open_address(url, headers, TIMEOUT) as answer:
            begins, ends, answered = _answered(url, answer)
            if origin and start and begins and not _same(origin, answered, start, begins):
                _forget(part)
                raise _Interrupted("the file changed on the server; starting over")
            if not begins:  # all of it: the server ignores ranges, or the file has changed
                _forget(part)
                write_json(_note(part), asdict(answered))
            # An answer may not say how large the whole is: what the first one said holds then.
            known = [origin.size] if origin and begins else []
            _receive(answer, part, begins, next(filter(None, [answered.size, *known, ends]), None))
    except urllib.error.HTTPError as error:
        _explain(url, error, part)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            text = f"the server's certificate is not valid ({reason}); check the address"
            raise CamstudyError(f"{redact(url)}: {text}") from None
        if not isinstance(error, OSError):
            # Its message may be a piece of the address, or the server's own words.
            reason = f"the server's answer is not HTTP ({type(error).__name__})"
        raise _Interrupted(reason) from None


def _answered(url: str, answer: http.client.HTTPResponse) -> tuple[int, int | None, _Origin]:
    """Return where an answer begins in the file and where it ends, if it says so, and what file it says it is."""
    tag = answer.headers.get("ETag")
    validator = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")
    length = answer.headers.get("Content-Length")
    if answer.status != 206:
        return 0, None, _Origin(_address(url), validator, int(length) if length and length.isdecimal() else None)
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if found is None:
        raise _Interrupted("the server sent a part without saying which")
    size = None if found[3] == "*" else int(found[3])
    return int(found[1]), int(found[2]) + 1, _Origin(_address(url), validator, size)


def _same(origin: _Origin, answered: _Origin, start: int, begins: int) -> bool:
    """Whether a partial answer continues the partial file; servers may ignore the condition on a range."""
    pairs = [(origin.validator, answered.validator), (origin.size, answered.size)]
    return begins == start and all(before == now for before, now in pairs if None not in (before, now))


def _receive(answer: http.client.HTTPResponse, part: Path, start: int, size: int | None) -> None:
    name = part.name.removesuffix(".part")
    progress = tqdm(total=size, initial=start, desc=name, unit="B", unit_scale=True, mininterval=10)
    since, received = time.monotonic(), 0
    with part.open("ab" if start else "wb") as file, progress:
        # What there is, as waiting for a whole block would take for ever where bytes drip in.
        while block := answer.read1(BLOCK):
            file.write(block)
            progress.update(len(block))
            received += len(block)
            if (passed := time.monotonic() - since) >= PATIENCE:
                if received < LEAST_RATE * passed:
                    raise _Interrupted(f"only {received:,} bytes came in {passed:.0f} s", slow=True)
                since, received = time.monotonic(), 0
    if size is not None and _size(part) != size:
        raise _Interrupted(f"the connection ended after {_size(part):,} of {size:,} bytes")


def _explain(url: str, error: urllib.error.HTTPError, part: Path) -> None:
    """Raise what an HTTP error means: to try again, or to give up."""
    if error.code == 416:  # the partial file is not a part of what is there now
        _forget(part)
        raise _Interrupted("the file changed on the server; starting over") from None
    # In HTTP's words: the server's own, or urllib's, may repeat an address.
    what = f"HTTP {error.code} {http.client.responses.get(error.code, '')}".rstrip()
    if error.code in _PASSING:
        wait = error.headers.get("Retry-After", "")
        raise _Interrupted(what, float(wait) if wait.isdecimal() else None) from None
    if error.code == 401:
        advice = "put user and password into ~/.netrc, which are sent by https"
    elif 300 <= error.code < 400:
        advice = "it redirects in circles, or to what is no http; correct the address"
    else:
        advice = "correct the address, or ask for access"
    raise CamstudyError(f"{redact(url)}: {what}; {advice}") from None


def _copy(url: str, part: Path) -> None:
    parts = urlsplit(url)
    source = Path(urllib.request.url2pathname(parts.path))
    if parts.netloc not in ("", "localhost") or not source.is_file():
        raise CamstudyError(f"{redact(url)}: no such file on this machine; write file:// and a path that begins with /")
    _forget(part)
    shutil.copyfile(source, part)


def _address(url: str) -> str:
    return hashlib.sha256(identity(url).encode()).hexdigest()


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _origin(part: Path) -> _Origin | None:
    try:
        return _Origin(**read_json(_note(part)))
    except (CamstudyError, TypeError):
        return None


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _forget(part: Path) -> None:
    # Either may be a folder, if something else made it.
    remove(part)
    remove(_note(part))
