"""What a classifier's checkpoint and any other share."""

import sys

import pytest

from btu.errors import ModelError
from btu.models.checkpoint import Checkpoint


def test_errors_name_the_settings_of_whoever_asks(tmp_path):
    with pytest.raises(ModelError, match=r"attack\.rewriter\.pretrained: there is no folder"):
        Checkpoint("attack.rewriter", str(tmp_path / "none"), None, None).check()
    with pytest.raises(ModelError, match=r"model\.pretrained: there is no folder"):
        Checkpoint("model minilm", str(tmp_path / "none"), None, None).check()


def test_a_folder_inside_an_installed_package_is_found(tmp_path, monkeypatch):
    (tmp_path / "some_weights" / "model").mkdir(parents=True)
    (tmp_path / "some_weights" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    place = Checkpoint("attack.rewriter", "package:some_weights/model", None, None).folder()

    assert place == tmp_path / "some_weights" / "model"


def test_a_hub_without_safetensors_is_no_reason_to_load_something_else():
    checkpoint = Checkpoint("attack.rewriter", "someone/model", None, None)

    with (
        pytest.raises(ModelError, match=r"attack\.rewriter\.revision=refs/pr/1") as error,
        checkpoint.one_sentence(),
    ):
        raise OSError("someone/model has no such file. Please do not set `use_safetensors=True`.")

    assert "do not set" not in str(error.value)


def test_a_hub_name_without_a_network_is_one_sentence():
    with pytest.raises(ModelError, match=r"attack\.rewriter\.pretrained=PATH\.$") as error:
        Checkpoint("attack.rewriter", "someone/model", None, None).identity()

    assert "\n" not in str(error.value)
