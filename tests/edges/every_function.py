"""Every public function and class of the framework, with arguments that it accepts; see `test_every_argument`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import tinytorch as tt
import tinytorch.nn.functional as functional
from tinytorch import distributions, nn, optim
from tinytorch.optim import lr_scheduler
from tinytorch.tensor import Tensor
from tinytorch.utils import data

SPACES: dict[str, Any] = {
    "tt": tt, "nn": nn, "F": functional, "init": nn.init, "nn.utils": nn.utils, "rnn": nn.utils.rnn, "optim": optim,
    "lrs": lr_scheduler, "data": data, "dist": distributions,
}  # fmt: skip

# Functions that need files, other functions' results, or a function of the user's
LEFT_OUT = {
    "tt.check_grads", "tt.load", "tt.load_model", "tt.prune_channels", "tt.GradualPruning", "tt.seed", "Tensor.cuda",
    "lrs.SequentialLR",
}  # fmt: skip


def values() -> dict[str, Any]:
    """Return what functions are called with, by the names that `ACCEPTED` uses; new objects in each call."""

    def positive(*shape: int) -> Tensor:
        return Tensor((np.abs(np.random.default_rng(0).standard_normal(shape)) / 4 + 0.1).astype(np.float32))

    weight = tt.Parameter(np.ones((2, 3), np.float32))
    return {
        "x": positive(2, 3), "x3": positive(2, 3, 4), "x4": positive(2, 3, 4, 4), "v": positive(3), "x1": positive(1),
        "sq": positive(3, 3), "w3": positive(2, 3, 3), "w3t": positive(3, 2, 3), "w4t": positive(3, 2, 3, 3),
        "i": Tensor(np.array([0, 1])), "i2": Tensor(np.array([[0, 1, 0], [1, 0, 1]])), "b": tt.ones(2, 3) > 0,
        "xg": tt.ones(2, 3, requires_grad=True), "s1": tt.ones(1, requires_grad=True).sum(), "vec": tt.ones(6),
        "two": 2, "one": 1, "zero": 0, "half": 0.5, "four": 4, "true": True, "str": "x", "relu": "relu", "lin": "mean",
        "f32": "float32", "eq": "ij,jk->ik", "list": [positive(2, 3), positive(2, 3)], "ints": [0, 1], "shape": (2, 3),
        "shape31": (3, 1), "text": ["abc"], "dict": {"a": 1}, "params": [weight], "opt": tt.SGD([weight], lr=0.1),
        "mod": tt.Linear(3, 3), "fn": lambda *_: 1.0, "arr": np.ones((2, 3), np.float32),
        "xarr": np.ones((2, 1, 4, 4), np.float32), "rng": np.random.default_rng(0),
        "ds": tt.TensorDataset(np.ones((4, 2), np.float32), np.zeros(4, int)), "cnn": tt.Sequential(tt.Conv2d(1, 2, 1)),
        "dists": distributions.Normal(positive(2), positive(2)), "gpt": tt.GPT(5, 4, 1, 1, 4),
        "loader": tt.DataLoader(tt.TensorDataset(np.ones((4, 3), np.float32), np.zeros(4, int)), 2),
    }  # fmt: skip


def public() -> dict[str, Callable[..., Any]]:
    """Return the public functions, classes, and methods of tensors; each one once, under its first name."""
    found: dict[str, Callable[..., Any]] = {}
    for space, module in SPACES.items():
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            home = getattr(value, "__module__", "")
            ours = home.startswith("tinytorch.") if hasattr(module, "__all__") else home == module.__name__
            if name[0] != "_" and callable(value) and ours and not inspect.ismodule(value):
                found[f"{space}.{name}"] = value
    found |= {f"Tensor.{n}": getattr(Tensor, n) for n in dir(Tensor) if n[0] != "_"}
    seen: set[int] = set()
    return {
        name: value
        for name, value in found.items()
        if name not in LEFT_OUT
        and (isinstance(value, type) or inspect.isfunction(value))
        and not (isinstance(value, type) and issubclass(value, Exception))
        and not (id(value) in seen or seen.add(id(value)))  # type: ignore[func-returns-value]
    }


# By the names of the arguments without which a function cannot be called
ACCEPTED: dict[str, str] = {
    "x x i two half": "tt.distillation_loss",
    "": (
        "data.Dataset data.IterableDataset data.Sampler data.SequentialSampler nn.BCELoss nn.BCEWithLogitsLoss "
        "nn.CELU nn.CosineEmbeddingLoss nn.CosineSimilarity nn.CrossEntropyLoss nn.Dropout nn.Dropout1d nn.Dropout2d "
        "nn.ELU nn.Flatten nn.GELU nn.GLU nn.GaussianNLLLoss nn.Hardsigmoid nn.Hardswish nn.Hardtanh "
        "nn.HingeEmbeddingLoss nn.HuberLoss nn.Identity nn.KLDivLoss nn.L1Loss nn.LeakyReLU nn.LogSigmoid "
        "nn.LogSoftmax nn.MSELoss nn.MarginRankingLoss nn.Mish nn.ModuleDict nn.ModuleList nn.NLLLoss nn.PReLU "
        "nn.PairwiseDistance nn.ParameterDict nn.ParameterList nn.PoissonNLLLoss nn.ReLU nn.ReLU6 nn.SELU "
        "nn.Sequential nn.SiLU nn.Sigmoid nn.SmoothL1Loss nn.Softmax nn.Softmin nn.Softplus nn.Softsign nn.Tanh "
        "nn.Tanhshrink nn.Transformer nn.TransformerDecoder nn.TransformerDecoderLayer nn.TripletMarginLoss "
        "nn.Upsample rnn.PackedSequence rnn.pack_padded_sequence rnn.pack_sequence rnn.pad_packed_sequence "
        "tt.BCEWithLogitsLoss tt.BPETokenizer tt.CrossEntropyLoss tt.DistillationLoss tt.Dropout tt.Flatten tt.GELU "
        "tt.Generator tt.GradScaler tt.LogSoftmax tt.MSELoss tt.Module tt.ReLU tt.Sequential tt.Sigmoid tt.Size "
        "tt.Softmax tt.Tanh tt.are_deterministic_algorithms_enabled tt.autocast tt.device tt.empty tt.enable_grad "
        "tt.finfo tt.get_default_dtype tt.get_rng_state tt.initial_seed tt.is_grad_enabled tt.meshgrid tt.no_grad "
        "tt.normal tt.ones tt.rand tt.randn tt.set_printoptions tt.zeros"
    ),
    "arr": "tt.from_numpy",
    "dists dists": "dist.kl_divergence",
    "gpt": "tt.KVCache",
    "i": "F.one_hot Tensor.bincount Tensor.bitwise_not nn.RMSNorm tt.bincount tt.bitwise_not tt.iinfo",
    "i i": "Tensor.bitwise_and Tensor.bitwise_or Tensor.bitwise_xor tt.bitwise_and tt.bitwise_or tt.bitwise_xor",
    "i x": "F.embedding",
    "list": "data.default_collate",
    "mod": "tt.fold_batch_norm tt.prepare_qat tt.quantize_dynamic",
    "mod one": "tt.magnitude_masks",
    "mod str": "tt.save_model",
    "mod x": "tt.quantize_static",
    "one one one": "nn.Bilinear nn.Conv1d nn.Conv2d nn.ConvTranspose1d nn.ConvTranspose2d tt.Conv2d",
    "opt": "lrs.ConstantLR lrs.LinearLR lrs.PolynomialLR",
    "opt fn": "lrs.LambdaLR tt.LambdaLR",
    "opt half four": "lrs.OneCycleLR",
    "opt two": "lrs.CosineAnnealingLR lrs.CosineAnnealingWarmRestarts tt.CosineLR tt.StepLR",
    "opt v": "lrs.MultiStepLR",
    "opt x": "lrs.ExponentialLR",
    "params": (
        "optim.Adadelta optim.Adagrad optim.Adam optim.AdamW optim.Adamax optim.RMSprop optim.SGD tt.Adam tt.AdamW "
        "tt.Optimizer tt.SGD"
    ),
    "params i": "data.random_split",
    "relu": "init.calculate_gain",
    "rng": "tt.set_rng_state",
    "s1": "Tensor.backward Tensor.broadcast_to Tensor.permute Tensor.repeat tt.backward tt.broadcast_to",
    "sq": "Tensor.trace tt.trace",
    "str": "tt.CharTokenizer",
    "str v": "tt.einsum",
    "true": "tt.set_grad_enabled",
    "two": (
        "Tensor.expand nn.BatchNorm1d nn.BatchNorm2d nn.LayerNorm tt.BatchNorm2d tt.LayerNorm tt.arange "
        "tt.causal_mask tt.eye tt.manual_seed"
    ),
    "two two": (
        "nn.Embedding nn.GRU nn.GRUCell nn.GroupNorm nn.LSTM nn.LSTMCell nn.Linear nn.MultiheadAttention nn.RNN "
        "nn.RNNCell nn.TransformerEncoderLayer tt.BasicBlock tt.Embedding tt.GPT tt.LearnedPositions tt.Linear "
        "tt.MultiHeadAttention tt.SinusoidalPositions tt.TransformerBlock tt.full tt.randint"
    ),
    "v two": "F.nll_loss",
    "v v": "Tensor.dot Tensor.outer tt.dot tt.outer",
    "v x": "F.linear data.WeightedRandomSampler tt.searchsorted",
    "w3 x3": "Tensor.bmm tt.bmm",
    "x": (
        "F.celu F.dropout F.dropout2d F.elu F.gelu F.glu F.gumbel_softmax F.hardsigmoid F.hardswish F.hardtanh "
        "F.instance_norm F.leaky_relu F.log_softmax F.logsigmoid F.mish F.normalize F.relu F.relu6 F.selu F.sigmoid "
        "F.silu F.softmax F.softmin F.softplus F.softsign F.tanh F.tanhshrink Tensor.abs Tensor.abs_ Tensor.acos "
        "Tensor.all Tensor.amax Tensor.amin Tensor.any Tensor.argmax Tensor.argmin Tensor.argsort Tensor.asin "
        "Tensor.atan Tensor.bernoulli Tensor.bernoulli_ Tensor.bfloat16 Tensor.bool Tensor.byte Tensor.ceil "
        "Tensor.clone Tensor.contiguous Tensor.cos Tensor.cos_ Tensor.cosh Tensor.count_nonzero Tensor.cpu "
        "Tensor.data_ptr Tensor.detach Tensor.detach_ Tensor.diag Tensor.diagonal Tensor.dim Tensor.double "
        "Tensor.element_size Tensor.erf Tensor.erfc Tensor.exp Tensor.exp2 Tensor.exp_ Tensor.expm1 "
        "Tensor.exponential_ Tensor.flatten Tensor.flip Tensor.float Tensor.floor Tensor.floor_ Tensor.frac "
        "Tensor.half Tensor.int Tensor.is_contiguous Tensor.is_floating_point Tensor.isfinite Tensor.isinf "
        "Tensor.isnan Tensor.log Tensor.log10 Tensor.log1p Tensor.log2 Tensor.log_ Tensor.log_softmax "
        "Tensor.logical_not Tensor.long Tensor.max Tensor.mean Tensor.median Tensor.min Tensor.nansum Tensor.neg "
        "Tensor.neg_ Tensor.negative Tensor.new_empty Tensor.new_ones Tensor.new_zeros Tensor.nonzero Tensor.norm "
        "Tensor.nelement Tensor.normal_ Tensor.numel Tensor.numpy Tensor.operand Tensor.prod Tensor.random_ "
        "Tensor.ravel "
        "Tensor.reciprocal Tensor.reciprocal_ Tensor.relu Tensor.relu_ Tensor.requires_grad_ Tensor.round "
        "Tensor.round_ Tensor.rsqrt Tensor.rsqrt_ Tensor.short Tensor.sigmoid Tensor.sigmoid_ Tensor.sign Tensor.sin "
        "Tensor.sin_ Tensor.sinh Tensor.size Tensor.softmax Tensor.sort Tensor.sqrt Tensor.sqrt_ Tensor.square "
        "Tensor.square_ Tensor.squeeze_ Tensor.std Tensor.stride Tensor.sum Tensor.t Tensor.t_ Tensor.tan Tensor.tanh "
        "Tensor.tanh_ Tensor.tile Tensor.tolist Tensor.tril Tensor.tril_ Tensor.triu Tensor.triu_ Tensor.trunc "
        "Tensor.type Tensor.unbind Tensor.uniform_ Tensor.unique Tensor.var Tensor.zero_ data.ConcatDataset "
        "data.DataLoader data.RandomSampler data.SubsetRandomSampler data.TensorDataset dist.Bernoulli "
        "dist.Categorical init.eye_ init.kaiming_normal_ init.kaiming_uniform_ init.normal_ "
        "init.ones_ init.orthogonal_ init.trunc_normal_ init.uniform_ init.xavier_normal_ init.xavier_uniform_ "
        "init.zeros_ lrs.ReduceLROnPlateau nn.AdaptiveAvgPool1d nn.AdaptiveMaxPool2d nn.AvgPool1d nn.AvgPool2d "
        "nn.ConstantPad2d nn.InstanceNorm1d nn.InstanceNorm2d nn.MaxPool1d nn.MaxPool2d nn.PixelShuffle "
        "nn.ReflectionPad2d nn.ReplicationPad2d nn.ZeroPad2d nn.utils.get_total_norm nn.utils.parameters_to_vector "
        "rnn.pad_sequence tt.AdaptiveAvgPool2d tt.AvgPool2d tt.DataLoader tt.MaxPool2d tt.Parameter tt.Tensor "
        "tt.TensorDataset tt.abs tt.acos tt.all tt.amax tt.amin tt.any tt.argmax tt.argmin tt.argsort tt.as_tensor "
        "tt.asin tt.atan tt.bernoulli tt.cat tt.ceil tt.clone tt.compile tt.cos tt.cosh "
        "tt.count_nonzero tt.diag tt.diagonal tt.empty_like tt.erf tt.erfc tt.exp tt.exp2 "
        "tt.expm1 tt.flatten tt.flip tt.floor tt.frac tt.gelu "
        "tt.hstack tt.is_floating_point tt.is_tensor tt.isfinite tt.isinf tt.isnan tt.log tt.log10 tt.log1p "
        "tt.log2 "
        "tt.log_softmax tt.logical_not tt.max tt.mean tt.median tt.min tt.nansum tt.neg tt.nonzero tt.norm tt.numel "
        "tt.ones_like tt.prod tt.progress_bar tt.rand_like tt.randn_like tt.random_shift tt.randperm tt.ravel "
        "tt.reciprocal tt.relu tt.round tt.rsqrt tt.set_float32_matmul_precision tt.sigmoid tt.sign tt.sin tt.sinh "
        "tt.softmax tt.sort tt.sqrt tt.square tt.squeeze tt.stack tt.std tt.sum tt.t tt.tan tt.tanh tt.tile tt.tril "
        "tt.triu tt.trunc tt.unbind tt.unique tt.use_deterministic_algorithms tt.var tt.vstack tt.where tt.zeros_like"
    ),
    "x b": "Tensor.masked_select tt.masked_select",
    "x b half": "Tensor.masked_fill_",
    "x b x": "Tensor.masked_fill tt.masked_fill",
    "x f32": "tt.save",
    "x half": "Tensor.clamp Tensor.clip tt.clamp",
    "x i": (
        "F.pad Tensor.take Tensor.tensor_split tt.accuracy tt.cross_entropy tt.next_token_loss tt.permute "
        "tt.take tt.tensor_split"
    ),
    "x i two": "Tensor.new_full",
    "x i2 one": "Tensor.take_along_dim tt.take_along_dim",
    "x ints": "Tensor.squeeze",
    "x one": (
        "F.avg_pool1d F.avg_pool2d F.group_norm F.layer_norm F.max_pool1d F.max_pool2d Tensor.cumprod Tensor.cumsum "
        "Tensor.logsumexp tt.cumprod tt.cumsum tt.logsumexp tt.padding_mask"
    ),
    "x one i": "Tensor.index_select Tensor.select tt.index_select tt.select",
    "x one i2": "Tensor.gather Tensor.scatter tt.gather tt.scatter",
    "x one i2 x": "Tensor.scatter_ Tensor.scatter_add Tensor.scatter_add_ tt.scatter_add",
    "x one one": (
        "Tensor.moveaxis Tensor.movedim Tensor.swapaxes Tensor.swapdims Tensor.transpose tt.movedim tt.transpose"
    ),
    "x one shape31": "Tensor.unflatten tt.unflatten",
    "x one two one": "Tensor.unfold",
    "x params": "nn.utils.vector_to_parameters",
    "x shape": "tt.reshape",
    "x sq": "Tensor.mm tt.mm",
    "x two": (
        "F.adaptive_avg_pool1d F.adaptive_max_pool2d Tensor.chunk Tensor.kthvalue Tensor.multinomial "
        "Tensor.repeat_interleave Tensor.split Tensor.topk Tensor.unsqueeze Tensor.unsqueeze_ "
        "nn.utils.clip_grad_norm_ tt.chunk tt.clip_grad_norm_ tt.full_like tt.kthvalue tt.multinomial "
        "tt.repeat_interleave tt.split tt.topk tt.unsqueeze"
    ),
    "x two x": "data.BatchSampler",
    "x v": "F.prelu Tensor.mv Tensor.roll rnn.unpad_sequence tt.mv tt.roll",
    "x v v": "F.batch_norm",
    "x x": (
        "F.binary_cross_entropy F.binary_cross_entropy_with_logits F.conv1d F.cosine_similarity F.cross_entropy "
        "F.hinge_embedding_loss F.huber_loss F.kl_div F.l1_loss F.mse_loss F.pairwise_distance F.poisson_nll_loss "
        "F.rms_norm F.smooth_l1_loss Tensor.add Tensor.add_ Tensor.allclose Tensor.atan2 Tensor.cdist Tensor.clamp_ "
        "Tensor.clamp_max Tensor.clamp_max_ Tensor.clamp_min Tensor.clamp_min_ Tensor.copy_ Tensor.div Tensor.div_ "
        "Tensor.divide Tensor.eq Tensor.equal Tensor.expand_as Tensor.fill_ Tensor.floor_divide Tensor.fmod Tensor.ge "
        "Tensor.gt Tensor.inner Tensor.isclose Tensor.isin Tensor.le Tensor.logaddexp Tensor.logical_and "
        "Tensor.logical_or Tensor.logical_xor Tensor.lt Tensor.maximum Tensor.minimum Tensor.mul Tensor.mul_ "
        "Tensor.multiply Tensor.ne Tensor.new_tensor Tensor.pow Tensor.pow_ Tensor.remainder Tensor.reshape_as "
        "Tensor.sub Tensor.sub_ Tensor.subtract Tensor.to Tensor.true_divide Tensor.type_as Tensor.view_as "
        "data.Subset init.constant_ nn.Unflatten nn.utils.clip_grad_value_ tt.add tt.allclose tt.atan2 "
        "tt.binary_cross_entropy_with_logits tt.cdist tt.clamp_max tt.clamp_min tt.div tt.eq tt.equal tt.floor_divide "
        "tt.fmod tt.ge tt.gt tt.inner tt.isclose tt.isin tt.le tt.logaddexp tt.logical_and tt.logical_or "
        "tt.logical_xor tt.lt tt.maximum tt.minimum tt.mse_loss tt.mul tt.ne tt.pow tt.remainder tt.sub"
    ),
    "x x half": "Tensor.lerp_",
    "x x sq": "Tensor.addmm Tensor.baddbmm tt.addmm tt.baddbmm",
    "x x two": "tt.linspace tt.logspace",
    "x x v": "F.cosine_embedding_loss",
    "x x x": (
        "F.bilinear F.gaussian_nll_loss F.margin_ranking_loss F.scaled_dot_product_attention F.triplet_margin_loss "
        "Tensor.addcdiv Tensor.addcdiv_ Tensor.addcmul Tensor.addcmul_ Tensor.lerp Tensor.where tt.Trainer "
        "tt.addcdiv tt.addcmul tt.lerp tt.scaled_dot_product_attention"
    ),
    "x x3": "Tensor.matmul dist.Normal tt.matmul",
    "x zero": "nn.TransformerEncoder",
    "x zero i half": "Tensor.index_fill Tensor.index_fill_ tt.index_fill",
    "x zero i x": (
        "Tensor.index_add Tensor.index_add_ Tensor.index_copy Tensor.index_copy_ tt.index_add tt.index_copy"
    ),
    "x zero zero one": "Tensor.narrow tt.narrow",
    "x1": "Tensor.item Tensor.reshape Tensor.view",
    "x3 two": "F.interpolate",
    "x3 w3t": "F.conv_transpose1d",
    "x4 one": "F.pixel_shuffle",
    "x4 two": "F.adaptive_avg_pool2d tt.adaptive_avg_pool2d tt.avg_pool2d tt.max_pool2d",
    "x4 w4t": "F.conv_transpose2d",
    "x4 x4": "F.conv2d tt.conv2d",
    "xarr rng": "tt.random_flip",
    "xg": "Tensor.retain_grad",
    "xg x": "Tensor.register_hook",
}
BY_NAME = {name: arguments.split() for arguments, names in ACCEPTED.items() for name in names.split()}
