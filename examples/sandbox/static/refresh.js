// Keeps the parts of the page that follow the account up to date. Without it, reload the page.
'use strict';
async function refresh() {
  try {
    if (document.hidden) return;
    const answer = await fetch(document.body.dataset.self);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const part of document.querySelectorAll('[data-live]')) {
      const now = fresh.getElementById(part.id);
      const inUse = part.querySelector('details[open]') || getSelection().containsNode(part, true) && !getSelection().isCollapsed;
      if (now && !inUse && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
    }
  } catch {
    // The sandbox has stopped: the page stays as it was last.
  } finally {
    setTimeout(refresh, 2000);
  }
}
setTimeout(refresh, 2000);
