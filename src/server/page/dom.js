// Making elements. Text is always text: nothing from the server is read as HTML.

export function byId(id) {
  return document.getElementById(id);
}

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function drawn(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") made.style.cssText = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Replaces what is in a place of the page, but for what looks the same already: a button that is
// being pressed, what is focused, selected or scrolled stays.
export function replace(id, ...children) {
  inside(byId(id), element("div", {}, ...children));
}

function inside(old, fresh) {
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  if (before.length !== after.length) old.replaceChildren(...after);
  else before.forEach((node, at) => become(node, after[at]));
}

function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.cloneNode().isEqualNode(fresh.cloneNode()) && fresh.hasChildNodes()) inside(old, fresh);
  else old.replaceWith(fresh);
}
