"""The report's page and what Snakemake's report says: all that they show, as text; nothing from elsewhere."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from docutils.core import publish_parts
from jinja2 import Environment
from markupsafe import Markup, escape
from test_hostile_titles import TITLES, Words, table

from camstudy import cli
from camstudy.core.provenance import write_json
from camstudy.metrics.families import METRICS
from camstudy.report import page, runs
from camstudy.report.about import definition
from camstudy.report.contents import Answer, Contents, ShownFigure, ShownTable
from camstudy.report.grid import Grid, settings
from camstudy.tables.render import to_html

ROOT = Path(__file__).parents[2]
BREAKS = "one\x0b.. raw:: html\x0c\n\n   <b>x</b>\x85\u2028two"
hostile = pytest.mark.parametrize("text", [*TITLES.values(), BREAKS], ids=[*TITLES, "breaks"])


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.ids = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def made(text="a", **changes):
    """Return contents that have a text wherever there is one."""
    grid = Grid((text, text), [(text, text)], (text,))
    found = Contents(
        study="tiny",
        answer=Answer(text, text, text, (text, text)),
        tables=(ShownTable("dcls", text, Markup(f"<p>{escape(text)}</p>")),),
        figures=(ShownFigure("alignment", text, "data:image/png;base64,AAAA", 10, 10),),
        **dict.fromkeys(("data", "counted", "models", "methods", "protocols", "metrics", "cost"), grid),
        statistics=(text,),
        versions=((text, text),),
        commits=("c0ffee",),
        plugins=(text,),
        beside=("scores.parquet",),
    )
    return dataclasses.replace(found, **changes)


def one_line(text):
    return " ".join(text.split())


@hostile
def test_whatever_a_study_says_is_text_on_the_page(text):
    plain, found = Page(page.page(made("MARK"))), Page(page.page(made(text)))
    assert [(tag, [*attrs]) for tag, attrs in found.tags] == [(tag, [*attrs]) for tag, attrs in plain.tags]
    assert one_line(found.text).count(one_line(text)) == plain.text.count("MARK") > 20
    assert found.attributes("alt") == [text]


def test_the_page_needs_nothing_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.page(made())
    found = Page(text)
    assert "script" not in [tag for tag, _ in found.tags]
    assert "link" not in [tag for tag, _ in found.tags]
    assert "url(" not in text
    assert "@import" not in text
    assert all(address.startswith("data:image/png") for address in found.attributes("src"))
    for address in found.attributes("href"):
        assert re.fullmatch(r"#\w+|\.\./(tables|figures)/\w+\.\w+|\.\./\w+\.parquet", address), address
    targets = {f"#{name}" for name in found.attributes("id")}
    assert {address for address in found.attributes("href") if address.startswith("#")} <= targets


@pytest.mark.parametrize(("name", "place"), page.LINKS.items())
def test_links_to_what_is_made_later_are_there_when_it_is(tmp_path, monkeypatch, name, place):
    monkeypatch.chdir(tmp_path)
    link = {"gallery": "../gallery/index.html", "workflow": "workflow/index.html"}[name]
    assert link not in page.page(made())
    target = Path("results/studies/tiny", place)
    target.parent.mkdir(parents=True)
    target.write_text("x")
    assert link in Page(page.page(made())).attributes("href")
    assert (tmp_path / "results/studies/tiny/report" / link).resolve() == target.resolve()


def test_the_answer_comes_before_everything_else():
    text = Page(page.page(made(answer=Answer("Who?", "It is p.", "Of 3.", ("First.", "Second."))))).text
    places = [text.index(words) for words in ("Who?", "Of 3.", "First.", "Second.", "It is p.", "Tables", "Figures")]
    assert places == sorted(places)
    assert "git checkout c0ffee" in text
    assert "camstudy run results/studies/tiny/config.yaml" in text


def test_what_a_study_lacks_leaves_no_empty_section():
    bare = made(tables=(), figures=(), counted=None, statistics=(), plugins=(), answer=Answer("", "", "", ("None.",)))
    found = Page(page.page(bare))
    assert not {"tables", "figures"} & {*found.attributes("id")}
    assert not {"#tables", "#figures"} & {*found.attributes("href")}
    assert [attrs for tag, attrs in found.tags if tag == "h1"] == [{}]


# Snakemake's report. -------------------------------------------------------------------------------------------------


def rendered(name, files, **names):
    """Return a caption as Snakemake renders it, in HTML; it goes into a script as JSON that is not escaped again."""
    environment = Environment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string((ROOT / "workflow/report" / name).read_text())
    shown = text.render(snakemake=SimpleNamespace(**names), files=files, categories={})
    body = publish_parts(shown, writer="html", settings_overrides={"halt_level": 2})["body"]
    assert "</script" not in json.dumps(body).lower()
    assert "<!--" not in body
    return Words(body)


def result(path, content="", **labels):
    """Return a file of Snakemake's report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return SimpleNamespace(path=path, labels=labels)


@hostile
def test_the_first_page_of_snakemake_has_the_answer_as_text(tmp_path, text):
    config = {"study": "tiny", "dataset": "scenes"}
    files = [result(tmp_path / "tiny/tables/dcls.html")]
    before = rendered("workflow.rst", files, config=config)
    assert "camstudy report" in " ".join(before.words)
    shown = page.summary("tiny", Answer(text, text, text, [text] * (page.MOST + 2)))
    page.write(shown, tmp_path / "tiny/report/summary.html")
    found = rendered("workflow.rst", files, config=config)
    said = one_line(" ".join(found.words))
    assert said.count(one_line(text)) == page.MOST + 3
    assert "2 more" in said
    assert found.tags <= {"p", "strong", "ul", "li"}


def test_the_first_page_of_snakemake_does_without_results():
    assert "tiny" in rendered("workflow.rst", [], config={"study": "tiny", "dataset": "scenes"}).words


@hostile
def test_captions_of_tables_are_their_own(tmp_path, text):
    made_table = dataclasses.replace(table("net"), caption=text)
    files = [result(tmp_path / f"{name}.html", to_html(dataclasses.replace(made_table, name=name))) for name in "ab"]
    names = {
        "output": SimpleNamespace(html=str(tmp_path / "a.html")),
        "wildcards": SimpleNamespace(table="a", study="t"),
    }
    found = rendered("table.rst", files, **names)
    assert one_line(" ".join(found.words)).count(one_line(text)) == 1
    assert found.tags <= {"p", "strong"}


def test_captions_of_figures_say_what_they_show(tmp_path):
    files = [result(tmp_path / f"{name}.png", figure=f"{name}: what <{name}> shows") for name in "ab"]
    config = {"dataset": "scenes", "protocols": ["people"], "images": "correct"}
    names = {
        "output": SimpleNamespace(png=str(tmp_path / "b.png")),
        "wildcards": SimpleNamespace(figure="b", study="t"),
    }
    said = one_line(" ".join(rendered("figure.rst", files, config=config, **names).words))
    assert "b: what <b> shows" in said
    assert "what <a> shows" not in said
    assert "classifies correctly" in said


# What is in the small tables. ----------------------------------------------------------------------------------------


@pytest.fixture
def made_by(tmp_path, monkeypatch):
    """The runs of four results, two of them on a GPU, of two commits."""
    monkeypatch.chdir(tmp_path)
    common = {"camstudy": "1", "python": "3.11.7", "platform": "Linux"}
    for name, facts in {
        "data/a": {"seconds": 30.0, "commit": "a" * 40},
        "heatmaps/d/m/one": {"seconds": 600.0, "device": "cuda", "commit": "b" * 40},
        "heatmaps/d/m/two": {"seconds": 150.0, "device": "cuda", "commit": "b" * 40},
        "scores/d/m/p": {"seconds": 20.0, "device": "cpu", "commit": None},
    }.items():
        write_json(f"results/{name}.run.json", common | facts)
    names = ("data/a", "heatmaps/d/m/one", "heatmaps/d/m/two", "scores/d/m/p", "scores/d/m/p", "data/none")
    return runs.read_runs([f"results/{name}.json" for name in names])


def test_cost_is_the_sum_of_the_runs(made_by):
    rows = {row[0]: row[1:] for row in runs.cost(made_by).rows}
    assert rows == {
        "Data sets prepared": ("1", "30 s", "–"),
        "Maps": ("2", "12 min", "12 min"),
        "Predictions and scores": ("1", "20 s", "–"),
        "In all": ("4", "13 min", "12 min"),
    }


def test_versions_that_differ_are_counted(made_by, tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"PyYAML=={yaml.__version__}\nno-such-library==2\n")
    found = dict(runs.versions(made_by, {"torch": ["2.0", "2.1"]}, lock))
    assert "commit bbbbbbbbbbbb (2 results)" in found["camstudy"]
    assert found["camstudy"].endswith("1 (1 result)")
    assert (found["Python"], found["torch"]) == ("3.11.7", "2.0, 2.1")
    assert found["Device"] == "cuda (2 results); cpu (1 result)"
    assert found["requirements.lock"].endswith("but for no-such-library missing (listed: 2)")
    assert runs.commits(made_by) == ["b" * 40, "a" * 40]


def test_settings_are_written_as_in_a_study_without_secrets():
    entry = {"url": "https://me:word@host.org/a.pth?token=1", "size": 7, "none": None, "names": ["á", "$x"]}
    text = settings(entry)
    assert "word" not in text
    assert "token" not in text
    entry["url"] = "https://host.org/a.pth?..."
    assert yaml.safe_load(f"{{{text}}}") == entry
    assert settings(0.5) == "0.5"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_definition_in_words(name):
    assert len(definition(name)) > 20


@pytest.mark.parametrize("path", [ROOT / cli.DEFAULT, *sorted(cli.STUDIES.glob("*.yaml"))], ids=lambda path: path.stem)
def test_every_study_that_ships_asks_a_question(path):
    study = yaml.safe_load(path.read_text())
    assert study["question"].endswith("?")
    # Without tables, nothing is scored.
    assert bool(study.get("primary")) == (study.get("tables") != [])
