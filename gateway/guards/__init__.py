"""Guard rails: checks on what comes in, on what is retrieved and on what goes out.

A check is pure and knows nothing of requests: it finds stretches of a text (``patterns.py`` and what is written in it),
says something of a whole one (``spoken.py``), or has an expert say it (``judging.py``). ``live.py`` makes guards of the
rows, once for all requests; ``guarding.py`` holds one request to them, ``answers.py`` what is answered.
"""
