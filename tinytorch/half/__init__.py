"""Operations on 16-bit numbers, which `mixed_precision` puts in the place of float32's.

`by_float32` has one version of each that is always available: it widens, computes and rounds. `by_onednn` tries
oneDNN's bfloat16 kernels first. Imports modules up to 09, `arrays` and `native`. Changed by authors of kernels.
"""
