"""One file for each work that both frameworks do; see `tito.versus.contender`."""
