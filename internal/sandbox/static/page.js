// Refreshes the parts of the page that show the state of the account, and helps to tick users. Without this script,
// reload the page and tick users one by one; everything else works.
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

const choose = document.getElementById('choose');
if (choose) {
  const boxes = [...choose.querySelectorAll('[name=openid]')];
  const onPage = document.getElementById('onpage'), all = document.getElementById('all');
  const selected = document.getElementById('selected');
  const update = () => {
    const ticked = boxes.filter((box) => box.checked).length;
    onPage.checked = ticked === boxes.length;
    onPage.indeterminate = ticked > 0 && ticked < boxes.length;
    selected.textContent = all.checked ? selected.dataset.all : selected.dataset.some.replace('0', ticked);
    for (const box of [...boxes, onPage]) box.disabled = all.checked;
  };
  onPage.addEventListener('change', () => {
    for (const box of boxes) box.checked = onPage.checked;
  });
  choose.addEventListener('change', update);
  onPage.closest('[hidden]').hidden = false;
  update(); // the browser may have kept what was ticked
}
