"""Speed, memory and waiting, measured beside what people would use instead: ``python -m benchmarks [NAME ...]``."""
