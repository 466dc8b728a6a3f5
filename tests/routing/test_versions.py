"""Versions of the classifier, from the examples an administrator has."""

import numpy as np
import pytest

from routing import retraining, versions
from routing.models import ClassifierVersion, Expert, RouteExample, RoutingRule
from routing.shelf import shelf_seed
from routing.starter import starter_examples, starter_seed
from routing.versions import (
    Vectors,
    fingerprint_now,
    is_stale,
    version_activate,
    version_deactivate,
    version_train,
    versions_prune,
)
from tests.routing.test_classifier import examples
from tests.routing.test_classifying import Embedder

pytestmark = pytest.mark.django_db


@pytest.fixture
def _embedder(monkeypatch, tmp_path, settings):
    settings.MOE_DATA_DIR = tmp_path
    monkeypatch.setattr(versions, "shared_embedder", Embedder)


@pytest.fixture
def _examples():
    experts = {slug: Expert.objects.create(slug=slug, name=slug) for slug in ("writing", "translation", "code")}
    for row in examples():
        RouteExample.objects.create(prompt=row.prompt, expert=experts[row.expert])


@pytest.mark.usefixtures("_embedder", "_examples")
class TestTraining:
    def test_a_version_is_trained_kept_and_active(self):
        outcome = version_train()
        assert outcome.activated
        assert outcome.version.experts == ["code", "translation", "writing"]
        assert outcome.version.metrics["accuracy"] > 0.9
        assert not is_stale()

    def test_a_changed_example_makes_it_stale(self):
        version_train()
        example = RouteExample.objects.first()
        example.expert = Expert.objects.exclude(pk=example.expert_id).first()
        example.save()
        assert is_stale()

    def test_a_note_on_an_example_does_not(self):
        version_train()
        RouteExample.objects.update(note="Looked at.")
        assert not is_stale()

    def test_one_that_is_worse_is_kept_but_not_active(self):
        first = version_train().version
        first.metrics["accuracy"] = 1.5  # better than anything can be
        first.save()
        RouteExample.objects.filter(expert__slug="code").first().delete()
        outcome = version_train()
        assert not outcome.activated
        assert "is not active" in outcome.message
        assert ClassifierVersion.objects.get(active=True) == first

    def test_examples_for_evaluation_are_not_learnt_from_and_judge(self, monkeypatch):
        monkeypatch.setattr(versions, "FEWEST_TO_JUDGE", 4)
        first = version_train().version
        RouteExample.objects.filter(pk__in=RouteExample.objects.filter(expert__slug="writing").values("pk")[:4]).update(
            split="evaluation"
        )
        second = version_train().version
        assert second.examples == first.examples - 4
        assert second.metrics["evaluation"]["count"] == 4

    def test_it_is_taken_back(self):
        first = version_train().version
        RouteExample.objects.first().delete()
        version_train()
        version_activate(first)
        assert ClassifierVersion.objects.get(active=True) == first
        version_deactivate()
        assert not ClassifierVersion.objects.filter(active=True).exists()

    def test_too_few_examples_are_said(self):
        RouteExample.objects.exclude(expert__slug="code").delete()
        outcome = version_train()
        assert outcome.version is None
        assert "two experts" in outcome.message

    def test_without_an_embedder_it_does_without(self, monkeypatch):
        def broken() -> None:
            raise RuntimeError("no embedder")

        monkeypatch.setattr(versions, "shared_embedder", broken)
        outcome = version_train()
        assert outcome.activated
        assert "no embedder" in outcome.version.note

    def test_old_versions_are_dropped_and_the_active_one_stays(self, monkeypatch):
        monkeypatch.setattr(versions, "KEPT", 1)
        first = version_train().version
        for _ in range(3):
            ClassifierVersion.objects.create(fingerprint="x", weights=b"", weights_sha256="", active=False)
        versions_prune()
        assert ClassifierVersion.objects.count() == 2
        assert ClassifierVersion.objects.filter(pk=first.pk).exists()

    def test_examples_of_a_disabled_expert_are_left_out(self):
        Expert.objects.filter(slug="code").update(enabled=False)
        assert version_train().version.experts == ["translation", "writing"]


def test_embeddings_are_made_once(tmp_path):
    embedder = Embedder()
    path = tmp_path / "kept.npz"
    Vectors(embedder, path).of(["one prompt", "another prompt"], remember=True)
    again = Vectors(embedder, path).of(["another prompt", "a third prompt"], remember=True)
    assert embedder.asked == 3
    assert again.shape == (2, 4)


def test_a_damaged_file_of_embeddings_is_made_again(tmp_path):
    path = tmp_path / "kept.npz"
    path.write_bytes(b"no such thing")
    found = Vectors(Embedder(), path).of(["a prompt"], remember=True)
    assert np.allclose(found[0], [1.0, 0.1, 0.1, 0.1])


class TestStarter:
    def test_an_empty_installation_learns_from_the_first_second_on(self):
        shelf_seed()
        made = starter_seed()
        assert made == sum(1 for _ in starter_examples())
        active = ClassifierVersion.objects.get(active=True)
        assert active.fingerprint == fingerprint_now()
        assert not is_stale()

    def test_what_was_removed_does_not_come_back(self):
        shelf_seed()
        starter_seed()
        RouteExample.objects.all().delete()
        assert starter_seed() == 0
        assert not RouteExample.objects.exists()

    def test_every_expert_of_the_shelf_has_its_rules(self):
        shelf_seed()
        assert Expert.objects.count() == 12  # vision comes with a model that sees
        assert RoutingRule.objects.filter(expert__slug="translation").exists()

    def test_nothing_is_to_be_trained_after_the_start(self):
        shelf_seed()
        starter_seed()
        assert retraining.load() == ""
