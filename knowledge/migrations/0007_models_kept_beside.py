import django.db.models.deletion
from django.db import migrations, models

_HELP = "What is filled beside, to be compared and perhaps switched to."


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0006_edits_history_uses")]

    operations = [
        migrations.AddField(
            model_name="collection",
            name="next_model",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text=_HELP,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="knowledge.embeddingmodel",
            ),
        ),
        migrations.AddField(
            model_name="historicalcollection",
            name="next_model",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                editable=False,
                help_text=_HELP,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="knowledge.embeddingmodel",
            ),
        ),
        migrations.AlterField(
            model_name="ingestionjob",
            name="kind",
            field=models.CharField(
                choices=[
                    ("document", "document"),
                    ("sitemap", "sitemap"),
                    ("embedding", "new vectors of a collection"),
                    ("filling", "vectors of another model, beside those that are searched"),
                    ("dropping", "vectors that are not needed any more, deleted"),
                ],
                default="document",
                max_length=12,
            ),
        ),
    ]
