/**
 * Tab stops for boxes that scroll by themselves: the arrow keys scroll only the element with the focus, so such a box
 * must be reachable by keyboard, and one that shows all it has must not be a stop on the way.
 */

/**
 * The names of the boxes that are observed. An element that is gone is forgotten.
 *
 * @type {WeakMap<Element, {box: HTMLElement, name: string, changed: (scrolls: boolean) => void}>}
 */
const boxes = new WeakMap();

const observer = new ResizeObserver((entries) => {
  // The box and what it holds may both have changed.
  const seen = new Set(entries.map(({ target }) => boxes.get(target)));
  for (const observed of seen) if (observed) mark(observed);
});

/**
 * Make a box a tab stop, named for screen readers, whenever it has more to show than fits in it. One that is observed
 * already has its name changed, and nothing else.
 *
 * @param {HTMLElement} box
 * @param {string} name what it holds, such as "Table"
 * @param {(scrolls: boolean) => void} [changed] called when the browser has laid it out, and whenever that changes
 */
export function stopWhereItScrolls(box, name, changed = () => {}) {
  const before = boxes.get(box);
  if (before) {
    if (before.name !== name && box.hasAttribute('aria-label')) box.setAttribute('aria-label', name);
    before.name = name;
    return;
  }
  const observed = { box, name, changed };
  // The size of the box alone does not show that its contents have grown.
  for (const element of [box, box.firstElementChild]) {
    if (!element) continue;
    boxes.set(element, observed);
    observer.observe(element);
  }
}

/** @param {{box: HTMLElement, name: string, changed: (scrolls: boolean) => void}} observed */
function mark({ box, name, changed }) {
  // Sizes are rounded, so that one pixel more may be none.
  const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
  if (scrolls && !box.hasAttribute('tabindex')) {
    box.tabIndex = 0;
    box.setAttribute('role', 'group');
    box.setAttribute('aria-label', name);
  } else if (!scrolls) {
    for (const attribute of ['tabindex', 'role', 'aria-label']) box.removeAttribute(attribute);
  }
  changed(scrolls);
}
