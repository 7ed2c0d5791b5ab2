// Elements without a library. Text only ever becomes text nodes: what a model wrote is never read as HTML.

/** An element with attributes, properties that are functions as listeners (`onclick`), and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

export const one = (selector) => document.querySelector(selector);

/**
 * Make the children of `parent` those that `wanted` lists, as [key, what is shown, how to make it]. A child whose key
 * and content are the same stays as it is, so that what is open stays open and what is selected stays selected.
 */
export function reconcile(parent, wanted) {
  wanted.forEach(([key, content, make], index) => {
    const there = parent.children[index];
    const mark = `${key} ${content}`;
    if (there?.mark === mark) return;
    const made = make(there?.key === key ? there : undefined);
    made.key = key;
    made.mark = mark;
    if (made === there) return;
    if (there) there.replaceWith(made);
    else parent.append(made);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}
