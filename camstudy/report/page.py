"""The report's page as HTML, one file that needs nothing else; and what Snakemake's report says first."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from camstudy.core.files import replacing
from camstudy.pipeline import paths
from camstudy.report.contents import Answer, Contents
from camstudy.tables.render import TABLE_STYLE

HERE = Path(__file__).parent
MOST = 12  # sentences on the first page of Snakemake's report
PAGE, WORKFLOW, SUMMARY = "report/index.html", "report/workflow/index.html", "report/summary.html"
STYLE = HERE / "workflow.css"  # of Snakemake's report
LINKS = {"gallery": "gallery/index.html", "workflow": WORKFLOW}


def page(contents: Contents, *, alone: bool = False) -> str:
    """Return the page of a study, all text in it escaped.

    Links lead to the study's own files, beside which the page lies; to its gallery and to Snakemake's report only where
    they are there, and to the latter not from a page that is packed ``alone``.
    """
    there = {name: Path(paths.study(contents.study, path)).is_file() for name, path in LINKS.items()}
    there["workflow"] &= not alone
    style = Markup(f"{TABLE_STYLE}\n{(HERE / 'page.css').read_text()}")
    return _template("page.html").render(it=contents, there=there, style=style)


def summary(study: str, answer: Answer) -> str:
    """Return the answer as a piece of HTML for the first page of Snakemake's report, every line one without breaks."""
    shown = _template("summary.html").render(study=study, answer=answer, most=MOST)
    # It stands in reStructuredText, whose lines end where a text may have any kind of break.
    return "\n".join(" ".join(line.split()) for line in shown.split("\n") if line.strip())


def write(text: str, path: str | Path) -> None:
    """Write a page in one step, its folder with it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _template(name: str):
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
