"""tito: TinyTorch's command line, benchmark harness, competition and report."""
