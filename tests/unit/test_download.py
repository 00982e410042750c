"""Downloads from a real server in a thread: cut, resumed, changed, refused, damaged."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from camstudy import download
from camstudy.download import fetch
from camstudy.errors import CamstudyError

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/weights.pth"  # the discard port: nothing listens


class Server:
    """Serves one file with a list of faults, one per request, then without; notes the requests."""

    def __init__(self):
        self.content, self.etag, self.date = CONTENT, '"one"', "Mon, 01 Jan 2024 00:00:00 GMT"
        self.ranges = self.length = self.obeys_condition = True
        self.faults, self.requests = [], []
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
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.etag:
            handler.send_header("ETag", self.etag)
        if self.date:
            handler.send_header("Last-Modified", self.date)
        handler.end_headers()
        handler.wfile.write(body[: fault.get("cut", len(body))])
        handler.close_connection = True

    @property
    def asked_ranges(self):
        return [headers.get("Range") for headers in self.requests]


@pytest.fixture
def server():
    made = Server()
    yield made
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


@pytest.mark.parametrize(("etag", "sent"), [(None, "Mon, 01 Jan 2024 00:00:00 GMT"), ('W/"weak"', None)])
def test_other_ways_to_know_that_the_file_is_the_same(server, tmp_path, etag, sent):
    """A date where there is no strong tag; without either, the size alone."""
    server.etag = etag
    if etag:
        server.date = None
    server.faults = [{"cut": 1000}]
    assert fetch(server.url, tmp_path / "w") == SHA256
    assert server.asked_ranges == [None, "bytes=1000-"]
    assert server.requests[1].get("If-Range") == sent


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


@pytest.mark.parametrize("url", ["ftp://host/w.pth", "weights.pth", ""])
def test_other_addresses(tmp_path, url):
    with pytest.raises(CamstudyError, match="cannot be fetched; give an address"):
        fetch(url, tmp_path / "w")
