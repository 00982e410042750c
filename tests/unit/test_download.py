"""Downloads from a real server in a thread: cut, resumed, changed, refused, damaged."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from camstudy.core import download
from camstudy.core.download import fetch
from camstudy.core.errors import CamstudyError

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/weights.pth"  # the discard port: nothing listens


class Server:
    """Serves one file with a list of faults, one per request, then without; notes the requests."""

    def __init__(self):
        self.content, self.etag, self.date = CONTENT, '"one"', "Mon, 01 Jan 2024 00:00:00 GMT"
        self.ranges = self.length = self.obeys_condition = self.total = True
        self.faults, self.requests, self.stopped = [], [], threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(dict(self.headers))
                server.answer(self, server.faults.pop(0) if server.faults else {})

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/files/weights.pth"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler, fault):
        if "words" in fault:  # of the server's own, in the place of `200 OK`
            handler.wfile.write(f"HTTP/1.1 {fault['words']}\r\n\r\n".encode())
            handler.close_connection = True
            return
        if "status" in fault:
            handler.send_response(fault["status"])
            for name, value in fault.get("headers", {}).items():
                handler.send_header(name, value)
            handler.end_headers()
            return
        wanted = handler.headers.get("Range") if self.ranges else None
        condition = handler.headers.get("If-Range")
        if wanted and self.obeys_condition and condition not in (None, self.etag, self.date):
            wanted = None
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if start >= len(self.content):
            handler.send_response(416)
            handler.end_headers()
            return
        handler.send_response(206 if wanted else 200)
        body = self.content[start:]
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        if wanted:
            handler.send_header(
                "Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content) if self.total else '*'}"
            )
        if self.etag:
            handler.send_header("ETag", self.etag)
        if self.date:
            handler.send_header("Last-Modified", self.date)
        handler.end_headers()
        if "drip" in fault:
            for position in range(len(body)):
                if self.stopped.wait(fault["drip"]):
                    break
                handler.wfile.write(body[position : position + 1])
                handler.wfile.flush()
        handler.wfile.write(body[: fault.get("cut", len(body))])
        handler.close_connection = True

    @property
    def asked_ranges(self):
        return [headers.get("Range") for headers in self.requests]


@pytest.fixture
def server():
    made = Server()
    yield made
    made.stopped.set()
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Note the waits between attempts instead of waiting."""
    noted = []
    monkeypatch.setattr(download.time, "sleep", noted.append)
    return noted


def only(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_download(server, tmp_path, waits):
    path = tmp_path / "a" / "b" / "weights.pth"
    assert fetch(server.url, path) == SHA256
    assert path.read_bytes() == CONTENT
    assert only(path.parent) == ["weights.pth"]
    assert (len(server.requests), waits) == (1, [])


@pytest.mark.parametrize("place", ["file", "file.part", "file.part.json"])
def test_a_folder_in_the_place_of_a_file_makes_way(server, tmp_path, place):
    (tmp_path / place / "within").mkdir(parents=True)
    assert fetch(server.url, tmp_path / "file") == SHA256
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert only(tmp_path) == ["file"]


def test_a_cut_download_is_resumed_where_it_ended(server, tmp_path, capfd):
    server.faults = [{"cut": 100_000}, {"cut": 50_000}]
    path = tmp_path / "weights.pth"
    assert fetch(server.url, path, SHA256) == SHA256
    assert path.read_bytes() == CONTENT
    assert server.asked_ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert [headers.get("If-Range") for headers in server.requests] == [None, '"one"', '"one"']
    assert only(tmp_path) == ["weights.pth"]
    assert "the connection ended after 100,000 of 300,000 bytes; trying again in 1 s" in capfd.readouterr().err


def test_the_next_call_goes_on_with_what_the_last_one_left(server, tmp_path):
    server.faults = [{"cut": 100_000}]
    path = tmp_path / "weights.pth"
    with pytest.raises(CamstudyError, match="100,000 bytes are kept and the next run goes on from there"):
        fetch(server.url, path, attempts=1)
    assert only(tmp_path) == ["weights.pth.part", "weights.pth.part.json"]
    assert fetch(server.url, path) == SHA256
    assert server.asked_ranges == [None, "bytes=100000-"]
    assert only(tmp_path) == ["weights.pth"]


def test_as_many_cuts_as_it_takes_while_there_is_progress(server, tmp_path, waits):
    server.faults = [{"cut": 30_000}] * 9
    assert fetch(server.url, tmp_path / "w", attempts=2) == SHA256
    assert len(server.requests) == 10
    assert waits == [1] * 9


def test_a_date_tells_that_the_file_is_the_same_where_there_is_no_strong_tag(server, tmp_path):
    server.etag = 'W/"weak"'
    server.faults = [{"cut": 1000}]
    assert fetch(server.url, tmp_path / "w") == SHA256
    assert server.asked_ranges == [None, "bytes=1000-"]
    assert server.requests[1].get("If-Range") == server.date


def test_without_tag_date_and_length_it_begins_anew(server, tmp_path):
    server.etag = server.date = None
    server.length = False
    path = tmp_path / "w"
    (tmp_path / "w.part").write_bytes(OTHER[:1000])
    assert fetch(server.url, path) == SHA256
    assert server.asked_ranges == [None]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    server.faults = [{"cut": 100_000}]
    assert fetch(server.url, tmp_path / "w") == SHA256
    assert server.asked_ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize("obeys_condition", [True, False])
@pytest.mark.parametrize("shrunk", [False, True])
def test_a_file_that_changed_in_between_is_not_mixed(server, tmp_path, monkeypatch, obeys_condition, shrunk):
    new = OTHER[:90_000] if shrunk else OTHER
    server.obeys_condition = obeys_condition
    server.faults = [{"cut": 100_000}]

    def change(_):
        server.content, server.etag, server.date = new, '"two"', "Tue, 02 Jan 2024 00:00:00 GMT"

    monkeypatch.setattr(download.time, "sleep", change)
    path = tmp_path / "w"
    assert fetch(server.url, path) == hashlib.sha256(new).hexdigest()
    assert path.read_bytes() == new
    assert only(tmp_path) == ["w"]


def test_a_changed_size_is_noticed_without_tag_and_date(server, tmp_path, monkeypatch):
    server.etag = server.date = None
    server.faults = [{"cut": 100_000}]
    monkeypatch.setattr(download.time, "sleep", lambda _: setattr(server, "content", OTHER + b"more"))
    fetch(server.url, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == OTHER + b"more"


def test_a_file_of_the_same_size_is_not_mixed_without_tag_and_date(server, tmp_path, monkeypatch):
    server.etag = server.date = None
    server.faults = [{"cut": 100_000}]
    monkeypatch.setattr(download.time, "sleep", lambda _: setattr(server, "content", OTHER))
    assert fetch(server.url, tmp_path / "w") == hashlib.sha256(OTHER).hexdigest()
    assert server.asked_ranges == [None, None]


def test_a_mixture_of_two_files_has_another_checksum_than_the_pin(server, tmp_path, monkeypatch):
    server.etag = server.date = None
    server.faults = [{"cut": 100_000}]
    monkeypatch.setattr(download.time, "sleep", lambda _: setattr(server, "content", OTHER))
    with pytest.raises(CamstudyError, match="nothing was kept"):
        fetch(server.url, tmp_path / "w", SHA256)
    assert server.asked_ranges == [None, "bytes=100000-"]
    assert only(tmp_path) == []


@pytest.mark.parametrize("length", [True, False])
def test_a_rest_of_unknown_total_counts_as_whole_only_when_it_is(server, tmp_path, length):
    server.total, server.length = False, length
    server.faults = [{"cut": 100_000}, {"cut": 50_000}]
    # Without a length, what comes first and is cut off cannot be told from a whole file.
    server.faults = server.faults if length else [{"status": 503}]
    if not length:
        part = tmp_path / "w.part"
        part.write_bytes(CONTENT[:100_000])
        origin = {"address": download._address(server.url), "validator": '"one"', "size": None}
        download.write_json(tmp_path / "w.part.json", origin)
        server.faults = [{"cut": 50_000}]
    assert fetch(server.url, tmp_path / "w") == SHA256
    assert server.asked_ranges[-2:] == ["bytes=100000-", "bytes=150000-"]


def test_a_server_that_drips_is_not_waited_for_without_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.1)
    server.faults = [{"drip": 0.01}] * 9
    with pytest.raises(CamstudyError, match=r"only [0-9]+ bytes came in [0-9]+ s \(3 attempts without progress\)"):
        fetch(server.url, tmp_path / "w", attempts=3)
    assert len(server.requests) == 3


def test_a_part_of_another_address_is_not_continued(server, tmp_path):
    server.faults = [{"cut": 100_000}]
    with pytest.raises(CamstudyError):
        fetch(server.url, tmp_path / "w", attempts=1)
    fetch(server.url.replace("weights", "others"), tmp_path / "w")
    assert server.asked_ranges == [None, None]
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_killed_between_the_last_byte_and_the_renaming(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(download, "sha256_file", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fetch(server.url, tmp_path / "w")
    assert fetch(server.url, tmp_path / "w", SHA256) == SHA256
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [404, 403, 410])
def test_what_is_not_there_fails_at_once(server, tmp_path, waits, status):
    server.faults = [{"status": status}] * 9
    with pytest.raises(CamstudyError, match=rf"weights\.pth: HTTP {status} .*; correct the address"):
        fetch(server.url, tmp_path / "w")
    assert (len(server.requests), waits, only(tmp_path)) == (1, [], [])


def test_a_busy_server_is_asked_again_with_growing_waits(server, tmp_path, waits):
    server.faults = [{"status": 503}, {"status": 503}, {"status": 429, "headers": {"Retry-After": "7"}}]
    assert fetch(server.url, tmp_path / "w") == SHA256
    assert waits == [1, 2, 7]


def test_attempts_end(server, tmp_path, waits):
    server.faults = [{"status": 503}] * 99
    with pytest.raises(CamstudyError, match=r"HTTP 503 .* \(3 attempts without progress\)\. Check the connection"):
        fetch(server.url, tmp_path / "w", attempts=3)
    assert (len(server.requests), waits) == (3, [1, 2])


def test_no_connection(tmp_path, waits):
    with pytest.raises(CamstudyError, match=rf"{NOWHERE}: .*refused.* \(4 attempts without progress\)"):
        fetch(NOWHERE, tmp_path / "w")
    assert waits == [1, 2, 4]


def test_a_wrong_checksum_keeps_nothing(server, tmp_path):
    with pytest.raises(CamstudyError, match=f"its sha256 is {SHA256}, expected {'0' * 64}; nothing was kept"):
        fetch(server.url, tmp_path / "w", "0" * 64)
    assert only(tmp_path) == []


def test_a_file_that_is_there_is_fetched_again_unless_it_is_the_wanted_one(server, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(CONTENT)
    assert fetch(server.url, path, SHA256.upper()) == SHA256
    assert server.requests == []
    path.write_bytes(OTHER)
    assert fetch(server.url, path, SHA256) == SHA256
    assert path.read_bytes() == CONTENT
    fetch(server.url, path)
    assert len(server.requests) == 2


def test_local_addresses(tmp_path):
    source = tmp_path / "with space.pth"
    source.write_bytes(CONTENT)
    assert fetch(source.as_uri(), tmp_path / "out" / "w", SHA256) == SHA256
    assert (tmp_path / "out" / "w").read_bytes() == CONTENT
    with pytest.raises(CamstudyError, match="nothing was kept"):
        fetch(source.as_uri(), tmp_path / "out" / "x", "0" * 64)
    assert only(tmp_path / "out") == ["w"]
    assert source.read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///nowhere/w.pth", "file://relative/w.pth", "file:///tmp"])
def test_local_addresses_of_nothing(tmp_path, url):
    with pytest.raises(CamstudyError, match=f"{url}: no such file on this machine"):
        fetch(url, tmp_path / "w")


# ---- secrets in addresses, and credentials

SECRET = "s3cr3t"
SIGNATURE = f"?X-Amz-Expires=60&X-Amz-Signature={SECRET}"


def failure(url, path, capfd, *arguments, **options):
    """Return the message with which a download fails, after a look for the secret in all that can be seen."""
    with pytest.raises(CamstudyError) as caught:
        fetch(url, path, *arguments, **options)
    shown = [str(caught.value), *capfd.readouterr(), *(file.read_text("latin-1") for file in path.parent.glob("w*"))]
    assert SECRET not in "".join(shown)
    assert "0123" not in str(caught.value)  # of another address
    return str(caught.value)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([{"status": 403}], "HTTP 403 Forbidden; correct"),
        ([{"status": 401}], "HTTP 401 Unauthorized; put user and password into ~/.netrc"),
        ([{"status": 503}] * 4, r"HTTP 503 Service Unavailable \(4 attempts"),
        ([{"cut": 100}] + [{"cut": 0}] * 4, r"the connection ended after 100 of 300,000 bytes .*100 bytes are kept"),
        ([], "its sha256 is"),
        ([{"words": f"404 no /weights.pth{SIGNATURE}"}], "HTTP 404 Not Found; correct"),
        ([{"words": f"GET /weights.pth{SIGNATURE}"}] * 4, r"not HTTP \(BadStatusLine\)"),
    ],
)
def test_a_signature_is_in_no_message_progress_or_note(server, tmp_path, capfd, faults, message):
    server.faults = faults
    found = failure(server.url + SIGNATURE, tmp_path / "w", capfd, "0" * 64)
    assert found.startswith(f"{server.url}?...: ")
    assert re.search(message, found)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("ftp://host.org/w?X-Amz-Signature=0123", "ftp://host.org/w?..., which is not followed"),
        ("http://me:0123@127.0.0.1/w", "http://127.0.0.1/w, which is not followed"),
        ("//me:0123@127.0.0.1/w", "http://127.0.0.1/w, which is not followed"),
        ("http://me:0123x", "http://.../, which is not followed"),
        ("http://[0123/w", "a malformed address"),
        ("file:///etc/0123", "HTTP 302 Found; it redirects in circles, or to what is no http"),
        ("http://127.0.0.1:9/w?X-Amz-Signature=0123", "refused"),
        ("/w?X-Amz-Signature=0123", "HTTP 302 Found; it redirects in circles"),
    ],
)
def test_nor_is_one_that_a_server_redirects_to(server, tmp_path, capfd, location, shown):
    server.faults = [{"status": 302, "headers": {"Location": location}}] * 99
    found = failure(server.url + SIGNATURE, tmp_path / "w", capfd, attempts=1)
    assert found.startswith(f"{server.url}?...: ")
    assert shown in found


def test_a_download_goes_on_with_another_signature_and_not_with_another_file(server, tmp_path):
    server.faults = [{"cut": 100_000}]
    with pytest.raises(CamstudyError):
        fetch(server.url + SIGNATURE, tmp_path / "w", attempts=1)
    assert fetch(f"{server.url}?X-Amz-Signature=other", tmp_path / "w") == SHA256
    assert server.asked_ranges == [None, "bytes=100000-"]
    server.faults = [{"cut": 100_000}]
    with pytest.raises(CamstudyError):
        fetch(f"{server.url}?file=a", tmp_path / "w", attempts=1)
    fetch(f"{server.url}?file=b", tmp_path / "w")
    assert server.asked_ranges == [None, "bytes=100000-", None, None]


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """Return a function that writes a netrc and makes it the user's."""

    def write(text):
        path = tmp_path / "netrc"
        path.write_text(text)
        monkeypatch.setenv("NETRC", str(path))

    return write


def sent(server):
    return [headers.get("Authorization") for headers in server.requests]


def test_credentials_of_netrc_go_to_their_host(server, tmp_path, credentials):
    basic = "Basic bWU6czNjcjN0"  # me:s3cr3t
    credentials(f"machine 127.0.0.1 login me password {SECRET}\nmachine b.org login b password b\n")
    server.faults = [{"cut": 100_000}, {"status": 302, "headers": {"Location": "/elsewhere"}}]
    assert fetch(server.url, tmp_path / "w") == SHA256
    assert sent(server) == [basic] * 3
    assert server.asked_ranges == [None, "bytes=100000-", "bytes=100000-"]


def test_credentials_of_netrc_go_nowhere_else(server, tmp_path, credentials, monkeypatch):
    credentials(f"machine 127.0.0.1 login me password {SECRET}\ndefault login me password {SECRET}\n")
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    other = Server()
    for location in (elsewhere, other.url):  # another name, another port
        server.faults = [{"status": 302, "headers": {"Location": location}}]
        server.requests.clear()
        assert fetch(server.url, tmp_path / "w") == SHA256
        first, *others = sent(server) + sent(other)
        assert first.startswith("Basic")
        assert others == [None]
    other.http.shutdown()
    other.http.server_close()
    # `default` is for any host.
    fetch(elsewhere, tmp_path / "w")
    assert sent(server)[-1] is None
    # Without encryption, they stay on this machine.
    monkeypatch.setattr("camstudy.core.credentials._THIS_MACHINE", ())
    fetch(server.url, tmp_path / "w")
    assert sent(server)[-1] is None


def test_no_netrc_is_none_and_a_broken_one_is_not_quoted(server, tmp_path, credentials, monkeypatch, capfd):
    credentials(f"machine 127.0.0.1 login me password\n{SECRET} {SECRET}\n")
    assert "netrc: near line 3, it is not as netrc has it" in failure(server.url, tmp_path / "w", capfd)
    monkeypatch.setenv("NETRC", str(tmp_path))
    assert "cannot be read (IsADirectoryError)" in failure(server.url, tmp_path / "w", capfd)
    assert server.requests == []
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert fetch(server.url, tmp_path / "w") == SHA256
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    (tmp_path / "home/.netrc").chmod(0o644)
    assert "others may read" in failure(server.url, tmp_path / "w", capfd)
    (tmp_path / "home/.netrc").chmod(0o600)
    fetch(server.url, tmp_path / "w")
    assert sent(server) == [None, "Basic bWU6czNjcjN0"]


@pytest.mark.parametrize("address", ["http://me:s3cr3t@127.0.0.1:9/w", "http://127.0.0.1:9/s3 w", "http://[s3cr3t/w"])
def test_addresses_that_are_not_asked(tmp_path, waits, address):
    with pytest.raises(CamstudyError, match="cannot be fetched; it ") as caught:
        fetch(address, tmp_path / "w")
    assert SECRET not in str(caught.value)
    assert waits == []


@pytest.mark.parametrize("url", ["ftp://host/w.pth", "weights.pth", ""])
def test_other_addresses(tmp_path, url):
    with pytest.raises(CamstudyError, match="cannot be fetched; give an address"):
        fetch(url, tmp_path / "w")
