/**
 * The view of what stands beside a reply's text: above it what the model did, below it sources and files.
 *
 * Nothing of another host is loaded before a click, and images of another host not even then: they open in a tab of
 * their own, as the page's policy has it (`Content-Security-Policy`).
 *
 * @import { Reply } from './conversation.js'
 * @import { Part } from './parts.js'
 * @import { Translate } from './translate.js'
 */
import { isContent, isShownImage, visibleName, webAddress } from './addresses.js';
import { find } from './elements.js';
import { arrange } from './parts.js';
import { StepView } from './step-view.js';

/** The view of one reply's parts, in the elements of `#reply-template`. */
export class PartsView {
  #translate;
  #isOwn;
  #steps;
  #sources;
  #files;
  /** The views of the steps, by the numbers of their parts. @type {Map<number, StepView>} */
  #stepViews = new Map();
  /** What was drawn last. @type {{parts: Reply['parts'], running: boolean}} */
  #last = { parts: [], running: false };

  /**
   * @param {HTMLElement} element of the reply
   * @param {Translate} translate
   * @param {(url: string) => boolean} isOwn returns whether an address is the service's own
   */
  constructor(element, translate, isOwn) {
    this.#translate = translate;
    this.#isOwn = isOwn;
    this.#steps = find('.steps', HTMLElement, element);
    this.#sources = find('.sources', HTMLElement, element);
    this.#files = find('.files', HTMLElement, element);
  }

  /**
   * Draw the parts of a reply, touching only what differs from how they were drawn last.
   *
   * @param {Pick<Reply, 'parts' | 'state'>} reply the same reply as before, unless `clear` was called
   */
  draw({ parts, state }) {
    const running = state === 'running';
    if (parts === this.#last.parts && running === this.#last.running) return;
    this.#last = { parts, running };
    const { steps, sources, files } = arrange(parts);
    for (const step of steps) {
      let view = this.#stepViews.get(step.part.part);
      if (!view) {
        view = new StepView(this.#translate);
        this.#stepViews.set(step.part.part, view);
        this.#steps.append(view.element);
      }
      view.draw(step, running);
    }
    const list = find('ol', HTMLElement, this.#sources);
    for (const source of sources.slice(list.childElementCount)) list.append(this.#sourceItem(source));
    for (const file of files.slice(this.#files.childElementCount)) this.#files.append(this.#fileRow(file));
    this.#steps.hidden = steps.length === 0;
    this.#sources.hidden = sources.length === 0;
    this.#files.hidden = files.length === 0;
  }

  /** Remove all, because the reply is asked for anew. */
  clear() {
    this.#stepViews.clear();
    this.#steps.replaceChildren();
    find('ol', HTMLElement, this.#sources).replaceChildren();
    this.#files.replaceChildren();
    this.#last = { parts: [], running: false };
    this.#steps.hidden = this.#sources.hidden = this.#files.hidden = true;
  }

  /** @param {Part} source */
  #sourceItem({ members: { url, title } }) {
    const item = document.createElement('li');
    const address = webAddress(url);
    const host = address?.host.replace(/^www\./, '') ?? '';
    const name = document.createElement('bdi');
    name.textContent = visibleName(title) || visibleName(url);
    const link = this.#link(address, name);
    item.append(link);
    if (visibleName(title) && host) {
      const shown = document.createElement('span');
      shown.textContent = host;
      item.append(' ', shown);
    }
    return item;
  }

  /** @param {Part} file */
  #fileRow({ members: { url, media_type, name } }) {
    const row = document.createElement('div');
    row.className = 'file';
    const label = document.createElement('bdi');
    label.textContent = visibleName(name) || visibleName(media_type) || this.#translate('file');
    row.append(label);
    const kind = document.createElement('span');
    const address = webAddress(url);
    kind.textContent = [visibleName(name) && visibleName(media_type), address?.host].filter(Boolean).join(' · ');
    row.append(kind);
    if (address) row.append(this.#link(address, this.#translate('file.open')));
    if (isShownImage(url)) row.append(...this.#imageControls(url, label.textContent, row));
    if (isContent(url)) {
      const download = document.createElement('a');
      download.href = url;
      download.download = visibleName(name).replace(/[\\/]/g, '_');
      download.textContent = this.#translate('file.download');
      row.append(download);
    }
    if (!address && !isContent(url)) kind.textContent = this.#translate('file.gone');
    return row;
  }

  /**
   * Return the button that shows and hides an image, which is decoded only when it is shown first.
   *
   * @param {string} url
   * @param {string} name
   * @param {HTMLElement} row where the image is shown
   */
  #imageControls(url, name, row) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = this.#translate('file.show');
    button.ariaExpanded = 'false';
    /** @type {HTMLImageElement | null} */
    let image = null;
    button.addEventListener('click', () => {
      if (!image) {
        image = document.createElement('img');
        image.alt = name;
        image.src = url;
        image.hidden = true;
        row.append(image);
      }
      image.hidden = !image.hidden;
      button.ariaExpanded = String(!image.hidden);
      button.textContent = this.#translate(image.hidden ? 'file.show' : 'file.hide');
    });
    return [button];
  }

  /**
   * Return a link that opens in a tab of its own; plain text for an address that is no link's, and for the service's own,
   * which the model chose.
   *
   * @param {URL | null} address
   * @param {string | Node} content
   */
  #link(address, content) {
    const isLink = address !== null && !this.#isOwn(address.href);
    const element = document.createElement(isLink ? 'a' : 'span');
    if (element instanceof HTMLAnchorElement && address) {
      element.href = address.href;
      element.target = '_blank';
      element.rel = 'noopener noreferrer nofollow';
    }
    element.append(content);
    return element;
  }
}
