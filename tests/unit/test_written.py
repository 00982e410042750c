import pytest
import yaml

from camstudy.core.errors import CamstudyError
from camstudy.study.written import Written, locate


@pytest.fixture
def write(tmp_path):
    def write(text, name="study.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


TEXT = """\
study: mine
models: [a, b]
methods:
  - one
  - two
base: &base
  depth: 1
catalog:
  models:
    a:
      <<: *base
      arch: net
"""


def test_content_is_what_yaml_says_and_places_have_lines(write):
    file = Written(write(TEXT))
    assert file.content == yaml.safe_load(TEXT)
    expected = {("study",): 1, ("models", 1): 2, ("methods", 1): 5, ("catalog", "models", "a", "arch"): 12}
    assert {place: file.lines[place] for place in expected} == expected
    # Where what is merged in was written.
    assert file.find(("catalog", "models", "a", "depth")) == (4, f"{file.path}, line 7")
    assert file.find(("catalog", "models", "a", "width")) == (3, f"{file.path}, line 10")
    assert file.find(("nothing",)) == (0, str(file.path))


def test_the_later_file_is_named_where_both_have_a_place(write):
    first, second = Written(write("seed: 1\nmodels: [a]\n", "a.yaml")), Written(write("\nseed: 2\n", "b.yaml"))
    assert locate([first, second], ("seed",)) == f"{second.path}, line 2"
    assert locate([first, second], ("models", 0)) == f"{first.path}, line 2"
    assert locate([first, second], ("other",)) == str(second.path)
    assert locate([], ("other",)) == ""


def test_an_empty_file_has_no_keys(write):
    assert Written(write("# nothing yet\n")).content == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("methods: [a]\nseed: 1\nmethods: [b]\n", "line 3: the key `methods` stands in line 1, too"),
        ("catalog:\n  models:\n    a: {x: 1, x: 2}\n", "line 3: the key `x` stands in line 3, too"),
        ("list:\n  - {a: 1, a: 2}\n", "line 2: the key `a` stands in line 2, too"),
        ("study: a\nmodels: [a, b\nseed: 1\n", r"line 3, column \d+: .*begins in line 2"),
        ("study: a\ncatalog:\n\tmodels: 1\n", r"line 3, column 1: .*spaces, and here is a tab"),
        ("study: a: b\n", r"line 1, column 9: mapping values are not allowed"),
        ("a: 'x\n", r"line \d, column \d: "),
        ("seed: !!python/object:os.system {}\n", r"line 1, column 7: "),
        ("- a\n- b\n", "holds list, expected keys with values"),
        ("text\n", "holds str, expected keys with values"),
        ("a: *nowhere\n", r"line 1, column 4: "),
    ],
)
def test_mistakes_are_named_with_their_line(write, text, expected):
    path = write(text)
    with pytest.raises(CamstudyError, match=expected) as error:
        Written(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(CamstudyError, match=r"nowhere\.yaml: no such file in "):
        Written("nowhere.yaml")
    with pytest.raises(CamstudyError, match="is a directory"):
        Written(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"title: caf\xe9\n")
    with pytest.raises(CamstudyError, match="is no UTF-8 text"):
        Written(tmp_path / "latin.yaml")


def test_a_link_to_itself_is_no_study(tmp_path):
    path = tmp_path / "study.yaml"
    path.symlink_to(path.name)
    with pytest.raises(CamstudyError, match=r"study\.yaml: cannot be read \(Too many levels"):
        Written(path)
