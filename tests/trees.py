"""Data sets of photographs in miniature, in the files of their distributors; no test of its own."""

import io
import shutil
import tarfile
import zipfile

import numpy as np
import scipy.io
from PIL import Image

from camstudy.data.formats.gaze import read_cat2000, read_mit1003, read_salicon

# ILSVRC2012_IDs follow neither the synsets' order nor the labels'; 5 and 6 are inner nodes of the hierarchy.
SYNSETS = [
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n01440764", "tench, Tinca tinca", 0),
    (3, "n15075141", "toilet tissue", 0),
    (4, "n02100735", "English setter", 0),
    (5, "n00001740", "entity", 2),
    (6, "n02084071", "dog", 1),
]
TRUTH = [3, 1, 2, 2, 4, 3, 1]
# By sorted synset: n01440764 0, n02100735 1, n02119789 2, n15075141 3.
LABELS = [3, 2, 0, 0, 1, 3, 2]
NAMES = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 8)]
WORDS = ["tench, Tinca tinca", "English setter", "kit fox, Vulpes macrotis", "toilet tissue"]


def jpeg(seed):
    rng, buffer = np.random.default_rng(seed), io.BytesIO()
    pixels = rng.integers(0, 256, [*rng.integers(20, 40, 2).tolist(), 3], np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


CONTENTS = {name: jpeg(seed) for seed, name in enumerate(NAMES)}


def meta():
    """The development kit's meta.mat: a column of structs, nested as MATLAB writes them."""
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height"]
    synsets = np.zeros((len(SYNSETS), 1), dtype=[(name, object) for name in [*fields, "num_train_images"]])
    for row, (number, wnid, words, children) in zip(synsets[:, 0], SYNSETS, strict=True):
        values = (np.float64(number), wnid, words, "a gloss", np.float64(children), np.arange(children), 1.0, 1300.0)
        for name, value in zip(synsets.dtype.names, values, strict=True):
            row[name] = value
    return synsets


def write_devkit(root, truth=TRUTH):
    data = root / "ILSVRC2012_devkit_t12/data"
    data.mkdir(parents=True)
    scipy.io.savemat(data / "meta.mat", {"synsets": meta()})
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in truth))


def write_images(folder, names=NAMES):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(CONTENTS[name])


# Training images of each class. Their names begin with it, so that sorting would leave the classes in a row.
GROUPS = {"n02119789": 9, "n01440764": 7, "n15075141": 8, "n02100735": 8}


def as_train(root, groups=GROUPS):
    for wnid, count in groups.items():
        folder = root / "train" / wnid
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{wnid}_{number}.JPEG").write_bytes(jpeg(int(wnid[1:]) + number))


def pack(folder, archive, mode, root):
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, root)
    shutil.rmtree(folder)


def as_classes(root):
    wnid = {number: wnid for number, wnid, _, _ in SYNSETS}
    for name, number in zip(NAMES, TRUTH, strict=True):
        write_images(root / wnid[number], [name])


def with_more_classes(root, count):
    """Add folders of other classes, of one image each that comes after all others, to those of `as_classes`."""
    for number in range(count):
        folder = root / f"n9000000{number}"
        folder.mkdir()
        (folder / f"z{number}.JPEG").write_bytes(jpeg(number))


def as_files(root):
    write_images(root)
    write_devkit(root)


def as_folders(root):
    write_images(root / "ILSVRC2012_img_val")
    write_devkit(root)


def as_distributed(root):
    as_folders(root)
    pack(root / "ILSVRC2012_img_val", root / "ILSVRC2012_img_val.tar", "w", "")
    pack(root / "ILSVRC2012_devkit_t12", root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz", "ILSVRC2012_devkit_t12")


def picture(height, width, kind="JPEG", **options):
    rng, buffer = np.random.default_rng([height, width]), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def mask(height, width, points):
    """Return a mask with single pixels set, (row, column) counted from 0."""
    found = np.zeros((height, width), np.uint8)
    for row, column in points:
        found[row, column] = 255
    return found


def encoded(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def matlab(**variables):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables)
    return buffer.getvalue()


def put(root, contents, packed):
    """Write files, or an archive for each of the top folders."""
    for name, content in contents.items():
        if packed:
            with zipfile.ZipFile(root / f"{name.split('/')[0]}.zip", "a") as archive:
                archive.writestr(name, content)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)


# Fixations by image, (row, column) from 0; sizes, so that rows and columns cannot be mixed up.
SIZES = {"one": (40, 64), "two": (64, 40)}
POINTS = {"one": [(10, 50), (30, 5)], "two": [(50, 10)]}


def centres(points):
    return sorted((row + 0.5, column + 0.5) for row, column in points)


def mit1003(root, packed=False):
    contents = {}
    for name, size in SIZES.items():
        contents[f"ALLSTIMULI/{name}.jpeg"] = picture(*size)
        contents[f"ALLFIXATIONMAPS/{name}_fixMap.jpg"] = encoded(mask(*size, []))
        contents[f"ALLFIXATIONMAPS/{name}_fixPts.jpg"] = encoded(mask(*size, POINTS[name]))
    put(root, contents, packed)
    return read_mit1003(root)


def cat2000(root, packed=False):
    contents = {}
    for category in ("Action", "Fractal"):
        # The same numbers in every category.
        for number, name in (("001", "one"), ("002", "two")):
            points = POINTS[name] if category == "Action" else POINTS[name][:1]
            contents[f"trainSet/Stimuli/{category}/{number}.jpg"] = picture(*SIZES[name])
            contents[f"trainSet/Stimuli/{category}/Output/{number}_SaliencyMap.jpg"] = picture(9, 9)
            contents[f"trainSet/FIXATIONMAPS/{category}/{number}.jpg"] = picture(9, 9)
            locations = mask(*SIZES[name], points) // 255
            contents[f"trainSet/FIXATIONLOCS/{category}/{number}.mat"] = matlab(fixLocs=locations)
    put(root, contents, packed)
    return read_cat2000(root)


def salicon(root, packed=False, gaze=None):
    """Two observers a picture: the first sees all points, the second the first point and one outside."""
    contents = {"images/test/COCO_test2014_000000000009.jpg": picture(20, 20)}
    for name, size in SIZES.items():
        everyone = np.zeros((2, 1), dtype=[("location", object), ("timestamp", object), ("fixations", object)])
        seen = [POINTS[name], [POINTS[name][0], (size[0], 3)]]
        for row, points in zip(everyone[:, 0], seen, strict=True):
            row["location"], row["timestamp"] = np.zeros((5, 2)), np.arange(5.0)[:, None]
            row["fixations"] = np.array([(column + 1, row + 1) for row, column in points], np.uint16)
        variables = {"image": name, "resolution": np.array(size), "gaze": everyone if gaze is None else gaze}
        contents[f"fixations/train/COCO_train2014_{name}.mat"] = matlab(**variables)
        contents[f"images/train/COCO_train2014_{name}.jpg"] = picture(*size)
    put(root, contents, packed)
    return read_salicon(root)


def annotation(name, size, objects):
    """Pascal VOC's XML. Objects are class, xmin, ymin, xmax, ymax and whether they are difficult."""
    lines = [f"<annotation>\n\t<folder>here</folder>\n\t<filename>{name}</filename>"]
    lines.append(f"\t<size>\n\t\t<width>{size[1]}</width>\n\t\t<height>{size[0]}</height>\n\t</size>")
    for kind, xmin, ymin, xmax, ymax, difficult in objects:
        # As the distributors do, not in one order.
        box = f"<xmax>{xmax}</xmax><xmin>{xmin}</xmin><ymax>{ymax}</ymax><ymin>{ymin}</ymin>"
        part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        flag = f"<difficult>{int(difficult)}</difficult>"
        lines.append(f"\t<object><name>{kind}</name>{part}{flag}<bndbox>{box}</bndbox></object>")
    return "\n".join([*lines, "</annotation>\n"]).encode()


# Height and width, and objects, of the images of val.txt; the first item's box is the whole image.
VOC = {
    "2008_000002": ((30, 50), [("tvmonitor", 1, 1, 50, 30, False)]),
    "2008_000003": (
        (48, 36),
        [("person", 5, 2, 14, 40, True), ("dog", 3, 11, 20, 30, False), ("person", 21.4, 2.6, 30, 40, False)],
    ),
    "2008_000007": ((40, 40), [("boat", 4, 4, 9, 9, True), ("aeroplane", 2, 3, 12, 23, False)]),
}
# Label (aeroplane 0, dog 11, person 14, tvmonitor 19) and boxes of each item: top, left, bottom, right.
VOC_ITEMS = [
    ("2008_000002", 19, [[0, 0, 30, 50]]),
    ("2008_000003", 11, [[10, 2, 30, 20]]),
    ("2008_000003", 14, [[1, 4, 40, 14], [2, 20, 40, 30]]),
    ("2008_000007", 0, [[2, 1, 23, 12]]),
]


def voc2012(root, packed=False):
    """VOCdevkit/VOC2012, or the archive that it comes in, with a training image that is not asked for."""
    base = root / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (base / folder).mkdir(parents=True)
    for name, (size, objects) in {**VOC, "2008_000001": ((9, 9), [("cat", 1, 1, 3, 3, False)])}.items():
        (base / f"JPEGImages/{name}.jpg").write_bytes(picture(*size))
        (base / f"Annotations/{name}.xml").write_bytes(annotation(f"{name}.jpg", size, objects))
    (base / "ImageSets/Main/val.txt").write_text("".join(f"{name}\n" for name in VOC))
    (base / "ImageSets/Main/train.txt").write_text("2008_000001\n")
    (base / "ImageSets/Main/person_val.txt").write_text("2008_000002 -1\n2008_000003  1\n2008_000007 -1\n")
    if packed:
        pack(root / "VOCdevkit", root / "VOCtrainval_11-May-2012.tar", "w", "VOCdevkit")


# Number of an image, its file, class, whether it is for training, box, and size.
CUB = [
    (1, "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", 1, 0, "6.0 2.0 12.0 20.0", (33, 50)),
    (2, "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, 1, "1.0 1.0 9.0 9.0", (20, 20)),
    (3, "002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg", 2, 1, "0.0 0.0 20.0 10.0", (20, 30)),
    (4, "002.Laysan_Albatross/Laysan_Albatross_0082_524.jpg", 2, 0, "10.0 0.0 15.0 39.0", (40, 25)),
    (5, "003.Sooty_Albatross/Sooty_Albatross_0003_1078.jpg", 3, 0, "3.0 4.0 5.0 6.0", (21, 22)),
]
CUB_TEST = [(0, [[2, 6, 22, 18]]), (1, [[0, 10, 39, 25]]), (2, [[4, 3, 10, 8]])]


def cub200(root, packed=False):
    """CUB_200_2011, or the archive that it comes in, which has another file beside the folder."""
    base = root / "whole/CUB_200_2011"
    base.mkdir(parents=True)
    (root / "whole/attributes.txt").write_text("1 has_bill_shape::curved\n")
    lists = {name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")}
    for number, file, kind, is_train, box, size in CUB:
        (base / "images" / file).parent.mkdir(parents=True, exist_ok=True)
        (base / "images" / file).write_bytes(picture(*size))
        for name, value in zip(lists, (file, kind, is_train, box), strict=True):
            lists[name].append(f"{number} {value}\n")
    lists["classes"] = ["1 001.Black_footed_Albatross\n", "2 002.Laysan_Albatross\n", "3 003.Sooty_Albatross\n"]
    for name, lines in lists.items():
        (base / f"{name}.txt").write_text("".join(lines))
    if packed:
        pack(root / "whole", root / "CUB_200_2011.tgz", "w:gz", "")
    else:
        base.rename(root / "CUB_200_2011")


def imagenet_boxes(root, packed=False):
    """Two objects of each image's class, after another one of a class that is not its own."""
    wnid = {number: wnid for number, wnid, _, _ in SYNSETS}
    folder = root / "ILSVRC2012_bbox_val_v3/val"
    folder.mkdir(parents=True)
    for index, (name, number) in enumerate(zip(NAMES, TRUTH, strict=True)):
        own, other = wnid[number], "n00001740"
        objects = [(other, 0, 0, 5, 5, False), (own, index, 2, 9, 11, False), (own, 0, 1, 19, 18, False)]
        text = annotation(name.removesuffix(".JPEG"), (20, 20), objects)
        (folder / name.replace(".JPEG", ".xml")).write_bytes(text)
    if packed:
        pack(folder.parent, root / "ILSVRC2012_bbox_val_v3.tgz", "w:gz", "")


def cifar(root, version, count=3, packed=True, side=32):
    """CIFAR in the binary version, of so many records a file: pixel values that tell channel, row and column apart.

    Returns labels and pixels of each file by its name, in the order of the records.
    """
    names, above, files = {
        "cifar10": (
            "batches.meta.txt",
            "cifar-10-batches-bin",
            [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"],
        ),
        "cifar100": ("fine_label_names.txt", "cifar-100-binary", ["train.bin", "test.bin"]),
    }[version]
    classes = int(version.removeprefix("cifar"))
    folder = root / above
    folder.mkdir(parents=True)
    (folder / names).write_text("".join(f"name{number}\n" for number in range(classes)) + "\n")
    rng, made = np.random.default_rng(0), {}
    for file in files:
        labels = rng.permutation(classes)[:count]
        pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        coarse = [b"\x07"] if version == "cifar100" else [b""]
        content = [
            coarse[0] + bytes([label]) + b"".join(image[..., channel].tobytes() for channel in range(3))
            for label, image in zip(labels.tolist(), pixels, strict=True)
        ]
        (folder / file).write_bytes(b"".join(content))
        made[file] = labels, pixels
    if packed:
        pack(folder, root / f"cifar-{classes}-binary.tar.gz", "w:gz", above)
    return made


# What the eye tracker of MIT1003 saw, (column, row) from 1: a rest in the middle, then those of each observer.
LOOKS = {"hp": [(20, 30), (51, 11), (6, 31)], "ajs": [(20, 30), (51, 11), (500, 500)]}


def samples(places, blink=3):
    """Thirty samples at each place, with a jitter around it that has no influence on the median, and a blink after."""
    jitter = np.tile([[-1.0, 1.0], [0, 0], [1, -1]], (10, 1))
    parts = [part for place in places for part in (np.add(place, jitter), np.full((blink, 2), -32768.0))]
    return np.concatenate(parts)


def mit1003_observers(root, packed=False, looks=LOOKS):
    """MIT1003's images and the samples of each observer, in a struct with the name of the image."""
    contents = {f"ALLSTIMULI/{name}.jpeg": picture(*size) for name, size in SIZES.items()}
    contents["__MACOSX/ALLSTIMULI/._one.jpeg"] = contents["ALLSTIMULI/._one.jpeg"] = b"a resource fork"
    for name in SIZES:
        for observer, places in looks.items():
            data = np.zeros((1, 1), dtype=[("eyeData", object), ("eventTimes", object)])
            data[0, 0]["eyeData"], data[0, 0]["eventTimes"] = samples(places), np.arange(3.0)
            trial = {"imgName": f"{name}.jpeg", "DATA": data}
            contents[f"DATA/{observer}/{name}.mat"] = matlab(**{name: trial})
            contents[f"DATA/{observer}/._{name}.mat"] = b"a resource fork"
    put(root, contents, packed)
    return read_mit1003(root)


GAZE_TABLE = """image,observer,order,x,y,duration
two.jpg,anna,3,10.5,50.5,200
one.jpg,anna,1,50.5,10.5,310
one.jpg,anna,2,5.5,30.5,
one.jpg,bert,1,50.5,10.5,150
one.jpg,bert,5,64,20,150
"""


def gaze_table(root, text=GAZE_TABLE):
    for name, size in SIZES.items():
        (root / f"{name}.jpg").write_bytes(picture(*size))
    (root / "three.jpg").write_bytes(picture(30, 30))
    (root / "fixations.csv").write_text(text)


# Lists of MIT-67: scene and file. `a.jpg` is in two scenes.
MIT67 = {
    "TrainImages.txt": ["winecellar/one.jpg", "corridor/two.jpg", "corridor/a.jpg"],
    "TestImages.txt": [
        "winecellar/a.jpg",
        "corridor/4.jpg",
        "winecellar/3.jpg",
        "corridor/int 5.jpg",
        "corridor/6.jpg",
    ],
}


def mit67(root, packed=False):
    """The two lists, and the folder indoorCVPR_09/Images or the archive that it comes in, with an image of no list."""
    images = root / "indoorCVPR_09/Images"
    for number, name in enumerate([*(name for names in MIT67.values() for name in names), "corridor/more.jpg"]):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(picture(20 + number, 30))
    for name, lines in MIT67.items():
        (root / name).write_text("".join(f"{line}\r\n" for line in lines))
    if packed:
        pack(root / "indoorCVPR_09", root / "indoorCVPR_09.tar", "w", "indoorCVPR_09")
