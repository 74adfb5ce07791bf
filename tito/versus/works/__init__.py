"""One file for each work that both frameworks do; `tito.versus.contender` documents its contents."""
