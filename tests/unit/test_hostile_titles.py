"""Titles and names are text: whatever is in them, tables and figures show it, and nothing acts upon it."""

import csv
import dataclasses
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from every_table import every_table
from pictures import is_on_its_page
from studies import make_inputs, make_method_inputs, with_steps, with_sweeps

from camstudy.figures import FIGURES, save
from camstudy.figures.titles import LONGEST, drawable, drawn
from camstudy.tables import TABLES
from camstudy.tables.render import to_csv, to_html, to_latex, to_markdown

TITLES = {
    "mathematics": r"Cost $5 vs $6, $\frac{1$ and $x_1^2$",
    "html": "<b>bold</b> </script><script>alert('x')</script> &amp; <!--",
    "latex": r"\input{/etc/passwd} 50% {a_b} #1 ^~ \end{table*}",
    "newlines": "one\ntwo\r\n\tthree",
    "long": "a very long name " * 30,
    "scripts": "猫 кошка γάτα قطة čat ½ 🐈",
    "underscore": "_hidden *stars* `code` [link](x) | ~~no~~",
}
SAFE = {
    *("html", "head", "meta", "title", "style", "body", "div", "table", "caption", "colgroup", "thead", "tbody"),
    *("tr", "th", "td", "b", "u", "sup", "span", "ul", "li"),
}
hostile = pytest.mark.parametrize("title", TITLES.values(), ids=TITLES)


def named(inputs, title):
    """Give every model, method and comparison of a study this title."""
    study = inputs.study
    methods = {name: entry | {"title": title} for name, entry in study["catalog"]["methods"].items()}
    pairs = [pair | {"title": title} for pair in study["comparisons"]]
    study = study | {"comparisons": pairs, "catalog": study["catalog"] | {"methods": methods}}
    models = {name: {**record, "title": title} for name, record in inputs.models.items()}
    return dataclasses.replace(inputs, study=study, models=models)


def words(figure):
    """Return all text of a figure."""
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_parse_math"))]


def whole(text):
    """Return a text without the places where lines may be broken."""
    return "".join(text.replace("-", "").split())


def table(title):
    return TABLES["dcls"].function(named(make_inputs(), title))


class Words(HTMLParser):
    """The words and tags of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.words.append(data)


@hostile
def test_tables_show_titles_as_text(title):
    made, plain = table(title), " ".join(title.split())
    assert next(csv.DictReader(io.StringIO(to_csv(made))))["title"] == title
    page = Words(to_html(made))
    assert plain in [" ".join(word.split()) for word in page.words]
    assert "script" not in page.tags
    for grid in (part.splitlines() for part in to_markdown(made).split("\n\n") if part.startswith("|")):
        assert len({line.replace(r"\|", "").count("|") for line in grid}) == 1


def test_markdown_acts_upon_nothing_in_a_title():
    text = to_markdown(table("$x$ ~~no~~ &lt; & b"))
    assert r"\$x\$ \~\~no\~\~ \&lt; & b" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_with_all_of_them(tmp_path):
    names = [f"{number}.tex" for number, _ in enumerate(TITLES)]
    for name, title in zip(names, TITLES.values(), strict=True):
        (tmp_path / name).write_text(to_latex(table(title)))
    inputs = "\n".join(rf"\input{{{name}}}\clearpage" for name in names)
    assert "root:" not in compiled(tmp_path, inputs)


def compiled(folder, inputs):
    """Return what LaTeX says of a document with these inputs, which compiles."""
    text = rf"\documentclass{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{inputs}\end{{document}}"
    (folder / "paper.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert run.returncode == 0, run.stdout[-3000:]
    return run.stdout


# All at once, but for the long one.
ALL = " ".join(title for name, title in TITLES.items() if name != "long")


@pytest.fixture(scope="module")
def tables():
    return every_table(ALL)


def test_every_table_opens_as_a_page_with_titles_as_text(tables):
    assert len(tables) >= 18
    plain = " ".join(ALL.split())
    for name, made in tables.items():
        page = Words(to_html(made))
        text = " ".join(" ".join(page.words).split())
        assert plain in text, name
        assert page.tags <= SAFE, name
        for part in to_markdown(made).split("\n\n"):
            if part.startswith("|"):
                assert len({line.replace(r"\|", "").count("|") for line in part.splitlines()}) == 1, name
        rows = list(csv.reader(io.StringIO(to_csv(made))))
        assert len(rows) == 1 + len(made.rows), name
        assert len({len(row) for row in rows}) == 1, name


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_every_table_compiles(tmp_path, tables):
    for name, made in tables.items():
        (tmp_path / f"{name}.tex").write_text(to_latex(made))
    inputs = "\n".join(rf"\input{{{name}}}\clearpage" for name in tables)
    log = compiled(tmp_path, inputs)
    assert "root:" not in log
    # Labels are those of the tables: none is there twice, and none is lost.
    assert "multiply defined" not in log
    assert len(re.findall(r"newlabel\{tab:", (tmp_path / "paper.aux").read_text())) == len(tables)


@hostile
@pytest.mark.parametrize(
    "name", ["alignment", "accuracy_alignment", "alignment_cost", "threshold_sweep", "layer_sweep", "randomization"]
)
def test_figures_of_scores_show_titles_as_text(tmp_path, name, title):
    inputs = with_sweeps(make_inputs(architectures={"net": "Net"}))
    if name == "randomization":
        inputs = with_steps(inputs, 1, 2)
    figure = FIGURES[name].function(drawable(named(inputs, title)))
    save(figure, tmp_path / "figure.png")
    assert is_on_its_page(figure)
    assert any(whole(drawn(title)) in whole(text) for text in words(figure))
    assert not any(text.get_parse_math() for text in figure.findobj(lambda artist: hasattr(artist, "get_parse_math")))


@hostile
@pytest.mark.parametrize("name", ["insertion_deletion", "faithfulness_localization"])
def test_figures_of_methods_show_titles_as_text(tmp_path, name, title):
    figure = FIGURES[name].function(drawable(named(make_method_inputs(), title)))
    save(figure, tmp_path / "figure.pdf")
    assert is_on_its_page(figure)
    assert any(drawn(title).strip() in text for text in words(figure))


@hostile
@pytest.mark.parametrize("name", ["qualitative", "method_grid", "map_pairs"])
def test_figures_of_maps_show_titles_and_classes_as_text(tmp_path, name, title):
    rng, shown = np.random.default_rng(0), drawn(title)
    images, human = rng.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8), rng.random((1, 16, 16), dtype=np.float32)
    maps = {(shown, shown): rng.random((1, 4, 4), dtype=np.float32)}
    beside = {"predicted": {shown: ["other"]}, "pairs": [(shown, [shown])]}
    figure = FIGURES[name].function(images, human, maps, [shown], **beside)
    save(figure, tmp_path / "figure.png")
    assert is_on_its_page(figure)
    assert whole(shown) in [whole(text) for text in words(figure)]


def test_drawn_titles_are_short_lines_with_letters_that_the_font_has():
    assert drawn("猫 γ") == "[U+732B] γ"
    assert len(drawn(TITLES["long"])) == LONGEST
    assert drawn("one\ntwo") == "one two"
    assert drawn("_net").strip() == "_net"
    assert not drawn("_net").startswith("_")
