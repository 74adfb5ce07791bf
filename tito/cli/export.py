"""`tito export`: a saved model as an ONNX file, for other runtimes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from tito.cli.console import group, write
from tito.files import user_path

exports = group("Models for other runtimes.")


@exports.command("export")
def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that save_model wrote, or an entry.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Default: the folder's name with .onnx, here.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(metavar="SIZES", help="The shape of one input, e.g. 28x28, if the first layer does not say it."),
    ] = None,
    opset: Annotated[int | None, typer.Option(metavar="N", help="The version of ONNX's operations, 17 to 21.")] = None,
    next_token: Annotated[
        bool, typer.Option("--next-token", help="Of a GPT: only the logits of the next token.")
    ] = False,
) -> None:
    """Write a saved model as an ONNX file, for ONNX Runtime and others.

    The file is checked by the package onnx, which `pip install -e '.[onnx]'` installs in a checkout.
    """
    from tinytorch.onnx.export import OPSET, export
    from tinytorch.saved.reading import load_model

    folder = user_path(model)
    target = user_path(file) if file else Path(f"{folder.resolve().name}.onnx")
    sizes = None if input_shape is None else _sizes(input_shape)
    version = OPSET if opset is None else opset
    path = export(load_model(folder), target, input_shape=sizes, opset=version, next_token=next_token)
    write(f"{path}: {path.stat().st_size:,} bytes, opset {version}")


def _sizes(text: str) -> list[int]:
    """Return the numbers of a shape such as 28x28 or 3,32,32."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}([x,][1-9][0-9]{0,8})*", text):
        raise typer.BadParameter(f"{text!r}: expected sizes such as 28x28", param_hint="--input-shape")
    return [int(size) for size in re.split("[x,]", text)]
