"""tito: TinyTorch's command line, benchmark harness, and reports."""
