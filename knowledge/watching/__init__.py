"""Sources outside that collections follow: folders, sitemaps, feeds and git repositories, looked at on a schedule.

What is new or changed is received as any document is, and so waits for review and passes the gate where a collection
has those; what is not there any more is marked and stays found, until somebody decides.
"""

from knowledge.watching.looking import Look, look, preview
from knowledge.watching.places import source_check
from knowledge.watching.schedule import keep_watching, look_now

__all__ = ["Look", "keep_watching", "look", "look_now", "preview", "source_check"]
