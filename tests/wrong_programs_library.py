"""Wrong programs about the library on top: random keys, layers, losses, optimizers, data, files, settings."""

from __future__ import annotations

import atexit
import os
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np
from wrong_programs import Wrong, wrong

import fdl
import fdl.numpy as fnp
from fdl import nn, optim, random
from fdl.nn import losses

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
IMAGE = np.ones((4, 8, 8, 3), np.float32)
LABELS = np.array([0, 2], np.int32)
FOLDER = tempfile.mkdtemp()
atexit.register(shutil.rmtree, FOLDER)
PLACES = {"folder": FOLDER}
HERE = ("eager", "jit")
"""For programs whose arguments have no derivative, or whose layers take the batch as it is."""


def drawn() -> None:
    assert random.normal(random.key(0), (3,)).shape == (3,)


def trained() -> None:
    """A step of training, as it should be."""
    layer = nn.Linear(2)
    params, state = layer.init(random.key(0), X)
    opt = optim.adam(0.1)
    grads = fdl.grad(lambda p: losses.softmax_cross_entropy(layer(p, state, X)[0], LABELS[:2] % 2).sum())(params)
    updates, _ = opt.update(grads, opt.init(params), params)
    assert optim.apply_updates(params, updates)["w"].shape == (3, 2)


def saved(value: Any) -> str:
    """The path of a file that holds a pytree."""
    path = os.path.join(FOLDER, "model.safetensors")
    fdl.save(path, value)
    return path


LOCAL = ("eager",)
"""For programs that touch files."""


# --- random ---------------------------------------------------------------------------------------


@wrong(X, right=drawn)
def seed_that_is_a_float(x):
    """DTypeError: random.key: the seed must be an integer, got 0.5 of type float.
    > at {here}
    """
    return x + random.normal(random.key(0.5), x.shape)  #: here


@wrong(X, right=drawn)
def seed_that_is_an_array_of_floats(x):
    """DTypeError: random.key: the seed must be an integer, got an array of type f32[]. Convert it with .astype(int).
    > at {here}
    """
    return x + random.normal(random.key(fnp.asarray(0.5)), x.shape)  #: here


@wrong(X, right=lambda: fdl.vmap(random.key)(np.arange(2)))
def seeds_without_vmap(x):
    """ShapeError: random.key: the seed must be 0-d, got shape (2,). Map over seeds with fdl.vmap(random.key).
    > at {here}
    """
    return x + random.normal(random.key(np.arange(2)), x.shape)  #: here


@wrong(X, right=drawn)
def seed_of_too_many_bits(x):
    """OverflowError: random.key: the seed 1208925819614629174706176 does not fit in 64 bits.
    > at {here}
    """
    return x + random.normal(random.key(2**80), x.shape)  #: here


@wrong(X, right=drawn)
def key_that_is_a_seed(x):
    """DTypeError: random.uniform: expected a key (uint32 of shape (2,), from random.key or random.split), got i32[].
    Make one of a seed: random.key(seed).
    > at {here}
    """
    return x + random.normal(0, x.shape)  #: here


@wrong(X, right=drawn)
def key_of_floats(x):
    """DTypeError: random.uniform: expected a key (uint32 of shape (2,), from random.key or random.split), got
    f32[2,3].
    > at {here}
    """
    return x + random.uniform(x, x.shape)  #: here


@wrong(X, right=drawn)
def many_keys_for_one(x):
    """DTypeError: random.uniform: expected a key (uint32 of shape (2,), from random.key or random.split), got
    u32[3,2]. Of several keys pick one, keys[i], or map over them with fdl.vmap.
    > at {here}
    """
    keys = random.split(random.key(0), 3)
    return x + random.normal(keys, x.shape)  #: here


@wrong(X, right=drawn)
def normal_numbers_of_integers(x):
    """DTypeError: random.normal: expected a floating-point dtype, got int32.
    > at {here}
    """
    return x + random.normal(random.key(0), x.shape, "int32")  #: here


@wrong(X, right=drawn)
def bits_of_a_signed_dtype(x):
    """DTypeError: random.bits: expected an unsigned integer dtype, got int32.
    > at {here}
    """
    return x + random.bits(random.key(0), x.shape, "int32")  #: here


@wrong(X, right=drawn)
def random_shape_that_is_negative(x):
    """ShapeError: random.uniform: sizes must not be negative, got (-1,).
    > at {here}
    """
    return x + random.normal(random.key(0), (-1,))  #: here


# --- layers ---------------------------------------------------------------------------------------


@wrong(X, right=trained)
def dropout_without_a_key(x):
    """MissingKeyError: Dropout(rate=0.5) was called with train=True and without a key, and it needs one to draw its
    mask. Pass key=fdl.random.key(seed), another one for each step.
    > at {here}
    """
    return nn.Dropout(0.5)((), (), x, train=True)[0]  #: here


@wrong(X, right=trained)
def dropout_of_a_rate_above_one(x):
    """ValueError: Dropout: rate=1.5: expected a probability between 0 and 1.
    > at {here}
    """
    return nn.Dropout(1.5)((), (), x)[0]  #: here


@wrong(X, right=trained)
def linear_of_another_width(x):
    """ShapeError: Linear(features=2, bias=True): the input has shape (2, 3), expected (..., 4): the weights are (4,
    2).
    > at {here}
    """
    layer = nn.Linear(2)
    params, state = layer.init(random.key(0), fnp.ones(4))
    return layer(params, state, x)[0]  #: here


@wrong(IMAGE, modes=HERE, right=trained)
def convolution_of_other_channels(x):
    """ShapeError: Conv(features=8, window=(3, 3), strides=(1, 1), padding='SAME', dilation=(1, 1), groups=1,
    bias=True): the input has shape (4, 8, 8, 3), expected 1 channel on its last axis.
    > at {here}
    """
    layer = nn.Conv(8, 3)
    params, state = layer.init(random.key(0), fnp.ones((8, 8, 1)))
    return layer(params, state, x)[0]  #: here


@wrong(X, modes=HERE, right=trained)
def convolution_of_too_few_axes(x):
    """ShapeError: Conv(features=8, window=(3, 3), strides=(1, 1), padding='SAME', dilation=(1, 1), groups=1,
    bias=True): the input has shape (2, 3), expected at least 3 axes: (..., 2 spatial axes, channels).
    > at {here}
    """
    return nn.Conv(8, 3).init(random.key(0), x)[0]["w"]  #: here


@wrong(IMAGE, modes=HERE, right=trained)
def groups_that_do_not_divide(x):
    """ShapeError: Conv(features=8, window=(3, 3), strides=(1, 1), padding='SAME', dilation=(1, 1), groups=2,
    bias=True): groups=2 does not divide the 3 input channels.
    > at {here}
    """
    return nn.Conv(8, 3, groups=2).init(random.key(0), x)[0]["w"]  #: here


@wrong(IMAGE, modes=HERE, right=trained)
def padding_unknown(x):
    """ShapeError: Conv: padding='FULL': expected "SAME", "VALID", an int, or (low, high) pairs.
    > at {here}
    """
    return nn.Conv(8, 3, padding="FULL").init(random.key(0), x)[0]["w"]  #: here


@wrong(X, right=trained)
def sequence_of_what_is_no_layer(x):
    """DTypeError: Sequential: layer 1 is 3 of type int, expected a layer or a function of one array.
    > at {here}
    """
    return nn.Sequential(nn.Linear(2), 3).init(random.key(0), x)[0]  #: here


@wrong(X, right=trained)
def parameters_of_another_model(x):
    """TreeError: Sequential of 3 layers: the parameters are a tuple of 2, expected one entry for each layer. Give it
    what its own init returns.
    > at {here}
    """
    model = nn.Sequential(nn.Linear(2), nn.relu, nn.Linear(1))
    params, state = nn.Sequential(nn.Linear(2), nn.relu).init(random.key(0), x)
    return model(params, state, x)[0]  #: here


# --- losses ---------------------------------------------------------------------------------------


@wrong(X, right=trained)
def labels_that_are_floats(logits):
    """ShapeError: softmax_cross_entropy: logits f32[2,3] and labels f32[2]: expected integer labels of shape (2,), or
    floating-point probabilities of shape (2, 3).
    > at {here}
    """
    return losses.softmax_cross_entropy(logits, fnp.asarray([0.0, 2.0])).mean()  #: here


@wrong(X, right=trained)
def labels_of_another_number(logits):
    """ShapeError: softmax_cross_entropy: logits f32[2,3] and labels i32[1]: expected integer labels of shape (2,), or
    floating-point probabilities of shape (2, 3).
    > at {here}
    """
    return losses.softmax_cross_entropy(logits, LABELS[:1]).mean()  #: here


@wrong(X, right=trained)
def one_hot_labels_of_integers(logits):
    """ShapeError: softmax_cross_entropy: logits f32[2,3] and labels i32[2,3]: expected integer labels of shape (2,),
    or floating-point probabilities of shape (2, 3).
    > at {here}
    """
    return losses.softmax_cross_entropy(logits, np.eye(3, dtype=np.int32)[:2]).mean()  #: here


@wrong(X, right=trained)
def targets_of_another_shape(x):
    """ShapeError: squared_error: the predictions have shape (2, 3) and the targets (2, 1), expected one shape.
    > at {here}
    """
    return losses.mse(x, x[:, :1])  #: here


# --- optimizers -----------------------------------------------------------------------------------


@wrong(X, right=trained)
def state_of_other_parameters(x):
    """TreeError: scale_by_adam: state is not nested like updates: updates has a dict with keys ['b', 'w'], state has a
    dict with keys ['w']. Make the state with init(params) of the parameters that are updated.
    > at {here}
    """
    opt = optim.adam(0.1)
    state = opt.init({"w": x})
    return opt.update({"w": x, "b": x[0]}, state)[0]["w"]  #: here


@wrong(X, right=trained)
def updates_of_other_parameters(x):
    """TreeError: apply_updates: updates is not nested like params: params has a dict with keys ['b', 'w'], updates has
    a dict with keys ['w'].
    > at {here}
    """
    return optim.apply_updates({"w": x, "b": x[0]}, {"w": x})["w"]  #: here


@wrong(X, right=trained)
def state_of_another_chain(x):
    """ValueError: chain: the state has 2 parts, expected one for each of 1 transformations. Was it made by another
    chain? Give it what init(params) of this optimizer returns.
    > at {here}
    """
    state = optim.sgd(0.1, momentum=0.9).init(x)
    return optim.sgd(0.1).update(x, state)[0]  #: here


@wrong(X, right=trained)
def weight_decay_without_parameters(x):
    """ValueError: add_decayed_weights: update needs the parameters: call update(grads, state, params).
    > at {here}
    """
    opt = optim.adamw(0.1)
    return opt.update(x, opt.init(x))[0]  #: here


@wrong(X, right=trained)
def chain_of_a_function(x):
    """TypeError: chain: expected gradient transformations, got the function clip_by_global_norm. Call the function
    that makes it, as in sgd(0.1).
    > at {here}
    """
    return optim.chain(optim.clip_by_global_norm, optim.sgd(0.1)).init(x)  #: here


@wrong(X, right=trained)
def decay_rate_of_one(x):
    """ValueError: scale_by_adam: b1=1.0: expected a decay rate in [0, 1).
    > at {here}
    """
    return optim.adam(0.1, b1=1.0).init(x)  #: here


# --- data -----------------------------------------------------------------------------------------


def loaded() -> None:
    assert len(list(fdl.data.Loader((X, LABELS), 1))) == 2


@wrong(X, modes=LOCAL, right=loaded)
def arrays_of_two_lengths(x):
    """ShapeError: Loader: the arrays differ in their number of examples: data['x'] has 2, data['y'] of shape (3,) has
    3.
    > at {here}
    """
    return fdl.data.Loader({"x": x, "y": np.arange(3)}, 2)  #: here


@wrong(X, modes=LOCAL, right=loaded)
def shuffling_without_a_key(x):
    """ValueError: Loader: shuffle=True needs a key. Pass key=fdl.random.key(seed).
    > at {here}
    """
    return fdl.data.Loader(x, 2, shuffle=True)  #: here


@wrong(X, modes=LOCAL, right=loaded)
def batch_size_of_zero(x):
    """ValueError: Loader: batch_size must be at least 1, got 0.
    > at {here}
    """
    return fdl.data.Loader(x, 0)  #: here


@wrong(X, modes=LOCAL, right=loaded)
def part_of_unknown_name(x):
    """ValueError: mnist: split must be "train", "test" or None for both, got 'validation'.
    > at {here}
    """
    return fdl.data.mnist("validation")  #: here


@wrong(X, modes=LOCAL, right=loaded)
def damaged_data(x):
    """DataError: labels.idx: truncated: (9,) of uint8 takes 17 bytes, but the file has 10.
    > at {here}
    """
    return fdl.data.parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 9, 1, 2]), "labels.idx")  #: here


# --- files ----------------------------------------------------------------------------------------


@wrong(X, modes=LOCAL, right=lambda: fdl.load(saved({"w": X})))
def load_of_another_structure(x):
    """TreeError: {folder}/model.safetensors does not fit `like`:
    > tree['conv1']['b']: not in the file, expected (3,) float32
    > tree['conv1']['w']: saved (2, 3) float32, expected (3, 2) float32
    > at {here}
    """
    path = saved({"conv1": {"w": x}, "conv2": {"w": x}})
    return fdl.load(path, like={"conv1": {"w": x.T, "b": x[0]}, "conv2": {"w": x}})  #: here


@wrong(X, modes=LOCAL, right=lambda: fdl.load(saved({"w": X})))
def load_of_a_damaged_file(x):
    """FormatError: {folder}/model.safetensors: damaged: its checksum differs from its content's. Restore it from a
    copy.
    > at {here}
    """
    path = pathlib.Path(saved({"w": x}))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return fdl.load(path)  #: here


@wrong(X, modes=LOCAL, right=lambda: fdl.load(saved({"w": X})), by_line=False)
def load_of_no_file(x):
    """FileNotFoundError: [Errno 2] No such file or directory: '{folder}/nothing.safetensors'"""
    return fdl.load(os.path.join(FOLDER, "nothing.safetensors"))  #: here


@wrong(X, modes=LOCAL, right=lambda: fdl.load(saved({"w": X})))
def save_of_a_function(x):
    """DTypeError: save: tree['activation'] is a function, which cannot be saved. Expected an array, a number or a
    string.
    > at {here}
    """
    return fdl.save(os.path.join(FOLDER, "model.safetensors"), {"w": x, "activation": fnp.tanh})  #: here


@wrong(X, modes=LOCAL, right=lambda: fdl.load(saved({"w": X})))
def save_in_a_folder_that_is_not_there(x):
    """FileNotFoundError: save: the folder {folder}/runs does not exist. Make it first, or save elsewhere.
    > at {here}
    """
    return fdl.save(os.path.join(FOLDER, "runs", "model.safetensors"), x)  #: here


@wrong(X, modes=("jit", "grad", "vmap"), right=lambda: fdl.load(saved({"w": X})))
def save_while_tracing(x):
    """DTypeError: save: tree['params']['w'] is a value inside a transformation, of type f32[2,3]. Return it, and save
    it outside.
    > at {here}
    """
    fdl.save(os.path.join(FOLDER, "model.safetensors"), {"params": {"w": x}})  #: here
    return x


# --- settings -------------------------------------------------------------------------------------


def settings() -> None:
    assert fdl.config.backend == "llvm" and fdl.get_num_threads() >= 1


@wrong(X, modes=LOCAL, right=settings)
def no_threads(x):
    """ValueError: set_num_threads: expected 1 to 4095 threads, got 0.
    > at {here}
    """
    return fdl.set_num_threads(0)  #: here


@wrong(X, modes=LOCAL, right=settings)
def half_a_thread(x):
    """TypeError: set_num_threads: expected an int, got 1.5.
    > at {here}
    """
    return fdl.set_num_threads(1.5)  #: here


@wrong(X, modes=LOCAL, right=settings)
def unknown_backend(x):
    """ValueError: config.backend: expected one of llvm, reference, got 'cuda'.
    > at {here}
    """
    fdl.config.backend = "cuda"  #: here
    return x


@wrong(X, modes=LOCAL, right=settings)
def unknown_setting(x):
    """AttributeError: config has no setting 'backends': expected one of backend, log_compiles, debug_memory.
    > at {here}
    """
    fdl.config.backends = "llvm"  #: here
    return x


@wrong(X, modes=LOCAL, right=settings)
def unknown_setting_for_a_block(x):
    """AttributeError: config has no setting 'log_compile': expected one of backend, log_compiles, debug_memory.
    > at {here}
    """
    with fdl.config.using(log_compile="never"):  #: here
        return x
