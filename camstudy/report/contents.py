"""What the page of a study shows, put together from its configuration, its results and the records of their runs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from camstudy.analysis import BESIDE
from camstudy.analysis.summary import TableInputs, read_inputs
from camstudy.core.errors import CamstudyError
from camstudy.core.parts import read_table
from camstudy.core.provenance import read_json
from camstudy.data.sources import SOURCES
from camstudy.figures import FIGURES, FigureRecord
from camstudy.figures.style import DPI
from camstudy.metrics.families import METRICS
from camstudy.pipeline import paths
from camstudy.pipeline.results import Nameless, results
from camstudy.report import about, runs
from camstudy.report.grid import Grid
from camstudy.study.stated import stated_by
from camstudy.study.study import Study
from camstudy.tables.answers import answers, tally
from camstudy.tables.counted import captioned, counted
from camstudy.tables.metrics import spoken

CSS_DPI = 144  # pixels of a page per inch of a figure: its letters of 8 points are as large as the text
TABLE_FILES, FIGURE_FILES = ("csv", "md", "tex", "html"), ("png", "pdf")
OUTER = ("<body>\n", "</body>")  # around a table on its own page: titles in it are escaped


@dataclass(frozen=True)
class Everything:
    """Stands for the record of a table that shows all that a study has: all families, and what its others rest on."""

    sources: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShownTable:
    """A table of the study: its caption, and its rows and notes as markup."""

    name: str
    caption: str
    html: Markup


@dataclass(frozen=True)
class ShownFigure:
    """A figure of the study: its caption, the whole bitmap as an address, and its size on a page in pixels."""

    name: str
    caption: str
    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Answer:
    """What a study asks and finds: its question, the primary metric in words, a count of findings, all of them."""

    question: str
    primary: str
    tally: str
    sentences: Sequence[str]


@dataclass(frozen=True)
class Contents:
    """All that the page shows, in the order of its sections."""

    study: str
    answer: Answer
    tables: Sequence[ShownTable]
    figures: Sequence[ShownFigure]
    data: Grid
    counted: Grid | None
    models: Grid
    methods: Grid
    protocols: Grid
    metrics: Grid
    statistics: Sequence[str]
    versions: Sequence[tuple[str, str]]
    cost: Grid
    commits: Sequence[str]
    plugins: Sequence[str]
    beside: Sequence[str]


def contents(study: Study, folder: Path) -> Contents:
    """Return what the page of a finished study shows; ``folder`` is the workflow's.

    Paths are below the working directory. Raises `CamstudyError` where tables or figures of the study are missing.
    """
    inputs, config = _inputs(study), study.config
    made = runs.read_runs(path for path, _ in results(study, Nameless()))
    place = Path(paths.study(study.name, ""))
    beside = [file.name for file in sorted(place.glob("*")) if file.suffix in (".parquet", ".yaml")]
    return Contents(
        study=study.name,
        answer=answer(study),
        tables=[_table(study, name) for name in config["tables"]],
        figures=[_figure(study, name, inputs) for name in config["figures"]],
        data=about.data(study),
        counted=about.counted(study, inputs) if inputs else None,
        models=about.models(study, inputs),
        methods=about.methods(study),
        protocols=about.protocols(study),
        metrics=about.metrics(study),
        statistics=[*about.statistics(inputs)] if inputs else [],
        versions=runs.versions(made, inputs.versions if inputs else {}, folder / "requirements.lock"),
        cost=runs.cost(made),
        commits=runs.commits(made),
        plugins=config.get("plugins", ()),
        beside=beside,
    )


def answer(study: Study) -> Answer:
    """Return a study's question and what its primary metric says of it."""
    config, primary, counts, found = study.config, study.config.get("primary"), "", []
    made = {name: Path(paths.study(study.name, f"{name}.parquet")) for name in ("comparisons", "scores", "seeds")}
    tables = {name: read_table(path) for name, path in made.items() if path.is_file()}
    if {"comparisons", "scores"} <= tables.keys():
        seeds = tables.get("seeds")
        counts = tally(config, tables["comparisons"], seeds)
        found = answers(config, tables["comparisons"], tables["scores"], seeds)
    told = ""
    if primary:
        better = about.BETTER[METRICS[primary].direction]
        told = f"Primary metric: {spoken(primary)}, {better} is better. {about.definition(primary)}"
    question = " ".join((config.get("question") or "").split())
    return Answer(question, told, counts, found or ["No answer: the study scores nothing, and shows maps alone."])


def _inputs(study: Study) -> TableInputs | None:
    """Return the numbers of a study; None for one that scores nothing."""
    own = {name: paths.study(study.name, f"{name}.parquet") for name in ("scores", "comparisons", *BESIDE)}
    files: dict[str, object] = {name: path for name, path in own.items() if Path(path).is_file()}
    if "scores" not in files:
        return None
    sources = tuple(source for record in study.records for source in record.sources if source in files)
    files["models"] = [paths.model(model) for model in study.models]
    files["ceiling"] = [paths.ceiling(study.dataset)] if study.reaches_ceiling() else []
    files["dataset"] = paths.dataset(study.dataset)
    return read_inputs(files, stated_by(study.config, Everything(sources)))


def _table(study: Study, name: str) -> ShownTable:
    page = _existing(paths.study(study.name, f"tables/{name}.html")).read_text()
    title = page.partition("<title>")[2].partition("</title>")[0]
    body = page.partition(OUTER[0])[2].rpartition(OUTER[1])[0]
    return ShownTable(name, unescape(title), Markup(body))  # written by camstudy.tables.render, which escapes text


def _figure(study: Study, name: str, inputs: TableInputs | None) -> ShownFigure:
    content = _existing(paths.study(study.name, f"figures/{name}.png")).read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = (round(side * CSS_DPI / DPI) for side in image.size)
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return ShownFigure(name, _caption(study, FIGURES[name], inputs), address, width, height)


def _caption(study: Study, record: FigureRecord, inputs: TableInputs | None) -> str:
    """Return what a figure shows, and of how many images."""
    if record.needs == "scores" and inputs:
        return captioned(record.title, f"{study.dataset}, {counted(inputs, record)}")
    chosen, n = study.config["qualitative"], read_json(paths.dataset(study.dataset))["n_images"]
    count = min(chosen["n_images"], n)
    text = f"{record.title}: {count:,} of the {n:,} images of {study.dataset}, chosen at random"
    entry = study.catalog["datasets"][study.dataset]
    # Where it is not a folder of maps, which may be called anything.
    simulated = entry.get("human_maps") == "simulated" and "human_maps" in SOURCES[entry["source"]].has
    return f"{text}{', with simulated human maps' if simulated else ''}."


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise CamstudyError(f"{path}: no such file, and the report shows it; run the study first (`camstudy run`)")
    return Path(path)
