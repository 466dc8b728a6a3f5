import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from procrastinate.contrib.django.models import ProcrastinateJob

from knowledge.evaluation import BadTestCollection, collection_read
from knowledge.models import Chunk, Collection, Document, Embedding, IngestionJob, Posting, StoredContent

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "retrieval"

CORPUS = [
    {"_id": "d1", "title": "Otters", "text": "The otter swims in rivers and lives on fish."},
    {"_id": "d2", "title": "", "text": "Honey bees store nectar for the winter."},
    {"_id": "d3", "title": "Only a title about steam engines", "text": ""},
    {"_id": "d4", "title": "", "text": ""},
]
QUERIES = [
    {"_id": "q1", "text": "What does the otter eat?"},
    {"_id": "q2", "text": "Which insects store nectar?"},
    {"_id": "q3", "text": "steam engines"},
    {"_id": "q4", "text": "never judged"},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\nq3\td3\t1\nq3\td1\t0\n"


def written(folder, corpus=CORPUS, queries=QUERIES, qrels=QRELS):
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)), encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)), encoding="utf-8")
    (folder / "qrels.tsv").write_text(qrels, encoding="utf-8")
    return folder


def measured(folder, *options):
    out = io.StringIO()
    call_command("evaluate_retrieval", str(folder), "--json", *options, stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue().splitlines()[-1])


@pytest.mark.usefixtures("knowledge")
class TestCommand:
    def test_measures_and_leaves_nothing_behind(self, tmp_path):
        found = measured(written(tmp_path))
        assert found["ndcg_10"] == found["recall_10"] == found["recall_100"] == found["mrr"] == 1.0
        assert found["ms_per_query"] > 0
        assert (found["queries"], found["documents"], found["chunks"], found["failed"]) == (3, 4, 3, 0)
        kinds = (Collection, Document, Chunk, Posting, Embedding, IngestionJob, StoredContent, ProcrastinateJob)
        assert {kind.__name__: kind.objects.count() for kind in kinds} == {kind.__name__: 0 for kind in kinds}

    def test_settings_are_those_of_the_collection(self, tmp_path):
        found = measured(written(tmp_path), "--mode", "text", "--embedding-model", "multilingual-e5-small-q4")
        assert found["embedding_model"] == "multilingual-e5-small-q4"
        with pytest.raises(CommandError, match="no embedding model 'other'"):
            measured(written(tmp_path), "--embedding-model", "other")

    def test_a_folder_that_is_none_is_said(self, tmp_path):
        with pytest.raises(CommandError, match=r"corpus\.jsonl is missing"):
            measured(tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "least"), [("cranfield", 0.42), ("cacm", 0.565), ("xquad-en", 0.975), ("xquad-es", 0.955)]
    )
    def test_the_quality_that_is_promised(self, name, least):
        if not (DATA / name).exists():
            pytest.skip(f"{DATA / name} is not there")
        assert measured(DATA / name)["ndcg_10"] >= least


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"corpus": [["no object"]]}, r"corpus.jsonl, line 1: every line must be an object"),
        ({"queries": [{"text": "no id"}]}, r"queries.jsonl, line 1"),
        ({"qrels": "header\nq1 d1 1\n"}, r"qrels.tsv, line 2: it must be query-id"),
        ({"qrels": "header\nq9\td1\t1\n"}, r"no judgments of its own questions"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(tmp_path, changes, problem):
    with pytest.raises(BadTestCollection, match=problem):
        collection_read(written(tmp_path, **changes))


def test_judgments_of_no_relevance_and_a_split_of_their_own(tmp_path):
    folder = written(tmp_path)
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "test.tsv")
    found = collection_read(folder)
    assert found.judgments == {"q1": {"d1": 1.0}, "q2": {"d2": 2.0}, "q3": {"d3": 1.0}}
