"""Hugging Face PEFT against the package: what it trains, what it reads of `fit --save`, and the ranks it is told.

Everything here is skipped where torch and peft are not installed: neither `dev` nor CI has them.
"""

import json

import numpy as np
import pytest

import linreg_lora as ll
from linreg_lora.checkpoints import peft as ranks_for_peft
from linreg_lora.files.tensors import tensors

_ABSENT = "needs torch and peft: pip install 'linreg-lora[peft]'"
torch = pytest.importorskip("torch", reason=_ABSENT)
peft = pytest.importorskip("peft", reason=_ABSENT)

import peft_witness as witness  # noqa: E402

pytestmark = pytest.mark.peft
#: What single precision loses: each of A, B and the offset is rounded by 2^-24, and a product of two by twice that.
STORED = 2.0**-23
KINDS = [torch.float32, torch.float64]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", witness.EXACT)
@pytest.mark.parametrize("rank", [2, 3, 6])
@pytest.mark.parametrize("n", [120, 20])
def test_training_ends_at_the_closed_form(n, rank, name):
    """Below, at and above the shift's rank, n > dx and n < dx. L-BFGS stops where its line search no longer tells
    losses apart, at a distance of the root of rounding; the others end at rounding.

    Off range(X) what descends along gradients leaves A as it was; Adam does not, for it scales each number by itself.
    """
    data = witness.drawn(n, seed=1)
    found = witness.trained(data, rank, witness.EXACT[name], seed=1)
    tolerance = 1e-6 if name.startswith("L-BFGS") else 1e-10
    assert witness.distance(found.update, data, rank) <= tolerance
    assert witness.distance(witness.unwhitened(data, rank), data, rank) > 0.1
    if n < witness.DX:
        basis = np.linalg.svd(data.inputs, full_matrices=False)[0]
        off = np.eye(witness.DX) - basis @ basis.T
        moved = np.linalg.norm((found.a_after - found.a_before) @ off) / np.linalg.norm(found.a_before @ off)
        assert moved > 0.1 if name.startswith("Adam") else moved <= 1e-9


@pytest.mark.parametrize(("alpha", "rslora"), [(1, False), (12, False), (6, True)])
def test_the_end_does_not_depend_on_alpha(alpha, rslora):
    """alpha / r and alpha / sqrt(r) scale the way there."""
    data = witness.drawn(60, seed=2)
    found = witness.trained(data, 3, witness.lbfgs, alpha=alpha, rslora=rslora)
    assert witness.distance(found.update, data, 3) <= 1e-6


# -- what fit saves ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[(40, False), (40, True), (20, False), (20, True)], ids=str)
def saved(request, tmp_path_factory):
    """An adapter that the command wrote, its data, and the estimator fitted to the same."""
    from bad_input import run_cli

    n, intercept = request.param
    folder = tmp_path_factory.mktemp("saved")
    data = witness.drawn(n, seed=3)
    data = data._replace(outputs=data.outputs + np.arange(witness.DY)[:, None])
    np.savez(folder / "data.npz", X=data.inputs.T, Y=data.outputs.T, A0=data.pretrained)
    words = [f"{folder}/data.npz", f"--base={folder}/data.npz", "--key=A0", "--rank=3", "--ridge=0.5"]
    words += [] if intercept else ["--no-intercept"]
    code, _, err = run_cli("fit", *words, f"--save={folder / 'adapter'}")
    assert code == 0, err
    fitted = ll.LoRARegressor(3, base=data.pretrained, ridge=0.5, fit_intercept=intercept)
    return folder / "adapter", data, fitted.fit(data.inputs.T, data.outputs.T), intercept


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_peft_loads_what_fit_saves_and_predicts_the_same(saved, dtype):
    """In float64 up to how the file rounds, term by term; in float32 up to how long sums of it are rounded too."""
    folder, data, fitted, intercept = saved
    found = witness.predicted(witness.loaded(folder, data, dtype, bias=intercept), data)
    x, (b, a) = np.abs(data.inputs.T), fitted.factors_
    terms = x @ np.abs(a).T @ np.abs(b).T + np.abs(fitted.offset_)
    bound = 1.01 * STORED * terms
    if dtype == torch.float32:
        bound = (witness.DX + 5) * STORED * (terms + x @ np.abs(data.pretrained).T)
    off = np.abs(found - fitted.predict(data.inputs.T))
    assert np.all(off <= bound + 1e-13)
    assert np.max(off) <= 1e-6 * np.max(np.abs(found))
    assert np.max(np.abs(found - data.inputs.T @ data.pretrained.T)) > 1  # the adapter does something


def test_peft_reads_the_configuration_that_is_meant(saved):
    folder, data, _, intercept = saved
    model = witness.loaded(folder, data, torch.float64, bias=intercept)
    read, layer = model.peft_config["default"], model.base_model.model.linear
    assert (read.peft_type.value, read.r, read.lora_alpha, read.bias) == ("LORA", 3, 3, "none")
    assert (read.target_modules, read.rank_pattern, read.alpha_pattern) == ({"linear"}, {}, {})
    assert (read.use_rslora, read.use_dora, read.fan_in_fan_out, read.lora_dropout) == (False, False, False, 0.0)
    assert read.lora_bias is intercept
    assert layer.scaling == {"default": 1.0}
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("module", ["0", "block.score"])
def test_peft_finds_a_module_by_its_name(run, tmp_path, module):
    """At the top and in a block."""
    data = witness.drawn(40, seed=5)
    np.savez(tmp_path / "data.npz", X=data.inputs.T, Y=data.outputs.T, A0=data.pretrained)
    words = [f"{tmp_path}/data.npz", f"--base={tmp_path}/data.npz", "--key=A0", "--rank=2", "--ridge=0"]
    assert run("fit", *words, "--no-intercept", f"--module={module}", f"--save={tmp_path / 'adapter'}")[0] == 0
    linear = witness.Layer(data.pretrained, torch.float64).linear
    model = torch.nn.Sequential(linear)
    if "." in module:
        model = torch.nn.Module()
        model.block = torch.nn.Module()
        model.block.score = linear
    peft.PeftModel.from_pretrained(model, str(tmp_path / "adapter"), autocast_adapter_dtype=False)
    layer = model.get_submodule(module)
    with torch.no_grad():
        found = layer(torch.tensor(data.inputs.T)).numpy()
    fitted = ll.LoRARegressor(2, base=data.pretrained, ridge=0.0, fit_intercept=False)
    direct = fitted.fit(data.inputs.T, data.outputs.T).predict(data.inputs.T)
    assert np.max(np.abs(found - direct)) <= 1e-6 * np.max(np.abs(direct))


def test_merged_it_is_the_whole_map(saved):
    folder, data, fitted, intercept = saved
    merged = witness.loaded(folder, data, torch.float64, bias=intercept).merge_and_unload().linear
    b, a = fitted.factors_
    off = np.abs(merged.weight.detach().numpy() - fitted.coef_)
    assert np.all(off <= 1.01 * STORED * np.abs(b) @ np.abs(a) + 1e-13)
    if intercept:
        np.testing.assert_allclose(merged.bias.detach().numpy(), fitted.intercept_, rtol=STORED)


@pytest.mark.filterwarnings("ignore:Adapter 'default'. 1 LoRA tensor.s. have invalid shape")  # of the bias, by mistake
def test_peft_saves_it_as_it_was(saved, tmp_path):
    """The same tensors, by name, shape and number, and the same settings, where both say them."""
    folder, data, _, intercept = saved
    witness.loaded(folder, data, torch.float32, bias=intercept).save_pretrained(tmp_path)
    ours, theirs = tensors(folder), tensors(tmp_path)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert (tensor.kind, tensor.shape) == (theirs[name].kind, theirs[name].shape)
        np.testing.assert_array_equal(tensor.read(), theirs[name].read())
    said, saved_again = (json.loads((path / "adapter_config.json").read_text()) for path in (folder, tmp_path))
    assert said.items() <= saved_again.items()


# -- ranks ------------------------------------------------------------------------------------------------------------


def of_linears(ranks):
    """A model of one 8 x 8 layer a name, nested where names have dots."""
    model = torch.nn.Module()
    for name in ranks:
        *path, last = name.split(".")
        place = model
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, torch.nn.Module())
            place = getattr(place, part)
        place.add_module(last, torch.nn.Linear(8, 8))
    return model


@pytest.mark.parametrize(
    "given",
    [
        {"model.layers.0.q_proj": 4, "model.layers.1.q_proj": 7, "lm_head": 2, "none": 0},
        {"top": 5, "block.proj": 6, "a.block.proj": 1, "deep.a.block.proj": 0},
        {"a.b": 2, "a_b": 3, "x.a.b": 4, "x_a.b": 7},
        {"odd+name": 3, "odd[0]": 4},
    ],
)
def test_peft_gives_the_ranks_that_are_said(given):
    """Those of the package's own reading of a rank_pattern, also where a module of rank 0 is misled."""
    configuration = ranks_for_peft.configuration(given)
    model = peft.get_peft_model(of_linears(given), peft.LoraConfig(**configuration))
    found = dict.fromkeys(given, 0)
    for name, module in model.base_model.model.named_modules():
        if hasattr(module, "lora_A"):
            found[name] = module.r["default"]
            assert module.scaling["default"] == 1.0
    assert found == {name: ranks_for_peft.rank_by_peft(configuration, name) for name in given}
    misled = ranks_for_peft.misled(given)
    assert {name: rank for name, rank in found.items() if name not in misled} == {
        name: rank for name, rank in given.items() if name not in misled
    }


def test_weights_finds_the_rank_of_a_merged_adapter(run, tmp_path):
    """Trained by PEFT, merged, saved: `linreg-lora weights` against the pretrained checkpoint says its rank."""
    from safetensors.torch import save_file

    data = witness.drawn(60, seed=4)
    update = witness.trained(data, 3, witness.lbfgs).update
    for name, map_ in (("old", data.pretrained), ("new", data.pretrained + update)):
        save_file({"linear.weight": torch.tensor(map_)}, tmp_path / f"{name}.safetensors")
    np.savez(tmp_path / "inputs.npz", linear=data.inputs.T)
    words = [f"{tmp_path}/old.safetensors", f"{tmp_path}/new.safetensors", f"--activations={tmp_path}/inputs.npz"]
    code, out, err = run("weights", *words, "--share=0.999999999", "--format=json")
    assert code == 0, err
    (found,) = json.loads(out)["tensors"]
    assert (found["rank"], found["numerical_rank"]) == (3, 3)


def test_factors_that_peft_saves_are_not_taken_for_weights(run, tmp_path):
    """An adapter of a linear layer, an embedding and a convolution, beside its checkpoint and beside an adapter."""
    from safetensors.torch import save_file

    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Embedding(9, 5), torch.nn.Conv2d(3, 4, 3))
    save_file(model.state_dict(), tmp_path / "old.safetensors")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["0", "1", "2"]))
    adapted.save_pretrained(tmp_path / "adapter")
    names = [name for name in tensors(tmp_path / "adapter") if "lora_" in name]
    assert len(names) == 6
    assert all(map(ranks_for_peft.is_factor, names))
    for before in ("old.safetensors", "adapter"):
        code, out, err = run("weights", f"{tmp_path / before}", f"{tmp_path / 'adapter'}")
        assert (code, out) == (2, "")
        assert "merge the adapter into its weights first" in err
