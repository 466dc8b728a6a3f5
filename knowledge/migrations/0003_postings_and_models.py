"""What the ORM has no words for: a covering key of the postings, and the models that are always there."""

from django.db import migrations

COVERING_KEY = """
ALTER TABLE knowledge_posting DROP CONSTRAINT knowledge_posting_pkey;
ALTER TABLE knowledge_posting ADD CONSTRAINT knowledge_posting_pkey
  PRIMARY KEY (collection_id, term, chunk_id) INCLUDE (frequency, length);
"""
PLAIN_KEY = """
ALTER TABLE knowledge_posting DROP CONSTRAINT knowledge_posting_pkey;
ALTER TABLE knowledge_posting ADD CONSTRAINT knowledge_posting_pkey PRIMARY KEY (collection_id, term, chunk_id);
"""


def models_seed(apps, schema_editor):
    EmbeddingModel = apps.get_model("knowledge", "EmbeddingModel")
    EmbeddingModel.objects.bulk_create(
        [
            EmbeddingModel(
                name="all-MiniLM-L6-v2",
                source="in_process",
                dimensions=384,
                max_tokens=254,
                languages=["en"],
                floor=0.1,
                ceiling=0.6,
            ),
            EmbeddingModel(
                name="multilingual-e5-small-q4",
                source="in_process",
                dimensions=384,
                max_tokens=500,
                query_prefix="query: ",
                passage_prefix="passage: ",
                floor=0.76,
                ceiling=0.88,
            ),
        ]
    )


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0002_knowledge_base")]
    operations = [
        migrations.RunSQL(COVERING_KEY, PLAIN_KEY),
        migrations.RunPython(models_seed, migrations.RunPython.noop),
    ]
