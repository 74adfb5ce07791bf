"""One file for each work that TinyTorch and its rivals do; `tito.versus.contender` documents its contents."""
