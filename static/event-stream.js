/**
 * An incremental parser of `text/event-stream` (WHATWG HTML, "Server-sent events"). It works on text
 * alone, so it runs without a browser.
 *
 * @typedef {{type: 'event', event: string, data: string, id: string}
 *   | {type: 'comment', comment: string}
 *   | {type: 'retry', ms: number}} StreamItem
 *   One item of a stream. `event`: its name (`message` if it has none), its data lines joined by
 *   newlines, and the last event id so far; `comment`: the text behind the colon, trimmed; `retry`: the
 *   pause that the server asks for, in milliseconds.
 */

/**
 * A parser of one stream: decoded text goes in, cut anywhere, and complete items come out.
 *
 * Unlike `EventSource` it also returns comments, which the standard drops: their time stamps show
 * whether a proxy buffers (PROTOCOL.md section 3).
 */
export class EventStreamParser {
  #unfinishedLine = '';
  #afterCR = false;
  #started = false;
  /** @type {string[]} */
  #data = [];
  #event = '';
  #id = '';

  /**
   * Parse the next piece of the stream and return the items that it completes, in order.
   *
   * @param {string} piece decoded text; an empty one completes nothing
   * @returns {StreamItem[]}
   */
  push(piece) {
    /** @type {StreamItem[]} */
    const items = [];
    if (!this.#started && piece) {
      this.#started = true;
      // [spec] One leading U+FEFF BYTE ORDER MARK character must be ignored.
      if (piece.startsWith('\uFEFF')) piece = piece.slice(1);
    }
    // A CRLF may be cut in two. The CR has ended the line already, so the LF must not end another.
    if (this.#afterCR && piece) {
      if (piece.startsWith('\n')) piece = piece.slice(1);
      this.#afterCR = false;
    }
    const text = this.#unfinishedLine + piece;
    const ends = /\r\n|\n|\r/g;
    let start = 0;
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      this.#line(text.slice(start, end.index), items);
      start = end.index + end[0].length;
      if (end[0] === '\r' && start === text.length) this.#afterCR = true;
    }
    this.#unfinishedLine = text.slice(start);
    return items;
  }

  /**
   * @param {string} line
   * @param {StreamItem[]} items
   */
  #line(line, items) {
    if (line === '') {
      // [spec] If the data buffer is an empty string, set the event type buffer to the empty string and return.
      if (this.#data.length) {
        items.push({ type: 'event', event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id });
      }
      this.#data = [];
      this.#event = '';
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) {
      items.push({ type: 'comment', comment: line.slice(1).trim() });
      return;
    }
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    // [spec] If the field value does not contain U+0000 NULL, then set the last event ID buffer.
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) items.push({ type: 'retry', ms: Number(value) });
  }
}
