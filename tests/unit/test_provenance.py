"""Fingerprints, atomic JSON, and the list of source files that a script depends on."""

import hashlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

from camstudy import provenance
from camstudy.errors import CamstudyError
from camstudy.provenance import (
    canonical,
    fingerprint,
    imported_sources,
    read_json,
    sha256_file,
    sha256_files,
    versions,
    write_json,
)

ROOT = Path(provenance.__file__).parents[1]


def test_order_and_comments_of_a_configuration_do_not_matter():
    one = yaml.safe_load("{model: a, dcls: {kernel_size: 17, version: v1}, sizes: [1, 2]}")
    other = yaml.safe_load("# a note\nsizes: [1, 2]\ndcls:\n  version: v1  # why\n  kernel_size: 17\nmodel: a\n")
    assert canonical(one) == canonical(other)
    assert canonical({"b": 1, "a": {"d": "ü", "c": None}}) == '{"a":{"c":null,"d":"ü"},"b":1}'


@pytest.mark.parametrize(
    ("one", "other"),
    [([1, 2], [2, 1]), ({"a": 1}, {"a": "1"}), ({"a": True}, {"a": 1}), ({"a": None}, {}), (0.1, 0.10001)],
)
def test_different_content_differs(one, other):
    assert canonical(one) != canonical(other)
    assert fingerprint(x=one) != fingerprint(x=other)


def test_values_that_json_does_not_know_are_refused():
    with pytest.raises(TypeError):
        canonical({"array": np.zeros(2)})


def test_fingerprint_is_the_sha256_of_the_canonical_text():
    assert fingerprint(b=[1], a="x") == hashlib.sha256(b'{"a":"x","b":[1]}').hexdigest()
    assert fingerprint(a=1, b=2) != fingerprint(a=2, b=1)


def test_checksums_of_files(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    # The published SHA-256 of "abc".
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    both = sha256_files([tmp_path / "a", tmp_path / "b"])
    assert sha256_files([tmp_path / "b", tmp_path / "a"]) == both
    (tmp_path / "b").write_bytes(b"\n")
    assert sha256_files([tmp_path / "a", tmp_path / "b"]) != both


def test_versions_name_python_and_packages():
    assert versions("numpy")["numpy"] == np.__version__
    assert versions()["python"] == ".".join(map(str, sys.version_info[:3]))


def test_json_is_written_in_one_step(tmp_path):
    path = tmp_path / "new" / "record.json"
    write_json(path, {"b": "ü", "a": [1]})
    assert json.loads(path.read_text()) == read_json(path) == {"a": [1], "b": "ü"}
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert read_json(path) == {"a": [1], "b": "ü"}
    assert list(path.parent.iterdir()) == [path]


def test_old_json_survives_a_failing_write(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})

    def full_disk(self, text):
        with self.open("w") as file:
            file.write(text[:3])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}


def test_missing_and_broken_json_are_the_users_to_mend(tmp_path):
    path = tmp_path / "record.json"
    with pytest.raises(CamstudyError, match=r"record\.json: no such file; run the rule"):
        read_json(path)
    path.write_text('{"a": ')
    with pytest.raises(CamstudyError, match=r"record\.json: not valid JSON .*delete it"):
        read_json(path)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in place of camstudy, with a cycle, a lazy import and an unused module."""
    root = tmp_path / "camstudy"
    files = {
        "__init__.py": "",
        "a.py": "import camstudy.b as b\nfrom camstudy.sub import deep\n",
        "b.py": "from camstudy.a import thing\nimport numpy.linalg\n",
        "lazy.py": "",
        "unused.py": "",
        "sub/__init__.py": "from camstudy.c import value\n",
        "sub/deep.py": "def f():\n    from camstudy import lazy\n",
        "c.py": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(text)
    monkeypatch.setattr(provenance, "PACKAGE", root)
    return root


def names(package, script):
    path = package.parent / "script.py"
    path.write_text(textwrap.dedent(script))
    return [Path(found).relative_to(package).as_posix() for found in imported_sources(path)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("import numpy, camstudyish", []),
        ("import camstudy", ["__init__.py"]),
        ("from camstudy.c import value, lazy", ["__init__.py", "c.py"]),
        ("from camstudy import c, lazy", ["__init__.py", "c.py", "lazy.py"]),
        ("def f():\n    if True:\n        import camstudy.c", ["__init__.py", "c.py"]),
        ("import camstudy.sub", ["__init__.py", "c.py", "sub/__init__.py"]),
        (
            "from camstudy.a import x",
            ["__init__.py", "a.py", "b.py", "c.py", "lazy.py", "sub/__init__.py", "sub/deep.py"],
        ),
    ],
)
def test_imports_are_followed(package, script, expected):
    assert names(package, script) == expected


def test_sources_cover_everything_that_python_really_loads(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from camstudy.data.store import open_dataset\n")
    code = f"""
        import runpy, sys
        runpy.run_path({str(script)!r})
        print(*(m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "camstudy"), sep="\\n")
    """
    loaded = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split()
    assert imported_sources(script) == sorted(loaded.stdout.split())
