// Asks for the parts of a page that are unfinished, each [data-unfinished] by its id at the address in data-live, until
// none is; not while nobody looks, nor for a part in which somebody is at a button.
"use strict";
{
  const EVERY = 1500; // milliseconds
  const MOST = 200; // parts asked for at once, as the server answers

  const waiting = () => [...document.querySelectorAll("[data-live][data-unfinished]")].slice(0, MOST);

  const renew = async (address, parts) => {
    const names = new URLSearchParams(parts.map((part) => ["part", part.id]));
    const answer = await fetch(`${address}?${names}`, {headers: {Accept: "application/json"}});
    if (answer.redirected) return location.reload(); // logged out meanwhile
    if (answer.status === 403) return parts.forEach((part) => delete part.dataset.unfinished);
    if (!answer.ok) return;
    const now = (await answer.json()).parts;
    for (const part of parts) {
      if (!(part.id in now)) {
        delete part.dataset.unfinished; // it was deleted
      } else if (!part.contains(document.activeElement)) {
        part.innerHTML = now[part.id].html;
        if (!now[part.id].unfinished) delete part.dataset.unfinished;
      }
    }
  };

  const tick = async () => {
    const parts = waiting();
    if (!parts.length) return;
    try {
      if (!document.hidden) await renew(parts[0].dataset.live, parts);
    } catch { /* the gateway restarts; the next time tells */ }
    setTimeout(tick, EVERY);
  };

  document.addEventListener("DOMContentLoaded", () => setTimeout(tick, EVERY));
}
