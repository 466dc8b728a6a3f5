"""What each part of the door costs on the hot path of a chat: ``python -m tests.benchmarks door``.

    __main__ ─► run.py ─► entering · looking · ending · writing · rest · whole (the parts) ─► timing.py
                   └─ report.py (pure)                    └─ setups.py over installation.py (what they are measured in)

Everything runs in one process without a network, on the product's own code: what a request costs here is processor
time, and what stands between two figures is what was switched on. Only Redis and the database are real servers.
"""
