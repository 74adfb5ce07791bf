"""Generate text with the trained TinyGPT, with and without a key-value cache.

    python examples/generate_text.py --prompt "ROMEO:\n"

The GPT is the trained reference of this repository. Without a cache, the network runs on the whole context again for
each new token. With a cache, it keeps the keys and values of earlier tokens and runs only on the new token. Both draw
with the same seed, so the text is the same.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tinytorch as tt
from tinytorch.caching import generate

REFERENCE = Path(__file__).parents[1] / "submissions" / "reference" / "tinygpt"


def main() -> None:
    arguments = parse()
    model = tt.load_model(REFERENCE)
    if not isinstance(model, tt.GPT):  # a saved model can be of any type
        raise SystemExit(f"{REFERENCE}: a {type(model).__name__}, expected a GPT")

    tokenizer = tt.BPETokenizer.load(REFERENCE / "tokenizer.json")  # the one that the model was trained with
    prompt = tokenizer.encode(arguments.prompt.replace("\\n", "\n"))  # (T,)

    # When the context of 128 tokens is full, it drops half of its oldest tokens at once. A cache can then be used for
    # 64 tokens before the rest is read again.
    settings = {"temperature": arguments.temperature, "top_p": 0.95, "seed": arguments.seed, "hop": 64}
    cached, seconds = timed(lambda: generate(model, prompt, arguments.tokens, **settings))
    print(tokenizer.decode(cached))
    print(f"\nwith the cache:    {arguments.tokens / seconds:8.0f} tokens a second")

    plain, seconds = timed(lambda: model.generate(prompt, arguments.tokens, **settings))
    print(f"without the cache: {arguments.tokens / seconds:8.0f} tokens a second")
    print(f"same tokens:       {'yes' if np.array_equal(cached, plain) else 'no'}")


def timed(write: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the tokens and the seconds that they took."""
    began = time.perf_counter()
    tokens = write()
    return tokens, time.perf_counter() - began


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Generate text with the trained TinyGPT.")
    parser.add_argument("--prompt", default="\\n", help=r"beginning of the text; \n is a line break (default: \n)")
    parser.add_argument("--tokens", type=int, default=256, help="tokens to generate (default: 256)")
    parser.add_argument("--temperature", type=float, default=0.8, help="lower: likelier tokens (default: 0.8)")
    parser.add_argument("--seed", type=int, default=1, help="another seed generates another text (default: 1)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
