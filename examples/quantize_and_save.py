"""Quantize a trained network to INT8, save it, load it again, and compare it with the FP32 network.

    python examples/quantize_and_save.py /tmp/mnist_int8

The network is the trained MNIST reference of this repository. All figures of the INT8 network are measured after it has
been loaded from the folder, so they would show anything that was lost by saving it.
"""

import argparse
from pathlib import Path

import numpy as np

import tinytorch as tt
from tinytorch import datasets
from tinytorch.benchmarking import measure_interleaved
from tinytorch.inference import predictor

REFERENCE = Path(__file__).parents[1] / "submissions" / "reference" / "mnist"
WARMUP = 10  # calls that are not timed


def main() -> None:
    arguments = parse()
    mnist = datasets.mnist()
    calibration = mnist.train_images[: arguments.calibration].astype(np.float32) / 255  # (N, 28, 28)
    images = mnist.test_images[: arguments.samples].astype(np.float32) / 255
    labels = mnist.test_labels[: arguments.samples]

    # Static quantization needs examples of the input: they decide the scale of each layer's activations. They come
    # from the training split, because the result is evaluated on the test split.
    model = tt.load_model(REFERENCE)
    quantized = tt.quantize_static(model, np.array_split(calibration, 4))

    # A saved model is two files of data: a description of its layers, and its tensors as safetensors.
    tt.save_model(quantized, arguments.folder)
    loaded = tt.load_model(arguments.folder)

    fp32, int8 = logits(model, images), logits(loaded, images)  # (N, 10) each
    print(f"accuracy      FP32 {tt.accuracy(fp32, labels):.2%}   INT8 {tt.accuracy(int8, labels):.2%}")
    print(f"same answer   {(fp32.argmax(axis=1) == int8.argmax(axis=1)).mean():.2%} of {len(images)} images")
    print(f"bytes         FP32 {size(REFERENCE)}   INT8 {size(arguments.folder)}")

    # A predictor is a model prepared for inference only. Calls of the two alternate, so that other load on the machine
    # slows both. Each call gets the next image, because a repeated image would make both look faster.
    slow, fast = predictor(model), predictor(loaded)
    queries = [iter(np.resize(images, (arguments.times + WARMUP, 1, 28, 28))) for _ in range(2)]
    fp32_times, int8_times = measure_interleaved(
        lambda: slow(next(queries[0])), lambda: fast(next(queries[1])), samples=arguments.times, warmup=WARMUP
    )
    print(f"one image     FP32 {fp32_times.median * 1e6:.1f} us   INT8 {int8_times.median * 1e6:.1f} us (medians)")


def logits(model: tt.Module, images: np.ndarray) -> np.ndarray:
    """Run the model on all images, without recording anything for gradients."""
    with tt.no_grad():
        return np.concatenate([model(tt.Tensor(batch)).data for batch in np.array_split(images, 10)])


def size(folder: Path) -> int:
    """Return the bytes of the two files of a saved model."""
    return sum((folder / name).stat().st_size for name in ("model.json", "model.safetensors"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Quantize the MNIST reference to INT8, save it, and compare.")
    parser.add_argument("folder", type=Path, help="where to save the INT8 network: a new folder, or a saved model")
    parser.add_argument("--calibration", type=int, default=512, help="training images for the scales (default: 512)")
    parser.add_argument("--samples", type=int, default=10_000, help="test images for accuracy (default: all 10,000)")
    parser.add_argument("--times", type=int, default=1000, help="timed queries of each network (default: 1000)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
