from django.db import migrations

TABLES = ("gateway_keygroup", "gateway_guard", "gateway_cachepurge")


class Migration(migrations.Migration):
    dependencies = [("gateway", "0005_policies_usage_texts_caches_guards")]
    operations = [
        migrations.RunSQL(
            f"CREATE TRIGGER moe_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION moe_notify_change();",
            f"DROP TRIGGER moe_notify ON {table};",
        )
        for table in TABLES
    ]
