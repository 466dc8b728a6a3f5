"""A covering key of the postings, so that a question reads the index alone; the ORM has no words for it."""

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


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0002_knowledge_base")]
    operations = [migrations.RunSQL(COVERING_KEY, PLAIN_KEY)]
