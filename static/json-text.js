/** JSON as a person reads it. Pure. */

/** One token of JSON: a string, a number or name, or a sign. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[^\s{}[\],:"]+|[{}[\],:]/gs;

/**
 * Return JSON with line ends and indentation. The values stay as they are written: reading and writing them anew would
 * round long numbers.
 *
 * @param {string} json
 * @returns {string} the same text if it is no JSON, or only a beginning
 */
export function prettyJSON(json) {
  try {
    JSON.parse(json);
  } catch {
    return json;
  }
  let depth = 0;
  let before = '';
  let pretty = '';
  for (const [token] of json.matchAll(TOKEN)) {
    const opened = before === '{' || before === '[';
    const closes = token === '}' || token === ']';
    if (closes) depth--;
    if (closes ? !opened : opened || before === ',') pretty += `\n${'  '.repeat(Math.max(0, depth))}`;
    pretty += token === ':' ? ': ' : token;
    if (token === '{' || token === '[') depth++;
    before = token;
  }
  return pretty;
}

/**
 * Return a value as a text: a text as it is, all else as JSON with line ends and indentation.
 *
 * @param {unknown} value any that JSON may have
 * @returns {string}
 */
export function valueText(value) {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null, null, 2);
}
