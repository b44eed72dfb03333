"""Random weights in the layouts of the published files, and both networks in plain numpy.

Written from the published code alone: antonior92/automatic-ecg-diagnosis, model.py, and antonior92/ecg-age-prediction,
resnet.py and train.py. Nothing here knows how the package names or orders its tensors.
"""

import json

import h5py
import numpy as np
import torch


FILTERS = (128, 196, 256, 320)
KERAS_EPSILON, TORCH_EPSILON = 1e-3, 1e-5


def random_kernel(rng, *shape, fan_in):
    return (rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32)


def random_norm(rng, n):
    """Scale, shift, mean and variance, none of them trivial."""
    values = (rng.uniform(0.5, 1.5, n), rng.normal(0, 0.3, n), rng.normal(0, 0.5, n), rng.uniform(0.3, 3, n))
    return [value.astype(np.float32) for value in values]


def convolve(x, kernel, stride, left, right):
    """(samples, in) with (width, in, out): correlation, as both libraries convolve."""
    width, _, n_out = kernel.shape
    x = np.pad(x, ((left, right), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, width, axis=0)[::stride]  # (out samples, in, width)
    return windows.transpose(0, 2, 1).reshape(len(windows), -1) @ kernel.reshape(-1, n_out)


def normalise(x, norm, epsilon):
    scale, shift, mean, variance = (value.astype(np.float64) for value in norm)
    return (x - mean) / np.sqrt(variance + epsilon) * scale + shift


def max_pool(x, size):
    return x.reshape(-1, size, x.shape[1]).max(axis=1)


# Ribeiro et al. 2020: Keras.


def ribeiro_weights(seed):
    """The layers that have weights, by their role."""
    rng = np.random.default_rng(seed)
    weights = {"stem": random_kernel(rng, 16, 12, 64, fan_in=192), "stem_norm": random_norm(rng, 64)}
    n_in = 64
    for i, n_out in enumerate(FILTERS):
        weights[f"skip{i}"] = random_kernel(rng, 1, n_in, n_out, fan_in=n_in)
        weights[f"first{i}"] = random_kernel(rng, 16, n_in, n_out, fan_in=16 * n_in)
        weights[f"first_norm{i}"] = random_norm(rng, n_out)
        weights[f"second{i}"] = random_kernel(rng, 16, n_out, n_out, fan_in=16 * n_out)
        weights[f"second_norm{i}"] = random_norm(rng, n_out)
        n_in = n_out
    weights["dense"] = (random_kernel(rng, 16 * 320, 6, fan_in=16 * 320), rng.normal(size=6).astype(np.float32))
    return weights


def ribeiro_layers(weights, first_number):
    """
    Layers of the Keras model in the order of its `layers`: name, and weights by their names there.

    Layers are numbered as they are made, the skip convolution of a block first; `layers` lists them from the input to
    the output.
    """
    numbers = {}

    def numbered(kind, role, place):
        number = first_number + place
        numbers[role] = kind if number == 0 else f"{kind}_{number}"

    numbered("conv1d", "stem", 0)
    numbered("batch_normalization", "stem_norm", 0)
    for i in range(len(FILTERS)):
        for place, role in enumerate(("skip", "first", "second")):
            numbered("conv1d", f"{role}{i}", 1 + 3 * i + place)
        numbered("batch_normalization", f"first_norm{i}", 1 + 2 * i)
        numbered("batch_normalization", f"second_norm{i}", 2 + 2 * i)
    numbered("dense", "dense", 0)

    def layer(role):
        name, values = numbers[role], weights[role]
        if "norm" in role:
            kinds = ("gamma", "beta", "moving_mean", "moving_variance")
        elif role == "dense":
            kinds = ("kernel", "bias")
        else:
            kinds, values = ("kernel",), (values,)
        return name, {f"{name}/{kind}:0": value for kind, value in zip(kinds, values, strict=True)}

    layers = [("signal", {}), layer("stem"), layer("stem_norm"), ("activation_1", {})]
    for i in range(len(FILTERS)):
        layers += [layer(f"first{i}"), layer(f"first_norm{i}"), (f"activation_{2 * i + 2}", {})]
        layers += [(f"dropout_{2 * i + 1}", {}), (f"max_pooling1d_{i + 1}", {})]
        layers += [layer(f"second{i}"), layer(f"skip{i}"), (f"add_{i + 1}", {})]
        layers += [layer(f"second_norm{i}"), (f"activation_{2 * i + 3}", {}), (f"dropout_{2 * i + 2}", {})]
    return [*layers, ("flatten_1", {}), layer("dense")]


def write_keras(path, layers, whole_model=True, epsilon=KERAS_EPSILON):
    """What `model.save` (or `save_weights`) of Keras 2.2 writes; names are bytes there."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if whole_model else file
        if whole_model:
            configs = []
            for name, tensors in layers:
                if "batch_normalization" in name:
                    config = {"class_name": "BatchNormalization", "config": {"name": name, "epsilon": epsilon}}
                elif "conv1d" in name:
                    (kernel,) = tensors.values()
                    stride = 4 if kernel.shape[0] == 16 and kernel.shape[1] == kernel.shape[2] else 1
                    settings = {"name": name, "strides": [stride], "padding": "same", "kernel_size": [len(kernel)]}
                    config = {"class_name": "Conv1D", "config": settings}
                else:
                    config = {"class_name": "Activation", "config": {"name": name}}
                configs.append(config)
            settings = {"class_name": "Model", "config": {"name": "model_1", "layers": configs}}
            file.attrs["model_config"] = json.dumps(settings).encode()
            file.create_group("optimizer_weights")
        group.attrs["layer_names"] = [name.encode() for name, _ in layers]
        group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for name, tensors in layers:
            layer_group = group.create_group(name)
            layer_group.attrs["weight_names"] = [weight.encode() for weight in tensors]
            for weight, value in tensors.items():
                layer_group[weight] = value


def ribeiro_forward(weights, tracing):
    """Logits of one tracing (4096, 12), in float64."""

    def same(x, kernel, stride=1):
        # TensorFlow's "same" padding: what is odd of it goes to the right.
        total = max((-(-len(x) // stride) - 1) * stride + len(kernel) - len(x), 0)
        return convolve(x, kernel.astype(np.float64), stride, total // 2, total - total // 2)

    x = same(tracing.astype(np.float64), weights["stem"])
    x = y = np.maximum(normalise(x, weights["stem_norm"], KERAS_EPSILON), 0)
    for i in range(len(FILTERS)):
        y = same(max_pool(y, 4), weights[f"skip{i}"])
        x = np.maximum(normalise(same(x, weights[f"first{i}"]), weights[f"first_norm{i}"], KERAS_EPSILON), 0)
        y = same(x, weights[f"second{i}"], stride=4) + y
        x = np.maximum(normalise(y, weights[f"second_norm{i}"], KERAS_EPSILON), 0)
    kernel, bias = weights["dense"]
    return x.ravel() @ kernel + bias  # samples first: Keras' Flatten of (16, 320)


# Lima et al. 2021: PyTorch.


def lima_state(seed):
    """State of `ResNet1d` by its names."""
    rng = np.random.default_rng(seed)
    state = {}

    def conv(name, n_out, n_in, width):
        state[f"{name}.weight"] = random_kernel(rng, n_out, n_in, width, fan_in=n_in * width)

    def norm(name, n):
        names = ("weight", "bias", "running_mean", "running_var")
        state.update({f"{name}.{one}": value for one, value in zip(names, random_norm(rng, n), strict=True)})
        state[f"{name}.num_batches_tracked"] = np.array(1000)

    conv("conv1", 64, 12, 17)
    norm("bn1", 64)
    n_in = 64
    for i, n_out in enumerate((64, *FILTERS)):
        block = f"resblock1d_{i}"
        conv(f"{block}.conv1", n_out, n_in, 17)
        norm(f"{block}.bn1", n_out)
        conv(f"{block}.conv2", n_out, n_out, 17)
        norm(f"{block}.bn2", n_out)
        if n_in != n_out:
            conv(f"{block}.skip_connection.1", n_out, n_in, 1)  # 0 is the max-pooling
        n_in = n_out
    state["lin.weight"] = random_kernel(rng, 1, 320 * 16, fan_in=320 * 16)
    state["lin.bias"] = np.array([53.0], dtype=np.float32)
    return state


def write_pytorch(path, state):
    """What the published `train.py` writes with PyTorch 1.2: no zip archive, and a numpy number as validation loss."""
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.001, "params": [0]}]}
    checkpoint = {"epoch": 17, "model": tensors, "valid_loss": np.float64(79.5), "optimizer": optimizer}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    # The module's name before numpy 2.
    path.write_bytes(path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


def lima_forward(state, tracing):
    """Output for one tracing (4096, 12), in float64."""

    def conv(x, name, stride=1):
        kernel = state[f"{name}.weight"].transpose(2, 1, 0).astype(np.float64)
        padding = max(0, int(np.floor((len(kernel) - stride + 1) / 2))) if len(kernel) > 1 else 0
        return convolve(x, kernel, stride, padding, padding)

    def norm(x, name):
        names = ("weight", "bias", "running_mean", "running_var")
        return normalise(x, [state[f"{name}.{one}"] for one in names], TORCH_EPSILON)

    x = y = norm(conv(tracing.astype(np.float64), "conv1"), "bn1")
    for i in range(5):
        block, stride = f"resblock1d_{i}", 1 if i == 0 else 4
        if stride > 1:
            y = conv(max_pool(y, stride), f"{block}.skip_connection.1")
        x = np.maximum(norm(conv(x, f"{block}.conv1"), f"{block}.bn1"), 0)
        y = conv(x, f"{block}.conv2", stride) + y
        x = np.maximum(norm(y, f"{block}.bn2"), 0)
    return state["lin.weight"].astype(np.float64) @ x.T.ravel() + state["lin.bias"]  # channels first
