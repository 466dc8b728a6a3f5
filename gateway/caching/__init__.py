"""Answers that are given again: to the same request of temperature 0, or to one that asks the same in other words.

    completions ─► looking.py ─► answers.py (memory, then Redis or the table) ─► memory · inredis · table
                       │              └─ writing.py (batches, off the path)
                       └─ flights.py (one generates, the others wait)
    pure beside them: wishes (whether), digests (the same as what), kept (what is given again), likeness (alike or not)
    purging.py: what is not given again any more, in every process

The look is taken after the decision and before the pool. After the decision, as everything that reaches the model has
a part in what "the same" means: rules, the expert's prompt and defaults, passages; and as the headers that tell of the
decision stay true. Before the pool, as a hit shall take no seat and stand in no queue. It is taken beneath the check of
citations, so that what is kept is what the model said, and links and sources are those of now.
"""
