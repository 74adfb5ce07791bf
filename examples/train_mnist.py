"""Train a small network on MNIST.

    python examples/train_mnist.py
    python examples/train_mnist.py --samples 5000 --epochs 1      # a quick look

It downloads MNIST once (12 MB), trains for a few seconds, and prints one line for each epoch.
"""

import argparse

import numpy as np

import tinytorch as tt
from tinytorch import datasets


def main() -> None:
    arguments = parse()
    mnist = datasets.mnist()

    # Pixels are bytes from 0 to 255; networks train better on small numbers around 0 to 1.
    train_images = mnist.train_images[: arguments.samples].astype(np.float32) / 255  # (N, 28, 28)
    train_labels = mnist.train_labels[: arguments.samples]  # (N,)
    test_images = mnist.test_images.astype(np.float32) / 255  # (10000, 28, 28)

    train = tt.DataLoader(
        tt.TensorDataset(train_images, train_labels),
        batch_size=128,
        shuffle=True,
        seed=arguments.seed,
        transform=tt.random_shift(1),  # each image moves by up to one pixel, so that the network sees more variety
    )
    test = tt.DataLoader(tt.TensorDataset(test_images, mnist.test_labels), batch_size=1000)

    tt.manual_seed(arguments.seed)  # the same seed gives the same initial weights
    model = tt.Sequential(
        tt.Flatten(),  # (N, 28, 28) -> (N, 784)
        tt.Linear(784, 128),
        tt.ReLU(),
        tt.Linear(128, 10),  # one logit for each digit
    )

    # The learning rate rises for the first steps and then falls to zero along a cosine.
    optimizer = tt.AdamW(model.parameters(), lr=0.003)
    steps = arguments.epochs * len(train)
    trainer = tt.Trainer(
        model,
        optimizer,
        tt.CrossEntropyLoss(),
        schedule=tt.CosineLR(optimizer, steps, warmup=steps // 20),
        metrics={"accuracy": tt.accuracy},
    )
    history = trainer.fit(train, arguments.epochs, validation=test, split="test")

    for record in history:
        print(
            f"epoch {record['epoch']:2.0f}   train loss {record['train_loss']:.4f}   "
            f"test accuracy {record['accuracy']:.2%}"
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small network on MNIST.")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training images (default: 5)")
    parser.add_argument("--samples", type=int, default=60_000, help="training images to use (default: all 60,000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order of images (default: 0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
