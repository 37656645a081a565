// As much of TOML as the policies among the vectors use: keys, one level of tables, strings, numbers, booleans, arrays of them.

class Line extends Error {
  constructor(number) {
    super(`line ${number}`);
    this.keys = [`line ${number}`];
  }
}

const KEY = /^(?:"([^"]*)"|([A-Za-z0-9_-]+))\s*/;

function key(text, number) {
  const path = [];
  let rest = text;
  do {
    const found = KEY.exec(rest);
    if (!found) throw new Line(number);
    path.push(found[1] ?? found[2]);
    rest = rest.slice(found[0].length);
    if (rest.startsWith('.')) rest = rest.slice(1).trimStart();
    else return [path, rest];
  } while (rest);
  throw new Line(number);
}

export function readPolicy(text) {
  const root = {};
  let table = root;
  text.split('\n').forEach((raw, i) => {
    const line = raw.trim();
    if (!line || line.startsWith('#')) return;
    if (line.startsWith('[')) {
      const [path] = key(line.slice(1), i + 1);
      table = root;
      for (const name of path) table = table[name] ??= {};
      return;
    }
    const [path, rest] = key(line, i + 1);
    let at = table;
    for (const name of path.slice(0, -1)) at = at[name] ??= {};
    const name = path.at(-1);
    if (!rest.startsWith('=') || name in at) throw new Line(i + 1);
    try {
      at[name] = JSON.parse(rest.slice(1).replace(/\s+#[^"]*$/, '').replace(/,\s*\]$/, ']'));
    } catch {
      throw new Line(i + 1);
    }
  });
  return root;
}
