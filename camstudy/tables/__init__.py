"""Paper tables: pure functions from a study's numbers to a `Table`, and its rendering in four formats."""

from collections.abc import Callable
from dataclasses import dataclass

from camstudy.registry import Registry
from camstudy.summary import TableInputs
from camstudy.tables.dcls import dcls
from camstudy.tables.render import to_csv, to_html, to_latex, to_markdown
from camstudy.tables.table import Table

__all__ = ["RENDERERS", "TABLES", "Table", "TableInputs", "TableRecord"]


@dataclass(frozen=True)
class TableRecord:
    """A table that studies can ask for: ``function(inputs: TableInputs) -> Table``."""

    name: str
    function: Callable[[TableInputs], Table]
    title: str


TABLES: Registry[TableRecord] = Registry("table", TableRecord)
TABLES.register("dcls", title="Alignment of baselines and DCLS variants")(dcls)

# File extension -> text of a table in that format.
RENDERERS: dict[str, Callable[[Table], str]] = {
    "csv": to_csv,
    "md": to_markdown,
    "tex": to_latex,
    "html": to_html,
}
