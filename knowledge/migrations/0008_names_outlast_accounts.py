from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("knowledge", "0007_models_kept_beside"),
    ]

    operations = [
        migrations.AddField(
            model_name="documentrevision",
            name="reviewer_name",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="historicalchunkedit",
            name="who",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="historicalcollection",
            name="who",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="historicalgoldenquery",
            name="who",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="watchedsource",
            name="accepts_loss",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="The next look believes that most of its documents are gone.",
            ),
        ),
        migrations.AddField(
            model_name="watchedsource",
            name="looking_until",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Whoever looks at it keeps putting this off; nobody else looks before.",
                null=True,
            ),
        ),
    ]
