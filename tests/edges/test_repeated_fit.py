"""`Trainer.fit` called twice, and the best weights after early stopping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import StateError

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]], np.float32)).astype(np.float32)


def loader() -> tt.DataLoader:
    return tt.DataLoader(tt.TensorDataset(X, Y), batch_size=10)


def trainer(lr: float = 0.01, patience: int | None = None, checkpoint: Path | None = None) -> tt.Trainer:
    tt.manual_seed(0)
    model = tt.Linear(3, 1)
    return tt.Trainer(model, tt.SGD(model.parameters(), lr), tt.mse_loss, patience=patience, checkpoint=checkpoint)


def test_second_fit_with_the_same_number_of_epochs_says_that_nothing_is_left() -> None:
    run = trainer()
    run.fit(loader(), 3)
    before = run.model.state_dict()["weight"].data.copy()
    with pytest.warns(UserWarning, match=r"nothing to train: 3 epochs are done.*for 3 more, call fit\(\.\.\., 6\)"):
        run.fit(loader(), 3)
    np.testing.assert_array_equal(run.model.state_dict()["weight"].data, before)
    assert len(run.fit(loader(), 6)) == 6


def test_fit_after_early_stopping_says_why_it_does_not_train() -> None:
    run = trainer(lr=10.0, patience=2)  # diverges from the second epoch on
    run.fit(loader(), 50, loader())
    done = run.epoch
    assert done < 50
    with pytest.warns(UserWarning, match=r"has not improved for 2 epochs.*patience"):
        run.fit(loader(), 50, loader())
    assert run.epoch == done


def diverging(checkpoint: Path | None = None) -> tt.Trainer:
    """Return a trainer whose validation loss falls for two epochs and then grows."""
    run = trainer(lr=0.05, patience=3, checkpoint=checkpoint)
    run.fit(loader(), 2, loader())
    run.optimizer.param_groups[0]["lr"] = 1.2
    run.fit(loader(), 20, loader())
    return run


def test_best_weights_after_early_stopping_have_the_lowest_validation_loss(tmp_path: Path) -> None:
    run = diverging(tmp_path / "run.safetensors")
    losses = [record["val_loss"] for record in run.history]
    assert run.epoch == 5
    assert run.evaluate(loader())["val_loss"] == losses[-1] > min(losses)
    assert run.restore_best() == 1 + int(np.argmin(losses)) == 2
    assert run.evaluate(loader())["val_loss"] == min(losses)
    again = trainer(patience=3, checkpoint=tmp_path / "run.safetensors")
    assert again.resume()
    assert again.evaluate(loader())["val_loss"] == losses[-1]
    assert again.restore_best() == 2
    assert again.evaluate(loader())["val_loss"] == min(losses)


def test_nan_is_never_the_best_validation_loss() -> None:
    run = trainer(patience=2)
    run.history = [{"epoch": i + 1, "val_loss": loss} for i, loss in enumerate([np.nan, 1.0, 0.5])]
    run.epoch = 3
    assert not run._out_of_patience()


def test_restoring_without_best_weights_says_what_is_missing() -> None:
    run = trainer()
    run.fit(loader(), 1, loader())
    with pytest.raises(StateError, match=r"^Trainer: there are no best weights to restore: fit with patience"):
        run.restore_best()
