"""Data sets with boxes in miniature, in the files of their distributors: each box against the numbers in them."""

import io

import numpy as np
import pytest
from PIL import Image
from trees import (
    CUB,
    CUB_TEST,
    LABELS,
    NAMES,
    VOC,
    VOC_ITEMS,
    annotation,
    as_classes,
    as_distributed,
    cub200,
    imagenet_boxes,
    picture,
    voc2012,
)

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.formats.boxes import cut_boxes, parse_objects
from camstudy.data.formats.cub import read_cub
from camstudy.data.formats.files import Files
from camstudy.data.formats.imagenet import read_imagenet
from camstudy.data.formats.photographs import Photograph, readable, write_photographs
from camstudy.data.formats.voc import CLASSES, read_voc


def described(photographs):
    return [(item.name.split("/")[-1].split(".")[0], item.label, item.boxes.tolist()) for item in photographs]


def write(manifest, files, photographs, **options):
    write_photographs(manifest, files, photographs, attrs=dict.fromkeys(ATTRIBUTES), identity="f", **options)
    return open_dataset(manifest)


def one_is_left_out(manifest, files, photographs):
    """Return the photographs that can be used, and what is said of the other one; without `skip` it stops all."""
    kept, texts = readable(files, photographs)
    with pytest.raises(CamstudyError) as raised:
        write(manifest, files, photographs)
    assert [str(raised.value)] == texts
    write(manifest.with_name("kept.json"), files, kept)
    return kept, texts[0]


# Pascal VOC


@pytest.mark.parametrize("packed", [False, True])
def test_voc_has_an_item_for_each_image_and_class(tmp_path, packed):
    voc2012(tmp_path, packed)
    files, photographs, classes = read_voc(tmp_path)
    assert described(photographs) == VOC_ITEMS
    assert classes == sorted(classes)
    assert (len(classes), classes[0], classes[14], classes[19]) == (20, "aeroplane", "person", "tvmonitor")
    assert files.read(photographs[2].name) == picture(48, 36)
    assert all(item.boxes.dtype == np.int64 for item in photographs)


def test_items_of_difficult_objects_can_be_kept(tmp_path):
    voc2012(tmp_path)
    _, photographs, _ = read_voc(tmp_path, keep_difficult=True)
    assert described(photographs) == [*VOC_ITEMS, ("2008_000007", 3, [[3, 3, 9, 9]])]


def test_voc_other_lists(tmp_path):
    voc2012(tmp_path)
    assert described(read_voc(tmp_path, "train")[1]) == [("2008_000001", CLASSES.index("cat"), [[0, 0, 3, 3]])]
    with pytest.raises(CamstudyError, match=r"VOC2012: has no ImageSets/Main/trainval\.txt"):
        read_voc(tmp_path, "trainval")
    with pytest.raises(CamstudyError, match=r"nowhere: has no ImageSets/Main/val\.txt"):
        read_voc(tmp_path / "nowhere")


def test_voc_files_that_are_missing_or_foreign_are_named(tmp_path):
    voc2012(tmp_path)
    base = tmp_path / "VOCdevkit/VOC2012"
    (base / "Annotations/2008_000003.xml").unlink()
    with pytest.raises(CamstudyError, match=r"lacks 1 files of its list, such as Annotations/2008_000003\.xml; fetch"):
        read_voc(tmp_path)
    (base / "ImageSets/Main/val.txt").write_text("../../../outside\n")
    (tmp_path / "outside.jpg").write_bytes(picture(9, 9))
    with pytest.raises(CamstudyError, match=r"lacks 2 files of its list, such as JPEGImages/\.\./\.\./\.\./outside"):
        read_voc(tmp_path)
    (base / "ImageSets/Main/val.txt").write_text("")
    with pytest.raises(CamstudyError, match=r"val\.txt lists no image with an object"):
        read_voc(tmp_path)


@pytest.mark.parametrize("label_sets", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (annotation("x", (48, 36), [("dogs", 3, 11, 20, 30, False)]), "unknown class `dogs`, did you mean `dog`?"),
        (b"<annotation><object>", "not an annotation in Pascal VOC's XML (no element found: line 1, column 20)"),
    ],
)
def test_voc_annotations_that_cannot_be_used_cost_their_image_alone(tmp_path, content, message, label_sets):
    voc2012(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/Annotations/2008_000003.xml").write_bytes(content)
    files, photographs, _ = read_voc(tmp_path, label_sets=label_sets)
    kept, text = one_is_left_out(tmp_path / "d.json", files, photographs)
    assert described(kept) == [item for item in VOC_ITEMS if item[0] != "2008_000003"]
    assert f"2008_000003.xml: {message}" in text


# CUB


@pytest.mark.parametrize("packed", [False, True])
def test_cub(tmp_path, packed):
    cub200(tmp_path, packed)
    files, photographs, classes = read_cub(tmp_path, num_classes=3)
    assert [(item.label, item.boxes.tolist()) for item in photographs] == CUB_TEST
    assert classes == ["Black footed Albatross", "Laysan Albatross", "Sooty Albatross"]
    assert [files.read(item.name) for item in photographs] == [picture(*row[5]) for row in CUB if not row[3]]
    _, photographs, _ = read_cub(tmp_path, num_classes=3, split="train")
    assert [(item.label, item.boxes.tolist()) for item in photographs] == [(0, [[1, 1, 10, 10]]), (1, [[0, 0, 10, 20]])]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("classes", "3 003.Sooty_Albatross\n", "", r"classes\.txt: has 2 classes, expected 1 to 3"),
        ("classes", "3 003", "4 003", r"classes\.txt: has 3 classes, expected 1 to 3"),
        ("images", "5 003", "6 003", r"image_class_labels\.txt: has other images than images\.txt, such as 5"),
        (
            "images",
            "5 003",
            "4 003",
            r"images\.txt: found the line '4 003\.Sooty.*', expected a new number and 1",
        ),
        ("images", "Sooty_Albatross_0003", "../x", r"lacks 1 images of images\.txt, such as .*\.\./x_1078\.jpg; fetch"),
        ("bounding_boxes", "5 3.0 4.0 5.0 6.0\n", "", r"boxes\.txt: has other images than images\.txt, such as 5"),
        (
            "bounding_boxes",
            "3.0 4.0 5.0 6.0",
            "3.0 4.0 5.0",
            r"the line '5 3\.0 4\.0 5\.0', expected .* 4 values",
        ),
        ("image_class_labels", "5 3", "5 4", r"image_class_labels\.txt: found 4, expected 1 to 3"),
        ("train_test_split", "5 0", "5 2", r"train_test_split\.txt: found 2, expected 0 to 1"),
        ("train_test_split", " 0", " 1", r"no test images"),
    ],
)
def test_cub_lists_that_do_not_fit_together_are_refused(tmp_path, name, old, new, message):
    cub200(tmp_path)
    path = tmp_path / f"CUB_200_2011/{name}.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CamstudyError, match=rf"CUB_200_2011.*{message}"):
        read_cub(tmp_path, num_classes=3)


@pytest.mark.parametrize("values", ["inf 4.0 5.0 6.0", "nan 4.0 5.0 6.0", "3.0 4.0 five 6"])
def test_cub_boxes_that_are_none_cost_their_image_alone(tmp_path, values):
    cub200(tmp_path)
    path = tmp_path / "CUB_200_2011/bounding_boxes.txt"
    path.write_text(path.read_text().replace("3.0 4.0 5.0 6.0", values))
    kept, text = one_is_left_out(tmp_path / "d.json", *read_cub(tmp_path, num_classes=3)[:2])
    assert [(item.label, item.boxes.tolist()) for item in kept] == CUB_TEST[:-1]
    assert text.endswith(f"boxes.txt: image 5 has {values}, expected x, y, width and height; fetch it again")


def test_cub_that_is_not_there(tmp_path):
    with pytest.raises(CamstudyError, match=r"has no CUB_200_2011 with images\.txt"):
        read_cub(tmp_path)
    cub200(tmp_path)
    with pytest.raises(CamstudyError, match=r"has 3 classes, expected 1 to 200.*set `num_classes`"):
        read_cub(tmp_path)
    (tmp_path / "CUB_200_2011/bounding_boxes.txt").unlink()
    with pytest.raises(CamstudyError, match=r"CUB_200_2011: has no bounding_boxes\.txt; fetch it again"):
        read_cub(tmp_path, num_classes=3)


# ImageNet


@pytest.mark.parametrize("layout", [as_classes, as_distributed])
@pytest.mark.parametrize("packed", [False, True])
def test_imagenet_boxes_are_those_of_the_images_class(tmp_path, layout, packed):
    layout(tmp_path)
    imagenet_boxes(tmp_path, packed)
    _, photographs, _ = read_imagenet(tmp_path, 4, boxes=True)
    stems = [name.removesuffix(".JPEG") for name in NAMES]
    boxes = [[[2, index, 12, 10], [1, 0, 19, 20]] for index in range(len(NAMES))]
    assert described(photographs) == list(zip(stems, LABELS, boxes, strict=True))
    assert {item.boxes for item in read_imagenet(tmp_path, 4)[1]} == {None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            annotation("x", (20, 20), [("n02119789", 1, 1, 3, 3, False)]),
            "no object of the image's class n01440764, found n02119789; boxes and classes do not belong together",
        ),
        (
            b"<annotation>",
            "not an annotation in Pascal VOC's XML (no element found: line 1, column 12); fetch it again",
        ),
    ],
)
def test_imagenet_annotations_that_cannot_be_used_cost_their_image_alone(tmp_path, content, message):
    as_distributed(tmp_path)
    imagenet_boxes(tmp_path)
    (tmp_path / "ILSVRC2012_bbox_val_v3/val/ILSVRC2012_val_00000003.xml").write_bytes(content)
    files, photographs, _ = read_imagenet(tmp_path, 4, boxes=True)
    kept, text = one_is_left_out(tmp_path / "d.json", files, photographs)
    assert [item.name for item in kept] == [name for name in NAMES if "00000003" not in name]
    assert f"val_00000003.xml: {message}" in text


def test_imagenet_boxes_that_are_missing_are_told(tmp_path):
    as_distributed(tmp_path)
    with pytest.raises(CamstudyError, match=r"has no ILSVRC2012_bbox_val_v3"):
        read_imagenet(tmp_path, 4, boxes=True)
    imagenet_boxes(tmp_path)
    (tmp_path / "ILSVRC2012_bbox_val_v3/val/ILSVRC2012_val_00000003.xml").unlink()
    with pytest.raises(CamstudyError, match=r"v3: no boxes of 1 images, such as ILSVRC2012_val_00000003\.JPEG; fetch"):
        read_imagenet(tmp_path, 4, boxes=True)
    with pytest.raises(CamstudyError, match="boxes are known of validation images only"):
        read_imagenet(tmp_path, 4, split="train", boxes=True)


# XML

BOMB = """<?xml version="1.0" encoding="{}"?>
<!DOCTYPE annotation [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">{}]>
<annotation><object><name>&b;</name></object></annotation>"""


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16"])
@pytest.mark.parametrize("entity", ["", '<!ENTITY c SYSTEM "file:///etc/hostname">'])
def test_documents_that_declare_entities_are_refused(encoding, entity):
    with pytest.raises(CamstudyError, match=r"a\.xml: not an annotation .* \(it declares a document type, which"):
        parse_objects(BOMB.format(encoding, entity).encode(encoding), "a.xml", 1)


BOX = "<xmin>3</xmin><ymin>4</ymin><xmax>9</xmax><ymax>8</ymax>"
OBJECT = f"<annotation><object><name>dog</name><bndbox>{BOX}</bndbox></object></annotation>"


def test_numbers_begin_with_the_first_pixel():
    (zero,), (one,) = (parse_objects(OBJECT.encode(), "a.xml", first) for first in (0, 1))
    assert (zero.name, zero.edges, zero.difficult) == ("dog", (4, 3, 9, 10), False)
    assert one.edges == (3, 2, 8, 9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotation>", "", r"not an annotation in Pascal VOC's XML \(no element found.*\); fetch it again"),
        (OBJECT, "", "not an annotation"),
        (OBJECT, "<html/>", "it is a `html`"),
        (OBJECT, '<?xml version="1.0" encoding="martian"?><annotation/>', "not an annotation"),
        ("<name>dog</name>", "", "an object lacks `name` or `bndbox`"),
        (f"<bndbox>{BOX}</bndbox>", "", "an object lacks `name` or `bndbox`"),
        ("<xmax>9</xmax>", "", "`xmax` of dog is None, no number of a pixel"),
        (">9<", ">nine<", "could not convert"),
        (">9<", ">inf<", "`xmax` of dog is inf, no number of a pixel"),
        (">9<", ">1e300<", "`xmax` of dog is 1e300, no number of a pixel"),
    ],
)
def test_malformed_annotations_are_refused(old, new, message):
    text = OBJECT.replace(old, new)
    with pytest.raises(CamstudyError, match=rf"^a\.xml: .*{message}"):
        parse_objects(text.encode(), "a.xml", 1)


@pytest.mark.parametrize(
    ("old", "new", "edges"),
    [(">9<", ">2<", [3, 2, 8, 2]), (">8<", ">1<", [3, 2, 1, 9]), (">9<", ">-9<", [3, 2, 8, -9])],
)
def test_boxes_that_end_before_they_begin_cost_their_image_alone(tmp_path, old, new, edges):
    (found,) = parse_objects(OBJECT.replace(old, new).encode(), "a.xml", 1)
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / f"images/{name}.jpg").write_bytes(picture(10, 20))
    items = [Photograph("a.jpg", boxes=np.array([found.edges])), Photograph("b.jpg", boxes=np.array([[0, 0, 1, 1]]))]
    kept, (text,) = readable(Files(tmp_path / "images"), items)
    assert [item.name for item in kept] == ["b.jpg"]
    assert f"images, a.jpg: the box of top, left, bottom, right {edges} ends before it begins" in text


# The store


def test_boxes_end_at_the_borders_of_their_image():
    boxes = np.array([[-2, 3, 8, 50], [0, 0, 10, 20]])
    cut, count = cut_boxes(boxes, (10, 20), "a.jpg")
    assert (cut.tolist(), count) == ([[0, 3, 8, 20], [0, 0, 10, 20]], 1)
    for outside in ([10, 0, 12, 5], [0, -5, 4, 0]):
        with pytest.raises(CamstudyError, match=r"a\.jpg: the box of .* outside the image of height 10 and width 20"):
            cut_boxes(np.array([outside]), (10, 20), "a.jpg")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 3, 64])
def test_items_share_the_file_of_their_image(tmp_path, chunk, packed):
    voc2012(tmp_path, packed)
    files, photographs, _ = read_voc(tmp_path)
    dataset = write(tmp_path / "voc.json", files, photographs, chunk=chunk)
    assert dataset.sizes.tolist() == [list(VOC[name][0]) for name, _, _ in VOC_ITEMS]
    assert dataset.shapes.tolist() == dataset.sizes.tolist()
    assert dataset.names().tolist() == [f"{i.name}#{CLASSES[i.label]}" for i in photographs]
    assert dataset.group["image_file"].size == sum(len(picture(*size)) for size, _ in VOC.values())
    pixels = [np.asarray(Image.open(io.BytesIO(files.read(item.name)))) for item in photographs]
    for part in (slice(None), slice(1, 3), slice(2, 3), slice(2, 4), [3, 2], [2, 1, 2], [2], [], slice(4, 9)):
        found, expected = dataset.images(part), np.arange(4)[part]
        assert len(found) == len(expected)
        for image, index in zip(found, expected, strict=True):
            assert np.array_equal(image, pixels[index])


def test_boxes_are_read_by_part_and_filled_up(tmp_path):
    voc2012(tmp_path)
    files, photographs, _ = read_voc(tmp_path)
    dataset = write(tmp_path / "voc.json", files, photographs, chunk=2)
    none = [-1] * 4
    expected = [boxes + [none] * (2 - len(boxes)) for _, _, boxes in VOC_ITEMS]
    assert dataset.boxes().tolist() == expected
    assert dataset.boxes().dtype == np.int64
    assert dataset.boxes([3, 2]).tolist() == [expected[3], expected[2]]
    assert dataset.boxes(slice(0, 2)).tolist() == [one[:1] for one in expected[:2]]  # as many as there are
    assert dataset.boxes([]).shape == (0, 1, 4)


def test_boxes_that_do_not_belong_to_their_image_stop_the_preparation(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(picture(10, 20))
    files, whole = Files(tmp_path / "images"), [0, 0, 10, 20]
    found = write(tmp_path / "cut.json", files, [Photograph("a.jpg", boxes=np.array([[2, 3, 12, 25], whole]))])
    assert found.boxes().tolist() == [[[2, 3, 10, 20], whole]]
    assert "1 boxes reached beyond their images and were cut at the borders" in capsys.readouterr().out
    with pytest.raises(CamstudyError, match=r"images, a\.jpg: the box of .* \[12, 3, 15, 9\] lies outside"):
        write(tmp_path / "out.json", files, [Photograph("a.jpg", boxes=np.array([whole, [12, 3, 15, 9]]))])
    assert not (tmp_path / "out.json").exists()


def test_photographs_without_boxes_say_so(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(picture(10, 20))
    dataset = write(tmp_path / "a.json", Files(tmp_path / "images"), [Photograph("a.jpg", 0)])
    with pytest.raises(CamstudyError, match=r"a\.zarr: has no array `box`"):
        dataset.boxes()
