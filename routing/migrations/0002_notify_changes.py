"""The database tells every process what changed, whoever changed it (see routing/live.py)."""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION moe_notify_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('moe_changed', TG_TABLE_NAME);
  RETURN NULL;
END $$;
"""
TABLES = (
    "routing_modelserver",
    "routing_installedmodel",
    "routing_expert",
    "routing_replica",
    "routing_routingrule",
)
TRIGGER = """
CREATE TRIGGER moe_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION moe_notify_change();
"""


class Migration(migrations.Migration):
    dependencies = [("routing", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION moe_notify_change();"),
        *(migrations.RunSQL(TRIGGER.format(table=table), f"DROP TRIGGER moe_notify ON {table};") for table in TABLES),
    ]
