import pytest
import yaml

from camstudy.core.errors import CamstudyError
from camstudy.study.written import Places, Written, locate


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


@pytest.mark.parametrize(
    ("text", "line"),
    [("study: a\nquestion: &q [1, *q]\n", 2), ("study: a\nb:\n  c: &s {d: {e: *s}}\n", 3)],
)
def test_what_holds_itself_is_refused(write, text, line):
    with pytest.raises(CamstudyError, match=rf"line {line}: what `&` names here holds itself"):
        Written(write(text))


def test_anchors_that_hold_other_things_are_fine(write):
    file = Written(write("a: &a [1]\nb: [*a, *a]\nc: {d: *a}\n"))
    assert file.content == {"a": [1], "b": [[1], [1]], "c": {"d": [1]}}


def test_anchors_that_hold_more_than_a_study_are_refused_at_once(write):
    lines = ["a0: &a0 [1, 2, 3]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    with pytest.raises(CamstudyError, match=r"holds more than 100,000 values, as `\*` repeats what `&` names"):
        Written(write("\n".join(lines)))


def test_keys_that_yaml_reads_as_something_else_have_lines(write):
    assert Written(write("study: a\non: 1\n7: 2\n")).lines == {("study",): 1, ("True",): 2, ("7",): 3}


def test_tabs_are_refused_where_snakemake_refuses_them(write):
    with pytest.raises(CamstudyError, match=r"line 2, column 7: .*indented by spaces, and here is a tab"):
        Written(write("a: 1\nstudy:\tb\n"))
    assert Written(write('a: "b\tc"\n')).content == {"a": "b\tc"}
    assert Written(write('{\n\t"a":\t1\n}\n')).content == {"a": 1}


def test_what_is_no_number_is_where_it_was_written(write):
    path = write("study: a\nseed: .nan\n")
    assert Places(Written(path).content, [path])(("seed",)).endswith("line 2")


def test_a_link_to_itself_is_no_study(tmp_path):
    path = tmp_path / "study.yaml"
    path.symlink_to(path.name)
    with pytest.raises(CamstudyError, match=r"study\.yaml: cannot be read \(Too many levels"):
        Written(path)
