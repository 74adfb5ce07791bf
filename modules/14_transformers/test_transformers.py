"""Module 14: layer norm, blocks, and a GPT that generates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinytorch as tt
from tinytorch.autograd import check_grads
from tinytorch.base.errors import NonFiniteError, SettingError, ShapeError, StateError
from tinytorch.base.random import get_rng_state
from tinytorch.tensor import Array, Tensor, apply
from tinytorch.transformers import (
    GPT,
    MLP,
    LayerNorm,
    Sampler,
    Transformer,
    TransformerBlock,
    layer_norm,
    next_token_loss,
    write,
)

random = np.random.default_rng(0)


def tiny(seed: int = 0, **settings: float) -> GPT:
    tt.manual_seed(seed)
    return GPT(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8, **settings)  # type: ignore[arg-type]


def lively() -> GPT:
    """Build a GPT with weights so large that its likeliest tokens vary and depend on the whole context."""
    model, rng = tiny(), np.random.default_rng(5)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data = rng.standard_normal(parameter.shape, np.float32)
    return model


# Layer norm


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6)])
def test_layer_norm_has_mean_0_and_variance_1(shape: tuple[int, ...]) -> None:
    y = LayerNorm(6)(Tensor(5 + 3 * random.standard_normal(shape))).data
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axis=-1), 1, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_norm_follows_the_formula(dtype: type) -> None:
    x: Array = random.standard_normal((2, 3, 5)).astype(dtype)
    weight, bias = random.standard_normal((2, 5)).astype(dtype)
    normed = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 0.1)
    y = apply(layer_norm, Tensor(x), Tensor(weight), Tensor(bias), eps=0.1)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.data, normed * weight + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        apply(layer_norm, Tensor(x), Tensor(weight), eps=0.1).data, normed * weight, rtol=1e-5, atol=1e-6
    )


def test_layer_norm_gradients() -> None:
    x, weight, bias = random.standard_normal((2, 3, 5)), random.standard_normal(5), random.standard_normal(5)
    check_grads(lambda x, w, b: apply(layer_norm, x, w, b, eps=1e-5), x, weight, bias)
    check_grads(lambda x, w: apply(layer_norm, x, w, eps=0.1), x, weight)


def test_layer_norm_rejects_wrong_shapes_and_sizes() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 5\): expected \(\.\.\., 6\)"):
        LayerNorm(6)(tt.zeros(2, 5))
    with pytest.raises(SettingError, match="at least 1"):
        LayerNorm(0)


def test_row_of_equal_values_stays_finite() -> None:
    x = Tensor(np.full((2, 4), 7.0, np.float32), requires_grad=True)
    y = LayerNorm(4)(x)
    y.backward(np.ones((2, 4)))
    assert x.grad is not None
    np.testing.assert_allclose(y.data, 0, atol=1e-3)
    assert np.isfinite(x.grad.data).all()


# Block and GPT


def test_mlp_applies_gelu_between_two_linear_layers() -> None:
    mlp, x = MLP(3), Tensor(random.standard_normal((2, 4, 3)).astype(np.float32))
    shapes = {name: value.shape for name, value in mlp.state_dict().items()}
    assert shapes == {"c_fc.weight": (12, 3), "c_fc.bias": (12,), "c_proj.weight": (3, 12), "c_proj.bias": (3,)}
    hidden = tt.gelu(mlp.c_fc(x))
    np.testing.assert_allclose(mlp(x).data, mlp.c_proj(hidden).data, rtol=1e-6)
    assert set(MLP(3, bias=False).state_dict()) == {"c_fc.weight", "c_proj.weight"}
    dropping = MLP(3, dropout=0.5)
    assert (dropping(x).data == 0).any()
    assert (dropping.eval()(x).data != 0).all()


def test_block_adds_its_parts_to_its_input() -> None:
    block, x = TransformerBlock(6, 2), Tensor(random.standard_normal((2, 4, 6)).astype(np.float32))
    for norm in (block.ln_1, block.ln_2):  # unlike each other, and unlike no norm at all
        norm.weight.data = random.standard_normal(6).astype(np.float32)
    mask = np.arange(4) < np.array([2, 4])[:, None, None, None]
    for allowed in (None, mask):
        middle = x + block.attn(block.ln_1(x), allowed)
        expected = middle + block.mlp(block.ln_2(middle))
        np.testing.assert_allclose(block(x, allowed).data, expected.data, rtol=1e-5, atol=1e-6)
    for part in (block.attn, block.mlp):
        part.c_proj.weight.data[:] = 0
        part.c_proj.bias.data[:] = 0  # type: ignore[union-attr]
    np.testing.assert_array_equal(block(x).data, x.data)


def test_transformer_runs_its_blocks_in_order() -> None:
    model = Transformer(11, 8, n_layer=3, n_head=2, n_embd=8, dropout=0.0, bias=True)
    tokens = random.integers(0, 11, (2, 5))
    assert len(model.h) == 3
    model.ln_f.weight.data = random.standard_normal(8).astype(np.float32)
    x = Tensor(model.wte.weight.data[tokens] + model.wpe.weight.data[:5])
    for block in model.h:
        x = block(x)
    np.testing.assert_allclose(model(tokens).data, model.ln_f(x).data, rtol=1e-5, atol=1e-5)


def test_dropout_reaches_every_part() -> None:
    drops = {name: part.p for name, part in tiny(dropout=0.25).named_modules() if isinstance(part, tt.Dropout)}
    block = ("attn.attn_dropout", "attn.resid_dropout", "mlp.dropout")
    expected = {"transformer.drop"} | {f"transformer.h.{i}.{part}" for i in (0, 1) for part in block}
    assert drops == dict.fromkeys(expected, 0.25)


def test_loss_is_the_mean_over_all_positions() -> None:
    logits = random.standard_normal((2, 3, 4))
    targets = np.array([[0, 3, 1], [2, 2, 0]])
    expected = [np.log(np.exp(logits[place]).sum()) - logits[place][targets[place]] for place in np.ndindex(2, 3)]
    loss = next_token_loss(Tensor(logits), targets)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(np.mean(expected))
    check_grads(lambda x: next_token_loss(x, targets), logits)


def test_block_gradients() -> None:
    tt.manual_seed(0)
    block = TransformerBlock(6, 2)
    for parameter in block.parameters():
        parameter.data = random.standard_normal(parameter.shape)
    check_grads(block, random.standard_normal((2, 4, 6)), tolerance=1e-5)


def test_all_gradients_of_a_gpt_are_correct() -> None:
    model = tiny(bias=True)
    tokens, targets = random.integers(0, 11, (2, 2, 5))
    parameters = model.parameters()
    start = [parameter.data.astype(np.float64) for parameter in parameters]

    def loss(values: list[Array]) -> float:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value
        return float(next_token_loss(model(tokens), targets).item())

    loss(start)
    model.zero_grad()
    next_token_loss(model(tokens), targets).backward()
    for i, parameter in enumerate(parameters):
        assert parameter.grad is not None
        direction = random.standard_normal(start[i].shape)
        ends = [loss([v + sign * 1e-6 * direction if j == i else v for j, v in enumerate(start)]) for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose((parameter.grad.data * direction).sum(), expected, rtol=1e-4, atol=1e-8)


def test_later_token_leaves_earlier_logits_unchanged_bit_for_bit() -> None:
    tt.manual_seed(0)
    model = GPT(vocab_size=68, block_size=64, n_layer=2, n_head=4, n_embd=32)
    tokens = random.integers(0, 68, (3, 64))
    logits = model(tokens).data
    for place in (1, 17, 32, 63):
        changed = tokens.copy()
        changed[:, place:] = (changed[:, place:] + 1 + random.integers(0, 66, (3, 64 - place))) % 68
        again = model(changed).data
        np.testing.assert_array_equal(again[:, :place], logits[:, :place])
        assert (again[:, place:] != logits[:, place:]).any()


def test_padding_does_not_affect_logits() -> None:
    model = lively()
    tokens = random.integers(0, 11, (2, 6))
    mask = np.arange(6) < np.array([4, 6])[:, None, None, None]
    changed = tokens.copy()
    changed[0, 4:] = (changed[0, 4:] + 1) % 11
    np.testing.assert_array_equal(model(tokens, mask).data[0, :4], model(changed, mask).data[0, :4])


def test_last_product_uses_the_embedding_table() -> None:
    model = tiny()
    assert sum(p.numel() for p in model.parameters()) == 11 * 8 + 8 * 8 + 2 * (12 * 8 * 8 + 2 * 8) + 8
    assert not any("lm_head" in name for name in model.state_dict())
    before = model(np.array([[1, 2]])).data
    model.transformer.wte.weight.data[5] += 1  # token 5 is not in the input, but its logit changes
    after = model(np.array([[1, 2]])).data
    np.testing.assert_array_equal(np.delete(after, 5, axis=2), np.delete(before, 5, axis=2))
    assert (after[..., 5] != before[..., 5]).all()


def test_tied_weight_loads_under_both_names(tmp_path: Path) -> None:
    model, other = tiny(1), tiny(2)
    state = {name: value.data for name, value in model.state_dict().items()}
    tied = state["transformer.wte.weight"]
    other.load_state_dict(state | {"lm_head.weight": tied})
    np.testing.assert_array_equal(other.transformer.wte.weight.data, tied)
    without = {name: value for name, value in state.items() if name != "transformer.wte.weight"}
    tiny(3).load_state_dict(without | {"lm_head.weight": tied})
    with pytest.raises(StateError, match="differ"):
        other.load_state_dict(state | {"lm_head.weight": tied + 1})
    other = tiny(2)
    other.load(model.save(tmp_path / "gpt.safetensors"))
    np.testing.assert_array_equal(other(np.array([[1, 2]])).data, model(np.array([[1, 2]])).data)


def test_names_match_nanogpt() -> None:
    names = set(tiny(bias=True).state_dict())
    block = {f"{part}.{kind}" for kind in ("weight", "bias")
             for part in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")}  # fmt: skip
    expected = {f"transformer.h.{i}.{name}" for i in (0, 1) for name in block}
    assert names == expected | {
        "transformer.wte.weight", "transformer.wpe.weight", "transformer.ln_f.weight", "transformer.ln_f.bias"
    }  # fmt: skip


def test_initial_weights_follow_nanogpt() -> None:
    tt.manual_seed(0)
    state = GPT(200, 100, n_layer=2, n_head=2, n_embd=64, bias=True).state_dict()
    for name, sd in [("wte.weight", 0.02), ("h.0.attn.c_attn.weight", 0.02), ("h.1.mlp.c_proj.weight", 0.01)]:
        np.testing.assert_allclose(state[f"transformer.{name}"].data.std(), sd, rtol=0.05)
    assert (state["transformer.h.0.mlp.c_fc.bias"].data == 0).all()
    assert (state["transformer.ln_f.weight"].data == 1).all()


def test_gpt_memorizes_a_sequence() -> None:
    model = tiny()
    optimizer = tt.AdamW(model.parameters(), lr=1e-2)
    tokens = random.integers(0, 11, (2, 8))
    for _ in range(60):
        loss = next_token_loss(model(tokens[:, :-1]), tokens[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.3


def test_bad_sequences_are_rejected() -> None:
    model = tiny()
    with pytest.raises(ShapeError, match=r"\(1, 9\): expected \(B, T\) with T from 1 to 8"):
        model(np.zeros((1, 9), np.int64))
    with pytest.raises(ShapeError, match=r"T from 1"):
        model(np.zeros((1, 0), np.int64))
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        model(np.zeros(3, np.int64))
    with pytest.raises(SettingError, match=r"token 11 at \(0, 1\): expected 0 to 10"):
        model(np.array([[0, 11]]))
    with pytest.raises(SettingError, match="n_layer 0"):
        GPT(11, 8, n_layer=0)


def test_vocabulary_of_one_token_works() -> None:
    model = GPT(1, 4, 1, 1, 4)
    assert next_token_loss(model(np.zeros((2, 4), np.int64)), np.zeros((2, 4), np.int64)).item() == 0
    assert model.generate([0], 3).tolist() == [0, 0, 0, 0]


# Generation


def test_same_seed_repeats_a_text_and_another_seed_does_not() -> None:
    model = lively()
    a, b, c = (model.generate([1, 2], 40, seed=seed) for seed in (1, 1, 2))
    assert a.shape == (42,)
    assert a[:2].tolist() == [1, 2]
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert len(set(a.tolist())) > 5
    tt.manual_seed(5)
    first = model.generate([1], 20)
    tt.manual_seed(5)
    np.testing.assert_array_equal(model.generate([1], 20), first)
    assert (model.generate([1], 20) != first).any()


def test_seeded_generation_and_the_default_generator_are_independent() -> None:
    model = lively()
    tt.manual_seed(5)
    before = get_rng_state()
    text = model.generate([1], 20, seed=1)
    assert get_rng_state() == before
    tt.manual_seed(6)
    np.testing.assert_array_equal(model.generate([1], 20, seed=1), text)


def test_temperature_0_picks_the_likeliest_token_of_a_full_recomputation() -> None:
    model = lively()
    tokens = model.generate([3], 20, temperature=0)
    assert len(set(tokens.tolist())) > 5
    np.testing.assert_array_equal(model.generate([3], 20, top_k=1, seed=4), tokens)
    for i in range(1, 21):
        window = tokens[max(0, i - 8) : i]  # the block is 8 long: the prompt is cropped to it
        assert model(window[None]).data[0, -1].argmax() == tokens[i]


def test_rows_of_a_batch_are_generated_independently() -> None:
    model = lively()
    both = model.generate([[1, 2], [3, 4]], 12, temperature=0)
    assert both.shape == (2, 14)
    for row, prompt in zip(both, ([1, 2], [3, 4]), strict=True):
        np.testing.assert_array_equal(row, model.generate(prompt, 12, temperature=0))


def test_a_stop_token_ends_a_text() -> None:
    model = lively()
    whole = model.generate([1], 30, seed=3)
    stop = int(whole[10])
    end = 1 + whole[1:].tolist().index(stop)
    np.testing.assert_array_equal(model.generate([1], 30, seed=3, stop=stop), whole[: end + 1])
    rows = model.generate([[1], [2], [3]], 60, seed=3, stop=stop)
    for row in rows[:, 1:]:
        after = row[row.tolist().index(stop) :] if stop in row else row[:0]
        assert (after == stop).all()


def test_a_batch_goes_on_until_all_rows_have_ended() -> None:
    plan = np.array([[1, 5, 2, 3, 9], [4, 4, 5, 6, 9]])  # what the two rows would generate; 5 ends a row

    def next_logits(text: Array) -> Array:
        return np.eye(11, dtype=np.float32)[plan[:, text.shape[1] - 1]]

    def generate(prompt: list[list[int]], most: int) -> list[list[int]]:
        return write(tiny(), prompt, most, Sampler(0.0, None, None, None), 5, next_logits).tolist()

    assert generate([[7], [5]], 5) == [[7, 1, 5, 5], [5, 4, 4, 5]]  # the 5 in the prompt ends nothing
    assert generate([[7], [5]], 2) == [[7, 1, 5], [5, 4, 4]]


def test_generation_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively()
    made: list[Tensor] = []
    head = model.head

    def kept(x: Tensor) -> Tensor:
        made.append(head(x))
        return made[-1]

    monkeypatch.setattr(model, "head", kept)
    model.generate([1], 3)
    assert len(made) == 3
    assert not any(logits.requires_grad for logits in made)
    assert model(np.array([[1]])).requires_grad


def test_generation_disables_dropout_and_restores_each_modules_mode() -> None:
    model = tiny(dropout=0.5)
    np.testing.assert_array_equal(model.generate([1], 9, temperature=0), model.generate([1], 9, temperature=0))
    assert all(module.training for module in model.modules())
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    model.generate([1], 1)
    assert [module.training for module in model.modules()] == modes
    assert model.generate([1], 0).tolist() == [1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nonfinite_logits_raise_an_error(temperature: float) -> None:
    model = tiny()
    model.transformer.ln_f.weight.data[0] = np.nan
    with pytest.raises(NonFiniteError, match=r"^generate: .*logits"):
        model.generate([1], 2, temperature=temperature)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("temperature", [1e-8, 1e-300, 1e-310, 5e-324])
@pytest.mark.parametrize("narrowed", [{}, {"top_k": 3}, {"top_p": 0.9}])
def test_tiny_temperature_picks_the_likeliest_token(temperature: float, narrowed: dict[str, float]) -> None:
    model = lively()
    with np.errstate(all="raise", under="ignore"):
        text = model.generate([3], 20, temperature, seed=1, **narrowed)  # type: ignore[arg-type]
    np.testing.assert_array_equal(text, model.generate([3], 20, temperature=0))


@pytest.mark.parametrize("shape", [(), (1, 1, 2)])
def test_prompt_has_one_row_or_several(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"generate: prompt of shape .*: expected \(T,\) or \(B, T\)"):
        tiny().generate(np.ones(shape, np.int64), 2)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"tokens": []}, "prompt is empty"),
        ({"tokens": [[], []]}, "prompt is empty"),
        ({"tokens": [1, 11]}, r"token 11 at \(1\)"),
        ({"tokens": [0.5]}, "expected integers"),
        ({"max_new_tokens": -1}, "max_new_tokens -1"),
        ({"temperature": -1.0}, "temperature -1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"max_new_tokens": 2.0}, "max_new_tokens 2.0: expected an integer"),
        ({"max_new_tokens": True}, "max_new_tokens True: expected an integer"),
        ({"top_k": 0}, "top_k 0: expected an integer of at least 1"),
        ({"top_k": 2.5}, "top_k 2.5: expected an integer"),
        ({"top_p": 0.0}, "top_p 0"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"seed": -1}, "seed -1: expected an integer of at least 0"),
        ({"seed": 0.5}, "seed 0.5"),
        ({"seed": "a"}, "seed a"),
        ({"stop": 11}, "stop 11: expected an integer from 0 to 10"),
        ({"stop": -1}, "stop -1"),
        ({"stop": 1.5}, "stop 1.5"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        tiny().generate(**({"tokens": [1], "max_new_tokens": 2} | settings))  # type: ignore[arg-type]


LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12).map(lambda row: np.array([row], np.float32))


@given(LOGITS, st.integers(1, 14))
@example(np.array([[20, 1e-30, 0]], np.float32), 2)  # they differ, although by less than the float32 precision at 20
def test_top_k_keeps_the_k_likeliest_in_proportion(logits: Array, k: int) -> None:
    whole = Sampler(1.0, None, None, 0).probabilities(logits)[0]
    p = Sampler(1.0, k, None, 0).probabilities(logits)[0]
    kept = p > 0
    if len(set(logits[0].tolist())) == logits.size:  # ties are kept together
        assert kept.sum() <= k
    assert p[logits[0].argmax()] > 0
    assert whole[kept].min() >= whole[~kept].max(initial=0)
    np.testing.assert_allclose(p[kept], whole[kept] / whole[kept].sum())


@given(LOGITS, st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_that_reach_p(logits: Array, top_p: float) -> None:
    whole = Sampler(1.0, None, None, 0).probabilities(logits)[0]
    p = Sampler(1.0, None, top_p, 0).probabilities(logits)[0]
    kept = p > 0
    assert whole[kept].sum() >= top_p - 1e-9
    if top_p < 1:
        assert whole[kept].sum() - whole[kept].min() < top_p + 1e-9
    np.testing.assert_allclose(p[kept], whole[kept] / whole[kept].sum())


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[0.0, 1.0, 3.0], [2.0, 2.0, -1.0]], np.float32)
    for temperature in (0.5, 1.0, 3.0):
        p = Sampler(temperature, None, None, 0).probabilities(logits)
        assert p.dtype == np.float64
        expected = np.exp(logits / temperature)
        np.testing.assert_allclose(p, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)


def test_equal_logits_at_the_limit_of_top_k_are_kept_together() -> None:
    p = Sampler(1.0, 2, None, 0).probabilities(np.array([[1.0, 3.0, 1.0, 0.0]], np.float32))
    assert (p > 0).tolist() == [[True, True, True, False]]


def test_top_p_applies_to_what_top_k_has_left() -> None:
    logits = np.log(np.array([[0.1, 0.4, 0.3, 0.2]])).astype(np.float32)
    p = Sampler(1.0, 3, 0.75, 0).probabilities(logits)
    np.testing.assert_allclose(p, [[0, 4 / 7, 3 / 7, 0]], atol=1e-6)  # 0.4 and 0.3 are 7/9 of what is left


def test_draws_follow_the_probabilities() -> None:
    logits = np.log(np.tile([0.5, 0.3, 0.2], (20_000, 1))).astype(np.float32)
    drawn = np.bincount(Sampler(1.0, None, None, 0)(logits), minlength=3) / len(logits)
    np.testing.assert_allclose(drawn, [0.5, 0.3, 0.2], atol=0.02)
    colder = np.bincount(Sampler(0.5, None, None, 0)(logits), minlength=3) / len(logits)
    np.testing.assert_allclose(colder, np.array([0.25, 0.09, 0.04]) / 0.38, atol=0.02)
