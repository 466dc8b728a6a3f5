// Asks every five seconds for the part of the page that changes; not while nobody looks or somebody is at one of its
// buttons. Where that part tells another status than the page was made for, the whole page is shown anew.
"use strict";

const now = document.getElementById("now");

async function refresh() {
  if (document.hidden || now.contains(document.activeElement)) return;
  try {
    const answer = await fetch(now.dataset.url, { headers: { "X-Requested-With": "fetch" } });
    if (answer.redirected) return location.reload();
    if (!answer.ok) return;
    now.innerHTML = await answer.text();
    const told = now.querySelector("#status");
    if (told && now.dataset.status && told.dataset.status !== now.dataset.status) location.reload();
  } catch {
    // The gateway restarts; the next time tells.
  }
}

if (now) setInterval(refresh, 5000);
