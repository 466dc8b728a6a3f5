"""How much a key may do, and a group's keys together: limits that hold exactly, in one process or, by Redis, in many.

    door ─► entry.py (what one request holds) ─► limiter.py (which store counts) ─► local.py · shared.py
                                                                                      └─ pure: claims, window
    pure beside them: demand (what a request may take), headers, refusals;  ledger.py: days and months, from the sums

The `limits` package was looked at and left: it asks one limit after the other, where a request must be taken from all
or from none, has no refund (tokens are reserved and settled), no leases for what runs at the same time, and its exact
strategy keeps an entry for each unit, which tokens are too many for.
"""
