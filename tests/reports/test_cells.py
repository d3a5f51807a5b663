"""Tables, records and what is drawn from them."""

import re
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from simmc.cli.reproduce import versions_now
from simmc.data import specs
from simmc.errors import UserError
from simmc.evaluation.significance import means
from simmc.methods.registry import METHODS
from simmc.reports import cells, claims, page, web
from simmc.reports.cells import Row, Table
from tests.conftest import ROOT

K = "KGBD/probe"
RECORDS = cells.read_records(ROOT / "results" / "records", versions_now)


def record(seed=0, top1=0.5, *, run="simmc --x 1", protocol="paper", **more):
    figures = {"top1": top1, "top5": top1 + 0.1, "top10": top1 + 0.2, "mAP": top1 / 5, "epoch": 3}
    made = {"run": [run], "dataset": "KGBD", "probe": "probe", "split": "seed", "seed": seed}
    return {**made, "key": f"{seed:016x}", "protocols": {protocol: figures}, **more}


def table(*rows, claim=()):
    return Table("t", "T", "P", 1, ("top1", "mAP"), (K,), (0,), rows, tuple(claim))


A, B = (
    Row("A", ("simmc --x 1",), printed={K: {"top1": 51.0, "mAP": 9.0}}),
    Row("B", ("simmc --x 2",)),
)


def persons(hits, windows=10):
    """Packed outcomes: of each person so many of its windows have their match first."""
    hits = np.asarray(hits)
    count = np.full(len(hits), windows)
    rows = [np.arange(len(hits)), count, hits, hits, hits, count, 1_000_000 * hits]
    return cells.pack_persons(np.column_stack(rows))


class TestTables:
    def test_rows_are_complete(self):
        for name, one in cells.tables().items():
            names = [row.name for row in one.rows]
            assert len(set(names)) == len(names), name
            for row in one.rows:
                assert set(row.printed) <= set(one.columns)
                assert row.labels in ("none", "recordings", "identities")
                for command in row.run:
                    known = command.split()[0] in {*METHODS, "descriptors", "export-features"}
                    assert known, (name, command)

    def test_every_printed_number_is_there_and_plausible(self):
        printed = {
            name: [cell for row in one.rows for cell in row.printed.values() if "top1" in cell]
            for name, one in cells.tables().items()
            if one.paper
        }
        # 13 methods x 3 probes and one more of ours, 13 x 3, 7 x 5, 4 x 6; Hi-MPC's 5 x 25
        assert [len(printed[f"simmc-{n}"]) for n in (1, 2, 3, 4)] == [40, 39, 35, 24]
        assert (len(printed["himpc-4"]), len(printed["repositories"])) == (5 * 25, 14)
        for cell in [cell for found in printed.values() for cell in found]:
            present = [cell[name] for name in ("top1", "top5", "top10") if name in cell]
            assert present == sorted(present)  # a CMC curve never falls
            assert all(0 < rate <= 100 for rate in cell.values())

    def test_columns_are_probes_of_datasets(self):
        for one in cells.tables().values():
            for column in one.columns:
                dataset, _, probe = column.partition("/")
                if dataset != "*":
                    by_view = specs.BY_VIEW.get(dataset)
                    known = specs.DATASETS[dataset].probes + (by_view.probes if by_view else ())
                    assert probe in known

    def test_every_table_of_the_issue_is_there(self):
        wanted = {f"simmc-{n}" for n in range(1, 5)} | {f"himpc-{n}" for n in range(2, 12)}
        wanted |= {f"sgela-{n}" for n in range(2, 10)} | {"simmc-fig4", "himpc-fig6", "uf"}
        assert wanted | {"trackmc", "generality"} <= set(cells.tables())

    def test_the_order_of_a_number_in_a_row_is_that_of_the_figures(self):
        row = cells.tables()["simmc-1"].row("SimMC")
        assert row.printed[K] == {"top1": 54.9, "top5": 66.2, "top10": 70.6, "mAP": 11.7}
        assert row.commands("KGBD") == ("simmc --epochs 60 --eval_every 5",)
        assert row.commands("KS20") == ("simmc",)


class TestRecords:
    def test_a_record_is_read_as_it_was_written(self, tmp_path):
        made = record(epochs=[{"epoch": 1, "top1": 0.4, "mAP": 0.1}])
        path = cells.write_record(tmp_path, made)
        assert cells.read_records(tmp_path) == [made]
        path.write_text(path.read_text()[:-30])
        with pytest.raises(UserError, match=re.escape(path.name)):
            cells.read_records(tmp_path)

    def test_outcomes_by_person_give_the_figures(self):
        made = record(persons={"paper": persons([10, 5, 0])})
        _, sums, counts = cells.sums_of([made], "paper")
        assert means(sums, counts)[0] == pytest.approx([0.5] * 4)
        with pytest.raises(UserError, match="damaged"):
            cells.unpack_persons("not packed")

    def test_mean_and_deviation_are_over_seeds(self):
        found = cells.summary([record(0, 0.5), record(1, 0.6)], "paper")
        assert (found.n, found.carried, found.ends) == (2, 0, {})
        assert found.mean["top1"] == pytest.approx(55)
        assert found.deviation["top1"] == pytest.approx(10 / 2**0.5)
        assert cells.summary([record()], "label_free") is None

    def test_only_the_newest_version_and_the_newest_run_of_a_seed_count(self):
        old = [record(seed, 0.1, version="1", made="2026-01-01") for seed in (0, 1, 2)]
        new = [record(0, 0.2, version="2", made="2026-02-01")]
        again = [record(0, 0.3, version="2", made="2026-03-01")]
        found = cells.records_of([*old, *again, *new], A, K)
        assert [one["protocols"]["paper"]["top1"] for one in found] == [0.3]
        assert len(cells.records_of(old, A, K)) == 3

    def test_a_mean_without_a_version_counts_until_as_many_seeds_have_records(self):
        one = record(0, 0.3, version="1", settings="a", made="2026-02-01")
        mean = record(0, 0.1, settings="a", carried="a page")
        mean["seeds"] = [mean.pop("seed"), 1]
        other = {**mean, "settings": "b"}
        two = record(1, 0.4, version="1", settings="a", made="2026-03-01")
        for singles, expected in (([one], 10), ([one, two], 35)):
            found = cells.summary(cells.records_of([*singles, mean, other], A, K), "paper")
            assert found.mean["top1"] == pytest.approx(expected)

    def test_an_older_version_of_a_method_is_carried_over(self, tmp_path):
        made = [record(0, version="1"), record(1, version="10"), record(2, version="9")]
        other = record(3, run="himpc", version="1")
        old = record(4, carried="a page")
        steps = record(5, run="finetune", version="1-10-1")
        before = record(6, run="finetune", version="1-9-1")
        for one in (steps, before):
            one["run"] = ["sgela", "simmc --x 2", "finetune"]
        for one in (*made, other, old, steps, before):
            cells.write_record(tmp_path, one)

        def now(record):
            return {"simmc": "10", "himpc": "1", "finetune": "1-10-1"}[record["run"][-1].split()[0]]

        read = cells.read_records(tmp_path, now)
        found = {one["seed"]: one.get("carried") for one in read}
        says = "version {} of simmc".format
        assert found == {0: says(1), 1: None, 2: says(9), 3: None, 4: "a page", 5: None, 6: says(9)}

    def test_other_commands_splits_and_probes_are_no_part_of_a_row(self):
        others = [record(run="simmc"), record(split="public"), record(probe="nm.nm")]
        assert not cells.records_of(others, A, K)

    def test_a_mean_that_was_carried_over_yields_to_as_many_single_runs(self):
        mean = record(0, 0.9, carried="page", deviation={"paper": {"top1": 0.02}})
        del mean["seed"]
        mean["seeds"] = [0, 1]
        assert cells.summary([record(0, 0.5), mean], "paper").mean["top1"] == pytest.approx(90)
        found = cells.summary([record(0, 0.5), record(1, 0.5), mean], "paper")
        assert (found.mean["top1"], found.carried) == (pytest.approx(50), 0)

    def test_the_interval_is_over_persons(self):
        alike = [record(s, persons={"paper": persons([5] * 20)}) for s in (0, 1)]
        low, high = cells.summary(alike, "paper").ends["top1"]
        assert low == high == pytest.approx(50)
        mixed = [record(persons={"paper": persons([0, 10] * 10)})]
        low, high = cells.summary(mixed, "paper").ends["top1"]
        assert low < 35 and high > 65


class TestClaims:
    def judged(self, claim, *records):
        (found,) = claims.verdicts(
            table(A, B, claim=[{"text": "x", "column": K, **claim}]), records
        )
        return found.mark

    def test_a_row_reaches_its_printed_figures(self):
        claim = {"row": "A", "within": 1.0}  # from 50.0 on

        def runs(*top1):
            return [record(seed, value) for seed, value in enumerate(top1)]

        assert self.judged(claim, *runs(0.505, 0.506, 0.504)) == claims.HOLDS
        assert self.judged(claim, *runs(0.495, 0.494, 0.496)) == claims.FAILS
        assert self.judged(claim, *runs(0.525, 0.505, 0.485)) == claims.OPEN  # they scatter
        assert self.judged(claim) == claims.MISSING

    @pytest.mark.parametrize(
        ("top1", "mark"),
        [(0.54, claims.HOLDS), (0.505, claims.OPEN), (0.495, claims.OPEN), (0.46, claims.FAILS)],
    )
    def test_one_seed_decides_only_what_is_far_away(self, top1, mark):
        claim = {"row": "A", "within": 1.0, "figures": ["top1"]}
        assert self.judged(claim, record(0, top1)) == mark

    @pytest.mark.parametrize(
        ("top1", "around", "mark"),
        [(0.51, 4, claims.HOLDS), (0.6, 4, claims.FAILS), (0.53, 4, claims.OPEN)],
    )
    def test_a_row_has_its_printed_top1(self, top1, around, mark):
        assert self.judged({"row": "A", "around": around}, record(0, top1)) == mark

    def test_a_claim_from_carried_numbers_says_so(self):
        claim = {"text": "x", "column": K, "above": ["A", "B"], "figures": ["top1"]}
        both = [record(0, 0.6, carried="page"), record(0, 0.5, run="simmc --x 2")]
        (found,) = claims.verdicts(table(A, B, claim=[claim]), both)
        assert "carried over" in found.detail

    @pytest.mark.parametrize(
        ("better", "mark"),
        [([9] * 30, claims.HOLDS), ([1] * 30, claims.FAILS), ([4, 6] * 15, claims.OPEN)],
    )
    def test_rows_are_paired_over_persons(self, better, mark):
        claim = {"above": ["A", "B"], "figures": ["top1"]}
        one = record(persons={"paper": persons(better)})
        other = record(run="simmc --x 2", persons={"paper": persons([5] * 30)})
        assert self.judged(claim, one, other) == mark

    def test_other_data_are_not_paired(self):
        one = record(persons={"paper": persons([9] * 30)}, data="a")
        other = record(run="simmc --x 2", persons={"paper": persons([5] * 30)}, data="b")
        found = claims.difference(A, B, K, [one, other], "top1")
        assert np.isnan(found.low) and found.how == "means of different seeds"

    def test_a_small_difference_without_an_interval_decides_nothing(self):
        claim = {"above": ["A", "B"], "figures": ["top1"]}
        assert self.judged(claim, record(0, 0.52), record(0, 0.5, run="simmc --x 2")) == claims.OPEN
        assert (
            self.judged(claim, record(0, 0.56), record(0, 0.5, run="simmc --x 2")) == claims.HOLDS
        )


class TestDocs:
    @pytest.mark.parametrize("path", sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")]), ids=str)
    def test_tables_are_those_of_the_records(self, path):
        text = path.read_text(encoding="utf-8")
        hint = "python -m simmc report page --fill README.md docs/*.md"
        assert page.fill(text, RECORDS) == text, hint

    def test_results_are_short_and_hold_no_number_of_their_own(self):
        text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 150
        own = page._INLINE.sub("", page._MARKER.sub("", text))
        assert not re.search(r"\d\d\.\d", own)


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.outside = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        for name in ("href", "src"):
            if name in attrs:
                (self.links if attrs[name].startswith("#") else self.outside).append(attrs[name])

    def handle_startendtag(self, tag, attrs):
        """An element of a drawing that is closed at once."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "results.html"
    sections = page.read_carried(ROOT / "results" / "carried")
    path.write_text(web.html_page(RECORDS, sections), encoding="utf-8")
    return path


class TestCells:
    def drawn(self, *records):
        (line,) = page.lines_of(table(A), K, records)
        return dict(zip(page.heads_of(table(A)), page.cells_of(table(A), K, line), strict=True))

    @pytest.mark.parametrize(
        ("more", "cost"),
        [
            ({"load": 0.9}, "10 min"),
            ({"load": 3.1}, "10 min ‡"),
            ({}, "10 min ‡"),  # not known
            ({"carried": "page"}, "10 min"),
        ],
    )
    def test_times_of_a_busy_machine_are_marked(self, more, cost):
        assert self.drawn(record(seconds=600, **more))["cost"] == cost

    def test_both_numbers_of_seeds_are_shown_where_they_differ(self):
        blind = record(0, protocol="label_free")
        more = record(1, carried="page")
        first = {**record(0), "protocols": {**record(0)["protocols"], **blind["protocols"]}}
        assert self.drawn(first)["seeds"] == "1"
        assert self.drawn(first, more)["seeds"] == "2, 1 †"

    def test_latex_escapes_names(self):
        assert page._tex(r"a_b & 50 % ~ -1.0 \x") == (
            r"a\_b \& 50 \% \~{} $-$1.0 \textbackslash{}x"
        )


class TestPage:
    def test_it_is_well_formed_and_needs_nothing_from_elsewhere(self, html):
        reader = Reader()
        text = html.read_text(encoding="utf-8")
        reader.feed(text)
        assert not reader.open and not reader.outside
        assert {link[1:] for link in reader.links} <= set(reader.ids)
        assert len(reader.ids) == len(set(reader.ids))
        assert "<script" not in text and "@import" not in text and "url(" not in text

    def test_names_and_numbers_cannot_become_markup(self):
        row = Row("<b>", ("simmc --x 1",))
        text = web._section_of_table(table(row), [K], [record(machine="<script>")])
        assert "<b>" not in text and "<script>" not in text

    def test_curves_are_drawn_where_runs_kept_them(self):
        made = [record(seed) for seed in (0, 1)]
        assert "CMC" not in web._section_of_table(table(A), [K], made)
        for one, shift in zip(made, (0, 0.1), strict=True):
            one["protocols"]["paper"]["cmc"] = [0.5 + shift, 0.6 + shift, 0.7]
        text = web._section_of_table(table(A), [K], made)
        assert f"CMC, {K}" in text and "A 55.0" in text

    @pytest.mark.slow
    def test_a_browser_shows_every_table(self, html, browser):
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={html.parent}/b"]
        done = subprocess.run(
            [browser, *flags, "--dump-dom", html.as_uri()],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-500:]
        known = [one for one in cells.tables().values() if page.columns_with(one, RECORDS)]
        assert len(known) > 8
        for one in known:
            assert f'<section id="{one.name}">' in done.stdout
        assert done.stdout.count("<details>") > 100

    def test_latex_has_as_many_cells_in_every_line(self):
        text = page.latex_page(RECORDS)
        for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.S):
            lines = [line for line in block.splitlines() if line.endswith(r"\\")]
            assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1

    def test_markdown_has_every_claim(self):
        text = page.markdown_page(RECORDS)
        for one in cells.tables().values():
            for claim in one.claims:
                assert claim["text"] in text


def test_nothing_of_the_older_page_is_lost():
    sections = page.read_carried(ROOT / "results" / "carried")
    rows = [row for one in sections for block in one["blocks"] for row in block.get("rows", ())]
    assert len(sections) == 21 and len(rows) > 250
