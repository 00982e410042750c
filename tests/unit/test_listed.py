"""Tables, lists of classes and boxes of one's own photographs: of any program, and their mistakes with the line."""

import re

import pytest
from test_folder import labels, tree, write

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.files import Files
from camstudy.data.formats.folder import read_folder
from camstudy.data.formats.photographs import readable


def test_a_table_has_labels_names_and_boxes(tmp_path):
    text = "file,label,name,x0,y0,x1,y1\nb.png,7,Siamese,1,0,3,2\na/c.png,2,Tabby,0,0,1,1\nb.png,7,Siamese,3,1,6,4\n"
    tree(tmp_path, "b.png", "a/c.png", "other.png", t_csv=text)
    found = read_folder(tmp_path, labels="t.csv", boxes=True)
    assert labels(found) == {"b.png": 7, "a/c.png": 2}
    assert (found.class_names[2], found.class_names[7], found.class_names[0], len(found.class_names)) == (
        "Tabby",
        "Siamese",
        "0",
        8,
    )
    boxes = {item.name: item.boxes.tolist() for item in found.photographs}
    assert boxes == {"b.png": [[0, 1, 2, 3], [1, 3, 4, 6]], "a/c.png": [[0, 0, 1, 1]]}


def test_a_file_of_classes_gives_numbers_and_names(tmp_path):
    tree(tmp_path, "dog/a.png", "cat/b.png", c_txt="# mine\nwolf\ncat,House cat\ndog,Domestic dog\n")
    found = read_folder(tmp_path, classes="c.txt", num_classes=3)
    assert labels(found) == {"cat/b.png": 1, "dog/a.png": 2}
    assert found.class_names == ["wolf", "House cat", "Domestic dog"]
    tree(tmp_path, "fox/a.png")
    with pytest.raises(CamstudyError, match=r"fox/a\.png: unknown class in `c\.txt`: `fox`"):
        read_folder(tmp_path, classes="c.txt")
    with pytest.raises(CamstudyError, match="has 3 classes, expected 5; correct `num_classes`"):
        read_folder(tmp_path, num_classes=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\na.png,1\n", "t.csv, line 1: has no column label, but file, class; name the columns file, label"),
        ("file,label\na.png,\n", "t.csv, line 2: has no label; give one, or leave out the line"),
        ("file,label\na.png,1\na.png,1\n", "t.csv, line 3: a.png is there twice; keep one line of it"),
        ("file,label\na.png,1\na.png,2\n", "line 3: a.png has the label 2, and above 1; keep one of them"),
        ("file,label\nx.png,1\ny.png,1\n", "t.csv: names images that are not there: x.png, y.png; correct the names"),
        ("file,label\n", "t.csv: has no lines; add one for each image"),
        ("file,label\na.png,tiger, big\n", "line 2: has 3 values for 2 columns; put those with a ',' in them into"),
        ('file,label\na.png,"cat\nb.png,1\n', "line 3: is no line of a table (unexpected end of data); look for a"),
        ("file,label,label\na.png,1,2\n", "t.csv, line 1: has column label twice; keep one of them"),
        ("file,label,name\na.png,1,cat\nb.png,1,dog\n", "line 3: calls the class 1 'dog', and above 'cat'; keep one"),
        ("file,label\na.png,1.0\nb.png,2.0\n", "the label 1.0 is no whole number from 0, as numbers of classes are"),
        ("file,label\na.png,-1\nb.png,2\n", "the label -1 is no whole number from 0"),
        (f"file,label\na.png,{'x' * 140000}\n", "line 2: is no line of a table (field larger than field limit"),
        ("file,label\nphotos/a.png,1\n", "not there: photos/a.png; correct the names, which are like a.png"),
    ],
)
def test_mistakes_in_tables_are_told_with_their_line(tmp_path, text, message):
    tree(tmp_path, "a.png", "b.png", t_csv=text)
    with pytest.raises(CamstudyError, match=re.escape(message)):
        read_folder(tmp_path, labels="t.csv")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("file,label\na.png,cat\nd/ü 1.png,dog\n", "utf-8-sig"),
        ("file;label\na.png;cat\nd/ü 1.png;dog\n", "utf-8"),  # a spreadsheet's, in most of Europe
        ("File\tLabel\r\na.png\tcat\r\n\t\r\nd/ü 1.png\tdog\r\n", "utf-8"),
        ('file, label\n./a.png, "cat"\n\n,,\nd\\ü 1.png,dog\n', "utf-8"),
        ("file,label\n{root}/a.png,cat\nd/u\u0308 1.png,dog\n", "utf-8"),  # with accents of their own, as of macOS
    ],
)
def test_tables_of_all_programs_are_read(tmp_path, text, encoding):
    tree(tmp_path, "a.png", "d/ü 1.png", "other.png")
    (tmp_path / "t.csv").write_bytes(text.replace("{root}", str(tmp_path)).encode(encoding))
    found = read_folder(tmp_path, labels="t.csv")
    assert labels(found) == {"a.png": 0, "d/ü 1.png": 1}
    assert found.class_names == ["cat", "dog"]
    tree(tmp_path, l_txt="./d/u\u0308 1.png\na.png\n")
    some = read_folder(tmp_path, labels={"./a.png": "cat", "d/u\u0308 1.png": "dog"}, subset="l.txt")
    assert [(item.name, item.label) for item in some.photographs] == [("d/ü 1.png", 1), ("a.png", 0)]


@pytest.mark.parametrize(
    ("lines", "folder", "expected"),
    [
        ("0\n1\n2", "002", 2),  # zeros before a number
        ("a\nb\nc", "01", 1),
        ("2,two\n1,one\n0,zero", "1", 1),
        ("2,two\n1,one\n0,zero", "0", 2),  # the line that says so, not the one at this place
        ('"a, b",Alpha\nc', "a, b", 0),
        ("c\nc\nd", "c", "c.txt: has the class c twice; keep one line of each"),
        ("c\nd", "2", "unknown class in `c.txt`: `2`; valid names: 0, 1"),
        ("# none", "c", "c.txt: has no lines; add some, or leave it out"),
    ],
)
def test_lines_of_classes_are_found_by_what_they_say(tmp_path, lines, folder, expected):
    tree(tmp_path, f"{folder}/x.png", c_txt=lines)
    if isinstance(expected, int):
        assert labels(read_folder(tmp_path, classes="c.txt")) == {f"{folder}/x.png": expected}
    else:
        with pytest.raises(CamstudyError, match=re.escape(expected)):
            read_folder(tmp_path, classes="c.txt")


def test_fractions_and_numbers_beyond_all_images_are_no_boxes(tmp_path):
    lines = "a.png,1,0.1,0,0.5,1.0", "b.png,1,0,0,1e300,4", "c.png,1,0,0,1,1", "d.png,1,0.5,0,2.5,4"
    tree(tmp_path, *(f"{each}.png" for each in "abcd"), t_csv="\n".join(["file,label,x0,y0,x1,y1", *lines]))
    kept, texts = readable(Files(tmp_path), read_folder(tmp_path, labels="t.csv", boxes=True).photographs)
    assert sorted(item.name for item in kept) == ["c.png", "d.png"]
    assert sorted(text.partition("line ")[2] for text in texts) == [
        "2: found x0 '0.1', y0 '0', x1 '0.5', y1 '1.0', fractions of the image; multiply them by its width and height",
        "3: found x0 '0', y0 '0', x1 '1e300', y1 '4', expected four numbers of pixels",
    ]


def test_boxes_that_are_none_are_told(tmp_path):
    message = "line 3: `x1` is 'x', expected a number"
    tree(tmp_path, "a.png", "b.png", t_csv="file,label,x0,y0,x1,y1\nb.png,1,1,0,2,4\na.png,1,1,0,x,4\n")
    found = read_folder(tmp_path, labels="t.csv", boxes=True)
    kept, (text,) = readable(found.files, found.photographs)
    assert [item.name for item in kept] == ["b.png"]
    assert message in text
    with pytest.raises(CamstudyError, match=message):
        write(tmp_path / "d.json", found.files, found.photographs)


def test_an_empty_box_costs_its_image_alone(tmp_path):
    lines = "a.png,1,1,0,1,4", "b.png,1,0,0,1,1", "c.png,1,3,0,2,4"
    tree(tmp_path, "a.png", "b.png", "c.png", t_csv="\n".join(["file,label,x0,y0,x1,y1", *lines]))
    kept, texts = readable(Files(tmp_path), read_folder(tmp_path, labels="t.csv", boxes=True).photographs)
    assert [item.name for item in kept] == ["b.png"]
    texts.sort()
    told = "ends before it begins, though the last pixel counts; correct it in the annotations"
    assert texts[0].endswith(f"a.png: the box of top, left, bottom, right [0, 1, 4, 1] {told}")
    assert texts[1].endswith(f"c.png: the box of top, left, bottom, right [0, 3, 4, 2] {told}")
