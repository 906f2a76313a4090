/**
 * What the page puts around the blocks of rendered Markdown: the bar of a block of code, and boxes in which wide tables
 * scroll.
 *
 * @import { Translate } from './translate.js'
 */
import { copyOnClick } from './copying.js';
import { find, setText } from './elements.js';
import { stopWhereItScrolls } from './scroll-stops.js';

/**
 * Give each block of code its language and its buttons, each table a box of its own, and whatever scrolls a tab stop.
 * Each child of `blocks` stays one child. What was dressed before stays as it is, but for a language that has changed: the
 * service may have rendered half of its name.
 *
 * @param {ParentNode} blocks holds blocks that are not in the document yet, or are
 * @param {Translate} translate
 */
export function dressBlocks(blocks, translate) {
  for (const pre of blocks.querySelectorAll('pre')) {
    const code = pre.closest('.code');
    if (!code) dressCode(pre, translate);
    else nameCode(pre, code, translate, () => {});
  }
  for (const table of blocks.querySelectorAll('table')) {
    if (table.parentElement?.classList.contains('wide')) continue;
    const wide = document.createElement('div');
    wide.className = 'wide';
    // The box scrolls from where the table begins, so the direction is found for the box.
    if (table.dir) wide.dir = table.dir;
    table.removeAttribute('dir');
    table.replaceWith(wide);
    wide.append(table);
    stopWhereItScrolls(wide, translate('table'));
  }
  for (const formula of /** @type {NodeListOf<HTMLElement>} */ (blocks.querySelectorAll('.formula'))) {
    stopWhereItScrolls(formula, translate('formula'));
  }
}

/** @param {HTMLElement} pre @param {Translate} translate */
function dressCode(pre, translate) {
  const content = find('#code-template', HTMLTemplateElement).content.cloneNode(true);
  const code = find('.code', HTMLElement, /** @type {DocumentFragment} */ (content));
  const wrap = find('.wrap', HTMLButtonElement, code);
  pre.replaceWith(code);
  code.append(pre);
  wrap.addEventListener('click', () => {
    const wraps = wrap.getAttribute('aria-pressed') !== 'true';
    wrap.setAttribute('aria-pressed', String(wraps));
    code.classList.toggle('wraps', wraps);
  });
  copyOnClick(find('.copy', HTMLButtonElement, code), () => pre.textContent ?? '', translate);
  // There is nothing to wrap in lines that fit.
  nameCode(pre, code, translate, (scrolls) => {
    wrap.hidden = !scrolls && wrap.getAttribute('aria-pressed') !== 'true';
  });
}

/**
 * Show the language of a block of code, also in its name as a tab stop.
 *
 * @param {HTMLElement} pre
 * @param {Element} code
 * @param {Translate} translate
 * @param {(scrolls: boolean) => void} changed
 */
function nameCode(pre, code, translate, changed) {
  const language = /(?:^| )language-(\S+)/.exec(pre.firstElementChild?.className ?? '')?.[1] ?? '';
  const label = find('.language', HTMLElement, code);
  setText(label, language || translate('code'));
  stopWhereItScrolls(pre, language ? translate('code.of', { language }) : translate('code'), changed);
}
