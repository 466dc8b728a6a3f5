"""Pages of the web on their way into the knowledge base: fetched safely, and as their sites ask for it."""

from knowledge.web.addresses import identity
from knowledge.web.client import Web
from knowledge.web.pace import Manners
from knowledge.web.page import Page, PageUnavailable
from knowledge.web.sitemaps import SitemapResult

__all__ = ["Manners", "Page", "PageUnavailable", "SitemapResult", "Web", "identity"]
