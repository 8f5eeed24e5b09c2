"""Park, Lee, Kim and Zhao 2025: transfer of low-rank regressions."""
