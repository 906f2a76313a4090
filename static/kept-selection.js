/**
 * A selection that outlasts changes of the text around it. Where a change replaces the nodes in which the selection begins
 * or ends, it is put to the same characters again.
 *
 * @typedef {{block: number, offset: number}} Spot
 *   A place in changing blocks: the number of the block among them, and the UTF-16 units of its text before the place.
 */

/**
 * Remember where a selection begins and ends.
 *
 * @param {HTMLElement} root what contains the blocks
 * @param {readonly Element[][]} blocks the elements of each block that is going to change
 * @returns {(changed: readonly Element[][]) => void} puts the selection back, in the elements that the blocks then have
 */
export function keepSelection(root, blocks) {
  const selection = getSelection();
  if (!selection || selection.isCollapsed) return () => {};
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
  if (!anchorNode || !focusNode || !(root.contains(anchorNode) || root.contains(focusNode))) return () => {};
  const anchor = spotOf(blocks, anchorNode, anchorOffset);
  const focus = spotOf(blocks, focusNode, focusOffset);
  if (!anchor && !focus) return () => {};
  return (changed) => {
    const [from, fromOffset] = (anchor && placeOf(changed, anchor)) ?? [anchorNode, anchorOffset];
    const [to, toOffset] = (focus && placeOf(changed, focus)) ?? [focusNode, focusOffset];
    const isFromKept = selection.anchorNode === from && selection.anchorOffset === fromOffset;
    const isToKept = selection.focusNode === to && selection.focusOffset === toOffset;
    if (isFromKept && isToKept) return;
    if (from.isConnected && to.isConnected) selection.setBaseAndExtent(from, fromOffset, to, toOffset);
  };
}

/**
 * @param {readonly Element[][]} blocks
 * @param {Node} node
 * @param {number} offset in it, as in a range
 * @returns {Spot | null} null if it is in none of the blocks
 */
function spotOf(blocks, node, offset) {
  const block = blocks.findIndex((elements) => elements.some((element) => element.contains(node)));
  const elements = blocks[block];
  if (!elements) return null;
  const place = document.createRange();
  place.setStart(node, offset);
  let before = 0;
  for (const text of textsOf(elements)) {
    if (text === node) return { block, offset: before + offset };
    // A text that begins at the place or behind it is not before it.
    if (place.comparePoint(text, 0) >= 0) break;
    before += text.length;
  }
  return { block, offset: before };
}

/**
 * @param {readonly Element[][]} blocks
 * @param {Spot} spot
 * @returns {[Text, number] | null} null if the text is shorter now
 */
function placeOf(blocks, { block, offset }) {
  let before = 0;
  for (const text of textsOf(blocks[block] ?? [])) {
    if (offset <= before + text.length) return [text, offset - before];
    before += text.length;
  }
  return null;
}

/** Yield the texts of elements, but not those of the page's own controls. @param {readonly Element[]} elements */
function* textsOf(elements) {
  for (const element of elements) {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT, (node) =>
      node.parentElement?.closest('.code > :not(pre)') ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) yield /** @type {Text} */ (node);
  }
}
