/** Changes of a tree of the document that leave in place what stays the same. */

/** Attributes that are the page's own: HTML of the service does not say them. */
const OWN_ATTRIBUTES = new Set(['tabindex', 'role', 'aria-label']);

/**
 * Make an element equal to another one of the same name. Nodes that stay keep their selection, their scrolled place and
 * what the page has put around them (`.code`, `.wide`).
 *
 * @param {Element} old an element of the document
 * @param {Element} fresh the element that it is to equal; some of its nodes are moved from it
 */
export function morph(old, fresh) {
  morphAttributes(old, fresh);
  let place = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    if (!place) {
      old.append(node);
      continue;
    }
    const next = place.nextSibling;
    const current = served(place);
    if (current instanceof CharacterData && current.nodeType === node.nodeType) setData(current, node.nodeValue ?? '');
    else if (current instanceof Element && node instanceof Element && current.localName === node.localName) {
      if (next === null || !current.isEqualNode(node)) morph(current, node);
    } else place.replaceWith(node);
    place = next;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/** Return the node of the service's HTML that a node is, or that the page has put it around. @param {ChildNode} node */
function served(node) {
  return (node instanceof Element && node.matches('.code, .wide') && node.querySelector(':scope > :is(pre, table)')) || node;
}

/** @param {Element} old @param {Element} fresh */
function morphAttributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    // The direction of a table is that of the box around it.
    if (name === 'dir' && old.matches('.wide > *')) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of old.getAttributeNames()) {
    if (!fresh.hasAttribute(name) && !OWN_ATTRIBUTES.has(name)) old.removeAttribute(name);
  }
}

/** Change text from where it differs on. @param {CharacterData} node @param {string} data */
function setData(node, data) {
  const before = node.data;
  if (before === data) return;
  let same = 0;
  if (data.startsWith(before)) same = before.length;
  else while (before[same] === data[same]) same++;
  node.replaceData(same, before.length - same, data.slice(same));
}
