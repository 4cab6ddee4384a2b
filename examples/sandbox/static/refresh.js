// Refreshes the parts of the page that show the state of the account. Without this script, reload the page.
'use strict';
async function refresh() {
  try {
    if (document.hidden) return;
    const response = await fetch(document.body.dataset.self);
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
    for (const part of document.querySelectorAll('[data-live]')) {
      const now = fresh.getElementById(part.id);
      const selected = getSelection().containsNode(part, true) && !getSelection().isCollapsed;
      const inUse = part.querySelector('details[open]') || selected;
      if (now && !inUse && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
    }
  } catch {
    // The sandbox has stopped: keep the last state.
  } finally {
    setTimeout(refresh, 2000);
  }
}
setTimeout(refresh, 2000);
