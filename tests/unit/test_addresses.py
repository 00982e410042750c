"""What is shown of addresses, what they identify, and which names of files may come out of them."""

import re
from pathlib import Path

import pytest

from camstudy.core.addresses import file_name, identity, mistake, redact, redact_text, safe_name
from camstudy.core.errors import CamstudyError

SECRET = "s3cr3t"
SIGNED = f"https://host.org/nets/a.pth?X-Amz-Expires=60&X-Amz-Signature={SECRET}"


@pytest.mark.parametrize(
    "address",
    [
        "https://zenodo.org/records/8373830/files/resnet_dcls_kernel_5_model_best.pth.tar",
        "http://127.0.0.1:8000/a@b/c.pth",
        "https://[::1]:8000/c.pth",
        "file:///data/with space/été.pth",
        "https://web.archive.org/web/2024/https://host.org/a.pth",
        "https://host.org/val-{i}.tfrecords",
        "weights.pth",
        "",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(address):
    assert redact(address) == address
    assert identity(address) == address
    assert redact_text(f"see {address} for it") == f"see {address} for it"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (SIGNED, "https://host.org/nets/a.pth?..."),
        (f"https://host.org/a.pth#{SECRET}", "https://host.org/a.pth#..."),
        (f"https://host.org/a.pth?a=b/c#{SECRET}", "https://host.org/a.pth?..."),
        (f"https://host.org?token={SECRET}", "https://host.org?..."),
        (f"https://me:{SECRET}@host.org:80/a.pth", "https://host.org:80/a.pth"),
        (f"https://{SECRET}@host.org/a.pth", "https://host.org/a.pth"),
        (f"https://me:{SECRET}@x@host.org/a.pth", "https://host.org/a.pth"),
        (f"https://me:{SECRET}/x@host.org/a.pth", "https://.../host.org/a.pth"),
        (f"https://me:{SECRET}?x@host.org/a.pth", "https://...?..."),
        (f"https://me:12?{SECRET}@host.org/a.pth", "https://...?..."),
        (f"https://me:{SECRET}", "https://..."),
        (f"https:/me:{SECRET}@host.org/a.pth", "https:/host.org/a.pth"),
        (f"me:{SECRET}@host.org/a.pth", "host.org/a.pth"),
        (f"host.org/a.pth?token={SECRET}", "host.org/a.pth?..."),
        (f"https://a.org/https://me:{SECRET}@b.org/a.pth", "https://a.org/b.org/a.pth"),
        (f"https://host.org/a.pth?x={SECRET}\n{SECRET}", "https://host.org/a.pth?..."),
        ("https://host.org/\x1b[2Ja\n", "https://host.org/\ufffd[2Ja\ufffd"),
    ],
)
def test_what_may_be_secret_is_not_shown(address, shown):
    assert redact(address) == shown
    assert SECRET not in identity(address.partition("\n")[0])


def test_addresses_in_the_texts_of_others():
    text = f"403 Forbidden for url: {SIGNED} (Request ID: 7), before http://me:{SECRET}@proxy:3128"
    expected = "403 Forbidden for url: https://host.org/nets/a.pth?... (Request ID: 7), before http://proxy:3128"
    assert redact_text(text) == expected


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Algorithm=AWS4&X-Amz-Credential={}%2Fus&X-Amz-Date={}&X-Amz-Expires=9&X-Amz-Signature={}",
        "X-Goog-Signature={}&X-Goog-Date={}",
        "sv=2024-01-01&se={}&sr=b&sp=r&sig={}",
        "Expires={}&Signature={}&Key-Pair-Id=K",
        "access_token={}",
        "api_key={}",
    ],
)
def test_another_signature_means_the_same_file(query):
    address = "https://host.org/a.pth?id=7&" + query
    one, two = (identity(address.replace("{}", value)) for value in ("one", "two"))
    assert one == two
    # Without the signature, it is still that file.
    assert one.partition("#")[2] == identity("https://host.org/a.pth?id=7").partition("#")[2]
    assert identity(address.replace("id=7", "id=8")) != one


def test_a_query_that_names_the_file_counts_unless_a_checksum_does():
    one, two = (f"https://host.org/get?file={name}&st=1" for name in "ab")
    assert identity(one) != identity(two)
    assert identity(one).startswith("https://host.org/get?...#")
    assert identity(one, "0" * 64) == identity(two, "0" * 64) == "https://host.org/get?..."


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (f"https://me:{SECRET}@host.org/a", "put them into ~/.netrc, .* `machine host.org login"),
        ("https://me@host.org/a", "user name or password"),
        (f"https://me:{SECRET}/@host.org/a", "malformed"),
        ("https://[::1/a", "malformed"),
        ("https://host.org/a b", "%20"),
        ("https://host.org/é", "%20"),
        ("ftp://host.org/a", "begins with https://"),
        ("a", "begins with https://"),
    ],
)
def test_mistakes_are_told_without_the_secret(address, text):
    assert re.search(text, mistake(address))
    assert SECRET not in mistake(address)


@pytest.mark.parametrize(
    "address", [SIGNED, "https://host.org", "file:///with space/é", "https://host.org:80/a?b c=%20"]
)
def test_addresses_without_mistakes(address):
    assert mistake(address.replace(" ", "%20") if address.startswith("https") else address) is None


HOSTILE = {
    "..%2F..%2FSnakefile": "'../../Snakefile'",
    "%2Ftmp%2Fx": "'/tmp/x'",
    "a%2f..%2f..%2fx": "'a/../../x'",
    "..": "'..'",
    ".": "'.'",
    "%2e%2e": "'..'",
    ".bashrc": "'.bashrc'",
    "-rf": "'-rf'",
    "%00": r"'\x00'",
    "a%00.pth": r"'a\x00.pth'",
    "a%0Ab": r"'a\nb'",
    "a%1B%5B2J": r"'a\x1b[2J'",
    "%E2%80%AEhtp.a": r"'\u202ehtp.a'",
    "..%5C..%5Cx": r"'..\\..\\x'",
    "a\\b": r"'a\\b'",
    "%FF": r"'\x00'",
    "a" * 201: "longer than 200 bytes",
    "%C3%A9" * 101: "longer than 200 bytes",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_mean_another_place_are_refused_with_the_address(name):
    for query in ("", f"?token={SECRET}"):
        address = f"https://host.org/nets/{name}{query}"
        with pytest.raises(CamstudyError) as caught:
            file_name(address, "weights")
        assert str(caught.value).startswith(f"{redact(address)}: ")
        assert HOSTILE[name] in str(caught.value)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://host.org/nets/a.pth.tar?x=/../b", "a.pth.tar"),
        ("https://host.org/a%20b%C3%A9.pth#c/d", "a bé.pth"),
        ("https://host.org/..%252Fx", None),
        ("https://host.org/%252Ftmp", "%2Ftmp"),
        ("https://host.org/" + "a" * 200, "a" * 200),
        ("https://host.org/", "weights"),
        ("https://host.org", "weights"),
        ("https://host.org/get/?file=..%2Fx", "weights"),
        ("file:///data/a~b+c.pth", "a~b+c.pth"),
    ],
)
def test_other_names_are_those_of_the_address(address, name, tmp_path):
    if name is None:
        with pytest.raises(CamstudyError, match=r"'\.\.%2Fx'"):
            file_name(address, "weights")
        return
    assert file_name(address, "weights") == name
    (tmp_path / f".{name}.part.json.1234567.tmp").touch()
    assert Path(tmp_path, name).parent == tmp_path


def test_no_name_is_no_name():
    with pytest.raises(CamstudyError):
        safe_name("", "https://host.org/a.zip")
