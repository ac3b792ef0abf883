// Whatever the server says reaches the page through these: as text or as an attribute's value, never as markup.

export const element = (id) => document.getElementById(id);

export const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

export const setAttribute = (node, name, value) => {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
};

export const setShown = (node, shown) => {
  if (node.hidden === shown) node.hidden = !shown;
};

export const fromTemplate = (id) => {
  const root = element(id).content.firstElementChild.cloneNode(true);
  const parts = { root };
  for (const node of root.querySelectorAll('[data-part]')) parts[node.dataset.part] = node;
  return parts;
};

export const announce = (text) => setText(element('announcer'), text);

/** Puts nodes in order under a parent and removes the others, moving none that is already in place (it would lose focus). */
export function place(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
}
