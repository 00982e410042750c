import csv
import dataclasses
import io
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from studies import ARCHITECTURES, make_inputs

from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.core.errors import CamstudyError
from camstudy.core.names import CONTROL
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS, to_csv, to_html, to_latex, to_markdown
from camstudy.tables.table import Column, Row, Table

VOID = {"meta", "br", "link", "img", "col"}


def dcls(inputs: TableInputs) -> Table:
    return TABLES["dcls"].function(inputs)


def score(inputs, model, method, metric, column="mean"):
    """Look a score up by plain iteration over the records."""
    wanted = (model, method, metric)
    for row in inputs.scores.to_dict("records"):
        if (row["model"], row["method"], row["metric"]) == wanted:
            return row[column]
    raise AssertionError(f"no score {wanted}")


def csv_rows(table):
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def retitled(inputs, title):
    """Give the first comparison and its baseline another title."""
    first, *others = inputs.study["comparisons"]
    study = {**inputs.study, "comparisons": [{**first, "title": title}, *others]}
    models = {**inputs.models, first["baseline"]: {**inputs.models[first["baseline"]], "title": title}}
    return dataclasses.replace(inputs, study=study, models=models)


class Page(HTMLParser):
    """Checks that tags are balanced, and collects the cells of each row with the text in them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.cells, self.tags = [], [], [], set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1][2].append(data)


def test_csv_holds_every_number_of_the_long_tables():
    inputs = make_inputs()
    rows = csv_rows(dcls(inputs))
    assert [row["title"] for row in rows[:4]] == list(ARCHITECTURES.values())
    assert [row["kind"] for row in rows] == ["comparison"] * 4 + ["control"] * 3
    for row, name in zip(rows, ARCHITECTURES, strict=False):
        for role, model in (("baseline", name), ("dcls", f"{name}_dcls")):
            assert int(row[f"{role}_parameters"]) == inputs.models[model]["parameters"]
            top1 = score(inputs, model, "", "top1")
            assert float(row[f"{role}_top1_percent"]) == pytest.approx(100 * top1, abs=1e-6)
            for method in ("gradcam", "threshold_gradcam"):
                for end, column in (("", "mean"), ("_ci_low", "ci_low"), ("_ci_high", "ci_high")):
                    expected = score(inputs, model, method, "alignment", column)
                    assert float(row[f"{method}_{role}_alignment{end}"]) == pytest.approx(expected, abs=1e-6)
        for record in inputs.comparisons.to_dict("records"):
            if record["baseline"] == name and record["metric"] == "alignment":
                method = record["method"]
                assert float(row[f"{method}_difference"]) == pytest.approx(record["difference"], abs=1e-6)
                assert float(row[f"{method}_p_corrected"]) == pytest.approx(record["p_corrected"], rel=1e-5)
    for row, control in zip(rows[4:], inputs.study["controls"], strict=True):
        expected = score(inputs, CONTROL, control, "alignment")
        assert float(row["gradcam_baseline_alignment"]) == pytest.approx(expected)
        assert float(row["threshold_gradcam_baseline_alignment"]) == pytest.approx(expected)
        assert row["gradcam_dcls_alignment"] == row["baseline_parameters"] == ""


def test_csv_is_numeric_for_pandas_and_the_same_for_shuffled_records():
    inputs = make_inputs()
    text = to_csv(dcls(inputs))
    frame = pd.read_csv(io.StringIO(text))
    words = {"kind", "title", "baseline", "variant"} | {c for c in frame if c.endswith("_significance")}
    assert all(pd.api.types.is_numeric_dtype(frame[column]) for column in frame.columns.difference(words))
    shuffled = dataclasses.replace(
        inputs,
        scores=inputs.scores.sample(frac=1, random_state=1),
        comparisons=inputs.comparisons.sample(frac=1, random_state=2),
    )
    assert to_csv(dcls(shuffled)) == text


def test_significance_follows_corrected_p_and_only_then_the_higher_is_bold():
    # The made-up corrected p-values run through 3.2e-12, 0.0042, 0.031, 0.38.
    inputs = make_inputs()
    table = dcls(inputs)
    expected = [("***", "**"), ("*", ""), ("***", "**"), ("*", "")]
    for row, marks in zip(table.rows, expected, strict=False):
        for method, mark in zip(("gradcam", "threshold_gradcam"), marks, strict=True):
            assert row.cells[f"{method}_significance"] == mark
            assert row.marks.get(f"{method}_p_corrected", "") == mark
            values = {role: row.cells[f"{method}_{role}_alignment"].value for role in ("baseline", "dcls")}
            higher = f"{method}_{max(values, key=values.get)}_alignment"
            assert {key for key in row.bold if key.startswith(method)} == ({higher} if mark else set())


def test_a_stricter_alpha_marks_less():
    inputs = make_inputs()
    statistics = {**inputs.study["statistics"], "alpha": 0.01}
    table = dcls(dataclasses.replace(inputs, study={**inputs.study, "statistics": statistics}))
    assert [row.cells["gradcam_significance"] for row in table.rows[:4]] == ["**", "", "**", ""]
    assert "* p < 0.01, ** p < 0.001" in " ".join(table.notes)


def test_a_tiny_p_is_shown_as_below_and_kept_in_the_csv():
    table = dcls(make_inputs())
    assert "<0.001***" in to_markdown(table)
    assert r"\textless{}0.001$^{***}$" in to_latex(table)
    assert "&lt;0.001" in to_html(table)
    assert float(csv_rows(table)[0]["gradcam_p_corrected"]) == pytest.approx(3.2e-12)


def test_notes_say_what_the_numbers_mean():
    notes = "\n".join(dcls(make_inputs()).notes)
    for part in (
        "digits_clickme, 384 images",
        "simulated, not recorded from people",
        "human ceiling, 0.702. Protocol: human_maps.",
        "the image's label",
        "no degenerate maps",
        "95% BCa bootstrap",
        "9,999 resamples",
        "Wilcoxon signed-rank",
        "Holm-corrected for 8 tests",
        "* p < 0.05, ** p < 0.01, *** p < 0.001",
    ):
        assert part in notes


def test_notes_list_degenerate_maps_and_what_became_of_them():
    inputs = make_inputs(degenerate=[("fastvit_mini", "gradcam", 3), (CONTROL, "random", 1)])
    table = dcls(inputs)
    notes = "\n".join(table.notes)
    assert "scored as 0: FastViT-mini, Grad-CAM: 3; Random: 1." in notes
    assert "no degenerate maps" not in notes
    assert csv_rows(table)[3]["gradcam_baseline_n_degenerate"] == "3"
    skipped = dataclasses.replace(inputs, study={**inputs.study, "degenerate": "skip"})
    assert "left out of the means: FastViT-mini" in "\n".join(dcls(skipped).notes)


def test_notes_tell_recorded_maps_mixed_targets_and_models_not_compared():
    inputs = make_inputs()
    study = {**inputs.study, "comparisons": inputs.study["comparisons"][1:]}
    methods = dict(study["catalog"]["methods"])
    methods["gradcam"] = {**methods["gradcam"], "target": "predicted"}
    study["catalog"] = study["catalog"] | {"methods": methods}
    dataset = {**inputs.dataset, "human_maps": "recorded"}
    notes = "\n".join(dcls(dataclasses.replace(inputs, study=study, dataset=dataset)).notes)
    assert "Human maps are recorded." in notes
    assert "simulated" not in notes
    assert "Explained class (Grad-CAM): the class that the model predicts." in notes
    assert "Explained class (Threshold-Grad-CAM): the image's label." in notes
    assert "Not shown, since in no comparison: ResNet-mini, ResNet-mini DCLS." in notes


def test_without_comparisons_each_model_has_a_row():
    inputs = make_inputs(compare=False)
    table = dcls(inputs)
    rows = csv_rows(table)
    assert [row["model"] for row in rows] == [*inputs.study["models"], *inputs.study["controls"]]
    for row in rows[:8]:
        expected = score(inputs, row["model"], "gradcam", "alignment")
        assert float(row["gradcam_alignment"]) == pytest.approx(expected, abs=1e-6)
    assert "Wilcoxon" not in "\n".join(table.notes)
    assert "ResNet-mini DCLS" in to_markdown(table)


@pytest.mark.parametrize("compare", [True, False])
@pytest.mark.parametrize("extension", list(RENDERERS))
def test_missing_numbers_leave_gaps_but_no_nan(compare, extension):
    inputs = make_inputs(methods=("gradcam",), controls=("random",), accuracy=False, compare=compare)
    scores = inputs.scores.copy()
    scores.loc[scores["model"] == "resnet_mini", ["mean", "ci_low", "ci_high"]] = np.nan
    scores = scores[(scores["model"] != "fastvit_mini") & (scores["model"] != CONTROL)]
    comparisons = inputs.comparisons[inputs.comparisons["baseline"] != "fastvit_mini"]
    table = dcls(dataclasses.replace(inputs, scores=scores, comparisons=comparisons))
    text = RENDERERS[extension](table)
    assert not re.search(r"\b(nan|None|inf)\b", text, re.IGNORECASE)
    assert "Random" in text
    if extension != "csv":
        assert "Top-1" not in text  # no model has one
        assert ("--" if extension == "tex" else "–") in text


def test_two_records_for_one_cell_are_a_bug():
    inputs = make_inputs()
    doubled = dataclasses.replace(inputs, scores=pd.concat([inputs.scores, inputs.scores]))
    with pytest.raises(ValueError, match="2 rows"):
        dcls(doubled)


def test_unknown_tables_get_a_suggestion():
    with pytest.raises(CamstudyError, match="did you mean `dcls`"):
        TABLES["dlcs"]


def test_markdown_grid_is_regular_and_fits_a_terminal():
    text = to_markdown(dcls(make_inputs()))
    grids = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(grids) == 3  # parameters and accuracy, then each method
    for lines in grids:
        assert len({len(line) for line in lines}) == 1
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines[0]) <= 112
        assert set(lines[1]) <= set("|-: ")
    assert "*Alignment, Threshold-Grad-CAM*" in text


def test_markdown_escapes_titles():
    text = to_markdown(dcls(retitled(make_inputs(), "a|b <b>*x* `c` [d](e)")))
    assert r"a\|b \<b>\*x* \`c\` \[d](e)" in text
    grids = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert all(len({line.replace(r"\|", "").count("|") for line in lines}) == 1 for lines in grids)


def test_html_is_well_formed_accessible_and_standalone():
    inputs = make_inputs()
    text = to_html(dcls(inputs))
    page = Page(text)
    assert {"caption", "thead", "tbody", "colgroup"} <= page.tags
    assert not {"script", "link", "img"} & page.tags
    assert "http" not in text
    assert all(attrs.get("scope") for row in page.rows for tag, attrs, _ in row if tag == "th")
    top, bottom, *body = page.rows
    assert [("".join(words), attrs["colspan"]) for _, attrs, words in top[1:]] == [
        ("Parameters (M)", "2"),
        ("Top-1 (%)", "2"),
        ("Alignment, Grad-CAM", "4"),
        ("Alignment, Threshold-Grad-CAM", "4"),
    ]
    assert len(bottom) == 12
    assert [len(row) for row in body] == [13] * 7
    first = ["".join(words) for _, _, words in body[0]]
    assert first[0] == "ResNet-mini"
    mean = score(inputs, "resnet_mini", "gradcam", "alignment")
    assert first[5].startswith(f"{mean:.3f}[")


def test_html_escapes_titles():
    text = to_html(dcls(retitled(make_inputs(), "<script>alert('x')</script>")))
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in text
    Page(text)


def test_latex_has_booktabs_rules_and_two_levels():
    text = to_latex(dcls(make_inputs()))
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\cmidrule(lr){2-3}", r"\caption", r"\label"):
        assert command in text
    assert r"\multicolumn{4}{c}{Alignment, Grad-CAM}" in text
    assert r"digits\_clickme" in text
    assert "|" not in text.replace(r"\textbar{}", "")  # booktabs knows no vertical rules


LATEX_TITLES = ["ResNet-mini", r"50% of $x_1 & {y} #2 ~^ \alpha <|> [a] α→×≤"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("title", LATEX_TITLES)
@pytest.mark.parametrize("compare", [True, False])
def test_latex_compiles_within_the_text_width(tmp_path, title, compare):
    inputs = make_inputs()
    inputs = retitled(inputs, title)
    if not compare:
        inputs = dataclasses.replace(inputs, study={**inputs.study, "comparisons": []})
    (tmp_path / "dcls.tex").write_text(to_latex(dcls(inputs)))
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{dcls.tex}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert run.returncode == 0, run.stdout[-3000:]
    assert "Overfull" not in run.stdout
    assert "(1 page" in run.stdout


def test_renderers_do_without_groups_marks_and_intervals():
    columns = (Column("kind", shown=False), Column("name", "Name"), Column("x", "X", format="estimate"))
    rows = (
        Row({"kind": "a", "name": "one", "x": Estimate(-1e-17)}),
        Row({"kind": "a", "name": "two", "x": None}),
    )
    table = Table("tiny", "Tiny.", columns, rows, ())
    assert to_csv(table) == "kind,name,x,x_ci_low,x_ci_high\na,one,0.0,,\na,two,,,\n"
    assert "| one  | 0.000 |" in to_markdown(table)
    assert r"\cmidrule" not in to_latex(table)
    assert len(Page(to_html(table)).rows) == 3


def test_tables_and_figures_import_no_torch():
    code = "import sys, camstudy.tables, camstudy.figures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
