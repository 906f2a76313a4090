/**
 * What a page can do to a service at another address, or at its own: every way that browsers have to send a request.
 * It is evaluated in the page of an attacker; each function returns what the page gets to see.
 */
({
  /** How long an element or a socket may take, before it counts as refused. */
  LIMIT_MS: 3000,

  /** The same for a request of a script, which reports also that it is refused. */
  FETCH_LIMIT_MS: 20000,

  /** How many ways are tried at once: browsers open few connections to a host. */
  AT_ONCE: 4,

  /** Return what each of some ways gets to see. @param {Record<string, () => Promise<string>>} ways */
  async some(ways) {
    const seen = {};
    const left = Object.entries(ways);
    const work = async () => {
      for (let next = left.shift(); next; next = left.shift()) seen[next[0]] = await next[1]();
    };
    await Promise.all(Array.from({ length: this.AT_ONCE }, work));
    return seen;
  },

  /** Return what `begin` reports within a limit. @param {(report: (seen: string) => void) => void} begin @param {number} limit */
  within(begin, limit = this.LIMIT_MS) {
    return new Promise((resolve) => {
      setTimeout(() => resolve('nothing'), limit);
      begin(resolve);
    });
  },

  /** Put an element into the page, and return whether it loads. @param {string} tag @param {object} properties */
  element(tag, properties) {
    return this.within((report) => {
      const element = Object.assign(document.createElement(tag), properties);
      element.onload = element.onloadedmetadata = () => report('loaded');
      element.onerror = () => report('error');
      document.body.append(element);
    });
  },

  /** Show HTML in a sandboxed frame, and return what that tells by `told`. @param {string} html */
  sandbox(html) {
    return this.within((report) => {
      const told = "<script>const told = (seen) => parent.postMessage(seen, '*')</script>";
      const frame = Object.assign(document.createElement('iframe'), {
        sandbox: 'allow-scripts allow-forms', srcdoc: told + html,
      });
      addEventListener('message', ({ source, data }) => source === frame.contentWindow && report(data));
      document.body.append(frame);
    });
  },

  /** Submit a form into a frame. @param {string} action @param {string} name @param {object} properties */
  form(action, name, properties) {
    return this.within((report) => {
      const frame = Object.assign(document.createElement('iframe'), { name: `frame-${name}` });
      document.body.append(frame);
      const field = Object.assign(document.createElement('input'), { name: 'message', value: name });
      const form = Object.assign(document.createElement('form'), { action, target: frame.name, ...properties });
      form.append(field);
      document.body.append(form);
      frame.onload = () => report('loaded');
      form.submit();
    });
  },

  /** Return the status and the text of an answer, or that there is none to see. @param {string} url @param {object} options */
  ask(url, options) {
    return this.within((report) => this.answer(url, options).then(report), this.FETCH_LIMIT_MS);
  },

  /** Return the same, without a limit. @param {string} url @param {object} options */
  async answer(url, options) {
    try {
      const response = await fetch(url, options);
      if (response.type === 'opaque') return 'opaque';
      return `${response.status} ${(await response.text()).slice(0, 300)}`;
    } catch {
      return 'error';
    }
  },

  /** Return the first thing that an `EventSource` gets. @param {string} url @param {object} options */
  eventSource(url, options = {}) {
    return this.within((report) => {
      const source = new EventSource(url, options);
      source.onmessage = ({ data }) => { report(`event ${data}`); source.close(); };
      source.onerror = () => { report('error'); source.close(); };
    });
  },

  /** Return the first thing that a WebSocket gets. @param {string} url @param {string} message */
  socket(url, message) {
    return this.within((report) => {
      const socket = new WebSocket(url.replace(/^http/, 'ws'));
      socket.onopen = () => socket.send(JSON.stringify({ message }));
      socket.onmessage = ({ data }) => { report(`event ${data}`); socket.close(); };
      socket.onerror = () => report('error');
    });
  },

  /** Try all ways to start a reply that need no script of the service's own origin. @param {string} base */
  async fromElsewhere(base) {
    const url = (name) => `${base}api/chat?message=${name}`;
    const sandbox = (name, inner) => this.sandbox(inner(url(name)));
    const script = (body) => `<script>${body}</script>`;
    const post = { method: 'POST', body: '{"message": "post"}' };
    const ways = {
      image: () => this.element('img', { src: url('image') }),
      picture: () => this.element('img', { srcset: url('picture') }),
      script: () => this.element('script', { src: url('script') }),
      module: () => this.element('script', { src: url('module'), type: 'module' }),
      style: () => this.element('link', { rel: 'stylesheet', href: url('style') }),
      prefetch: () => this.element('link', { rel: 'prefetch', href: url('prefetch') }),
      preload: () => this.element('link', { rel: 'preload', as: 'fetch', href: url('preload') }),
      frame: () => this.element('iframe', { src: url('frame') }),
      object: () => this.element('object', { data: url('object') }),
      audio: () => this.element('audio', { src: url('audio'), preload: 'auto' }),
      video: () => this.element('video', { src: url('video'), preload: 'auto' }),
      link: () => this.within((report) => {
        const frame = Object.assign(document.createElement('iframe'), { name: 'frame-of-link' });
        const link = Object.assign(document.createElement('a'), { href: url('link'), target: frame.name });
        document.body.append(frame, link);
        frame.onload = () => report('loaded');
        link.click();
      }),
      form: () => this.form(`${base}api/chat`, 'form', { method: 'GET' }),
      'form-post': () => this.form(`${base}api/chat`, 'form-post', { method: 'POST', enctype: 'text/plain' }),
      opaque: () => this.ask(url('opaque'), { mode: 'no-cors' }),
      'opaque-post': () => this.ask(`${base}api/chat`, { ...post, mode: 'no-cors' }),
      cors: () => this.ask(url('cors'), {}),
      'cors-post': () => this.ask(`${base}api/chat`, { ...post, headers: { 'Content-Type': 'application/json' } }),
      beacon: () => Promise.resolve(String(navigator.sendBeacon(`${base}api/chat`, post.body))),
      'event-source': () => this.eventSource(url('event-source')),
      'event-source-cookies': () => this.eventSource(url('event-source-cookies'), { withCredentials: true }),
      socket: () => this.socket(`${base}ws/chat`, 'socket'),
      'sandboxed-image': () => sandbox('sandboxed-image', (source) => `<img src="${source}" onload="told('loaded')" onerror="told('error')">`),
      'sandboxed-fetch': () => sandbox('sandboxed-fetch', (source) => script(`fetch('${source}').then(() => told('loaded'), () => told('error'))`)),
      'sandboxed-source': () => sandbox('sandboxed-source', (source) => script(`const s = new EventSource('${source}'); s.onmessage = () => told('event'); s.onerror = () => told('error')`)),
      'sandboxed-socket': () => sandbox('sandboxed-socket', () =>
        script(`const s = new WebSocket('${base.replace(/^http/, 'ws')}ws/chat');
          s.onopen = () => told('event'); s.onerror = () => told('error')`)),
      'sandboxed-form': () => sandbox('sandboxed-form', (source) =>
        `<form action="${base}api/chat"><input name="message" value="sandboxed-form"></form>${script('document.forms[0].submit()')}`),
      page: () => this.element('iframe', { src: base }),
    };
    return this.some(ways);
  },

  /** Try what a script can do once the browser takes the service for its page's own origin. @param {string} base */
  async asOwn(base) {
    const headers = { 'Content-Type': 'application/json', Accept: 'text/plain' };
    const post = { method: 'POST', body: '{"message": "post"}' };
    const forwarded = { ...headers, 'X-Forwarded-Host': location.host, 'X-Forwarded-Proto': 'https' };
    return this.some({
      page: () => this.ask(base, {}),
      metrics: () => this.ask(`${base}metrics`, {}),
      get: () => this.ask(`${base}api/chat?message=get`, { headers: { Accept: 'text/event-stream' } }),
      post: () => this.ask(`${base}api/chat`, { ...post, headers }),
      forwarded: () => this.ask(`${base}api/chat`, { ...post, headers: forwarded }),
      openai: () => this.ask(`${base}v1/models`, {}),
      'event-source': () => this.eventSource(`${base}api/chat?message=event-source`),
      socket: () => this.socket(`${base}ws/chat`, 'socket'),
    });
  },
})
