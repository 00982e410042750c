"""The text of a table as CSV, Markdown, LaTeX and HTML: `RENDERERS`."""

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape

from camstudy.analysis.summary import NOISE
from camstudy.tables.table import DASH, Cell, Column, Row, Table, cell, groups

# Characters beyond which a table is cut between groups of columns, the parts one below the other.
MARKDOWN_WIDTH, LATEX_WIDTH = 112, 120
ESTIMATES = ("percent", "score", "estimate", "difference")
ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0328"
NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")


def to_csv(table: Table) -> str:
    """Return the whole table for machines: flat columns, plain numbers, empty where there is no value.

    An estimate has three columns: ``key``, ``key_ci_low``, ``key_ci_high``. Numbers are rounded to 6
    decimals, or to one significant digit where these would be 0, p-values to 6 significant digits, so that equal
    results give equal text.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = []
    for column in table.columns:
        ends = ("", "_ci_low", "_ci_high") if column.format in ESTIMATES else ("",)
        header += [column.key + end for end in ends]
    writer.writerow(header)
    for row in table.rows:
        writer.writerow([number for column in table.columns for number in _plain(column, row)])
    return text.getvalue()


def _plain(column: Column, row: Row) -> list[str | float | None]:
    value = row.cells.get(column.key)
    if column.format in ESTIMATES:
        numbers = (None, None, None) if value is None else (value.value, value.low, value.high)
        return [None if number is None else _rounded(float(number)) for number in numbers]
    return [f"{value:.6g}" if column.format == "p" and value is not None else value]


def _rounded(number: float) -> float:
    """Return a number with 6 decimals; its sign stays, unless it is mere rounding."""
    if abs(number) <= NOISE:
        return 0.0
    return round(number, 6) or float(f"{number:.1g}")


def to_markdown(table: Table) -> str:
    """Return GitHub's Markdown that a terminal can show: a wide table comes in parts of whole groups."""
    parts = [f"**{_markdown(table.caption)}**"]
    stub, *columns = table.shown()
    cells = partial(_markdown_cell, table)
    for block in _blocks(table, stub, columns, cells, MARKDOWN_WIDTH):
        alone = len(block) == 1
        if alone and block[0][0]:
            parts.append(f"*{_markdown(block[0][0])}*")
        headers = [stub.header]
        for group, members in block:
            prefix = f"{group}: " if group and not alone else ""
            headers += [prefix + column.header for column in members]
        parts.append(_markdown_grid(table, headers, [stub, *(c for _, members in block for c in members)]))
    parts.append("\n".join(f"- {_markdown(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def _blocks(
    table: Table, stub: Column, columns: Sequence[Column], text: Callable[[Column, Row], str], limit: int
) -> Iterator[list[tuple[str, list[Column]]]]:
    """Yield as many groups of columns at a time as fit the limit beside the row names, at least one."""

    def width(members: Sequence[Column]) -> int:
        texts = [[column.header, *(text(column, row) for row in table.rows)] for column in members]
        return sum(3 + max(map(len, lines)) for lines in texts)

    block, used = [], width([stub])
    for group, members in groups(columns):
        more = max(width(members), len(group) + 3)
        if block and used + more > limit:
            yield block
            block, used = [], width([stub])
        block.append((group, members))
        used += more
    if block:
        yield block


def _markdown_grid(table: Table, headers: list[str], columns: list[Column]) -> str:
    # A row that has nothing to say in these columns is left out.
    rows = [row for row in table.rows if any(column.key in row.cells for column in columns[1:])]
    lines = [[_markdown(header) for header in headers]]
    lines += [[_markdown_cell(table, column, row) for column in columns] for row in rows]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(columns))]
    lines.insert(1, ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]])
    texts = []
    for first, *others in lines:
        padded = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        texts.append(f"| {' | '.join([first.ljust(widths[0]), *padded])} |")
    return "\n".join(texts)


def _markdown_cell(table: Table, column: Column, row: Row) -> str:
    shown = cell(column, row)
    value = _markdown(shown.value)
    value = f"**{value}**" if shown.bold else f"*{value}*" if shown.underlined else value
    value += shown.mark.ljust(table.mark_width(column))
    return f"{value} {shown.interval}" if shown.interval else value


def _markdown(text: str) -> str:
    """Escape what Markdown would act upon; a number's ``<`` and free-standing asterisks are no markup."""
    text = re.sub(r"([\\`|\[$~])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)", r"\\\g<0>", text)
    return re.sub(r"\*+(?=[^\s*])|(?<!\w)_", lambda found: "".join(f"\\{char}" for char in found[0]), text)


def to_latex(table: Table) -> str:
    r"""Return a float for ``\input``, with booktabs rules; it shrinks to the text width where it is wider."""
    stub, *columns = table.shown()
    parts = []
    for block in _blocks(table, stub, columns, _latex_extent, LATEX_WIDTH):
        parts += [
            *_latex_part(table, [stub, *(c for _, members in block for c in members)]),
            r"\\ \addlinespace[\bigskipamount]",
        ]
    body = [
        r"\begin{table*}[!tp]",
        r"\centering",
        rf"\caption{{{_latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\medskip\small\setlength{\tabcolsep}{4pt}",
        r"\sbox0{\begin{tabular}{@{}l@{}}",
        *parts[:-1],
        r"\end{tabular}}%",
        r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi",
        r"\par\medskip",
        r"\begin{minipage}{\textwidth}\footnotesize\raggedright",
        *(_latex(note) for note in table.notes),
        r"\end{minipage}",
        r"\end{table*}",
    ]
    lines = ["% Input this file into a document that loads the packages booktabs and graphicx."]
    if any(r"\anycharacter" in line for line in body):
        lines.append(_ANY)
    lines += body
    return "\n".join(lines) + "\n"


def _latex_extent(column: Column, row: Row) -> str:
    """Return the longer line of a cell; intervals are set smaller."""
    shown = cell(column, row)
    return max(shown.value + shown.mark, shown.interval[: round(0.8 * len(shown.interval))], key=len)


def _latex_part(table: Table, columns: Sequence[Column]) -> Iterator[str]:
    yield rf"\begin{{tabular}}{{@{{}}l{'r' * (len(columns) - 1)}@{{}}}}"
    yield r"\toprule"
    yield from _latex_header(table, columns)
    for section in table.sections():
        rows = [row for row in section if any(column.key in row.cells for column in columns[1:])]
        if rows:
            yield r"\midrule"
            yield "\n\\addlinespace\n".join("\n".join(_latex_row(table, columns, row)) for row in rows)
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _latex_header(table: Table, columns: Sequence[Column]) -> Iterator[str]:
    tops, rules, start = [], [], 1
    for group, members in groups(columns):
        end = start + len(members) - 1
        tops.append(rf"\multicolumn{{{len(members)}}}{{c}}{{{_latex(group)}}}" if group else "")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{end}}}")
        start = end + 1
    if rules:
        yield " & ".join(tops) + r" \\"
        yield " ".join(rules)
    headers = (_latex(column.header) + _latex_mark("", table.mark_width(column)) for column in columns)
    yield " & ".join(headers) + r" \\"


def _latex_row(table: Table, columns: Sequence[Column], row: Row) -> Iterator[str]:
    cells = [cell(column, row) for column in columns]
    yield " & ".join(_latex_value(table, *pair) for pair in zip(columns, cells, strict=True)) + r" \\"
    if any(shown.interval for shown in cells):
        # On a line of their own: beside the values, the intervals would make the table too wide.
        intervals = (NEGATIVE.sub("−", shown.interval) for shown in cells)
        yield " & ".join(rf"{{\scriptsize {_latex(text)}}}" if text else "" for text in intervals) + r" \\"


def _latex_value(table: Table, column: Column, shown: Cell) -> str:
    value = _latex(NEGATIVE.sub("−", shown.value))
    value = rf"\textbf{{{value}}}" if shown.bold else rf"\underline{{{value}}}" if shown.underlined else value
    return value + _latex_mark(shown.mark, table.mark_width(column))


def _latex_mark(mark: str, width: int) -> str:
    """Return a mark that is as wide as the column's widest, so that digits stay aligned."""
    rest = "*" * (width - len(mark))
    return (f"$^{{{mark}}}$" if mark else "") + (rf"\phantom{{$^{{{rest}}}$}}" if rest else "")


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}", DASH: "--", "−": "$-$",
    "α": r"$\alpha$", "→": r"$\rightarrow$", "≤": r"$\leq$", "≥": r"$\geq$", "×": r"$\times$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip

# XeTeX and LuaTeX know all letters that their font has, pdfTeX those of Latin scripts.
_ANY = r"\providecommand{\anycharacter}[2]{\ifdefined\Umathchar #1\else{\ttfamily #2}\fi}"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character) or _letter(character) for character in " ".join(text.split()))


def _letter(character: str) -> str:
    """Return a character as it is where every TeX knows it, else so that those who do not print its number."""
    base, *accents = unicodedata.normalize("NFD", character)
    if base.isascii() and all(accent in ACCENTS for accent in accents):
        return character
    return rf"\anycharacter{{{character}}}{{U+{ord(character):04X}}}"


def to_html(table: Table) -> str:
    """Return a page that needs nothing else, in light or dark as the reader has it."""
    columns = table.shown()
    runs = groups(columns)
    starts = {members[0] for group, members in runs if group}
    bodies = []
    for rows in table.sections():
        lines = ["".join(_html_cell(table, column, row, starts) for column in columns) for row in rows]
        bodies.append("<tbody>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</tbody>")
    return _PAGE.format(
        title=escape(table.caption),
        style=_STYLE,
        spans="".join(f'<colgroup span="{len(members)}"></colgroup>' for _, members in runs),
        head="\n".join(f"<tr>{line}</tr>" for line in _html_header(table, columns, starts)),
        bodies="\n".join(bodies),
        notes="\n".join(f"<li>{escape(note)}</li>" for note in table.notes),
    )


def _html_header(table: Table, columns: Sequence[Column], starts: set[Column]) -> Iterator[str]:
    runs = groups(columns)
    levels = 2 if any(group for group, _ in runs) else 1
    top, bottom = [], []
    for group, members in runs:
        if group:
            span = f'scope="colgroup" colspan="{len(members)}"'
            top.append(f'<th class="start group" {span}>{escape(group)}</th>')
        for column in members:
            rows = 1 if group else levels
            start = ' class="start"' if column in starts else ""
            text = escape(column.header) + _html_mark("", table.mark_width(column))
            (bottom if group else top).append(f'<th scope="col" rowspan="{rows}"{start}>{text}</th>')
    return ("".join(cells) for cells in (top, bottom) if cells)


def _html_cell(table: Table, column: Column, row: Row, starts: set[Column]) -> str:
    shown = cell(column, row)
    if column is table.shown()[0]:
        return f'<th scope="row">{escape(shown.value)}</th>'
    value = escape(NEGATIVE.sub("−", shown.value))
    value = f"<b>{value}</b>" if shown.bold else f"<u>{value}</u>" if shown.underlined else value
    value += _html_mark(shown.mark, table.mark_width(column))
    if shown.interval:
        value += f'<span class="interval">{escape(NEGATIVE.sub("−", shown.interval))}</span>'
    start = ' class="start"' if column in starts else ""
    return f"<td{start}>{value}</td>"


def _html_mark(mark: str, width: int) -> str:
    return f'<sup style="width: {0.6 * width:.1f}em">{escape(mark)}</sup>' if width else ""


# Of a table and its notes, on pages that have the colors `--soft` and `--rule`.
TABLE_STYLE = """
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; border-bottom: 2px solid; }
caption { text-align: left; font-size: 1.15rem; font-weight: 600; padding-bottom: 0.9rem; }
th, td { padding: 0.35rem 0.5rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; }
th[scope=row], thead tr:first-child th:first-child { text-align: left; padding-left: 0; }
thead { border-top: 2px solid; border-bottom: 1px solid; }
thead th { vertical-align: bottom; white-space: normal; }
thead th.group { text-align: center; position: relative; }
thead th.group::after { content: ""; position: absolute; left: 1.6rem; right: 0.5rem; bottom: 0;
  border-bottom: 1px solid var(--rule); }
tbody + tbody { border-top: 1px solid; }
.start { padding-left: 1.6rem; }
sup { display: inline-block; text-align: left; line-height: 1; font-size: 0.75em; }
.interval { display: block; font-size: 0.8em; color: var(--soft); }
.notes { color: var(--soft); font-size: 0.9rem; max-width: 62rem; padding-left: 1.1rem; margin-top: 1.4rem; }
""".strip()
_STYLE = (
    """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #5b6570; --rule: #aab3bd; --page: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e7eb; --soft: #9aa5b1; --rule: #55606c; --page: #14181d; }
}
body { margin: 2.5rem auto; padding: 0 1.5rem; max-width: 92rem; background: var(--page);
  color: var(--text); font: 14px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
""".lstrip()
    + TABLE_STYLE
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<div class="scroll" tabindex="0" role="region" aria-label="{title}">
<table>
<caption>{title}</caption>
{spans}
<thead>
{head}
</thead>
{bodies}
</table>
</div>
<ul class="notes">
{notes}
</ul>
</body>
</html>
"""

# File extension -> text of a table in that format.
RENDERERS: dict[str, Callable[[Table], str]] = {
    "csv": to_csv,
    "md": to_markdown,
    "tex": to_latex,
    "html": to_html,
}
