"""Cast the weights of a saved model to bfloat16, and save it again: half the bytes, nearly the same results.

python examples/cast_to_bfloat16.py submissions/reference/tinygpt build/models/gpt_bf16
"""

import argparse
from pathlib import Path

import ml_dtypes

import tinytorch as tt


def main() -> None:
    arguments = parse()
    model = tt.load_model(arguments.source)
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(ml_dtypes.bfloat16)  # rounds to nearest
    tt.save_model(model, arguments.target)
    before, after = (sum(file.stat().st_size for file in folder.glob("model.*")) for folder in vars(arguments).values())
    print(f"{before} bytes became {after}, {after / before:.1%}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cast the weights of a saved model to bfloat16.")
    parser.add_argument("source", type=Path, help="the folder of a saved model")
    parser.add_argument("target", type=Path, help="a new folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
